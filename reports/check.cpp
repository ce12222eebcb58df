// The gate's verdicts as a table, JSON, Markdown and workflow commands.
#include "reports/check.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>

#include "base/text.hpp"
#include "reports/format.hpp"
#include "reports/grid.hpp"
#include "reports/json.hpp"

namespace gambrel::reports {
namespace {

using kernels::GateReport;
using kernels::Outcome;
using kernels::Verdict;

constexpr std::size_t name_width = 110;  // sizes stand at the end

/// "+10.3%": more time for the same work; "-" where there is nothing to compare with.
std::string change(const Verdict& v) { return v.baseline > 0 && v.efficiency > 0 ? fmt::format("{:+.1f}%", 100 * v.against_baseline.slowdown) : "-"; }
/// An efficiency of this kernel's; "-" where it has no reference to be a share of.
std::string share(const Verdict& v, double value) { return value > 0 && has_reference(v.measurement) ? percent(value) : "-"; }

std::string chance(const Verdict& v) { return v.baseline > 0 && std::isfinite(v.against_baseline.chance) ? fmt::format("{:.2g}", v.against_baseline.chance) : "-"; }

std::string words(Outcome outcome) {
  std::string text(to_string(outcome));
  std::ranges::replace(text, '_', ' ');
  return text;
}

TimeUnit unit_of(const GateReport& report) {
  double longest = 0;
  for (const Verdict& v : report.verdicts) longest = std::max(longest, median_seconds(v.measurement));
  return time_unit(longest);
}

Grid grid_of(const GateReport& report) {
  const TimeUnit unit = unit_of(report);
  Grid grid;
  grid.headings = {{"kernel", false}, {"verdict", false}, {fmt::format("time {}", unit.name)}, {"efficiency"}, {"baseline"}, {"slower by"}, {"limit"}, {"p"}, {"clean"}};
  for (const Verdict& v : report.verdicts)
    grid.rows.push_back({display_name(v.measurement.name, name_width), words(v.outcome), fixed(median_seconds(v.measurement) / unit.seconds, 2), share(v, v.efficiency), share(v, v.baseline), change(v),
                         v.baseline > 0 ? percent(v.against_baseline.limit) : "-", chance(v), fmt::format("{}/{}", v.measurement.clean.size(), v.measurement.sampled)});
  return grid;
}

/// What the kernels run on, as one line.
std::string libraries(const GateReport& report, bool markdown) {
  std::vector<kernels::Measurement> named;
  for (const Verdict& v : report.verdicts) named.push_back({.library = v.measurement.library});
  const std::string all = libraries_of(named);
  return all.empty() ? "" : fmt::format("libraries: {}\n", markdown ? escape_markdown(all) : all);
}

bool remarkable(const Verdict& v) { return !v.reason.empty() && v.outcome != Outcome::passed && v.outcome != Outcome::recorded; }

std::string table(const GateReport& report) {
  std::string text = terminal_grid(grid_of(report), false) + "\n";
  for (const Verdict& v : report.verdicts)
    if (remarkable(v)) text += fmt::format("{}: {}: {}\n", words(v.outcome), printable(v.measurement.name), v.reason);
  for (const std::string& name : report.missing) text += fmt::format("no longer there: {}\n", printable(name));
  return text + libraries(report, false) + check_summary(report) + "\n";
}

/// Ten blocks for 100 %; the baseline's place is marked.
std::string bar(const Verdict& v) {
  if (!has_reference(v.measurement)) return "";
  constexpr int blocks = 10;
  const int full = std::clamp(static_cast<int>(std::lround(blocks * v.efficiency)), 0, blocks);
  const int mark = v.baseline > 0 ? std::clamp(static_cast<int>(std::lround(blocks * v.baseline)) - 1, 0, blocks - 1) : -1;
  std::string text;
  for (int i = 0; i < blocks; ++i) text += i < full ? "█" : i == mark ? "▒" : "░";
  return text;
}

/// The history between its smallest and largest value, in eight steps.
std::string sparkline(const Verdict& v) {
  static constexpr std::array<std::string_view, 8> steps{"▁", "▂", "▃", "▄", "▅", "▆", "▇", "█"};
  if (v.history.size() < 2) return "";
  const auto [low, high] = std::ranges::minmax_element(v.history, {}, &kernels::Past::efficiency);
  const double range = std::max(high->efficiency - low->efficiency, 0.02 * high->efficiency);
  std::string text;
  for (const kernels::Past& past : v.history)
    text += steps[static_cast<std::size_t>(std::clamp(7 * (past.efficiency - low->efficiency) / range, 0.0, 7.0))];
  return text;
}

std::string sign(Outcome outcome) {
  if (is_failure(outcome)) return "❌ ";
  if (is_unmeasured(outcome)) return "⚠️ ";
  return outcome == Outcome::recorded ? "🆕 " : "✅ ";
}

std::string markdown(const GateReport& report) {
  std::string text = fmt::format("### {}\n\n{}\n\n", escape_markdown(report.title.empty() ? "Kernel efficiency" : report.title), check_summary(report));
  text += "| kernel | verdict | efficiency | | baseline | slower by | limit | history |\n|---|---|---|--:|--:|--:|--:|---|\n";
  for (const Verdict& v : report.verdicts)
    text += fmt::format("| {} | {}{} | {} | {} | {} | {} | {} | {} |\n", escape_markdown(v.measurement.name), sign(v.outcome), words(v.outcome), bar(v), share(v, v.efficiency), share(v, v.baseline),
                        change(v), v.baseline > 0 ? percent(v.against_baseline.limit) : "-", sparkline(v));
  for (const Verdict& v : report.verdicts)
    if (remarkable(v)) text += fmt::format("\n- **{}**: {}", escape_markdown(v.measurement.name), escape_markdown(v.reason));
  for (const std::string& name : report.missing) text += fmt::format("\n- **{}**: had a baseline, and is no longer there", escape_markdown(name));
  text += "\n\nEfficiency: the kernel's rate over that of a reference measured in the same seconds.\n";
  const std::string all = libraries(report, true);
  return all.empty() ? text : text + "\n" + all;
}

/// GitHub's escapes (actions/toolkit, core/src/command.ts): of a message, and of a property.
std::string workflow_text(std::string_view text, bool property) {
  std::string out;
  for (const char c : printable(text)) {
    if (c == '%') out += "%25";
    else if (property && c == ':') out += "%3A";
    else if (property && c == ',') out += "%2C";
    else out += c;
  }
  return out;
}

std::string github(const GateReport& report) {
  std::string text;
  for (const Verdict& v : report.verdicts) {
    if (v.outcome == Outcome::passed) continue;
    const std::string_view level = is_failure(v.outcome) ? "error" : is_unmeasured(v.outcome) ? (report.allow_unmeasured ? "notice" : "warning") : "notice";
    text += fmt::format("::{} title={}::{}\n", level, workflow_text("gambrel check: " + words(v.outcome), true), workflow_text(v.measurement.name + ": " + v.reason, false));
  }
  for (const std::string& name : report.missing)
    text += fmt::format("::notice title={}::{}\n", workflow_text("gambrel check: no longer there", true), workflow_text(name, false));
  return text + table(report);
}

Node verdict_node(const Verdict& v) {
  Node node = Node::mapping();
  node.set("name", shown(v.measurement.name));
  node.set("verdict", Node::of(to_string(v.outcome)));
  node.set("reason", shown(v.reason));
  node.set("time_s", number(median_seconds(v.measurement)));
  const auto efficiency = [&](double value) { return has_reference(v.measurement) ? number(value) : Node(); };
  node.set("efficiency", efficiency(v.efficiency));
  node.set("anchor", shown(v.measurement.anchor));
  const bool compared = v.baseline > 0;
  node.set("baseline_efficiency", compared ? efficiency(v.baseline) : Node());
  for (const auto& [key, value] : {std::pair{"slowdown", v.against_baseline.slowdown}, {"limit", v.against_baseline.limit}, {"p_value", v.against_baseline.chance}})
    node.set(key, compared ? number(value) : Node());
  node.set("minimum_efficiency", v.minimum > 0 ? number(v.minimum) : Node());
  node.set("processes", number(v.processes));
  node.set("clean_samples", number(static_cast<double>(v.measurement.clean.size())));
  node.set("samples", number(v.measurement.sampled));
  node.set("library", shown(v.measurement.library));
  node.set("selected", shown(v.measurement.selected));
  Node& history = node.set("history", Node::sequence());
  for (const kernels::Past& past : v.history) {
    Node& item = history.append(Node::mapping());
    item.set("date", shown(past.date));
    item.set("efficiency", number(past.efficiency));
  }
  return node;
}

std::string json(const GateReport& report) {
  Node root = Node::mapping();
  root.set("schema_version", number(schema_version));
  root.set("exit_code", number(report.exit_code()));
  root.set("context", kernels::to_node(report.context));
  Node& list = root.set("kernels", Node::sequence());
  for (const Verdict& v : report.verdicts) list.append(verdict_node(v));
  Node& missing = root.set("missing", Node::sequence());
  for (const std::string& name : report.missing) missing.append(shown(name));
  return to_json(root) + "\n";
}

}  // namespace

std::optional<CheckFormat> parse_check_format(std::string_view name) {
  static constexpr std::pair<std::string_view, CheckFormat> formats[]{{"table", CheckFormat::table}, {"json", CheckFormat::json}, {"github", CheckFormat::github}, {"markdown", CheckFormat::markdown}};
  for (const auto& [word, format] : formats)
    if (word == name) return format;
  return std::nullopt;
}

std::string check_summary(const GateReport& report) {
  std::string text = fmt::format("{} kernel{}:", report.verdicts.size(), report.verdicts.size() == 1 ? "" : "s");
  for (const Outcome outcome : {Outcome::regressed, Outcome::below_minimum, Outcome::drifted, Outcome::unmeasured, Outcome::noisy, Outcome::passed, Outcome::improved, Outcome::recorded}) {
    const auto count = std::ranges::count(report.verdicts, outcome, &Verdict::outcome);
    if (count > 0) text += fmt::format("{} {} {}", text.ends_with(':') ? "" : ",", count, words(outcome));
  }
  return text;
}

std::string write_check(const GateReport& report, CheckFormat format) {
  switch (format) {
    case CheckFormat::json: return json(report);
    case CheckFormat::github: return github(report);
    case CheckFormat::markdown: return markdown(report);
    case CheckFormat::table: break;
  }
  return table(report);
}

}  // namespace gambrel::reports

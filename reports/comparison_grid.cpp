#include "reports/comparison_grid.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <functional>

#include "base/text.hpp"
#include "reports/format.hpp"

namespace gambrel::reports {
namespace {

using sim::ComparisonResult, sim::VariantResult;

/// One column: how a variant's cell reads, "" where it has no such figure.
struct TextColumn {
  std::string heading;
  bool right;
  std::function<std::string(const VariantResult&)> cell;
};

std::string times(double ratio) { return std::isfinite(ratio) ? fmt::format("{:.2f}x", ratio) : "-"; }

std::string per_million(const VariantResult& v) {
  const auto dollars = dollars_per_million_tokens(v.estimate.total);
  return dollars ? fmt::format("{:.3g}", *dollars) : "";
}

std::string token_energy(const VariantResult& v) {
  const auto energy = energy_per_token(v.estimate.total);
  return energy ? spoken(*energy) : "";
}

std::string memory(const VariantResult& v) { return spoken(v.memory) + (v.estimate.memory.fits ? "" : " (too much)"); }

std::string share(double value) { return value > 0 && value < 1e-3 ? fmt::format("{:.2g}%", 100 * value) : fmt::format("{:.2f}%", 100 * value); }

std::string worst(const VariantResult& v) {
  const kernels::OperatorError* op = v.error ? kernels::worst_operator(*v.error) : nullptr;
  if (!op || !std::isfinite(op->sqnr_db)) return "";
  return fmt::format("{} {}", display_name(op->name, 32), decibels(op->sqnr_db));
}

std::string when_serving(const VariantResult& v, Seconds sim::Serving::* figure) {
  return v.estimate.serving ? spoken((*v.estimate.serving).*figure) : "";
}

std::string when_measured(const VariantResult& v, const std::function<std::string(const kernels::ErrorReport&)>& cell) {
  return v.error ? cell(*v.error) : "";
}

std::string when_real(const VariantResult& v, const std::function<std::string(const kernels::ErrorReport&)>& cell) {
  return v.error && v.error->real_weights ? cell(*v.error) : "";
}

std::vector<TextColumn> time_columns(const ComparisonResult& c) {
  return {
      {"variant", false, [](const VariantResult& v) { return printable(v.name); }},
      {"time", true, [](const VariantResult& v) { return spoken(v.estimate.total.time); }},
      {"speed", true, [](const VariantResult& v) { return times(v.speedup); }},
      {"TTFT", true, [](const VariantResult& v) { return when_serving(v, &sim::Serving::ttft); }},
      {"TPOT", true, [](const VariantResult& v) { return when_serving(v, &sim::Serving::tpot); }},
      {"tokens/s", true, [](const VariantResult& v) { return spoken_count(v.estimate.total.tokens_per_second); }},
      {"bound", false, [&c](const VariantResult& v) { return printable(moved_bound(c, v)); }},
      {"memory", true, memory},
      {"max batch", true, [](const VariantResult& v) { return v.estimate.memory.max_batch > 0 ? spoken_count(v.estimate.memory.max_batch) : ""; }},
      {"energy/token", true, token_energy},
      {"USD/Mtoken", true, per_million},
  };
}

std::vector<TextColumn> error_columns() {
  using Report = kernels::ErrorReport;
  return {
      {"SQNR", true, [](const VariantResult& v) { return when_measured(v, [](const Report& e) { return decibels(e.sqnr_db); }); }},
      {"error", true, [](const VariantResult& v) { return when_measured(v, [](const Report& e) { return share(e.relative_error); }); }},
      {"KL", true, [](const VariantResult& v) { return when_real(v, [](const Report& e) { return fmt::format("{:.2g}", e.distribution.kl_divergence); }); }},
      {"top-1", true, [](const VariantResult& v) { return when_real(v, [](const Report& e) { return percent(e.distribution.top1_agreement); }); }},
      {"worst operator", false, worst},
      {"front", false, [](const VariantResult& v) { return std::string(v.front ? "*" : ""); }},
  };
}

void error_lines(std::vector<Line>& lines, const kernels::ErrorReport& e) {
  lines.emplace_back("error", "of the logits against fp32, executed; SQNR 20 dB is a relative error of 10%");
  lines.emplace_back("executed", e.scaling);
  lines.emplace_back("weights", e.weights + (e.real_weights ? "" : ": how formats rank, not how well the model still answers"));
}

/// How the narrowest variant's error grows, for the caption.
const kernels::ErrorReport* largest_error(const ComparisonResult& c) {
  const kernels::ErrorReport* largest = nullptr;
  for (const VariantResult& v : c.variants)
    if (v.error && !v.error->growth.points.empty() && (!largest || v.error->relative_error > largest->relative_error)) largest = &*v.error;
  return largest;
}

/// Variants whose figures are known from the same go together.
void add_provenance(std::vector<Line>& lines, const ComparisonResult& c) {
  std::vector<std::pair<std::string, std::string>> groups;  // text, names
  for (const VariantResult& v : c.variants) {
    const std::string text = provenance_text(v.estimate);
    const auto found = std::ranges::find(groups, text, &std::pair<std::string, std::string>::first);
    if (found == groups.end()) groups.emplace_back(text, printable(v.name));
    else found->second += "; " + printable(v.name);
  }
  for (const auto& [text, names] : groups) lines.emplace_back("known from", groups.size() == 1 ? text : fmt::format("{} ({})", text, names));
}

std::string growth_text(const kernels::ErrorReport& e) {
  std::string text = printable(e.variant) + ": the stream's error is";
  for (const kernels::GrowthPoint& p : e.growth.points) text += fmt::format(" {} after {} layer{},", share(p.relative_error), p.layers, p.layers == 1 ? "" : "s");
  text.back() = ';';
  return text + fmt::format(" it grows as layers^{:.2f}, which would make {} after all {} (extrapolated, not measured)", e.growth.exponent, share(e.growth.at_full_depth), e.model_layers);
}

}  // namespace

std::string decibels(double sqnr_db) { return std::isfinite(sqnr_db) ? fmt::format("{:.1f} dB", sqnr_db) : sqnr_db > 0 ? "exact" : "-"; }

std::string moved_bound(const ComparisonResult& c, const VariantResult& v) {
  const std::string& now = v.estimate.total.bound;
  return v.bound_moved ? fmt::format("{} to {}", c.variants.front().estimate.total.bound, now) : now;
}

Grid variants_grid(const ComparisonResult& c) {
  Grid grid;
  grid.rows.resize(c.variants.size());
  std::vector<TextColumn> columns = time_columns(c);
  for (TextColumn& column : error_columns()) columns.push_back(std::move(column));
  const bool measured = std::ranges::any_of(c.variants, [](const VariantResult& v) { return v.error.has_value(); });
  for (const TextColumn& column : columns) {
    if (column.heading == "front" && !measured) continue;
    std::vector<std::string> cells;
    for (const VariantResult& v : c.variants) cells.push_back(column.cell(v));
    if (std::ranges::all_of(cells, &std::string::empty)) continue;
    grid.headings.push_back({column.heading, column.right});
    for (std::size_t i = 0; i < cells.size(); ++i) grid.rows[i].push_back(cells[i].empty() && column.heading != "front" ? "-" : cells[i]);
  }
  return grid;
}

Grid found_grid(const ComparisonResult& c) {
  Grid grid;
  if (!c.found) return grid;
  grid.headings = {{"taken", true}, {"operators", false}, {"format", false}, {"saves"}, {"error alone"}};
  const auto& choices = c.found->choices;
  for (std::size_t i = 0; i < choices.size(); ++i) {
    const auto& choice = choices[i];
    if (std::any_of(choices.begin() + static_cast<std::ptrdiff_t>(i) + 1, choices.end(), [&](const auto& later) { return later.group == choice.group; })) continue;  // replaced since
    grid.rows.push_back({fmt::format("{}", i + 1), printable(choice.group), printable(choice.recipe), spoken(choice.saved), share(choice.error)});
  }
  return grid;
}

std::vector<Line> comparison_lines(const ComparisonResult& c) {
  std::vector<Line> lines;
  const auto measured = std::ranges::find_if(c.variants, [](const VariantResult& v) { return v.error.has_value(); });
  if (measured != c.variants.end()) error_lines(lines, *measured->error);
  if (const kernels::ErrorReport* e = largest_error(c)) lines.emplace_back("growth", growth_text(*e));
  if (measured != c.variants.end()) lines.emplace_back("front", "no variant marked * is beaten in speed and error at once");
  if (c.found) {
    lines.emplace_back("search", fmt::format("{} allowed, {} executed with all choices together; {} of {} changes taken{}", share(c.found->budget), share(c.found->error), c.found->choices.size(), c.found->considered.size(),
                                             c.found->taken_back > 0 ? fmt::format(", {} taken back", c.found->taken_back) : ""));
    lines.emplace_back("precision", c.found->precision);
  }
  add_provenance(lines, c);
  for (const std::string& note : c.notes) lines.emplace_back("note", note);
  return lines;
}

std::string comparison_title(const ComparisonResult& c) {
  if (c.variants.empty()) return c.id;
  std::string workload;
  for (const auto& [key, value] : c.variants.front().estimate.settings)
    if (key == "workload") workload = ", " + value;
  return run_title(c.variants.front().estimate) + workload;
}

}  // namespace gambrel::reports

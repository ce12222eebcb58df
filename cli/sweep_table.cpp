#include "cli/sweep_table.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>

#include "base/load.hpp"
#include "base/text.hpp"
#include "cli/progress.hpp"
#include "reports/format.hpp"
#include "reports/grid.hpp"
#include "reports/sweep_svg.hpp"

namespace gambrel::cli {
namespace {

constexpr std::size_t most_rows = 60;     ///< of the front, in a table
constexpr std::size_t most_inputs = 12;   ///< of a sensitivity, in a table

/// Figures that a table shows beside the objectives, where designs have them and no objective shows them.
constexpr std::string_view usual[] = {"time_s", "tokens_per_s", "power_w", "die_area_mm2", "chip_cost_usd"};

std::string short_path(const std::string& path) {
  for (std::string_view front : {"chip.", "system.", "workload."})
    if (path.starts_with(front)) return path.substr(front.size());
  return path;
}

std::string axis_text(const sim::SweepAxis& axis, std::uint32_t value, std::size_t path) { return axis.values[value][path]; }

/// Five significant digits; large counts keep their whole numbers.
std::string figure_text(double value) {
  if (!std::isfinite(value)) return "-";
  const double size = std::abs(value);
  if (size >= 1e5 && size < 1e15) return fmt::format("{:.5g}", value);
  return fmt::format("{:.4g}", value);
}

struct Shown {
  std::vector<std::size_t> figures;
};

bool all_have(const std::vector<sim::PointResult>& front, std::size_t figure) {
  return std::ranges::all_of(front, [&](const sim::PointResult& point) { return figure < point.figures.size() && !std::isnan(point.figures[figure]); });
}

Shown shown_of(const SweepResult& result) {
  Shown shown;
  for (const sim::Objective& objective : result.space.objectives()) shown.figures.push_back(objective.figure);
  const auto& columns = result.space.columns();
  for (std::string_view name : usual)
    for (std::size_t i = 0; i < columns.size(); ++i)
      if (columns[i].name == name && !std::ranges::count(shown.figures, i) && all_have(result.front, i)) shown.figures.push_back(i);
  return shown;
}

std::size_t bound_column(const sim::RunSpace& space) {
  const auto& columns = space.columns();
  return static_cast<std::size_t>(std::ranges::find(columns, "bound", &sim::FigureColumn::name) - columns.begin());
}

std::string heading(const sim::RunSpace& space, std::size_t figure) {
  for (const sim::Objective& objective : space.objectives())
    if (objective.figure == figure) return fmt::format("{} {}", objective.maximise ? "max" : "min", space.columns()[figure].name);
  return space.columns()[figure].name;
}

reports::Grid front_grid(const SweepResult& result) {
  const sim::RunSpace& space = result.space;
  const Shown shown = shown_of(result);
  reports::Grid grid;
  for (const sim::SweepAxis& axis : space.axes())
    for (const std::string& path : axis.paths) grid.headings.push_back({reports::display_name(short_path(path), 28)});
  for (std::size_t figure : shown.figures) grid.headings.push_back({heading(space, figure)});
  grid.headings.push_back({"bound", false});
  grid.headings.push_back({"", false});
  for (std::size_t i = 0; i < std::min(result.front.size(), most_rows); ++i) {
    const sim::PointResult& point = result.front[i];
    const sim::Coordinates at = space.coordinates_of(point.index);
    std::vector<std::string> row;
    for (std::size_t a = 0; a < at.size(); ++a)
      for (std::size_t p = 0; p < space.axes()[a].paths.size(); ++p) row.push_back(reports::display_name(axis_text(space.axes()[a], at[a], p), 28));
    for (std::size_t figure : shown.figures) row.push_back(figure_text(point.figures[figure]));
    row.push_back(bound_of(space, point));
    row.push_back(result.knee == i ? "knee" : "");
    grid.rows.push_back(std::move(row));
  }
  return grid;
}

std::string counts_text(const sim::SweepSummary& s) {
  std::string text = fmt::format("{} points", s.total > 0 ? s.total : s.done);
  if (s.counts) text += fmt::format(": {} designs, {} violate a constraint, {} are impossible", s.counts->ok, s.counts->violates, s.counts->impossible);
  return text;
}

std::string bound_text(const sim::BoundStep& step) {
  std::string text = fmt::format("{} bounds {} of the time", step.bound, reports::percent(step.share));
  if (step.resources.empty()) return text + "; no input of the machine relieves it";
  const std::string what = step.resources.size() > 1 ? fmt::format("{} and {} more", step.resources[0], step.resources.size() - 1) : step.resources[0];
  if (step.factor == 0) return text + fmt::format("; even {:.0f} times {} it still does", sim::largest_factor, what);
  return text + fmt::format("; with {:.3g} times {} it is {}, and the time {:.3g} of today's", step.factor, what, step.next, step.time_ratio);
}

reports::Grid effect_grid(const SweepResult& result) {
  reports::Grid grid;
  grid.headings = {{"one per cent more of", false}, {"now"}};
  for (const sim::Objective& objective : result.space.objectives()) grid.headings.push_back({objective.name + " %"});
  const auto& effects = result.sensitivity->effects;
  for (std::size_t i = 0; i < std::min(effects.size(), most_inputs); ++i) {
    std::vector<std::string> row{reports::display_name(effects[i].path), effects[i].value};
    for (double percent : effects[i].percent) row.push_back(fmt::format("{:+.3f}", percent));
    grid.rows.push_back(std::move(row));
  }
  return grid;
}

std::string sensitivity_text(const SweepResult& result, bool markdown, bool colour) {
  const auto grid = [&](const reports::Grid& g) { return markdown ? reports::markdown_grid(g) : reports::terminal_grid(g, colour); };
  std::string text = fmt::format("\n{}\n", result.knee && result.front.size() > 1 ? "What the knee hangs on:" : "What the design hangs on:");
  const auto& workloads = result.space.file().workloads;
  for (std::size_t w = 0; w < result.sensitivity->bounds.size(); ++w)
    text += fmt::format("  {}{}\n", workloads.empty() ? "" : workloads[w].name + ": ", bound_text(result.sensitivity->bounds[w]));
  return text + "\n" + grid(effect_grid(result));
}

std::string no_front(const SweepResult& result) {
  if (!result.summary.counts || result.summary.counts->ok == 0) return "\nNo design is possible and allowed.\n";
  std::vector<std::string> names;
  for (const sim::Objective& objective : result.space.objectives()) names.push_back(objective.name);
  return fmt::format("\nNo design has all of the objectives {}: a price per hour, or energies, may be unknown for the chip.\n", fmt::join(names, ", "));
}

std::string table_text(const SweepResult& result, bool markdown, bool colour) {
  const sim::RunSpace& space = result.space;
  std::string text = fmt::format("{}{}, {}\n", markdown ? "## " : "", space.file().name, counts_text(result.summary));
  if (result.front.empty()) return text + no_front(result);
  const std::string what = result.front.size() == 1 ? "Best design" : fmt::format("Pareto front, {} designs", result.front.size());
  text += fmt::format("\n{}{}\n\n", markdown ? "### " : "", what);
  const reports::Grid grid = front_grid(result);
  text += markdown ? reports::markdown_grid(grid) : reports::terminal_grid(grid, colour);
  if (result.front.size() > most_rows) text += fmt::format("... and {} more\n", result.front.size() - most_rows);
  if (result.sensitivity) text += sensitivity_text(result, markdown, colour);
  const std::size_t example = result.knee.value_or(0);
  text += fmt::format("\n{}:\n  {}\n", result.front.size() == 1 ? "The design alone" : "The knee alone", space.command(space.coordinates_of(result.front[example].index)));
  if (!result.database.empty()) text += fmt::format("\nAll of it: gambrel show {}\n", result.database);
  return text;
}

std::string csv_text(const SweepResult& result) {
  const sim::RunSpace& space = result.space;
  std::string text = "index";
  for (const sim::SweepAxis& axis : space.axes())
    for (const std::string& path : axis.paths) text += "," + reports::escape_csv(path);
  for (const sim::FigureColumn& column : space.columns()) text += "," + column.name;
  text += ",bound_name\n";
  for (const sim::PointResult& point : result.front) {
    const sim::Coordinates at = space.coordinates_of(point.index);
    text += std::to_string(point.index);
    for (std::size_t a = 0; a < at.size(); ++a)
      for (std::size_t p = 0; p < space.axes()[a].paths.size(); ++p) text += "," + reports::escape_csv(axis_text(space.axes()[a], at[a], p));
    for (double figure : point.figures) text += std::isfinite(figure) ? "," + shortest(figure) : ",";
    text += "," + reports::escape_csv(bound_of(space, point)) + "\n";
  }
  return text;
}

Node number(double value) { return std::isfinite(value) ? Node::of(value) : Node{}; }

Node point_node(const SweepResult& result, const sim::PointResult& point) {
  const sim::RunSpace& space = result.space;
  const sim::Coordinates at = space.coordinates_of(point.index);
  Node node = Node::mapping();
  node.set("index", Node::of(static_cast<double>(point.index)));
  Node& axes = node.set("axes", Node::mapping());
  for (std::size_t a = 0; a < at.size(); ++a)
    for (std::size_t p = 0; p < space.axes()[a].paths.size(); ++p) axes.set(space.axes()[a].paths[p], Node::of(std::string_view(axis_text(space.axes()[a], at[a], p))));
  Node& figures = node.set("figures", Node::mapping());
  for (std::size_t i = 0; i < point.figures.size(); ++i) figures.set(space.columns()[i].name, number(point.figures[i]));
  node.set("bound", Node::of(std::string_view(bound_of(space, point))));
  node.set("command", Node::of(std::string_view(space.command(at))));
  return node;
}

Node sensitivity_node(const SweepResult& result) {
  Node node = Node::mapping();
  Node& effects = node.set("effects", Node::sequence());
  for (const sim::InputEffect& effect : result.sensitivity->effects) {
    Node& one = effects.append(Node::mapping());
    one.set("input", Node::of(std::string_view(effect.path)));
    one.set("value", Node::of(std::string_view(effect.value)));
    Node& percent = one.set("percent", Node::mapping());
    for (std::size_t i = 0; i < effect.percent.size(); ++i) percent.set(result.space.objectives()[i].name, number(effect.percent[i]));
  }
  Node& bounds = node.set("bounds", Node::sequence());
  for (const sim::BoundStep& step : result.sensitivity->bounds) {
    Node& one = bounds.append(Node::mapping());
    one.set("bound", Node::of(std::string_view(step.bound)));
    one.set("share", number(step.share));
    Node& resources = one.set("resources", Node::sequence());
    for (const std::string& path : step.resources) resources.append(Node::of(std::string_view(path)));
    one.set("factor", step.factor > 0 ? number(step.factor) : Node{});
    one.set("next", step.next.empty() ? Node{} : Node::of(std::string_view(step.next)));
    one.set("time_ratio", number(step.time_ratio));
  }
  return node;
}

std::string json_text(const SweepResult& result) {
  Node root = Node::mapping();
  root.set("schema_version", Node::of(1.0));
  root.set("sweep", Node::of(std::string_view(result.space.file().name)));
  root.set("config_hash", Node::of(std::string_view(result.space.config_hash())));
  root.set("database", result.database.empty() ? Node{} : Node::of(std::string_view(result.database)));
  root.set("points", Node::of(static_cast<double>(result.summary.total > 0 ? result.summary.total : result.summary.done)));
  if (const auto& counts = result.summary.counts) {
    Node& node = root.set("states", Node::mapping());
    node.set("ok", Node::of(static_cast<double>(counts->ok)));
    node.set("violates", Node::of(static_cast<double>(counts->violates)));
    node.set("impossible", Node::of(static_cast<double>(counts->impossible)));
  }
  Node& objectives = root.set("objectives", Node::sequence());
  for (const sim::Objective& objective : result.space.objectives()) {
    Node& one = objectives.append(Node::mapping());
    one.set(objective.maximise ? "maximise" : "minimise", Node::of(std::string_view(objective.name)));
  }
  Node& front = root.set("front", Node::sequence());
  for (const sim::PointResult& point : result.front) front.append(point_node(result, point));
  root.set("knee", result.knee ? Node::of(static_cast<double>(result.front[*result.knee].index)) : Node{});
  if (result.sensitivity) root.set("sensitivity", sensitivity_node(result));
  return to_json(root) + "\n";
}

}  // namespace

std::string bound_of(const sim::RunSpace& space, const sim::PointResult& point) { return std::string(space.bounds().name(point.figures[bound_column(space)])); }

std::vector<std::pair<std::string, std::string>> sweep_facts(const SweepResult& result) {
  std::vector<std::pair<std::string, std::string>> facts{{"looked at", counts_text(result.summary)}};
  for (const sim::SweepAxis& axis : result.space.axes())
    facts.emplace_back("axis", fmt::format("{}: {} values, {} to {}", fmt::join(axis.paths, " with "), axis.size(), reports::short_value(axis.values.front().front()), reports::short_value(axis.values.back().front())));
  for (const sim::Objective& objective : result.space.objectives()) facts.emplace_back("objective", fmt::format("{} {}", objective.maximise ? "maximise" : "minimise", objective.name));
  for (const std::string& constraint : result.space.constraints()) facts.emplace_back("constraint", constraint);
  if (!result.database.empty()) facts.emplace_back("results", result.database);
  return facts;
}

std::string sweep_text(const SweepResult& result, std::string_view format, bool colour) {
  if (format == "json") return json_text(result);
  if (format == "csv") return csv_text(result);
  return table_text(result, format == "markdown", colour);
}

std::string dry_run_text(const sim::RunSpace& space, std::uint64_t points, double seconds, unsigned jobs, std::string_view format) {
  const double whole = seconds * static_cast<double>(points) / std::max(1u, jobs);
  if (format == "json") {
    Node root = Node::mapping();
    root.set("schema_version", Node::of(1.0));
    root.set("sweep", Node::of(std::string_view(space.file().name)));
    root.set("points", Node::of(static_cast<double>(points)));
    root.set("seconds", number(whole));
    return to_json(root) + "\n";
  }
  std::string text = fmt::format("{}, {} points\n", space.file().name, points);
  for (const sim::SweepAxis& axis : space.axes())
    text += fmt::format("  {:>8} x {}: {}{}\n", axis.size(), fmt::join(axis.paths, " with "), axis.values.front()[0], axis.size() > 1 ? " ... " + axis.values.back()[0] : "");
  return text + fmt::format("about {} on {} threads ({:.0f} points/s each, measured on a sample)\n", whole < 1 ? fmt::format("{:.1g} s", whole) : duration_text(whole), jobs, seconds > 0 ? 1 / seconds : 0);
}

}  // namespace gambrel::cli

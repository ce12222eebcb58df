// A grid of sets with their errors, then a grid of rows for each set.
#include "reports/suite.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "base/load.hpp"
#include "base/text.hpp"
#include "reports/format.hpp"
#include "reports/grid.hpp"
#include "reports/json.hpp"

namespace gambrel::reports {
namespace {

using sim::SetScore, sim::SuiteRow, sim::SuiteSet;

std::string signed_percent(double share) { return fmt::format("{:+.1f}%", 100 * share); }

/// Three significant digits: rows run from milliseconds to minutes.
std::string seconds(double value) {
  const double digits = value > 0 && std::isfinite(value) ? 2 - std::floor(std::log10(value)) : 2;
  return fixed(value, static_cast<int>(std::clamp(digits, 0.0, 12.0)));
}

std::string seconds(const std::optional<double>& value) { return value ? seconds(*value) : "-"; }

std::optional<double> error_of(const SuiteRow& row) {
  return row.predicted ? std::optional(*row.predicted / row.measured - 1) : std::nullopt;
}

std::vector<std::string> score_cells(const SetScore& s) {
  if (s.score.rows == 0) return {"-", "-", "-", "-", "-"};
  return {percent(s.score.mean), percent(s.score.median), percent(s.score.p90), percent(s.worst), signed_percent(s.score.bias)};
}

std::vector<std::string> set_cells(const std::string& name, std::size_t rows, const SetScore& model, const SetScore& baseline) {
  std::vector<std::string> cells{name, fmt::format("{}/{}", model.score.rows, rows)};
  for (const std::string& cell : score_cells(model)) cells.push_back(cell);
  const bool any = baseline.score.rows > 0;
  cells.push_back(any ? percent(baseline.score.mean) : "-");
  cells.push_back(any ? percent(baseline.score.p90) : "-");
  return cells;
}

Grid sets_grid(const std::vector<SuiteSet>& sets) {
  Grid grid;
  grid.headings = {{"set", false}, {"rows"}, {"mean"}, {"median"}, {"P90"}, {"worst"}, {"bias"}, {"constant: mean"}, {"P90"}};
  std::size_t rows = 0;
  for (const SuiteSet& set : sets) {
    grid.rows.push_back(set_cells(printable(set.name), set.rows.size(), set.model, set.baseline));
    rows += set.rows.size();
  }
  const SetScore unseen = unseen_score_of(sets);
  if (unseen.score.rows < score_of(sets).score.rows) grid.rows.push_back(set_cells("not fitted to", unseen.score.rows, unseen, {}));
  grid.rows.push_back(set_cells("all", rows, score_of(sets), baseline_of(sets)));
  grid.total_row = true;
  return grid;
}

std::string note_of(const SuiteRow& row) {
  if (!row.predicted) return "not predicted";
  if (row.fitted) return row.fits ? "fitted to" : "fitted to, does not fit";
  return row.fits ? "" : "does not fit";
}

Grid rows_grid(const SuiteSet& set) {
  Grid grid;
  grid.headings = {{"row", false}, {"chips"}, {"measured s"}, {"predicted s"}, {"error"}, {"constant s"}, {"provenance", false}, {"bound", false}, {"figure", false}, {"note", false}};
  for (const SuiteRow& row : set.rows) {
    const auto error = error_of(row);
    grid.rows.push_back({display_name(row.name, 48), row.run ? fmt::format("{}", row.run->chips) : "-", row.run ? seconds(row.measured) : "-", seconds(row.predicted),
                         error ? signed_percent(*error) : "-", seconds(row.baseline), printable(row.provenance), printable(row.bound), printable(row.figure), note_of(row)});
  }
  return grid;
}

/// One line a refused row: the first thing wrong with it.
std::string problems(const SuiteSet& set, bool markdown) {
  std::string text;
  for (const SuiteRow& row : set.rows) {
    if (row.problem.empty()) continue;
    const std::string line = fmt::format("{}: {}", row.name, row.problem.front().message);
    text += markdown ? fmt::format("\n- {}", escape_markdown(line)) : fmt::format("  {}\n", printable(line));
  }
  return text.empty() ? "" : markdown ? text + "\n" : text;
}

std::string text_of(std::string_view name, const std::vector<SuiteSet>& sets, bool markdown) {
  auto grid = [&](const Grid& g) { return markdown ? markdown_grid(g) : terminal_grid(g, false); };
  auto say = [&](const std::string& text) { return markdown ? escape_markdown(text) : printable(text); };
  std::string text = fmt::format("{}Suite {}: predicted beside published\n{}constant: the median FLOP/s of the set's other rows on that chip\n\n{}", markdown ? "## " : "", say(std::string(name)), markdown ? "\n" : "", grid(sets_grid(sets)));
  for (const SuiteSet& set : sets) {
    text += fmt::format("\n{}{}: {}\n{}{}\n", markdown ? "### " : "", say(set.name), say(set.title), markdown ? "\n" : "", say(set.source));
    if (!set.profile.empty()) text += fmt::format("{}profile {}\n", markdown ? "\n" : "", say(set.profile));
    if (!set.notes.empty()) text += fmt::format("{}{}\n", markdown ? "\n" : "", say(set.notes));
    text += fmt::format("\n{}{}", grid(rows_grid(set)), problems(set, markdown));
  }
  return text;
}

Node score_node(const SetScore& s) {
  Node node = Node::mapping();
  node.set("rows", Node::of(static_cast<double>(s.score.rows)));
  for (auto [key, value] : {std::pair{"mean", s.score.mean}, {"median", s.score.median}, {"p90", s.score.p90}, {"worst", s.worst}, {"bias", s.score.bias}}) node.set(key, Node::of(value));
  return node;
}

Node row_node(const SuiteRow& row) {
  Node node = Node::mapping();
  node.set("row", Node::of(row.name));
  node.set("source", Node::of(row.source));
  node.set("figure", Node::of(row.figure));
  if (row.run) {
    node.set("chips", Node::of(static_cast<double>(row.run->chips)));
    node.set("measured_s", Node::of(row.measured));
  }
  if (row.predicted) {
    node.set("predicted_s", Node::of(*row.predicted));
    node.set("provenance", Node::of(row.provenance));
    node.set("bound", Node::of(row.bound));
    node.set("fits", Node::of(row.fits));
    node.set("fitted", Node::of(row.fitted));
  }
  if (row.baseline) node.set("constant_s", Node::of(*row.baseline));
  if (!row.problem.empty()) node.set("problem", Node::of(row.problem.front().message));
  return node;
}

std::string json(std::string_view name, const std::vector<SuiteSet>& sets) {
  Node root = Node::mapping();
  root.set("schema_version", Node::of(static_cast<double>(schema_version)));
  root.set("suite", Node::of(name));
  root.set("all", score_node(score_of(sets)));
  root.set("not_fitted", score_node(unseen_score_of(sets)));
  root.set("constant", score_node(baseline_of(sets)));
  Node& list = root.set("sets", Node::sequence());
  for (const SuiteSet& set : sets) {
    Node& node = list.append(Node::mapping());
    for (auto [key, value] : {std::pair{"set", &set.name}, {"title", &set.title}, {"source", &set.source}, {"profile", &set.profile}, {"notes", &set.notes}}) node.set(key, Node::of(*value));
    node.set("error", score_node(set.model));
    node.set("constant", score_node(set.baseline));
    Node& rows = node.set("rows", Node::sequence());
    for (const SuiteRow& row : set.rows) rows.append(row_node(row));
  }
  return to_json(root);
}

std::string csv(const std::vector<SuiteSet>& sets) {
  auto number = [](const std::optional<double>& value) { return value ? fmt::format("{}", *value) : ""; };
  std::string text = "set,row,source,figure,chips,measured_s,predicted_s,error,constant_s,provenance,bound,note\n";
  for (const SuiteSet& set : sets)
    for (const SuiteRow& row : set.rows) {
      const std::string note = row.problem.empty() ? note_of(row) : row.problem.front().message;
      text += fmt::format("{},{},{},{},{},{},{},{},{},{},{},{}\n", escape_csv(set.name), escape_csv(row.name), escape_csv(row.source), escape_csv(row.figure), row.run ? fmt::format("{}", row.run->chips) : "",
                          row.run ? fmt::format("{}", row.measured) : "", number(row.predicted), number(error_of(row)), number(row.baseline), escape_csv(row.provenance), escape_csv(row.bound), escape_csv(note));
    }
  return text;
}

}  // namespace

std::string write_suite(std::string_view name, const std::vector<SuiteSet>& sets, TextFormat format) {
  if (format == TextFormat::json) return json(name, sets);
  if (format == TextFormat::csv) return csv(sets);
  return text_of(name, sets, format == TextFormat::markdown);
}

Validation parity_of(std::string_view name, const std::vector<SuiteSet>& sets) {
  Validation v{.title = fmt::format("Suite {}: predicted beside published", name), .provenance = "No row was used in a fit"};
  v.groups.push_back({"all", score_of(sets).score});
  for (const SuiteSet& set : sets) {
    v.groups.push_back({set.name, set.model.score});
    for (const SuiteRow& row : set.rows)
      if (row.predicted) v.rows.push_back({fmt::format("{}: {}", set.name, row.name), set.name, row.bound, *row.predicted, row.measured, false});
  }
  return v;
}

}  // namespace gambrel::reports

// Estimates as text: for a terminal, as Markdown, as CSV.
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <span>

#include "base/text.hpp"
#include "reports/columns.hpp"
#include "reports/grid.hpp"
#include "reports/json.hpp"
#include "reports/plan.hpp"
#include "reports/report.hpp"
#include "reports/summary.hpp"

namespace gambrel::reports {
namespace {

constexpr std::size_t top_operators = 8;  ///< of each run when several are compared

std::string terminal_lines(const std::vector<Line>& lines, bool colour) {
  std::size_t width = 0;
  for (const auto& [label, text] : lines) width = std::max(width, display_width(display_name(label, 32)));
  std::string out;
  for (const auto& [label, text] : lines)
    out +=
        fmt::format("  {}  {}\n", styled(dim, padded(display_name(label, 32), width, false), colour), printable(text));
  return out;
}

std::string markdown_lines(const std::vector<Line>& lines) {
  std::string out;
  for (const auto& [label, text] : lines)
    out += fmt::format("- **{}**: {}\n", escape_markdown(label), escape_markdown(text));
  return out;
}

std::vector<Line> header_lines(const sim::Estimate& run) {
  std::vector<Line> lines = run.settings;
  lines.emplace_back("parameters", parameters_text(run.parameters));
  lines.emplace_back("memory", memory_text(run.memory));
  return lines;
}

std::vector<Line> all_lines(const sim::Estimate& run) {
  std::vector<Line> lines = total_lines(run);
  for (Line& line : plan_lines(run)) lines.push_back(std::move(line));
  return lines;
}

std::string phase_caption(const sim::Phase& phase) {
  return fmt::format("{}: FLOP, bytes and T of one execution, time and share of all", phase.name);
}

std::vector<Line> note_lines(const sim::Estimate& run) {
  std::vector<Line> lines{{"known from", provenance_text(run)}};
  for (const std::string& note : run.notes) lines.emplace_back("note", note);
  return lines;
}

std::string terminal(const sim::Estimate& run, bool colour) {
  std::string out = styled(bold, printable(run_title(run)), colour) + '\n' + terminal_lines(header_lines(run), colour);
  for (const auto& phase : run.phases) {
    out += fmt::format("\n{}\n", styled(dim, printable(phase_caption(phase)), colour));
    out += terminal_grid(op_grid(op_rows(run, phase), &phase.total), colour);
    if (!phase.layers.empty()) out += '\n' + terminal_grid(layer_grid(phase), colour);
  }
  out += '\n' + terminal_lines(all_lines(run), colour);
  for (const Grid& grid : {network_grid(run), next_plans_grid(run)})
    if (!grid.rows.empty()) out += '\n' + terminal_grid(grid, colour);
  if (!run.memory.tiers.empty()) out += '\n' + terminal_grid(memory_grid(run.memory), colour);
  return out + '\n' + terminal_lines(note_lines(run), colour);
}

std::string markdown(const sim::Estimate& run) {
  std::string out = fmt::format("## {}\n\n{}\n", escape_markdown(run_title(run)), markdown_lines(header_lines(run)));
  for (const auto& phase : run.phases) {
    out += fmt::format("### {}\n\n{}\n", escape_markdown(phase_caption(phase)),
                       markdown_grid(op_grid(op_rows(run, phase), &phase.total)));
    if (!phase.layers.empty()) out += markdown_grid(layer_grid(phase)) + '\n';
  }
  out += fmt::format("### Total\n\n{}\n{}\n", markdown_lines(all_lines(run)), markdown_grid(memory_grid(run.memory)));
  for (const Grid& grid : {network_grid(run), next_plans_grid(run)})
    if (!grid.rows.empty()) out += markdown_grid(grid) + '\n';
  return out +
         fmt::format("### Sources and notes\n\n{}{}", markdown_lines(run.sources), markdown_lines(note_lines(run)));
}

std::string csv_cell(const Column& column, const Row& row) {
  const auto value = column.value(row, column.level);
  if (const auto* text = std::get_if<std::string>(&value)) return escape_csv(*text);
  const double number = std::get<double>(value);
  return number - number == 0.0 ? shortest(number) : "";  // not finite: empty
}

std::string csv_line(const std::vector<std::string>& cells) { return fmt::format("{}\n", fmt::join(cells, ",")); }

std::string csv(std::span<const sim::Estimate> runs) {
  const std::vector<Column> columns = op_columns(runs);
  std::vector<std::string> cells;
  for (const Column& column : columns) cells.push_back(escape_csv(column.name));
  std::string out = csv_line(cells);
  for (const auto& run : runs) {
    for (const Row& row : op_rows(run)) {
      cells.clear();
      for (const Column& column : columns) cells.push_back(csv_cell(column, row));
      out += csv_line(cells);
    }
  }
  return out;
}

/// Of each phase the operators that take most of the run's time.
std::string compared(const Report& report, TextFormat format) {
  const bool as_markdown = format == TextFormat::markdown;
  const auto grid_text = [&](const Grid& grid) {
    return as_markdown ? markdown_grid(grid) : terminal_grid(grid, false);
  };
  const std::string title = as_markdown ? "# " + escape_markdown(report.title) : printable(report.title);
  std::string out = fmt::format("{}\n\n{}", title, grid_text(runs_grid(report.runs)));
  for (const auto& run : report.runs) {
    const std::string name = as_markdown ? "## " + escape_markdown(run_title(run)) : printable(run_title(run));
    out += fmt::format("\n{}\n{}", name, as_markdown ? "\n" : "");
    const auto rows = longest(op_rows(run), top_operators);
    if (!rows.empty()) out += grid_text(op_grid(rows));
  }
  return out;
}

}  // namespace

tl::expected<TextFormat, std::string> parse_text_format(std::string_view name) {
  static constexpr std::array<std::pair<std::string_view, TextFormat>, 4> formats{{{"table", TextFormat::table},
                                                                                   {"json", TextFormat::json},
                                                                                   {"csv", TextFormat::csv},
                                                                                   {"markdown", TextFormat::markdown}}};
  const auto found = std::ranges::find(formats, name, &std::pair<std::string_view, TextFormat>::first);
  if (found != formats.end()) return found->second;
  return tl::unexpected(fmt::format("'{}' is not a format: table, json, csv or markdown", printable(name)));
}

std::string write_estimate(const sim::Estimate& estimate, TextFormat format, bool colour) {
  switch (format) {
    case TextFormat::json: return to_json(estimate_node(estimate));
    case TextFormat::csv: return csv({&estimate, 1});
    case TextFormat::markdown: return markdown(estimate);
    case TextFormat::table: break;
  }
  return terminal(estimate, colour);
}

std::string write_roofline_text(const Report& report, TextFormat format) {
  if (format == TextFormat::json) return to_json(report_node(report));
  if (format == TextFormat::csv) return csv(report.runs);
  return compared(report, format);
}

}  // namespace gambrel::reports

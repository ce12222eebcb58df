// A row an operator, then their sum.
#include "reports/execution.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <ranges>
#include <string_view>

#include "base/load.hpp"
#include "base/text.hpp"
#include "reports/format.hpp"
#include "reports/grid.hpp"
#include "reports/json.hpp"

namespace gambrel::reports {
namespace {

using kernels::MeasuredOp;

/// An operator's figures, or all operators' sums.
struct Line {
  MeasuredOp op;
  sim::PredictedOp predicted;
  double scaled_s = 0;  ///< 0: no peaks were taken
  bool has_prediction = false;
};

void add(Line& total, const Line& line) {
  total.op.executions += line.op.executions;
  total.op.flops += line.op.flops;
  total.op.bytes += line.op.bytes;
  total.op.seconds += line.op.seconds;
  total.predicted.flops += line.predicted.flops;
  total.predicted.bytes += line.predicted.bytes;
  total.predicted.seconds += line.predicted.seconds;
  total.predicted.roofline += line.predicted.roofline;
  total.scaled_s += line.scaled_s;
}

/// The operators in the graph's order, then their sum.
std::vector<Line> lines_of(const ExecutionReport& report) {
  std::vector<Line> lines;
  Line total{.op = {.name = "total"}, .predicted = {}, .scaled_s = 0, .has_prediction = report.predicted.has_value()};
  for (std::size_t i = 0; i < report.measured.ops.size(); ++i) {
    Line line{.op = report.measured.ops[i], .predicted = {}, .scaled_s = 0};
    if (report.predicted) line.predicted = report.predicted->ops[i], line.has_prediction = line.predicted.seconds > 0;
    if (report.scaled) line.scaled_s = report.scaled->ops[i].seconds;
    add(total, line);
    lines.push_back(std::move(line));
  }
  lines.push_back(std::move(total));
  return lines;
}

double rate(const MeasuredOp& op) { return op.seconds > 0 ? op.flops / op.seconds : 0; }
double per(double a, double b) { return b > 0 ? a / b : 0; }
double ratio(const Line& line) { return per(line.predicted.seconds, line.op.seconds); }
double scaled_ratio(const Line& line) { return per(line.scaled_s, line.op.seconds); }
double fraction(const Line& line) { return per(line.predicted.roofline, line.op.seconds); }
double intensity(const Line& line) { return per(line.op.flops, line.op.bytes); }

/// Share of the measured time whose kernels a calibration has measured, and the kinds of the others.
struct Coverage {
  double share = 0;
  std::vector<std::string_view> others;
};
Coverage coverage(const ExecutionReport& report) {
  Coverage result;
  double all = 0, covered = 0;
  for (const Line& line : lines_of(report)) {
    if (line.op.kind.empty()) continue;
    all += line.op.seconds;
    if (line.has_prediction && line.predicted.provenance <= sim::Provenance::calibrated) covered += line.op.seconds;
    else if (std::ranges::find(result.others, line.op.kind) == result.others.end()) result.others.push_back(line.op.kind);
  }
  result.share = per(covered, all);
  return result;
}

std::string peaks_line(const ExecutionReport& report) {
  if (!report.predicted) return "";
  const Coverage covered = coverage(report);
  std::string text = fmt::format("covered by measured kernels: {:.1f} % of the time{}", 100 * covered.share, covered.others.empty() ? "" : "; by the plain roofline:");
  for (const std::string_view kind : covered.others) text += fmt::format(" {}", kind);
  text += "\nof roofline: all bytes at main memory's rate; what lies in caches may exceed it";
  if (report.peaks.empty()) return text + "\n";
  text += "\npeaks in these seconds / calibrated:";
  for (const PeakBeside& peak : report.peaks)
    text += fmt::format("{} {} {:.1f} / {:.1f} {}", &peak == report.peaks.data() ? "" : ",", printable(peak.name), peak.rate / 1e9, peak.calibrated / 1e9, peak.bytes > 0 ? "GB/s" : "GFLOP/s");
  return text + "\n";
}

std::vector<std::string> cells(const Line& line, const TimeUnit& unit, bool predicted, bool scaled) {
  const MeasuredOp& op = line.op;
  std::vector<std::string> row{display_name(op.name), std::string(op.kind), fmt::format("{:.0f}", op.executions), prefixed(op.flops), prefixed(op.bytes),
                               fixed(op.seconds / unit.seconds, 2), op.flops > 0 ? fixed(rate(op) / 1e9, 2) : "-"};
  row.push_back(fixed(intensity(line), 2));
  if (!predicted) return row;
  if (!line.has_prediction) return row.insert(row.end(), scaled ? 4 : 3, "-"), row;
  row.insert(row.end(), {fixed(line.predicted.seconds / unit.seconds, 2), fixed(ratio(line), 2)});
  if (scaled) row.push_back(fixed(scaled_ratio(line), 2));
  row.push_back(fmt::format("{:.0f} %", 100 * fraction(line)));
  return row;
}

std::string memory_line(const ExecutionReport& report) {
  std::string text = fmt::format("memory: {}B held by the executor at the most", prefixed(report.measured.peak_bytes));
  text += fmt::format(", {}B predicted (weights {}B, cache {}B, activations {}B)", prefixed(report.memory.peak()), prefixed(report.memory.weights), prefixed(report.memory.cache), prefixed(report.memory.activations));
  if (report.process_peak_bytes > 0) text += fmt::format("; {}B by the process (VmHWM)", prefixed(report.process_peak_bytes));
  return text + "\n";
}

std::string times_line(const ExecutionReport& report) {
  std::string text = fmt::format("times: {}, {}", report.kernels, report.measured.runs > 1 ? fmt::format("the least of {} runs", report.measured.runs) : "one run");
  if (!report.chip.empty()) text += fmt::format("; predicted for {}", printable(report.chip));
  return text + "\n" + (report.note.empty() ? "" : printable(report.note) + "\n");
}

Grid grid_of(const ExecutionReport& report) {
  double longest = 0;
  for (const MeasuredOp& op : report.measured.ops) longest = std::max(longest, op.seconds);
  const TimeUnit unit = time_unit(longest);
  const bool predicted = report.predicted.has_value();
  Grid grid;
  grid.headings = {
      {"operator", false}, {"kind", false}, {"executions"}, {"FLOP"}, {"B"}, {fmt::format("time {}", unit.name)},
      {"GFLOP/s"}, {"FLOP/B"}};
  const bool scaled = report.scaled.has_value();
  if (predicted) grid.headings.insert(grid.headings.end(), {{fmt::format("predicted {}", unit.name)}, {"pred/meas"}});
  if (scaled) grid.headings.push_back({"at peaks now"});
  if (predicted) grid.headings.push_back({"of roofline"});
  for (const Line& line : lines_of(report)) grid.rows.push_back(cells(line, unit, predicted, scaled));
  grid.total_row = true;
  return grid;
}

std::string table(const ExecutionReport& report) {
  return fmt::format("{}: {}\n{}\n{}{}\n{}{}", printable(report.run), printable(report.model), printable(report.scaling),
                     times_line(report), memory_line(report), terminal_grid(grid_of(report), false), peaks_line(report));
}

/// Each line of plain text as an item of a list.
std::string markdown_items(std::string_view lines) {
  std::string text;
  for (const auto line : lines | std::views::split('\n'))
    if (!line.empty()) text += fmt::format("- {}\n", escape_markdown(std::string_view(line.begin(), line.end())));
  return text;
}

std::string markdown(const ExecutionReport& report) {
  const std::string foot = markdown_items(peaks_line(report));
  return fmt::format("## {}: {}\n\n{}\n{}{}{}", escape_markdown(report.run), escape_markdown(report.model), markdown_items(printable(report.scaling) + "\n" + times_line(report) + memory_line(report)),
                     markdown_grid(grid_of(report)), foot.empty() ? "" : "\n", foot);
}

Node op_node(const Line& line) {
  const MeasuredOp& op = line.op;
  Node node = Node::mapping();
  node.set("name", Node::of(op.name));
  if (!op.kind.empty()) node.set("kind", Node::of(std::string(op.kind)));
  for (auto [key, value] : {std::pair{"executions", op.executions},
                            {"flops", op.flops},
                            {"bytes", op.bytes},
                            {"time_s", op.seconds},
                            {"measured_s", op.seconds},
                            {"flops_per_s", rate(op)}})
    node.set(key, Node::of(value));
  node.set("intensity", Node::of(intensity(line)));
  if (!line.has_prediction) return node;
  for (auto [key, value] : {std::pair{"predicted_s", line.predicted.seconds}, {"ratio", ratio(line)}, {"roofline_s", line.predicted.roofline}, {"roofline_fraction", fraction(line)}})
    node.set(key, Node::of(value));
  if (line.scaled_s > 0) node.set("scaled_s", Node::of(line.scaled_s)), node.set("scaled_ratio", Node::of(scaled_ratio(line)));
  if (op.kind.empty()) return node;
  node.set("bound", Node::of(line.predicted.bound));
  node.set("provenance", Node::of(to_string(line.predicted.provenance)));
  return node;
}

Node memory_node(const ExecutionReport& report) {
  Node node = Node::mapping();
  node.set("measured_peak_bytes", Node::of(report.measured.peak_bytes));
  if (report.process_peak_bytes > 0) node.set("process_peak_bytes", Node::of(report.process_peak_bytes));
  for (auto [key, value] : {std::pair{"predicted_peak_bytes", report.memory.peak()}, {"predicted_weight_bytes", report.memory.weights},
                            {"predicted_cache_bytes", report.memory.cache}, {"predicted_activation_bytes", report.memory.activations}})
    node.set(key, Node::of(value));
  return node;
}

Node peaks_node(const ExecutionReport& report) {
  Node peaks = Node::sequence();
  for (const PeakBeside& peak : report.peaks) {
    Node node = Node::mapping();
    node.set("name", Node::of(peak.name));
    if (peak.bytes > 0) node.set("working_set_bytes", Node::of(peak.bytes));
    node.set(peak.bytes > 0 ? "bytes_per_s" : "flops_per_s", Node::of(peak.rate));
    node.set(peak.bytes > 0 ? "calibrated_bytes_per_s" : "calibrated_flops_per_s", Node::of(peak.calibrated));
    node.set("ratio", Node::of(per(peak.rate, peak.calibrated)));
    peaks.append(std::move(node));
  }
  return peaks;
}

std::string json(const ExecutionReport& report) {
  Node root = Node::mapping();
  root.set("schema_version", Node::of(static_cast<double>(schema_version)));
  for (auto [key, value] : {std::pair{"run", &report.run}, {"model", &report.model}, {"scaling", &report.scaling}})
    root.set(key, Node::of(*value));
  root.set("layers", Node::of(static_cast<double>(report.layers)));
  root.set("width_fraction", Node::of(report.width_fraction));
  root.set("parameters", Node::of(report.measured.parameters));
  root.set("kernels", Node::of(report.kernels));
  root.set("runs", Node::of(static_cast<double>(report.measured.runs)));
  if (!report.chip.empty()) root.set("chip", Node::of(report.chip));
  if (!report.note.empty()) root.set("note", Node::of(report.note));
  root.set("memory", memory_node(report));
  if (report.predicted) root.set("covered", Node::of(coverage(report).share));
  if (!report.peaks.empty()) root.set("peaks", peaks_node(report));
  std::vector<Line> lines = lines_of(report);
  root.set("total", op_node(lines.back()));
  lines.pop_back();
  Node& ops = root.set("ops", Node::sequence());
  for (const Line& line : lines) ops.append(op_node(line));
  return to_json(root) + "\n";
}

/// A cell that a reader of CSV takes as one: operator names hold no quotes, but may hold commas.
std::string csv_text(const std::string& text) {
  std::string quoted = "\"";
  for (const char c : printable(text)) quoted += c == '"' ? "\"\"" : std::string(1, c);
  return quoted + "\"";
}

std::string csv(const ExecutionReport& report) {
  std::string text = "operator,kind,executions,flops,bytes,measured_s,predicted_s,ratio,intensity,roofline_fraction,scaled_s,scaled_ratio\n";
  for (const Line& line : lines_of(report)) {
    const MeasuredOp& op = line.op;
    text += fmt::format("{},{},{:.0f},{:.10g},{:.10g},{:.6g}", csv_text(op.name), op.kind, op.executions, op.flops, op.bytes, op.seconds);
    if (line.has_prediction) text += fmt::format(",{:.6g},{:.4g},{:.4g},{:.4g}", line.predicted.seconds, ratio(line), intensity(line), fraction(line));
    else text += fmt::format(",,,{:.4g},", intensity(line));
    text += line.scaled_s > 0 ? fmt::format(",{:.6g},{:.4g}\n", line.scaled_s, scaled_ratio(line)) : ",,\n";
  }
  return text;
}

}  // namespace

std::string write_execution(const ExecutionReport& report, TextFormat format) {
  switch (format) {
    case TextFormat::table: return table(report);
    case TextFormat::json: return json(report);
    case TextFormat::csv: return csv(report);
    case TextFormat::markdown: return markdown(report);
  }
  return "";
}

}  // namespace gambrel::reports

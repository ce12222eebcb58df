// A row an operator, then their sum.
#include "reports/execution.hpp"

#include <fmt/format.h>

#include <algorithm>

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
}

/// The operators in the graph's order, then their sum.
std::vector<Line> lines_of(const ExecutionReport& report) {
  std::vector<Line> lines;
  Line total{.op = {.name = "total"}, .predicted = {}, .has_prediction = report.predicted.has_value()};
  for (std::size_t i = 0; i < report.measured.ops.size(); ++i) {
    Line line{.op = report.measured.ops[i], .predicted = {}};
    if (report.predicted) line.predicted = report.predicted->ops[i], line.has_prediction = line.predicted.seconds > 0;
    add(total, line);
    lines.push_back(std::move(line));
  }
  lines.push_back(std::move(total));
  return lines;
}

double rate(const MeasuredOp& op) { return op.seconds > 0 ? op.flops / op.seconds : 0; }
double per(double a, double b) { return b > 0 ? a / b : 0; }
double ratio(const Line& line) { return per(line.predicted.seconds, line.op.seconds); }
double fraction(const Line& line) { return per(line.predicted.roofline, line.op.seconds); }
double intensity(const Line& line) { return per(line.predicted.flops, line.predicted.bytes); }

std::vector<std::string> cells(const Line& line, const TimeUnit& unit, bool predicted) {
  const MeasuredOp& op = line.op;
  std::vector<std::string> row{display_name(op.name), std::string(op.kind), fmt::format("{:.0f}", op.executions), prefixed(op.flops), prefixed(op.bytes),
                               fixed(op.seconds / unit.seconds, 2), op.flops > 0 ? fixed(rate(op) / 1e9, 2) : "-"};
  if (!predicted) return row;
  if (!line.has_prediction) return row.insert(row.end(), {"-", "-", "-", "-"}), row;
  row.insert(row.end(), {fixed(line.predicted.seconds / unit.seconds, 2), fixed(ratio(line), 2), fixed(intensity(line), 2), fmt::format("{:.0f} %", 100 * fraction(line))});
  return row;
}

std::string memory_line(const ExecutionReport& report) {
  std::string text = fmt::format("memory: {}B held by the executor at the most", prefixed(report.measured.peak_bytes));
  if (report.predicted) text += fmt::format(", {}B predicted (weights {}B, cache {}B, activations {}B)", prefixed(report.predicted->peak_bytes()), prefixed(report.predicted->weight_bytes), prefixed(report.predicted->cache_bytes), prefixed(report.predicted->activation_bytes));
  if (report.process_peak_bytes > 0) text += fmt::format("; {}B by the process (VmHWM)", prefixed(report.process_peak_bytes));
  return text + "\n";
}

std::string times_line(const ExecutionReport& report) {
  std::string text = fmt::format("times: {}, {}", report.kernels, report.measured.runs > 1 ? fmt::format("the least of {} runs", report.measured.runs) : "one run");
  if (!report.chip.empty()) text += fmt::format("; predicted for {}", printable(report.chip));
  return text + "\n" + (report.note.empty() ? "" : printable(report.note) + "\n");
}

std::string table(const ExecutionReport& report) {
  double longest = 0;
  for (const MeasuredOp& op : report.measured.ops) longest = std::max(longest, op.seconds);
  const TimeUnit unit = time_unit(longest);
  const bool predicted = report.predicted.has_value();
  Grid grid;
  grid.headings = {
      {"operator", false}, {"kind", false}, {"executions"}, {"FLOP"}, {"B"}, {fmt::format("time {}", unit.name)},
      {"GFLOP/s"}};
  if (predicted) grid.headings.insert(grid.headings.end(), {{fmt::format("predicted {}", unit.name)}, {"pred/meas"}, {"FLOP/B"}, {"of roofline"}});
  for (const Line& line : lines_of(report)) grid.rows.push_back(cells(line, unit, predicted));
  grid.total_row = true;
  return fmt::format("{}: {}\n{}\n{}{}\n{}", printable(report.run), printable(report.model), printable(report.scaling),
                     times_line(report), memory_line(report), terminal_grid(grid, false));
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
  if (!line.has_prediction) return node;
  for (auto [key, value] : {std::pair{"predicted_s", line.predicted.seconds}, {"ratio", ratio(line)}, {"intensity", intensity(line)}, {"roofline_s", line.predicted.roofline}, {"roofline_fraction", fraction(line)}})
    node.set(key, Node::of(value));
  if (op.kind.empty()) return node;
  node.set("bound", Node::of(line.predicted.bound));
  node.set("provenance", Node::of(to_string(line.predicted.provenance)));
  return node;
}

Node memory_node(const ExecutionReport& report) {
  Node node = Node::mapping();
  node.set("measured_peak_bytes", Node::of(report.measured.peak_bytes));
  if (report.process_peak_bytes > 0) node.set("process_peak_bytes", Node::of(report.process_peak_bytes));
  if (!report.predicted) return node;
  for (auto [key, value] : {std::pair{"predicted_peak_bytes", report.predicted->peak_bytes()}, {"predicted_weight_bytes", report.predicted->weight_bytes},
                            {"predicted_cache_bytes", report.predicted->cache_bytes}, {"predicted_activation_bytes", report.predicted->activation_bytes}})
    node.set(key, Node::of(value));
  return node;
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
  std::string text = "operator,kind,executions,flops,bytes,measured_s,predicted_s,ratio,intensity,roofline_fraction\n";
  for (const Line& line : lines_of(report)) {
    const MeasuredOp& op = line.op;
    text += fmt::format("{},{},{:.0f},{:.10g},{:.10g},{:.6g}", csv_text(op.name), op.kind, op.executions, op.flops, op.bytes, op.seconds);
    if (line.has_prediction) text += fmt::format(",{:.6g},{:.4g},{:.4g},{:.4g}\n", line.predicted.seconds, ratio(line), intensity(line), fraction(line));
    else text += ",,,,\n";
  }
  return text;
}

}  // namespace

std::string write_execution(const ExecutionReport& report, TextFormat format) {
  if (format == TextFormat::csv) return csv(report);
  return format == TextFormat::json ? json(report) : table(report);
}

}  // namespace gambrel::reports

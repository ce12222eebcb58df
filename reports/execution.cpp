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

MeasuredOp total_of(const ExecutionReport& report) {
  MeasuredOp total{.name = "total"};
  for (const MeasuredOp& op : report.measured.ops) {
    total.executions += op.executions;
    total.flops += op.flops;
    total.bytes += op.bytes;
    total.seconds += op.seconds;
  }
  return total;
}

double rate(const MeasuredOp& op) { return op.seconds > 0 ? op.flops / op.seconds : 0; }

std::vector<std::string> cells(const MeasuredOp& op, const TimeUnit& unit) {
  return {display_name(op.name),
          std::string(op.kind),
          fmt::format("{:.0f}", op.executions),
          prefixed(op.flops),
          prefixed(op.bytes),
          fixed(op.seconds / unit.seconds, 2),
          op.flops > 0 ? fixed(rate(op) / 1e9, 2) : "-"};
}

std::string table(const ExecutionReport& report) {
  double longest = 0;
  for (const MeasuredOp& op : report.measured.ops) longest = std::max(longest, op.seconds);
  const TimeUnit unit = time_unit(longest);
  Grid grid;
  grid.headings = {
      {"operator", false}, {"kind", false}, {"executions"}, {"FLOP"}, {"B"}, {fmt::format("time {}", unit.name)},
      {"GFLOP/s"}};
  for (const MeasuredOp& op : report.measured.ops) grid.rows.push_back(cells(op, unit));
  grid.rows.push_back(cells(total_of(report), unit));
  grid.total_row = true;
  return fmt::format("{}: {}\n{}\n\n{}", printable(report.run), printable(report.model), printable(report.scaling),
                     terminal_grid(grid, false));
}

Node op_node(const MeasuredOp& op) {
  Node node = Node::mapping();
  node.set("name", Node::of(op.name));
  if (!op.kind.empty()) node.set("kind", Node::of(std::string(op.kind)));
  for (auto [key, value] : {std::pair{"executions", op.executions},
                            {"flops", op.flops},
                            {"bytes", op.bytes},
                            {"time_s", op.seconds},
                            {"flops_per_s", rate(op)}})
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
  root.set("total", op_node(total_of(report)));
  Node& ops = root.set("ops", Node::sequence());
  for (const MeasuredOp& op : report.measured.ops) ops.append(op_node(op));
  return to_json(root) + "\n";
}

}  // namespace

std::string write_execution(const ExecutionReport& report, TextFormat format) {
  return format == TextFormat::json ? json(report) : table(report);
}

}  // namespace gambrel::reports

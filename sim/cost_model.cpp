#include "sim/cost_model.hpp"

#include <algorithm>

namespace gambrel::sim {

CostModel::CostModel(Machine machine, const Shares& shares, std::span<const std::pair<std::string, double>> assume)
    : machine_(std::move(machine)), crossing_(crossing(machine_, shares)) {
  for (double bandwidth : machine_.bandwidth) seconds_per_byte_.push_back(bandwidth > 0 ? 1 / bandwidth : 0);
  efficiency_.fill(1.0);
  for (const auto& [kind, efficiency] : assume)
    for (const auto& row : models::op_table())
      if (row.name == kind) efficiency_[static_cast<std::size_t>(row.kind)] = efficiency;
}

void CostModel::count_traffic(std::span<const models::LoweredOp> ops, Costs& out) const {
  const std::size_t levels = machine_.levels.size();
  out.level_bytes.resize(ops.size() * levels);
  for (std::size_t i = 0; i < ops.size(); ++i) {
    std::array<double, models::role_count> bytes;
    for (std::size_t role = 0; role < bytes.size(); ++role) bytes[role] = ops[i].work.read_bytes[role] + ops[i].work.written_bytes[role];
    for (std::size_t level = 0; level < levels; ++level) {
      double crossed = 0;
      for (std::size_t role = 0; role < bytes.size(); ++role) crossed += crossing_[level][role] * bytes[role];
      out.level_bytes[i * levels + level] = crossed;
    }
  }
}

void CostModel::evaluate(std::span<const models::LoweredOp> ops, Costs& out) const {
  count_traffic(ops, out);
  time_traffic(machine_, seconds_per_byte_, efficiency_, ops, out);
}

void time_traffic(const Machine& machine, std::span<const double> seconds_per_byte, const std::array<double, models::op_kind_count>& efficiencies,
                  std::span<const models::LoweredOp> ops, Costs& out) {
  const std::size_t levels = machine.levels.size();
  out.ops.resize(ops.size());
  MathTime kernel_math;
  double kernel_time = 0;
  for (std::size_t i = 0; i < ops.size(); ++i) {
    const models::LoweredOp& op = ops[i];
    const MathTime math = machine.math_times(op);
    // What is fused around a repeated layer, with the end of the layer before, follows another count here: it stays alone.
    if (!op.fused || i == 0 || ops[i - 1].count != op.count) {
      kernel_math = {};
      kernel_time = 0;
      out.kernel_level_time.assign(levels, 0.0);
    }
    kernel_math.matrix += math.matrix;
    kernel_math.vector += math.vector;
    double kernel = kernel_math.longer();
    OpCost cost{.t_math = math.longer()};
    int slowest = -2;  // no level has a stated bandwidth
    for (std::size_t level = 0; level < levels; ++level) {
      const double time = out.level_bytes[i * levels + level] * seconds_per_byte[level];
      if (time > cost.t_mem) cost.t_mem = time, slowest = static_cast<int>(level);
      kernel = std::max(kernel, out.kernel_level_time[level] += time);
    }
    const double efficiency = efficiencies[static_cast<std::size_t>(op.kind)];
    cost.assumed = efficiency != 1;
    cost.bound = slowest >= 0 && cost.t_mem >= cost.t_math ? slowest : bound_compute;
    cost.roofline = kernel - kernel_time;
    cost.time = cost.roofline / efficiency;
    kernel_time = kernel;
    out.ops[i] = cost;
  }
}

double CostModel::total_time(std::span<const models::LoweredOp> ops, Costs& scratch) const {
  evaluate(ops, scratch);
  double time = 0;
  for (std::size_t i = 0; i < ops.size(); ++i) time += ops[i].count * scratch.ops[i].time;
  return time;
}

}  // namespace gambrel::sim

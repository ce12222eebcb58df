// Lowered operators on a machine -> time. The plain roofline: T = max(T_math, T_mem), nothing overlaps beyond a kernel.
#pragma once

#include <array>
#include <span>
#include <vector>

#include "models/graph.hpp"
#include "sim/machine.hpp"
#include "sim/memory_fit.hpp"

namespace gambrel::sim {

/// Index into Machine::levels, or what else can hold an operator back.
inline constexpr int bound_compute = -1;

/// One execution of one operator, seconds. Operators fused into one kernel overlap within it: the kernel's roofline is
/// that of their sums, and each is charged what it adds to those before it.
struct OpCost {
  double t_math = 0, t_mem = 0;  ///< of the operator alone
  double roofline = 0;           ///< max(t_math, t_mem), or less if fused
  double time = 0;               ///< the roofline over the efficiency that the user asserts
  int bound = bound_compute;
  bool assumed = false;
};

/// Reused between evaluations, so that a sweep allocates nothing.
struct Costs {
  std::vector<OpCost> ops;
  std::vector<double> level_bytes;  ///< [op * levels + level]
  std::vector<double> kernel_level_time;  ///< scratch: of the kernel so far
};

/// Times under a machine's rates of traffic that is counted already: `out.level_bytes`, by CostModel::count_traffic.
void time_traffic(const Machine& machine, std::span<const double> seconds_per_byte, const std::array<double, models::op_kind_count>& efficiencies,
                  std::span<const models::LoweredOp> ops, Costs& out);

class CostModel {
 public:
  /// `assume`: operator kind -> efficiency asserted by the user; the roofline time is divided by it.
  CostModel(Machine machine, const Shares& shares, std::span<const std::pair<std::string, double>> assume = {});

  const Machine& machine() const { return machine_; }

  /// Of a role's bytes, the share that crosses a level.
  double crossing_share(std::size_t level, models::Role role) const { return crossing_[level][static_cast<std::size_t>(role)]; }

  /// Times are of one execution; `count` is not applied. Williams et al. 2009 (CACM 52, 4), one slope per memory level.
  void evaluate(std::span<const models::LoweredOp> ops, Costs& out) const;

  /// Bytes that each operator moves across each level: what does not depend on rates.
  void count_traffic(std::span<const models::LoweredOp> ops, Costs& out) const;

  /// Sum over operators of count x time, seconds.
  double total_time(std::span<const models::LoweredOp> ops, Costs& scratch) const;

 private:
  Machine machine_;
  std::vector<std::array<double, models::role_count>> crossing_;
  std::vector<double> seconds_per_byte_;  ///< per level; 0 where no bandwidth is stated
  std::array<double, models::op_kind_count> efficiency_{};  ///< 1 unless assumed
};

}  // namespace gambrel::sim

// A chip as the evaluation of operators needs it: rates by number format, memory levels in a row, and which of them
// the bytes of each role cross.
#pragma once

#include <array>
#include <string>
#include <vector>

#include "base/data_type.hpp"
#include "hw/chip.hpp"
#include "models/graph.hpp"
#include "sim/estimate.hpp"
#include "sim/run.hpp"

namespace gambrel::sim {

/// How contractions with operands of one format are computed.
struct MathRate {
  double rate = 0;                ///< FLOP/s, dense, whole chip
  double sparse_rate = 0;         ///< with the run's N:M weights; = rate if the unit cannot skip zeros
  Format runs_as = Format::fp32;  ///< the format itself, or the nearest one the chip has
  std::string unit;               ///< "matrix"
  double rows = 0, columns = 0;   ///< of one systolic array; 0 if the unit is none
  double arrays = 0;              ///< of the whole chip
  hw::Dataflow dataflow = hw::Dataflow::weight_stationary;
  double of(const models::LoweredOp& op) const { return op.sparse_weights ? sparse_rate : rate; }
};

/// Seconds of arithmetic on the two kinds of unit; they work side by side.
struct MathTime {
  double matrix = 0, vector = 0;
  double longer() const { return matrix > vector ? matrix : vector; }
};

/// Where the bytes of one role lie: share at each level of Machine::levels (sums to 1).
using Shares = std::array<std::vector<double>, models::role_count>;

struct Machine {
  std::vector<std::string> levels;   ///< outermost first: host tiers in use, then the chip's memories
  std::size_t main_level = 0;        ///< the chip's outermost memory
  std::vector<double> bandwidth;     ///< B/s, 0 = not stated
  std::vector<double> capacity;      ///< B, 0 = not stated
  std::vector<double> energy;        ///< J/B, 0 = not stated
  std::vector<int> inner;            ///< index of the next level on the way to the units, -1 = none
  std::array<MathRate, format_count> matrix;
  double vector_rate = 0;            ///< FLOP/s in fp32
  std::string vector_unit;
  std::array<double, format_count> energy_per_flop{};  ///< J, 0 = not stated

  std::size_t index(std::string_view level) const;
  const MathRate& rate_of(Format format) const { return matrix[static_cast<std::size_t>(format)]; }
  /// Operations on the vector unit of one execution that change formats: scales applied, activations quantised, operands
  /// widened to a format the chip has, sparse weights laid out for a unit that cannot take them (one an element).
  double format_operations(const models::LoweredOp& op) const;
  /// Of one execution, at peak rates.
  MathTime math_times(const models::LoweredOp& op) const;
  double math_time(const models::LoweredOp& op) const { return math_times(op).longer(); }
};

/// Bandwidths, capacities and energies of the levels anew, from a chip of the same structure; nothing is allocated.
void set_memory(Machine& machine, const hw::Chip& chip);

/// `placement` decides which host tiers appear.
Machine make_machine(const hw::Chip& chip, const Placement& placement, std::string_view sparsity_pattern);

/// [level][role] -> share of the role's bytes that cross the level: what lies there or passes through on the way in.
std::vector<std::array<double, models::role_count>> crossing(const Machine& machine, const Shares& shares);

}  // namespace gambrel::sim

// What a run keeps in which memory, and whether it fits.
#pragma once

#include <functional>

#include "sim/machine.hpp"

namespace gambrel::sim {

/// Bytes to keep, by role; activations are the peak of those alive at one time.
struct Demand {
  double weights = 0, experts = 0, kv_cache = 0, activations = 0;
};
Demand demand_of(const models::Graph& graph);

struct Fit {
  std::vector<TierUse> tiers;  ///< as Machine::levels up to the main memory, and any other level that holds something
  bool fits = true;
  Shares shares;
};

/// Fills levels: first activations (main memory) and what has only one level to lie in, then what may spill, weights
/// before KV cache before experts. What does not fit anywhere stays in the last level named, and `fits` is false. A
/// level without a stated capacity holds anything.
Fit fit(const Machine& machine, const Placement& placement, const Demand& demand);

inline constexpr double most_sequences = 1e12;  ///< of a run file

/// The largest batch for which `fits` holds, if it holds up to some batch and not beyond; 0 if not even for one sequence.
/// Doubles until it does not, then halves the interval.
double largest_batch(const std::function<bool(double)>& fits);

}  // namespace gambrel::sim

#include "sim/memory_fit.hpp"

#include <algorithm>
#include <cmath>
#include <limits>

#include "models/build.hpp"

namespace gambrel::sim {
namespace {

using models::Role;

class Filler {
 public:
  explicit Filler(const Machine& machine) : machine_(machine), free_(machine.capacity) {
    for (double& free : free_)
      if (free == 0) free = std::numeric_limits<double>::infinity();
  }

  /// Puts `bytes` into the levels named, in order; returns the share that each level took.
  std::vector<double> put(double bytes, const std::vector<std::string>& names, Bytes TierUse::*part) {
    std::vector<double> taken(machine_.levels.size(), 0.0);
    std::vector<std::size_t> order;
    for (const std::string& name : names) order.push_back(machine_.index(name));
    if (order.empty()) order.push_back(machine_.main_level);
    double left = bytes;
    for (std::size_t i = 0; i < order.size(); ++i) {
      const bool last = i + 1 == order.size();
      const double here = last ? left : std::min(left, std::max(0.0, free_[order[i]]));
      taken[order[i]] += here;
      free_[order[i]] -= here;
      left -= here;
      uses_[order[i]].*part += Bytes{here};
    }
    if (bytes <= 0) taken[order.front()] = 1;
    else for (double& t : taken) t /= bytes;
    return taken;
  }

  bool fits() const { return std::ranges::all_of(free_, [](double free) { return free >= 0; }); }

  std::vector<TierUse> tiers() {
    std::vector<TierUse> result;
    for (std::size_t i = 0; i < uses_.size(); ++i) {
      uses_[i].level = machine_.levels[i];
      uses_[i].capacity = Bytes{machine_.capacity[i]};
      if (i <= machine_.main_level || uses_[i].used().value > 0) result.push_back(uses_[i]);
    }
    return result;
  }

 private:
  const Machine& machine_;
  std::vector<double> free_;
  std::vector<TierUse> uses_ = std::vector<TierUse>(machine_.levels.size());
};

}  // namespace

Demand demand_of(const models::Graph& graph) {
  return {models::stored_bytes(graph, Role::weight), models::stored_bytes(graph, Role::expert_weight),
          models::stored_bytes(graph, Role::kv_cache) + models::stored_bytes(graph, Role::state), graph.peak_activation_bytes()};
}

double largest_batch(const std::function<bool(double)>& fits) {
  if (!fits(1)) return 0;
  double low = 1, high = 2;
  while (high < most_sequences && fits(high)) low = high, high *= 2;
  while (high - low > 1) {
    const double middle = std::floor((low + high) / 2);
    (fits(middle) ? low : high) = middle;
  }
  return low;
}

Fit fit(const Machine& machine, const Placement& placement, const Demand& demand) {
  struct Part {
    Role role;
    double bytes;
    const std::vector<std::string>* levels;
    Bytes TierUse::*use;
  };
  static const std::vector<std::string> main_memory;
  const std::vector<std::string>& experts = placement.experts.empty() ? placement.weights : placement.experts;
  const Part parts[] = {{Role::activation, demand.activations, &main_memory, &TierUse::activations},
                        {Role::weight, demand.weights, &placement.weights, &TierUse::weights},
                        {Role::kv_cache, demand.kv_cache, &placement.kv_cache, &TierUse::kv_cache},
                        {Role::expert_weight, demand.experts, &experts, &TierUse::weights}};
  Filler filler(machine);
  Fit result;
  // What has only one place goes first; what may spill takes the room that is left.
  for (const bool may_spill : {false, true})
    for (const Part& part : parts)
      if ((part.levels->size() > 1) == may_spill) result.shares[static_cast<std::size_t>(part.role)] = filler.put(part.bytes, *part.levels, part.use);
  result.shares[static_cast<std::size_t>(Role::state)] = result.shares[static_cast<std::size_t>(Role::kv_cache)];
  result.fits = filler.fits();
  result.tiers = filler.tiers();
  return result;
}

}  // namespace gambrel::sim

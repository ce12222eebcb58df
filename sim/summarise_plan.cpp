// Figures of several chips: what the network carries, where the time goes, what each memory holds.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "sim/summarise.hpp"

namespace gambrel::sim {
namespace {

void add(std::vector<NetworkUse>& uses, const NetworkUse& use) {
  auto same = [&](const NetworkUse& u) {
    return u.collective == use.collective && u.axis == use.axis && u.level == use.level && u.algorithm == use.algorithm && u.ranks == use.ranks && u.bytes.value == use.bytes.value;
  };
  const auto found = std::ranges::find_if(uses, same);
  if (found != uses.end()) found->count += use.count;
  else uses.push_back(use);
}

}  // namespace

std::vector<NetworkUse> network_uses(const std::vector<Phase>& phases) {
  std::vector<NetworkUse> uses;
  for (const Phase& phase : phases) {
    for (const OpEstimate& op : phase.ops)
      if (op.message && op.time.value > 0)
        add(uses, {.collective = op.message->collective, .axis = op.message->axis, .level = op.message->level, .algorithm = op.message->algorithm,
                   .ranks = op.message->ranks, .count = op.count, .bytes = op.message->bytes, .time = op.time});
    for (const NetworkUse& use : phase.exchanges) add(uses, use);
  }
  return uses;
}

PlanFlops plan_flops(std::initializer_list<const models::Graph*> rank, std::initializer_list<const models::Graph*> whole, double ranks) {
  PlanFlops flops;
  double done = 0;
  for (const models::Graph* graph : whole)
    for (const models::Op& op : graph->ops()) flops.unsharded += op.count * models::row_of(op.kind).flops(op.dims);
  for (const models::Graph* graph : rank) {
    for (const models::Op& op : graph->ops()) {
      const double work = ranks * op.count * models::row_of(op.kind).flops(op.dims);
      (op.name.ends_with(".recompute") ? flops.recomputed : done) += work;
    }
  }
  const double more = done - flops.unsharded;
  flops.replicated = std::abs(more) > 1e-9 * flops.unsharded ? more : 0;
  return flops;
}

void add_stage_memory(MemoryUse& memory, const StageMemory& stage, std::size_t main_tier, std::string_view when, int stages) {
  TierUse& tier = memory.tiers[main_tier];
  tier.gradients = Bytes{stage.gradients};
  tier.optimizer = Bytes{stage.optimizer};
  if (stages > 1) memory.peak = fmt::format("stage {} of {}, {}", stage.stage, stages, when);
  else memory.peak = when;
}

}  // namespace gambrel::sim

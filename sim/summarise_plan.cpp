// Figures of several chips: what the network carries, where the time goes, what each memory holds.
#include <fmt/format.h>

#include <algorithm>

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

std::string sharding_note(const models::Graph& rank, const models::Graph& whole, double ranks) {
  auto flops = [](const models::Graph& graph) {
    double sum = 0;
    for (const models::Op& op : graph.ops()) sum += op.count * models::row_of(op.kind).flops(op.dims);
    return sum;
  };
  const double unsharded = flops(whole), more = ranks * flops(rank) - unsharded;
  if (more <= 1e-9 * unsharded) return "";
  return fmt::format("the plan computes {:.2f}% more FLOPs forward than the unsharded model: replicated key/value heads, norms, routers and the like, and the busiest expert rank's surplus", 100 * more / unsharded);
}

void add_stage_memory(MemoryUse& memory, const StageMemory& stage, std::size_t main_tier, std::string_view when, int stages) {
  TierUse& tier = memory.tiers[main_tier];
  tier.gradients = Bytes{stage.gradients};
  tier.optimizer = Bytes{stage.optimizer};
  if (stages > 1) memory.peak = fmt::format("stage {} of {}, {}", stage.stage, stages, when);
  else memory.peak = when;
}

}  // namespace gambrel::sim

#include "sim/plan_search/plan_space.hpp"

#include <algorithm>
#include <cmath>

namespace gambrel::sim {
namespace {

using models::ContextExchange;
using models::Layout;
using models::Recompute;

std::vector<int> divisors(int n) {
  std::vector<int> result;
  for (int d = 1; d <= n / d; ++d)
    if (n % d == 0) {
      result.push_back(d);
      if (d != n / d) result.push_back(n / d);
    }
  std::ranges::sort(result);
  return result;
}

bool trains(const Run& run) { return run.workload.phase == PhaseKind::train; }
double tokens_of_sequence(const Run& run) { return trains(run) ? run.workload.sequence : std::max(run.workload.new_tokens, run.workload.input); }

constexpr double long_sequence = 32768;

std::vector<int> context_sizes(const Run& run) { return tokens_of_sequence(run) >= long_sequence ? divisors(run.chips) : std::vector<int>{1}; }

bool has_experts(const Run& run) {
  return std::ranges::any_of(run.model.layers, [](const models::LayerGroup& g) { return std::ranges::any_of(g.pattern, [](const models::LayerSpec& l) { return l.moe.has_value(); }); });
}

std::vector<double> micro_batches(const Run& run) {
  if (!trains(run)) return {1};
  const std::vector<int> sizes = divisors(static_cast<int>(std::min(run.workload.global_batch, 1e9)));
  return {sizes.begin(), sizes.end()};
}

std::vector<Recompute> recomputations(const Run& run) {
  if (!trains(run)) return {Recompute::none};
  return {Recompute::none, Recompute::selective, Recompute::full};
}

/// With the smallest pipeline and replicas, to ask whether heads and widths divide.
bool divides(const Run& run, ParallelismPlan plan) {
  const int dense = plan.tensor * plan.context, experts = plan.expert * plan.expert_tensor;
  if (run.chips % dense != 0 || run.chips % experts != 0) return false;
  plan.data = run.chips / dense;
  plan.expert_data = run.chips / experts;
  plan.pipeline = 1;
  return !problem_with(plan, run.model, run.chips);
}

std::vector<Layout> layouts(const ParallelismPlan& shards, PlanSpace space) {
  if (space == PlanSpace::usual || shards.tensor == 1) return {Layout::weight_stationary_1d};
  return {Layout::weight_stationary_1d, Layout::weight_stationary_2d, Layout::weight_gathered};
}

std::vector<ContextExchange> exchanges(const ParallelismPlan& shards, PlanSpace space) {
  if (space == PlanSpace::usual || shards.context == 1) return {ContextExchange::ring};
  return {ContextExchange::ring, ContextExchange::all_gather, ContextExchange::ulysses};
}

void add_choices(const Run& run, ParallelismPlan shards, PlanSpace space, std::vector<ShardChoice>& out) {
  for (const Layout layout : layouts(shards, space))
    for (const ContextExchange exchange : exchanges(shards, space))
      for (const bool sequence : {false, true}) {
        shards.layout = layout, shards.exchange = exchange, shards.sequence = sequence;
        if ((sequence && shards.tensor == 1) || !divides(run, shards)) continue;
        for (const double micro_batch : micro_batches(run)) out.push_back({shards, micro_batch});
      }
}

/// Each ZeRO stage; what its transfers could run beside, they do, and in the whole space they also do not.
void add_zero(const Run& run, ParallelismPlan plan, PlanSpace space, std::vector<ParallelismPlan>& out) {
  const bool shares = trains(run) && plan.data * plan.context > 1;
  for (plan.zero = 0; plan.zero <= (shares ? 3 : 0); ++plan.zero) {
    out.push_back(plan);
    if (space == PlanSpace::usual || !shares) continue;
    out.push_back(plan);
    (plan.zero < 3 ? out.back().overlap_gradients : out.back().overlap_weights) = false;
  }
}

/// Each schedule. Sends of a 1F1B pipeline wait for one another at every turn, those of GPipe only once.
void add_schedules(const Run& run, ParallelismPlan plan, double micro_batch, PlanSpace space, std::vector<ParallelismPlan>& out) {
  const int microbatches = microbatches_of(run, plan, micro_batch);
  if (microbatches == 0) return;
  add_zero(run, plan, space, out);
  if (!trains(run) || plan.pipeline == 1) return;
  for (const Schedule schedule : {Schedule::gpipe, Schedule::zero_bubble}) {
    plan.schedule = schedule;
    add_zero(run, plan, space, out);
  }
  plan.schedule = Schedule::interleaved;
  const int layers = run.model.layer_count();
  for (plan.interleave = 2; plan.interleave * plan.pipeline <= layers; ++plan.interleave)
    if (layers % (plan.interleave * plan.pipeline) == 0 && microbatches % plan.pipeline == 0) add_zero(run, plan, space, out);
}

}  // namespace

int microbatches_of(const Run& run, const ParallelismPlan& plan, double micro_batch) {
  if (!trains(run)) return static_cast<int>(std::min<double>(plan.pipeline, std::ceil(run.workload.batch / plan.data)));
  const double count = run.workload.global_batch / (micro_batch * plan.data);
  return count == std::floor(count) && count >= 1 && count < 1e9 ? static_cast<int>(count) : 0;
}

std::vector<ShardChoice> shard_choices(const Run& run, PlanSpace space) {
  const std::vector<int> sizes = divisors(run.chips), one{1};
  const std::vector<int>& expert_sizes = has_experts(run) ? sizes : one;
  std::vector<ShardChoice> choices;
  for (int tensor : sizes)
    for (int context : context_sizes(run))
      for (int expert : expert_sizes)
        for (int expert_tensor : expert_sizes) {
          // Experts cut finer than the dense layers are seldom of use: their matrices are smaller.
          if (expert_tensor > 1 && expert_tensor != tensor) continue;
          ParallelismPlan plan;
          plan.tensor = tensor, plan.context = context, plan.expert = expert, plan.expert_tensor = expert_tensor;
          if (divides(run, plan)) add_choices(run, plan, space, choices);
        }
  return choices;
}

std::vector<ParallelismPlan> plans_of(const Run& run, const ShardChoice& choice, PlanSpace space) {
  const hw::Pool& pool = run.system.pools.front();
  const int dense = choice.plan.tensor * choice.plan.context, experts = choice.plan.expert * choice.plan.expert_tensor;
  std::vector<ParallelismPlan> pipelines;
  for (int pipeline : divisors(run.chips / dense)) {
    if (pipeline > run.model.layer_count() || (run.chips / pipeline) % experts != 0) continue;
    ParallelismPlan plan = choice.plan;
    plan.pipeline = pipeline;
    plan.data = run.chips / dense / pipeline;
    plan.expert_data = run.chips / experts / pipeline;
    if (microbatches_of(run, plan, choice.micro_batch) > 0 && !axis_orders(plan, pool).empty()) pipelines.push_back(plan);
  }
  std::vector<ParallelismPlan> plans;
  for (const Recompute recompute : recomputations(run))
    for (ParallelismPlan& plan : pipelines) {
      plan.recompute = recompute;
      add_schedules(run, plan, choice.micro_batch, space, plans);
    }
  return plans;
}

}  // namespace gambrel::sim

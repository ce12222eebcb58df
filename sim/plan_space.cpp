#include "sim/plan_space.hpp"

#include <algorithm>
#include <cmath>

namespace gambrel::sim {
namespace {

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
  std::vector<double> sizes;
  for (double b = 1; b <= run.workload.global_batch && b <= 64; b *= 2)
    if (std::fmod(run.workload.global_batch, b) == 0) sizes.push_back(b);
  return sizes;
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

void add_choices(const Run& run, const ParallelismPlan& shards, std::vector<ShardChoice>& out) {
  for (const bool sequence : {false, true})
    for (const Recompute recompute : recomputations(run))
      for (const double micro_batch : micro_batches(run)) {
        if (sequence && shards.tensor == 1) continue;
        ShardChoice choice{shards, micro_batch};
        choice.plan.sequence = sequence;
        choice.plan.recompute = recompute;
        out.push_back(choice);
      }
}

void add_schedules(const Run& run, const ParallelismPlan& plan, double micro_batch, std::vector<ParallelismPlan>& out) {
  const int microbatches = microbatches_of(run, plan, micro_batch);
  if (microbatches == 0) return;
  out.push_back(plan);
  if (!trains(run) || plan.pipeline == 1) return;
  out.push_back(plan);
  out.back().schedule = Schedule::zero_bubble;
  const int layers = run.model.layer_count();
  for (int chunks = 2; chunks * plan.pipeline <= layers; ++chunks) {
    if (layers % (chunks * plan.pipeline) != 0 || microbatches % plan.pipeline != 0) continue;
    out.push_back(plan);
    out.back().schedule = Schedule::interleaved;
    out.back().interleave = chunks;
  }
}

}  // namespace

int microbatches_of(const Run& run, const ParallelismPlan& plan, double micro_batch) {
  if (!trains(run)) return static_cast<int>(std::min<double>(plan.pipeline, std::ceil(run.workload.batch / plan.data)));
  const double count = run.workload.global_batch / (micro_batch * plan.data);
  return count == std::floor(count) && count >= 1 && count < 1e9 ? static_cast<int>(count) : 0;
}

std::vector<ShardChoice> shard_choices(const Run& run) {
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
          if (divides(run, plan)) add_choices(run, plan, choices);
        }
  return choices;
}

std::vector<ParallelismPlan> plans_of(const Run& run, const ShardChoice& choice) {
  std::vector<ParallelismPlan> plans;
  const int dense = choice.plan.tensor * choice.plan.context, experts = choice.plan.expert * choice.plan.expert_tensor;
  const int layers = run.model.layer_count();
  for (int pipeline : divisors(run.chips / dense)) {
    if (pipeline > layers || (run.chips / pipeline) % experts != 0) continue;
    ParallelismPlan plan = choice.plan;
    plan.pipeline = pipeline;
    plan.data = run.chips / dense / pipeline;
    plan.expert_data = run.chips / experts / pipeline;
    for (int zero = 0; zero <= (trains(run) && plan.data * plan.context > 1 ? 3 : 0); ++zero) {
      plan.zero = zero;
      add_schedules(run, plan, choice.micro_batch, plans);
    }
  }
  return plans;
}

}  // namespace gambrel::sim

#include "sim/predict_training.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "sim/summarise.hpp"
#include "sim/training_costs.hpp"

namespace gambrel::sim {
namespace {

using models::MeshAxis;

class TrainingPredictor {
 public:
  TrainingPredictor(const Run& run, const Network* network, const std::vector<MeshAxis>& order)
      : run_(run), plan_(plan_of_site(run)), network_(network), placed_(placed(plan_, order)), machine_(make_machine(run.system.chip(), run.placement, run.sparsity_pattern)),
        bytes_(parameter_bytes(run)), costs_(training_costs(run, plan_, run.workload.micro_batch, machine_, network, placed_)) {}

  Result<Estimate> predict() {
    if (auto divides = count_microbatches(); !divides) return fail(divides.error());
    std::vector<NetworkUse> uses;
    const Exchanges exchanges = training_exchanges(run_, costs_, plan_, microbatches_, network_, placed_, &uses);
    StepTime time = compose_training(costs_.step, plan_, microbatches_, exchanges, bytes_);
    const StageMemory memory = training_memory(costs_.step, plan_, microbatches_, time.pipeline, bytes_);
    Estimate estimate = describe(run_, fit(machine_, {}, {memory.weights + memory.gradients + memory.optimizer, memory.experts, 0, memory.activations}));
    if (run_.sites) join_sites(estimate, time, uses);
    Phase phase = joined(time);
    phase.exchanges = std::move(uses);
    estimate.phases.push_back(std::move(phase));
    settle_memory(estimate.memory, memory);
    finish(estimate, run_, machine_);
    add_figures(estimate);
    const models::Graph whole = models::build(run_.model, run_.policy(), training_step(run_, run_.workload.micro_batch));
    const models::Graph whole_backward = models::backward(whole, models::Recompute::none, run_.training);
    estimate.plan_flops = plan_flops({&costs_.forward, &costs_.backward}, {&whole, &whole_backward}, double(plan_.tensor) * plan_.context);
    return estimate;
  }

 private:
  Result<void> count_microbatches() {
    const Workload& w = run_.workload;
    const int ranks = run_.plan.data;
    const double pass = w.micro_batch * ranks, count = w.global_batch / pass;
    if (count != std::floor(count) || count < 1)
      return fail({run_.workload_at, fmt::format("global_batch {} is no multiple of micro_batch {} x data {}", w.global_batch, w.micro_batch, ranks), count < 1 ? fmt::format("{} would be", pass) : fmt::format("{} or {} would be", std::floor(count) * pass, std::ceil(count) * pass)});
    if (plan_.microbatches > 0 && plan_.microbatches != count)
      return fail({run_.plan_at, fmt::format("{} micro-batches, but global_batch {} over micro_batch {} x data {} makes {}", plan_.microbatches, w.global_batch, w.micro_batch, ranks, count), "leave microbatches out, or change micro_batch"});
    microbatches_ = static_cast<int>(std::min(count, 1e9));
    if (plan_.interleave > 1 && microbatches_ % plan_.pipeline != 0)
      return fail({run_.plan_at, fmt::format("{} micro-batches are no multiple of pipeline {}, which an interleaved schedule needs", microbatches_, plan_.pipeline), "another micro_batch, or interleave: 1"});
    return {};
  }

  /// The step so far is one site's.
  void join_sites(Estimate& estimate, StepTime& time, std::vector<NetworkUse>& uses) const {
    const PartCost pass = costs_.step.embedding + costs_.step.all_layers() + costs_.step.head;
    const double backward = pass.backward_inputs.seconds() + pass.backward_weights.seconds();
    const SiteFigures sites = exchange_between_sites(run_, estimate.parameters.total, backward, time);
    uses.push_back({.collective = "all_reduce", .axis = "data", .level = sites.level, .algorithm = std::string(to_string(Algorithm::ring)), .ranks = sites.count,
                    .count = sites.exchanges_per_step, .bytes = sites.bytes / sites.chips, .time = sites.exchange});
    if (sites.latency.value <= 0) estimate.notes.push_back(fmt::format("level '{}' states no latency: the way between sites takes no time", sites.level));
    if (run_.sites->sync == SiteSync::local) estimate.notes.push_back("the outer optimizer is not counted: its copy of the weights and its momentum may lie on the hosts");
    estimate.sites = sites;
  }

  /// Forward, backward and optimizer as one phase.
  Phase joined(const StepTime& time) {
    for (Phase* pass : {&costs_.forward_phase, &costs_.backward_phase})
      for (OpEstimate& op : pass->ops) op.count *= microbatches_;
    for (Phase* pass : {&costs_.forward_phase, &costs_.backward_phase, &costs_.optimizer_phase})
      for (OpEstimate& op : pass->ops) op.ranks *= run_.sites ? run_.sites->count : 1;
    Phase phase = std::move(costs_.forward_phase);
    for (Phase* pass : {&costs_.backward_phase, &costs_.optimizer_phase})
      for (OpEstimate& op : pass->ops) phase.ops.push_back(std::move(op));
    phase.layers = layer_totals(phase, costs_.forward);
    phase.elapsed = Seconds{time.seconds};
    phase.timeline = time.parts;
    phase.pipeline = time.shape;
    phase.tails = time.tails;
    return phase;
  }

  void settle_memory(MemoryUse& memory, const StageMemory& stage) const {
    TierUse& tier = memory.tiers.back();
    tier.weights = Bytes{stage.weights + stage.experts};
    add_stage_memory(memory, stage, memory.tiers.size() - 1, plan_.pipeline > 1 ? "when its pipeline is full" : "a chip at the end of the forward pass", plan_.pipeline);
  }

  void add_figures(Estimate& estimate) const {
    TrainingFigures t;
    const double seconds = estimate.total.time.value;
    t.tokens_per_step = run_.workload.global_batch * run_.workload.sequence;
    t.tokens_per_second_per_chip = t.tokens_per_step / seconds / run_.chips;
    double model = 0, all = 0;
    for (const OpEstimate& op : estimate.phases.front().ops) {
      const double flops = op.flops.value * op.count * op.ranks;
      if (op.flops.value == op.vector_flops.value) continue;
      all += flops;
      if (!op.name.ends_with(".recompute")) model += flops;
    }
    t.model_flops_per_chip = model / seconds / run_.chips;
    t.hfu = model > 0 ? estimate.total.mfu * all / model : 0;
    if (run_.reliability) {
      t.failures = goodput(*run_.reliability, run_.chips);
      t.goodput = t.failures->productive;
    }
    if (run_.workload.tokens > 0) t.days = run_.workload.tokens / t.tokens_per_step * seconds / t.goodput / 86400;
    estimate.training = t;
  }

  const Run& run_;
  ParallelismPlan plan_;  ///< of one site
  const Network* network_;
  Placed placed_;
  Machine machine_;
  ParameterBytes bytes_;
  TrainingCosts costs_;
  int microbatches_ = 1;
};

}  // namespace

Result<Estimate> predict_training(const Run& run, const Network* network, const std::vector<MeshAxis>& order) {
  return TrainingPredictor(run, network, order).predict();
}

}  // namespace gambrel::sim

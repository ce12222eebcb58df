#include "sim/compose.hpp"

#include <algorithm>

namespace gambrel::sim {
namespace {

/// The stages of one plan and what they cost.
struct Stages {
  StageKinds kinds;
  StageCosts costs;
};

Stages stages_of(const StepTemplate& step, const ParallelismPlan& plan) {
  Stages stages{stage_kinds(step, plan.pipeline, plan.interleave), {}};
  cost_stages(step, stages.kinds, stages.costs);
  return stages;
}

double replicas(const ParallelismPlan& plan) { return double(plan.data) * plan.context; }

/// ZeRO-3 gathers a stage's weights before each pass and scatters gradients after the backward one, layer by layer: what
/// is longer, the layer's work or the transfer of the next one's, counts; the first transfer is exposed.
struct Sharded {
  double gather = 0, reduce = 0;  ///< of a whole virtual stage
  int layers = 1;
  bool overlap = true;

  double exposed(double work, double transfer) const {
    if (!overlap) return transfer;
    return std::max(0.0, transfer - work) + std::min(work, transfer) / std::max(layers, 1);
  }
};

Sharded sharded(const PartCost& part, const Exchanges& e, const ParallelismPlan& plan, const ParameterBytes& b, int layers) {
  if (plan.zero < 3) return {};
  const double dense = part.dense_parameters, experts = part.expert_parameters;
  // Each layer is a transfer of its own.
  const double n = std::max(layers, 1);
  return {n * (e.dense_gather.seconds(dense * b.weight / n) + e.expert_gather.seconds(experts * b.weight / n)),
          n * (e.dense_reduce.seconds(dense * b.reduced / n) + e.expert_reduce.seconds(experts * b.reduced / n)), layers, plan.overlap_weights};
}

/// What one micro-batch costs a virtual stage, and which part of it is what.
struct Costed {
  StageWork work;
  double compute = 0, network = 0, hidden = 0;
};

Costed cost_of(const PartCost& part, const Sharded& s) {
  const double forward = part.forward.seconds(), inputs = part.backward_inputs.seconds(), weights = part.backward_weights.seconds();
  const double f = s.exposed(forward, s.gather), b = s.exposed(inputs + weights, s.gather + s.reduce);
  Costed c;
  c.work = {.forward = forward + f, .backward_inputs = inputs + b, .backward_weights = weights};
  c.compute = part.forward.compute + part.backward_inputs.compute + part.backward_weights.compute;
  c.network = part.forward.network + part.backward_inputs.network + part.backward_weights.network + f + b;
  c.hidden = part.forward.hidden + part.backward_inputs.hidden + part.backward_weights.hidden + 2 * s.gather + s.reduce - f - b;
  return c;
}

/// The gradients' reduction starts as the last micro-batch's backward leaves a layer: what the rest of the backward
/// pass does not cover is exposed, at least the last layer's part.
double exposed_reduction(double reduction, double window, int layers, bool overlap) {
  if (!overlap) return reduction;
  const double n = std::max(layers, 1);
  return std::max(reduction / n, reduction - window * (n - 1) / n);
}

struct Updates {
  double exposed = 0, hidden = 0, optimizer = 0;
};

/// After the pipeline: gradients' reduction, the optimizer, and the gathering of new weights (ZeRO-1 and 2).
Updates updates(const PartCost& stage, const ParallelismPlan& plan, int layers, const Exchanges& e, const ParameterBytes& b, bool first_or_last, double tied) {
  const double dense = stage.dense_parameters, experts = stage.expert_parameters;
  Updates u;
  if (plan.zero < 3) {
    const double reduction = e.dense_reduce.seconds(dense * b.reduced) + e.expert_reduce.seconds(experts * b.reduced);
    const double window = stage.backward_inputs.seconds() + stage.backward_weights.seconds();
    u.exposed = exposed_reduction(reduction, window, layers, plan.overlap_gradients);
    u.hidden = reduction - u.exposed;
    if (plan.zero > 0) u.exposed += e.dense_gather.seconds(dense * b.weight) + e.expert_gather.seconds(experts * b.weight);
  }
  if (first_or_last && plan.pipeline > 1) u.exposed += e.tied.seconds(tied * b.reduced);
  const bool shared = plan.zero > 0;
  const double updated = dense / (shared ? replicas(plan) : 1) + experts / (shared ? plan.expert_data : 1);
  u.optimizer = e.optimizer_launch + updated * e.optimizer_per_parameter;
  return u;
}

/// Where a stage's time goes, beside waiting.
StepTimeline spent(const std::vector<Costed>& costed, const StageKinds& kinds, std::size_t stage, double microbatches, const Updates& u) {
  Costed sum;
  const auto chunks = static_cast<std::size_t>(kinds.chunks);
  for (std::size_t c = 0; c < chunks; ++c) {
    const Costed& part = costed[static_cast<std::size_t>(kinds.part_of[stage * chunks + c])];
    sum.compute += part.compute, sum.network += part.network, sum.hidden += part.hidden;
  }
  return {.compute = Seconds{microbatches * sum.compute + u.optimizer}, .exposed_network = Seconds{microbatches * sum.network + u.exposed},
          .overlap = Seconds{microbatches * sum.hidden + u.hidden}};
}

/// [kind of stage]
Updates updates(const StepTemplate& step, const StageKinds& kinds, const StageCosts& costs, std::size_t kind, const ParallelismPlan& plan, const Exchanges& e, const ParameterBytes& b) {
  const StageKind& k = kinds.wholes[kind];
  return updates(costs.wholes[kind], plan, k.layers, e, b, k.first || k.last, step.tied_parameters);
}

/// [kind of virtual stage]
std::vector<Costed> costed_parts(const StageKinds& kinds, const StageCosts& costs, const ParallelismPlan& plan, const Exchanges& e, const ParameterBytes& b) {
  std::vector<Costed> costed;
  for (std::size_t i = 0; i < costs.parts.size(); ++i) costed.push_back(cost_of(costs.parts[i], sharded(costs.parts[i], e, plan, b, kinds.parts[i].layers)));
  return costed;
}

}  // namespace

Line line(const Network& network, CollectiveKind kind, double bytes, DataType type, const RankGroup& group) {
  if (group.size <= 1 || bytes <= 0) return {};
  const double whole = network.cost({kind, bytes, type}, group).seconds, half = network.cost({kind, bytes / 2, type}, group).seconds;
  const double per_byte = std::max(0.0, (whole - half) / (bytes / 2));
  return {std::max(0.0, whole - per_byte * bytes), per_byte};
}

void fill_pipeline(const StepTemplate& step, const StageKinds& kinds, const StageCosts& costs, const ParallelismPlan& plan, int microbatches,
                   const Exchanges& exchanges, const ParameterBytes& bytes, PipelineShape& out) {
  out.schedule = plan.interleave > 1 ? Schedule::interleaved : plan.schedule;
  out.stages = plan.pipeline, out.microbatches = microbatches, out.chunks = plan.interleave;
  out.work.resize(kinds.part_of.size());
  const double send = plan.pipeline > 1 ? exchanges.boundary.seconds(step.boundary) : 0;
  for (std::size_t kind = 0; kind < kinds.parts.size(); ++kind) {
    StageWork work = cost_of(costs.parts[kind], sharded(costs.parts[kind], exchanges, plan, bytes, kinds.parts[kind].layers)).work;
    work.send = send;
    for (std::size_t i = 0; i < out.work.size(); ++i)
      if (kinds.part_of[i] == static_cast<int>(kind)) out.work[i] = work;
  }
}

double longest_tail(const StepTemplate& step, const StageKinds& kinds, const StageCosts& costs, const ParallelismPlan& plan, const Exchanges& exchanges, const ParameterBytes& bytes) {
  double longest = 0;
  for (std::size_t kind = 0; kind < kinds.wholes.size(); ++kind) {
    const Updates u = updates(step, kinds, costs, kind, plan, exchanges, bytes);
    longest = std::max(longest, StageTail{u.exposed, u.optimizer}.seconds());
  }
  return longest;
}

StepTime compose_training(const StepTemplate& step, const ParallelismPlan& plan, int microbatches, const Exchanges& exchanges, const ParameterBytes& bytes) {
  const auto [kinds, costs] = stages_of(step, plan);
  StepTime result;
  fill_pipeline(step, kinds, costs, plan, microbatches, exchanges, bytes, result.shape);
  result.pipeline = closed_form(result.shape);
  std::vector<Updates> tails;
  for (std::size_t kind = 0; kind < kinds.wholes.size(); ++kind) tails.push_back(updates(step, kinds, costs, kind, plan, exchanges, bytes));
  for (int kind : kinds.whole_of) result.tails.push_back({tails[static_cast<std::size_t>(kind)].exposed, tails[static_cast<std::size_t>(kind)].optimizer});
  const auto busiest = static_cast<std::size_t>(std::ranges::max_element(result.tails, {}, &StageTail::seconds) - result.tails.begin());
  result.parts = spent(costed_parts(kinds, costs, plan, exchanges, bytes), kinds, busiest, microbatches, tails[static_cast<std::size_t>(kinds.whole_of[busiest])]);
  result.parts.overhead = Seconds{exchanges.host};
  result.seconds = result.pipeline.seconds + result.tails[busiest].seconds() + exchanges.host;
  // The stage's own work is known; what is left of the step it waits, for the pipeline or for neighbours.
  result.parts.bubble = Seconds{std::max(0.0, result.seconds - result.parts.compute.value - result.parts.exposed_network.value - exchanges.host)};
  return result;
}

/// Of equal stages the first keeps the most micro-batches, in every schedule.
StageMemory training_memory(const StepTemplate& step, const StageKinds& kinds, const StageCosts& costs, const ParallelismPlan& plan, int microbatches,
                            const PeakInFlight& peak, const ParameterBytes& bytes) {
  StageMemory fullest;
  const double dense_share = 1 / replicas(plan), expert_share = 1.0 / plan.expert_data;
  for (std::size_t kind = 0; kind < kinds.wholes.size(); ++kind) {
    const PartCost& stage = costs.wholes[kind];
    const int s = kinds.wholes[kind].example;
    const double in_flight = std::min<double>(peak.empty() ? 1 : peak[static_cast<std::size_t>(s) % peak.size()], microbatches);
    auto kept = [&](int from, double per_parameter) {
      const bool shared = plan.zero >= from;
      return per_parameter * (stage.dense_parameters * (shared ? dense_share : 1) + stage.expert_parameters * (shared ? expert_share : 1));
    };
    StageMemory m{.weights = stage.weights * (plan.zero >= 3 ? dense_share : 1), .experts = stage.experts * (plan.zero >= 3 ? expert_share : 1),
                  .activations = in_flight * stage.saved + step.working, .gradients = kept(2, bytes.gradient), .optimizer = kept(1, bytes.optimizer), .stage = s};
    if (plan.zero >= 3) m.activations += 2 * (stage.weights + stage.experts) / std::max(1, kinds.wholes[kind].layers);  // two layers gathered
    if (kind == 0 || m.total() > fullest.total()) fullest = m;
  }
  return fullest;
}

StageMemory training_memory(const StepTemplate& step, const ParallelismPlan& plan, int microbatches, const PipelineTime& pipeline, const ParameterBytes& bytes) {
  const auto [kinds, costs] = stages_of(step, plan);
  return training_memory(step, kinds, costs, plan, microbatches, pipeline.peak_in_flight, bytes);
}

StepTime compose_inference(const StepTemplate& step, const ParallelismPlan& plan, int microbatches, const Exchanges& exchanges, bool autoregressive) {
  const auto [kinds, costs] = stages_of(step, plan);
  const double send = plan.pipeline > 1 ? exchanges.boundary.seconds(step.boundary) : 0;
  double through = (plan.pipeline * plan.interleave - 1) * send, slowest = 0;
  const PartCost* busiest = nullptr;
  StepTime result;
  result.shape = {.schedule = Schedule::gpipe, .stages = plan.pipeline, .microbatches = microbatches};
  for (int stage = 0; stage < plan.pipeline; ++stage) {
    const PartCost& part = costs.wholes[static_cast<std::size_t>(kinds.whole_of[static_cast<std::size_t>(stage)])];
    const double seconds = part.forward.seconds();
    through += seconds;
    if (!busiest || seconds > slowest) slowest = seconds, busiest = &part;
    result.shape.work.push_back({.forward = seconds, .send = send});
  }
  const double n = microbatches;
  // A pipeline whose slowest stage or link always has the next micro-batch waiting, or one that waits for its own tokens.
  const double pace = std::max(slowest, send);
  result.seconds = autoregressive ? std::max(through, n * pace) : through + (n - 1) * pace;
  result.seconds += exchanges.host;
  result.parts = {.compute = Seconds{n * busiest->forward.compute}, .exposed_network = Seconds{n * busiest->forward.network},
                  .overhead = Seconds{exchanges.host}, .overlap = Seconds{n * busiest->forward.hidden}};
  result.parts.bubble = Seconds{std::max(0.0, result.seconds - result.parts.compute.value - result.parts.exposed_network.value - exchanges.host)};
  return result;
}

StageMemory inference_memory(const StepTemplate& step, const ParallelismPlan& plan, int microbatches) {
  const auto [kinds, costs] = stages_of(step, plan);
  StageMemory fullest;
  for (std::size_t kind = 0; kind < kinds.wholes.size(); ++kind) {
    const PartCost& stage = costs.wholes[kind];
    const StageMemory m{.weights = stage.weights, .experts = stage.experts, .kv_cache = stage.kv_cache * microbatches, .activations = step.working, .stage = kinds.wholes[kind].example};
    if (kind == 0 || m.total() > fullest.total()) fullest = m;
  }
  return fullest;
}

}  // namespace gambrel::sim

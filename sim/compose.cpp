#include "sim/compose.hpp"

#include <algorithm>

namespace gambrel::sim {
namespace {

/// Layers of a virtual stage, with the embedding in the first and the head in the last.
PartCost part_of(const StepTemplate& step, const std::vector<PartCost>& prefix, std::pair<int, int> layers, bool first, bool last) {
  PartCost cost = prefix[static_cast<std::size_t>(layers.second)] - prefix[static_cast<std::size_t>(layers.first)];
  if (first) cost = cost + step.embedding;
  if (last) cost = cost + step.head;
  return cost;
}

/// [chunk x stages + stage].
std::vector<PartCost> virtual_stages(const StepTemplate& step, const std::vector<PartCost>& prefix, const ParallelismPlan& plan) {
  const auto ranges = layer_ranges(step.layers, plan.pipeline, plan.interleave);
  std::vector<PartCost> parts;
  for (std::size_t i = 0; i < ranges.size(); ++i) parts.push_back(part_of(step, prefix, ranges[i], i == 0, i + 1 == ranges.size()));
  return parts;
}

/// All chunks of a stage.
PartCost whole_stage(const std::vector<PartCost>& parts, const ParallelismPlan& plan, int stage) {
  PartCost sum;
  for (int c = 0; c < plan.interleave; ++c) sum = sum + parts[static_cast<std::size_t>(c * plan.pipeline + stage)];
  return sum;
}

int layers_of(const StepTemplate& step, const ParallelismPlan& plan, int stage) {
  const auto ranges = layer_ranges(step.layers, plan.pipeline, plan.interleave);
  int layers = 0;
  for (int c = 0; c < plan.interleave; ++c) {
    const auto [first, last] = ranges[static_cast<std::size_t>(c * plan.pipeline + stage)];
    layers += last - first;
  }
  return layers;
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

PipelineShape shape_of(const ParallelismPlan& plan, int microbatches) {
  return {.schedule = plan.interleave > 1 ? Schedule::interleaved : plan.schedule, .stages = plan.pipeline, .microbatches = microbatches, .chunks = plan.interleave};
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
StepTimeline spent(const std::vector<Costed>& costed, const ParallelismPlan& plan, int stage, double microbatches, const Updates& u) {
  Costed sum;
  for (int c = 0; c < plan.interleave; ++c) {
    const Costed& part = costed[static_cast<std::size_t>(c * plan.pipeline + stage)];
    sum.compute += part.compute, sum.network += part.network, sum.hidden += part.hidden;
  }
  return {.compute = Seconds{microbatches * sum.compute + u.optimizer}, .exposed_network = Seconds{microbatches * sum.network + u.exposed},
          .overlap = Seconds{microbatches * sum.hidden + u.hidden}};
}

}  // namespace

Line line(const Network& network, CollectiveKind kind, double bytes, DataType type, const RankGroup& group) {
  if (group.size <= 1 || bytes <= 0) return {};
  const double whole = network.cost({kind, bytes, type}, group).seconds, half = network.cost({kind, bytes / 2, type}, group).seconds;
  const double per_byte = std::max(0.0, (whole - half) / (bytes / 2));
  return {std::max(0.0, whole - per_byte * bytes), per_byte};
}

StepTime compose_training(const StepTemplate& step, const std::vector<PartCost>& prefix, const ParallelismPlan& plan, int microbatches,
                          const Exchanges& exchanges, const ParameterBytes& bytes) {
  const std::vector<PartCost> parts = virtual_stages(step, prefix, plan);
  const auto ranges = layer_ranges(step.layers, plan.pipeline, plan.interleave);
  PipelineShape shape = shape_of(plan, microbatches);
  const double send = exchanges.boundary.seconds(step.boundary);
  std::vector<Costed> costed(parts.size());
  shape.work.resize(parts.size());
  for (int s = 0; s < plan.pipeline; ++s)
    for (int c = 0; c < plan.interleave; ++c) {
      const auto i = static_cast<std::size_t>(c * plan.pipeline + s);
      costed[i] = cost_of(parts[i], sharded(parts[i], exchanges, plan, bytes, ranges[i].second - ranges[i].first));
      costed[i].work.send = plan.pipeline > 1 ? send : 0;
      shape.work[static_cast<std::size_t>(s * plan.interleave + c)] = costed[i].work;
    }
  StepTime result;
  result.pipeline = closed_form(shape);
  result.tails.resize(static_cast<std::size_t>(plan.pipeline));
  int busiest = 0;
  for (int s = 0; s < plan.pipeline; ++s) {
    const Updates u = updates(whole_stage(parts, plan, s), plan, layers_of(step, plan, s), exchanges, bytes, s == 0 || s + 1 == plan.pipeline, step.tied_parameters);
    StageTail& tail = result.tails[static_cast<std::size_t>(s)] = {u.exposed, u.optimizer};
    if (s > 0 && tail.seconds() <= result.tails[static_cast<std::size_t>(busiest)].seconds()) continue;
    busiest = s;
    result.parts = spent(costed, plan, s, microbatches, u);
  }
  result.parts.overhead = Seconds{exchanges.host};
  result.seconds = result.pipeline.seconds + result.tails[static_cast<std::size_t>(busiest)].seconds() + exchanges.host;
  // The stage's own work is known; what is left of the step it waits, for the pipeline or for neighbours.
  result.parts.bubble = Seconds{std::max(0.0, result.seconds - result.parts.compute.value - result.parts.exposed_network.value - exchanges.host)};
  result.shape = std::move(shape);
  return result;
}

StageMemory training_memory(const StepTemplate& step, const std::vector<PartCost>& prefix, const ParallelismPlan& plan, int microbatches,
                            const PipelineTime& pipeline, const ParameterBytes& bytes) {
  const std::vector<PartCost> parts = virtual_stages(step, prefix, plan);
  StageMemory fullest;
  for (int s = 0; s < plan.pipeline; ++s) {
    const PartCost stage = whole_stage(parts, plan, s);
    const double dense_share = 1 / replicas(plan), expert_share = 1.0 / plan.expert_data;
    const double in_flight = std::min<double>(pipeline.peak_in_flight.empty() ? 1 : pipeline.peak_in_flight[static_cast<std::size_t>(s) % pipeline.peak_in_flight.size()], microbatches);
    auto kept = [&](int from, double per_parameter) {
      const bool shared = plan.zero >= from;
      return per_parameter * (stage.dense_parameters * (shared ? dense_share : 1) + stage.expert_parameters * (shared ? expert_share : 1));
    };
    StageMemory m{.weights = stage.weights * (plan.zero >= 3 ? dense_share : 1), .experts = stage.experts * (plan.zero >= 3 ? expert_share : 1),
                  .activations = in_flight * stage.saved + step.working, .gradients = kept(2, bytes.gradient), .optimizer = kept(1, bytes.optimizer), .stage = s};
    if (plan.zero >= 3) m.activations += 2 * (stage.weights + stage.experts) / std::max(1, layers_of(step, plan, s));  // two layers gathered
    if (s == 0 || m.total() > fullest.total()) fullest = m;
  }
  return fullest;
}

StepTime compose_inference(const StepTemplate& step, const std::vector<PartCost>& prefix, const ParallelismPlan& plan, int microbatches,
                           const Exchanges& exchanges, bool autoregressive) {
  const std::vector<PartCost> parts = virtual_stages(step, prefix, plan);
  const double send = plan.pipeline > 1 ? exchanges.boundary.seconds(step.boundary) : 0;
  double through = 0, slowest = 0;
  const PartCost* busiest = &parts.front();
  StepTime result;
  result.shape = {.schedule = Schedule::gpipe, .stages = plan.pipeline, .microbatches = microbatches};
  for (const PartCost& part : parts) {
    const double seconds = part.forward.seconds();
    through += seconds + (&part == &parts.back() ? 0 : send);
    if (seconds > slowest) slowest = seconds, busiest = &part;
    result.shape.work.push_back({.forward = seconds, .send = send});
  }
  const double n = microbatches;
  // A pipeline whose slowest stage always has the next micro-batch waiting, or one that waits for its own tokens.
  result.seconds = autoregressive ? std::max(through, n * slowest) : through + (n - 1) * slowest;
  result.seconds += exchanges.host;
  result.parts = {.compute = Seconds{n * busiest->forward.compute}, .exposed_network = Seconds{n * busiest->forward.network},
                  .overhead = Seconds{exchanges.host}, .overlap = Seconds{n * busiest->forward.hidden}};
  result.parts.bubble = Seconds{std::max(0.0, result.seconds - result.parts.compute.value - result.parts.exposed_network.value - exchanges.host)};
  return result;
}

StageMemory inference_memory(const StepTemplate& step, const std::vector<PartCost>& prefix, const ParallelismPlan& plan, int microbatches) {
  const std::vector<PartCost> parts = virtual_stages(step, prefix, plan);
  StageMemory fullest;
  for (int s = 0; s < plan.pipeline; ++s) {
    const PartCost stage = whole_stage(parts, plan, s);
    const StageMemory m{.weights = stage.weights, .experts = stage.experts, .kv_cache = stage.kv_cache * microbatches, .activations = step.working, .stage = s};
    if (s == 0 || m.total() > fullest.total()) fullest = m;
  }
  return fullest;
}

}  // namespace gambrel::sim

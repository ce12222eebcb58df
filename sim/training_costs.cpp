#include "sim/training_costs.hpp"

#include <algorithm>

#include "sim/summarise.hpp"

namespace gambrel::sim {
namespace {

using models::MeshAxis;

DataType weight_type(const Run& run) { return run.policy().at("layers.0.attn.qkv").weights; }

/// Asks the network for one kind of collective, and lists it.
class Asker {
 public:
  Asker(const Network* network, std::vector<NetworkUse>* uses) : network_(network), uses_(uses) {}

  Line ask(CollectiveKind kind, std::string_view axis, double bytes, DataType type, const RankGroup& group, double count) {
    if (!network_ || group.size <= 1 || bytes <= 0) return {};
    if (uses_) list(kind, axis, bytes, type, group, count);
    return line(*network_, kind, bytes, type, group);
  }

 private:
  void list(CollectiveKind kind, std::string_view axis, double bytes, DataType type, const RankGroup& group, double count) {
    const NetworkCost cost = network_->cost({kind, bytes, type}, group);
    uses_->push_back({.collective = std::string(to_string(kind)), .axis = std::string(axis), .level = network_->levels()[cost.level],
                      .algorithm = std::string(to_string(cost.algorithm)), .ranks = group.size, .count = count, .bytes = Bytes{bytes}, .time = Seconds{cost.seconds}});
  }

  const Network* network_;
  std::vector<NetworkUse>* uses_;
};

}  // namespace

models::Step training_step(const Run& run, double micro_batch) {
  models::Step step = run.step(micro_batch, run.workload.sequence, 0);
  step.logits = run.workload.sequence;
  step.training = true;
  step.fused_experts = false;  // the backward pass needs what lies between an expert's products
  step.dropout = run.workload.dropout;
  return step;
}

double optimizer_per_parameter(const Run& run, const models::Graph& forward, const StepTemplate& step, const RankEvaluator& evaluator) {
  double seconds = 0;
  const models::Graph unshared = models::optimizer_step(forward, run.training, 1, 1);
  for (const OpEstimate& op : evaluator.evaluate("optimizer", unshared, 0, 1).ops) seconds += op.time.value * op.count;
  const PartCost all = step.all_layers() + step.embedding + step.head;
  const double parameters = all.dense_parameters + all.expert_parameters - step.tied_parameters;
  return parameters > 0 ? seconds / parameters : 0;
}

TrainingCosts training_costs(const Run& run, const ParallelismPlan& plan, double micro_batch, const Machine& machine, const Network* network, const Placed& placed) {
  TrainingCosts c{.forward = models::build(run.model, run.policy(), training_step(run, micro_batch), plan.sharding())};
  c.backward = models::backward(c.forward, plan.recompute, run.training);
  const bool shared = plan.zero > 0;
  c.optimizer = models::optimizer_step(c.forward, run.training, shared ? 1.0 / (double(plan.data) * plan.context) : 1, shared ? 1.0 / plan.expert_data : 1);
  const Fit nothing = fit(machine, {}, {});
  const RankEvaluator evaluator(run, machine, nothing.shares, network, placed);
  const double ranks = double(plan.chips()) / plan.pipeline;
  c.forward_phase = evaluator.evaluate("train", c.forward, run.workload.global_batch * run.workload.sequence, ranks);
  c.backward_phase = evaluator.evaluate("backward", c.backward, 0, ranks);
  c.optimizer_phase = evaluator.evaluate("optimizer", c.optimizer, 0, ranks);
  const Evaluated forward{&c.forward, &c.forward_phase}, backward{&c.backward, &c.backward_phase};
  c.step = make_template(forward, &backward, plan);
  c.optimizer_per_parameter = optimizer_per_parameter(run, c.forward, c.step, evaluator);
  return c;
}

ParameterBytes parameter_bytes(const Run& run) {
  const auto width = [](const DataType& type) { return type.element_bits() / 8.0; };
  const DataType weight = weight_type(run);
  const models::TrainingPrecision& t = run.training;
  return {.weight = width(weight), .gradient = width(t.gradients), .reduced = width(t.reduced), .optimizer = (t.master == weight ? 0 : width(t.master)) + 2 * width(t.moments)};
}

Exchanges training_exchanges(const Run& run, const TrainingCosts& costs, const ParallelismPlan& plan, int microbatches, const Network* network,
                             const Placed& placed, std::vector<NetworkUse>* uses) {
  return training_exchanges(run, costs.step, costs.optimizer_per_parameter, plan, microbatches, network, placed, uses);
}

Exchanges training_exchanges(const Run& run, const StepTemplate& step, double optimizer_per_parameter, const ParallelismPlan& plan, int microbatches,
                             const Network* network, const Placed& placed, std::vector<NetworkUse>* uses) {
  using enum CollectiveKind;
  const PartCost all = step.all_layers();
  const ParameterBytes bytes = parameter_bytes(run);
  const DataType weight = weight_type(run), reduced = run.training.reduced;
  const int stages = plan.pipeline;
  // Messages of a middle stage; ZeRO-3 sends layer by layer, in every micro-batch.
  const bool by_layer = plan.zero >= 3;
  const double parts = by_layer ? step.layers : stages, passes = by_layer ? double(microbatches) * step.layers / stages : 1;
  const CollectiveKind reduction = plan.zero > 0 ? reduce_scatter : all_reduce;
  const RankGroup& experts = placed.of(MeshAxis::expert_data);
  const double stride = placed.of(MeshAxis::pipeline).stride;
  Asker asker(network, uses);
  Exchanges e{.optimizer_per_parameter = optimizer_per_parameter, .host = run.host_overhead.value};
  e.boundary = asker.ask(point_to_point, "pipeline", step.boundary, Format::bf16, {stages > 1 ? 2.0 : 1.0, stride}, 2.0 * microbatches * plan.interleave);
  e.dense_reduce = asker.ask(reduction, "data", all.dense_parameters / parts * bytes.reduced, reduced, placed.gradients, passes);
  e.expert_reduce = asker.ask(reduction, "expert_data", all.expert_parameters / parts * bytes.reduced, reduced, experts, passes);
  if (plan.zero > 0) {
    const double gathers = by_layer ? 2 * passes : 1;
    e.dense_gather = asker.ask(all_gather, "data", all.dense_parameters / parts * bytes.weight, weight, placed.gradients, gathers);
    e.expert_gather = asker.ask(all_gather, "expert_data", all.expert_parameters / parts * bytes.weight, weight, experts, gathers);
  }
  if (stages > 1) e.tied = asker.ask(all_reduce, "pipeline", step.tied_parameters * bytes.reduced, reduced, {2, stride * (stages - 1)}, 1);
  return e;
}

}  // namespace gambrel::sim

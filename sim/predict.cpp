// Run -> Estimate: builds the graph of each phase, places its data, evaluates it, adds it up.
#include "sim/predict.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "models/build.hpp"
#include "sim/compose.hpp"
#include "sim/plan_search/plan_search.hpp"
#include "sim/predict_cached.hpp"
#include "sim/predict_pools.hpp"
#include "sim/predict_training.hpp"
#include "sim/rank_phase.hpp"
#include "sim/summarise.hpp"

namespace gambrel::sim {
namespace {

using models::Graph;

constexpr std::size_t plans_listed = 10;  ///< of a search: the best and the next nine

Demand largest(const Demand& a, const Demand& b) {
  return {std::max(a.weights, b.weights), std::max(a.experts, b.experts), std::max(a.kv_cache, b.kv_cache), std::max(a.activations, b.activations)};
}

/// Builds the run's graphs; knows which steps a phase consists of.
class Predictor {
 public:
  Predictor(const Run& run, const Network* network, const std::vector<models::MeshAxis>& order, DemandCache* cache)
      : run_(run), cache_(cache), policy_(run.policy()), machine_(make_machine(run.system.chip(), run.placement, run.sparsity_pattern)), network_(network), placed_(placed(run.plan, order)) {}

  Result<Estimate> predict() {
    batch_ = run_.workload.largest_batch ? largest_batch() : run_.workload.batch;
    if (batch_ < 1) return fail({run_.workload_at, fmt::format("not even one sequence of {} fits into {}", run_.model.id, place_name()), "a shorter context, a narrower precision, more chips, or a placement with host tiers"});
    fit_ = fit(machine_, run_.placement, demand(batch_));
    evaluator_.emplace(run_, machine_, fit_.shares, network_, placed_);
    Estimate estimate = describe(run_, fit_);
    estimate.memory.max_batch = run_.workload.largest_batch ? batch_ : largest_batch();
    estimate.memory.kv_per_token = Bytes{kv_per_token()};
    predict_phases(estimate);
    finish(estimate, run_, machine_);
    if (run_.chips > 1) estimate.plan_flops = flops_of_plan();
    return estimate;
  }

 private:
  PlanFlops flops_of_plan() const {
    const Workload& w = run_.workload;
    const double tokens = w.phase == PhaseKind::generate ? w.input : w.new_tokens, past = w.phase == PhaseKind::generate ? 0 : w.past_tokens;
    const double sequences = std::ceil(batch_ / run_.plan.data / microbatches(batch_));
    const Graph rank = graph(batch_, tokens, past), whole = models::build(run_.model, policy_, run_.step(sequences, tokens, past));
    return plan_flops({&rank}, {&whole}, double(run_.plan.tensor) * run_.plan.context);
  }

  std::string place_name() const { return run_.chips > 1 ? fmt::format("{} x {}", run_.chips, run_.system.chip().id) : run_.system.chip().id; }

  /// Micro-batches that fill the pipeline, as far as there are sequences for them.
  double microbatches(double batch) const {
    if (run_.plan.microbatches > 0) return run_.plan.microbatches;
    return std::min<double>(run_.plan.pipeline, std::ceil(batch / run_.plan.data));
  }

  /// One micro-batch of one rank; what does not divide makes the fullest rank's share.
  Graph graph(double batch, double new_tokens, double past) const {
    const double sequences = std::ceil(batch / run_.plan.data / microbatches(batch));
    return models::fuse(models::build(run_.model, policy_, run_.step(sequences, new_tokens, past), run_.plan.sharding()), run_.fusion);
  }

  Demand demand_of_step(double batch, double new_tokens, double past) const {
    if (!cache_) return count_demand(batch, new_tokens, past);
    const auto [known, added] = cache_->try_emplace({batch, new_tokens, past});
    if (added) known->second = count_demand(batch, new_tokens, past);
    return known->second;
  }

  Demand count_demand(double batch, double new_tokens, double past) const {
    const Graph step = graph(batch, new_tokens, past);
    if (run_.chips == 1) return demand_of(step);
    const StepTemplate kept = make_template({&step, nullptr}, nullptr, run_.plan);
    const StageMemory m = inference_memory(kept, run_.plan, static_cast<int>(microbatches(batch)));
    return {m.weights, m.experts, m.kv_cache, m.activations};
  }

  /// What must be kept at the largest moment of the run.
  Demand demand(double batch) const {
    const Workload& w = run_.workload;
    if (w.phase != PhaseKind::generate) return demand_of_step(batch, w.new_tokens, w.past_tokens);
    if (w.prefilled) return demand_of_step(batch, 1, w.input + w.output - 2);
    const Demand prefill = demand_of_step(batch, w.input, 0);
    return w.output > 1 ? largest(prefill, demand_of_step(batch, 1, w.input + w.output - 2)) : prefill;
  }

  /// A main memory's capacity is always stated, and activations grow with the batch, so the doubling ends.
  double largest_batch() const {
    return sim::largest_batch([&](double batch) { return fit(machine_, run_.placement, demand(batch)).fits; });
  }

  double kv_per_token() const {
    double bytes = 0;
    const Graph one_token = models::build(run_.model, policy_, run_.step(1, 1, 0));
    for (const models::Tensor& t : one_token.tensors())
      if (t.role == models::Role::kv_cache) bytes += t.bytes() * t.copies;
    return bytes;
  }

  /// `autoregressive`: the next step needs this one's tokens.
  Phase single_step(std::string name, const Graph& step, double tokens, bool autoregressive) const {
    Phase phase = evaluator_->evaluate(std::move(name), step, tokens, double(run_.chips) / run_.plan.pipeline);
    phase.layers = layer_totals(phase, step);
    if (run_.chips > 1 || run_.host_overhead.value > 0) compose(phase, step, autoregressive);
    return phase;
  }

  void compose(Phase& phase, const Graph& step, bool autoregressive) const {
    const Evaluated forward{&step, &phase};
    const StepTemplate costs = make_template(forward, nullptr, run_.plan);
    const double passes = microbatches(batch_);
    Exchanges exchanges{.host = run_.host_overhead.value};
    if (run_.plan.pipeline > 1) exchanges.boundary = hand_over(phase, costs.boundary, passes);
    const StepTime time = compose_inference(costs, run_.plan, static_cast<int>(passes), exchanges, autoregressive);
    phase.elapsed = Seconds{time.seconds};
    phase.timeline = time.parts;
    phase.pipeline = time.shape;
    for (OpEstimate& op : phase.ops) op.count *= passes;
  }

  /// Activations from one stage to the next.
  Line hand_over(Phase& phase, double bytes, double passes) const {
    const RankGroup next{2, placed_.of(models::MeshAxis::pipeline).stride};
    const NetworkCost cost = network_->cost({CollectiveKind::point_to_point, bytes, Format::bf16}, next);
    phase.exchanges.push_back({.collective = "point_to_point", .axis = "pipeline", .level = network_->levels()[cost.level], .algorithm = std::string(to_string(cost.algorithm)),
                               .ranks = 2, .count = passes * (run_.plan.pipeline - 1), .bytes = Bytes{bytes}, .time = Seconds{cost.seconds}});
    return line(*network_, CollectiveKind::point_to_point, bytes, Format::bf16, next);
  }

  /// All decode steps of a generation: operators are those of one step, their figures the mean over the steps.
  Phase decode_steps(double first_past, double last_past) const {
    const double steps = last_past - first_past + 1;
    const Graph first = graph(batch_, 1, first_past);
    Phase phase = single_step("decode", first, batch_ * steps, true);
    auto figures = [&](double past) { return pack(single_step("decode", graph(batch_, 1, past), batch_, true)); };
    // Kernel models step with waves and splits; a thousandth is far below what they can promise.
    std::vector<double> mean = sum_over_steps(figures, first_past, last_past, run_.calibrated ? 1e-3 : 1e-9);
    for (double& value : mean) value /= steps;
    unpack(mean, phase);
    phase.layers = layer_totals(phase, first);
    for (OpEstimate& op : phase.ops) op.count *= steps;
    for (NetworkUse& use : phase.exchanges) use.count *= steps;
    scale(phase, steps);
    return phase;
  }

  static void scale(Phase& phase, double steps) {
    StepTimeline& t = phase.timeline;
    for (Seconds* figure : {&phase.elapsed, &t.compute, &t.exposed_network, &t.bubble, &t.overhead, &t.overlap}) *figure = *figure * steps;
  }

  void predict_phases(Estimate& estimate) const {
    const Workload& w = run_.workload;
    if (w.phase == PhaseKind::prefill) {
      estimate.phases.push_back(single_step("prefill", graph(batch_, w.new_tokens, w.past_tokens), batch_ * w.new_tokens, false));
    } else if (w.phase == PhaseKind::decode) {
      estimate.phases.push_back(single_step("decode", graph(batch_, w.new_tokens, w.past_tokens), batch_ * w.new_tokens, true));
    } else {
      if (!w.prefilled) estimate.phases.push_back(single_step("prefill", graph(batch_, w.input, 0), batch_, false));
      if (w.output > 1) estimate.phases.push_back(decode_steps(w.input, w.input + w.output - 2));
    }
  }

  const Run& run_;
  DemandCache* cache_;
  models::PrecisionPolicy policy_;
  Machine machine_;
  const Network* network_;
  Placed placed_;
  double batch_ = 1;
  Fit fit_;
  std::optional<RankEvaluator> evaluator_;
};

/// The plan in each order of its axes that its places allow; the fastest counts.
Result<Estimate> fastest_placement(const Run& run, DemandCache* cache = nullptr) {
  std::optional<Network> network;
  if (run.chips > 1) network.emplace(run.system, 0, &run.calibration);
  std::optional<Estimate> best;
  for (const auto& order : orders_of(run)) {
    auto estimate = run.workload.phase == PhaseKind::train ? predict_training(run, network ? &*network : nullptr, order) : Predictor(run, network ? &*network : nullptr, order, cache).predict();
    if (!estimate) return estimate;
    if (!best || estimate->total.time < best->total.time) best = std::move(*estimate);
  }
  return std::move(*best);
}

}  // namespace

Parameters parameters_of(const models::ModelConfig& model) {
  const auto count = models::count_parameters(models::build(model, {model.dtype, {}, {}}, {}));
  return {count.total, count.active};
}

Result<Estimate> estimate(const Run& run, DemandCache& cache) {
  return run.pools.empty() && !run.best_plan ? fastest_placement(run, &cache) : estimate(run);
}

Result<Estimate> estimate(const Run& run) {
  if (!run.pools.empty()) return predict_pools(run);
  if (!run.best_plan) return fastest_placement(run);
  // Layouts of Pope et al. matter most where batches are small; training's space is large enough without them.
  auto search = search_plans(run, plans_listed, run.workload.phase == PhaseKind::train ? PlanSpace::usual : PlanSpace::all);
  if (!search) return fail(search.error());
  auto best = fastest_placement(with_plan(run, search->best.front()));
  if (!best) return best;
  for (std::size_t i = 1; i < search->best.size(); ++i) {
    const RankedPlan& ranked = search->best[i];
    const std::string batch = run.workload.phase == PhaseKind::train ? fmt::format(", micro-batch {}", ranked.micro_batch) : "";
    best->next_plans.emplace_back(describe(ranked.plan) + batch, Seconds{ranked.seconds});
  }
  best->notes.push_back(fmt::format("the fastest of {} plans, of which {} fit", search->considered, search->fitting));
  return best;
}

}  // namespace gambrel::sim

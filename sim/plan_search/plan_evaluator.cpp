#include "sim/plan_search/plan_evaluator.hpp"

#include <algorithm>
#include <bit>
#include <tuple>

namespace gambrel::sim {
namespace {

Shares everything_in_main_memory(const Machine& machine) { return fit(machine, {}, {}).shares; }

std::size_t zero_class(int zero) { return zero == 0 ? 0 : zero < 3 ? 1 : 2; }
/// Only ZeRO-3 puts transfers into the pipeline.
std::size_t pipeline_class(const ParallelismPlan& plan) { return plan.zero < 3 ? 0 : plan.overlap_weights ? 1 : 2; }

bool same_places(const std::vector<Block>& a, const std::vector<Block>& b) {
  return std::ranges::equal(a, b, [](const Block& x, const Block& y) { return x.first == y.first && x.step == y.step && x.count == y.count; });
}

}  // namespace

std::size_t Collectives::Hash::operator()(const Key& key) const {
  std::uint64_t sum = static_cast<std::uint64_t>(key.transfer.kind) + 1, factor = 0x9e3779b97f4a7c15u;
  for (const double x : {key.transfer.bytes, key.group.size, key.group.stride}) {
    sum += std::bit_cast<std::uint64_t>(x) * factor;
    factor += 0x517cc1b727220a94u;  // even: factors stay odd
  }
  return static_cast<std::size_t>(sum ^ sum >> 32);
}

double Collectives::seconds(const Transfer& transfer, const RankGroup& group) {
  const auto [at, added] = seconds_.try_emplace({transfer, group});
  if (added) at->second = network_->cost(transfer, group).seconds;
  return at->second;
}

Line Collectives::line(const Transfer& transfer, const RankGroup& group) {
  const auto [at, added] = lines_.try_emplace({transfer, group});
  if (added) at->second = sim::line(*network_, transfer.kind, transfer.bytes, transfer.type, group);
  return at->second;
}

PlanEvaluator::PlanEvaluator(const Run& run, const Machine& machine, const Network* network)
    : run_(run), network_(network), collectives_(network), evaluator_(run, machine, everything_in_main_memory(machine), nullptr, nowhere_), bytes_(parameter_bytes(run)) {}

void PlanEvaluator::choose(const ShardChoice& choice) {
  if (!chosen_ || choice.plan != choice_.plan) places_.clear(), optimizer_.reset();
  choice_ = choice;
  chosen_ = true;
  staged_ = ordered_ = false;
  built_ = false;
  for (auto& t : trained_) t.reset();
}

void PlanEvaluator::build_forward() {
  if (built_) return;
  forward_ = models::build(run_.model, run_.policy(), training_step(run_, choice_.micro_batch), choice_.plan.sharding());
  forward_phase_ = evaluator_.evaluate("train", forward_, 0, 1);
  built_ = true;
}

PlanEvaluator::Trained& PlanEvaluator::trained(models::Recompute recompute) {
  auto& trained = trained_[static_cast<std::size_t>(recompute)];
  if (trained) return *trained;
  build_forward();
  trained = std::make_unique<Trained>();
  models::SavedActivations saved;
  std::tie(trained->backward, saved) = models::backward_and_saved(forward_, recompute, run_.training);
  const Phase backward_phase = evaluator_.evaluate("backward", trained->backward, 0, 1);
  const Evaluated forward{&forward_, &forward_phase_}, backward{&trained->backward, &backward_phase};
  ParallelismPlan plan = choice_.plan;
  plan.recompute = recompute;
  trained->open = open_template(forward, &backward, plan, &saved);
  return *trained;
}

PlanEvaluator::Places& PlanEvaluator::places(const ParallelismPlan& plan) {
  Places& places = places_[plan.pipeline];
  if (!places.orders.empty()) return places;
  for (const auto& order : axis_orders(plan, run_.system.pools.front())) places.orders.push_back(placed(plan, order));
  places.exchanges.resize(places.orders.size());
  return places;
}

const StageKinds& PlanEvaluator::kinds(const StepTemplate& step, int stages, int chunks) {
  if (!same_places(blocks_, step.blocks)) kinds_.clear(), blocks_ = step.blocks;
  const auto [at, added] = kinds_.try_emplace({stages, chunks});
  if (added) at->second = stage_kinds(step, stages, chunks);
  return at->second;
}

void PlanEvaluator::turn_to_stages(const ParallelismPlan& plan) {
  if (staged_ && plan.recompute == turned_.recompute && plan.pipeline == turned_.pipeline && plan.interleave == turned_.interleave) return;
  const bool same_pipeline = staged_ && plan.recompute == turned_.recompute && plan.pipeline == turned_.pipeline;
  const StepTemplate& step = trained(plan.recompute).open.closed;
  turned_ = plan;
  microbatches_ = microbatches_of(run_, plan, choice_.micro_batch);
  now_kinds_ = &kinds(step, plan.pipeline, plan.interleave);
  cost_stages(step, *now_kinds_, now_costs_);
  staged_ = true;
  ordered_ = false;
  if (!same_pipeline) now_places_ = nullptr;
}

StageMemory PlanEvaluator::memory(const ParallelismPlan& plan) {
  turn_to_stages(plan);
  const PeakInFlight peak{plan.interleave > 1 ? Schedule::interleaved : plan.schedule, plan.pipeline, microbatches_, plan.interleave};
  return training_memory(trained(plan.recompute).open.closed, *now_kinds_, now_costs_, plan, microbatches_, peak, bytes_);
}

void PlanEvaluator::place_step(const OpenTemplate& open, const Placed& placed, const ParallelismPlan& plan, Ordered& out) {
  message_seconds_.clear();
  for (const OpenTemplate::Message& message : open.messages) {
    const models::Communication& c = *message.op->communication;
    const bool sent = network_ && sends(c);
    message_seconds_.push_back(sent ? c.steps * collectives_.seconds({c.kind, c.bytes, sent_type(*message.graph, *message.op)}, group_of(c, placed)) : 0);
  }
  out.step = open.closed;
  open.close(message_seconds_, out.step);
  const RankGroup next{2, placed.of(models::MeshAxis::pipeline).stride};
  out.boundary = plan.pipeline > 1 ? collectives_.line({CollectiveKind::point_to_point, out.step.boundary, Format::bf16}, next) : Line{};
}

void PlanEvaluator::turn_to_orders(const ParallelismPlan& plan) {
  turn_to_stages(plan);
  if (ordered_) return;
  const OpenTemplate& open = trained(plan.recompute).open;
  if (!now_places_) {
    now_places_ = &places(plan);
    orders_.resize(now_places_->orders.size());
    for (std::size_t i = 0; i < orders_.size(); ++i) place_step(open, now_places_->orders[i], plan, orders_[i]);
  }
  for (Ordered& ordered : orders_) {
    cost_stages(ordered.step, *now_kinds_, ordered.costs);
    ordered.pipelines = {};
  }
  ordered_ = true;
}

const Exchanges& PlanEvaluator::exchanges(const ParallelismPlan& plan, std::size_t order) {
  auto& known = now_places_->exchanges[order][zero_class(plan.zero)];
  Ordered& ordered = orders_[order];
  if (!known) {
    if (!optimizer_) optimizer_ = optimizer_per_parameter(run_, forward_, ordered.step, evaluator_);
    known = training_exchanges(run_, ordered.step, *optimizer_, plan, microbatches_, network_, now_places_->orders[order], nullptr);
  }
  known->boundary = ordered.boundary;
  return *known;
}

double PlanEvaluator::pipeline_seconds(const ParallelismPlan& plan, const Exchanges& e, Ordered& ordered, double limit) {
  PipelineSeconds& known = ordered.pipelines[static_cast<std::size_t>(plan.schedule)][pipeline_class(plan)];
  if (known.exact >= 0) return known.exact;
  if (known.least > limit) return known.least;
  fill_pipeline(ordered.step, *now_kinds_, ordered.costs, plan, microbatches_, e, bytes_, shape_);
  if (known.least < 0) known.least = least_seconds(shape_) * (1 - 1e-9);
  if (known.least > limit) return known.least;
  return known.exact = closed_form(shape_).seconds;
}

double PlanEvaluator::seconds_in(const ParallelismPlan& plan, std::size_t order, double limit) {
  constexpr double no_time = std::numeric_limits<double>::infinity();
  const Exchanges& e = exchanges(plan, order);
  Ordered& ordered = orders_[order];
  const PipelineSeconds& known = ordered.pipelines[static_cast<std::size_t>(plan.schedule)][pipeline_class(plan)];
  if (std::max(known.least, known.exact) + e.host > limit) return no_time;
  const double rest = longest_tail(ordered.step, *now_kinds_, ordered.costs, plan, e, bytes_) + e.host;
  const double pipeline = pipeline_seconds(plan, e, ordered, limit - rest);
  return pipeline + rest > limit ? no_time : pipeline + rest;
}

double PlanEvaluator::seconds(const ParallelismPlan& plan, double limit) {
  turn_to_orders(plan);
  double best = std::numeric_limits<double>::infinity();
  for (std::size_t order = 0; order < orders_.size(); ++order) best = std::min(best, seconds_in(plan, order, std::min(best, limit)));
  return best;
}

}  // namespace gambrel::sim

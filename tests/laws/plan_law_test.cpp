// Laws of plans, on random ones of small models: what sums, what cannot be faster, and two ways to one time.
#include <doctest/doctest.h>
#include <rapidcheck.h>

#include <algorithm>
#include <cmath>

#include "sim/plan_search/plan_search.hpp"
#include "sim/predict.hpp"
#include "sim/timeline/step_tasks.hpp"
#include "tests/unit/run_support.hpp"

namespace gambrel::sim {
namespace {

using test::run_of;

bool near(double a, double b, double tolerance = 1e-9) { return std::abs(a - b) <= tolerance * std::max(std::abs(a), std::abs(b)); }
template <class T>
T any_of(std::vector<T> values) { return *rc::gen::elementOf(std::move(values)); }

Estimate predict(const Run& run) {
  auto e = estimate(run);
  RC_ASSERT(e.has_value());
  return std::move(*e);
}

/// Read once each: their files are large.
const Run& base(bool routed) {
  static const Run dense = run_of("model: gpt2\nsystem: a100-superpod\nworkload: {phase: train, global_batch: 48, sequence: 128}\n");
  static const Run experts = run_of("model: qwen3-30b-a3b\nsystem: a100-superpod\nworkload: {phase: train, global_batch: 48, sequence: 128}\n");
  return routed ? experts : dense;
}

/// A legal plan of up to 64 chips; the batch divides.
Run any_training() {
  const bool routed = *rc::gen::inRange(0, 4) == 0;
  Run run = base(routed);
  ParallelismPlan& p = run.plan;
  p.tensor = any_of<int>({1, 2, 4}), p.context = any_of<int>({1, 1, 2}), p.data = any_of<int>({1, 2, 4}), p.pipeline = any_of<int>({1, 2, 3, 4});
  p.expert = routed ? any_of<int>({1, 2, 4}) : 1;
  const int rest = p.tensor * p.context * p.data;
  RC_PRE(rest % p.expert == 0);
  p.expert_data = rest / p.expert;
  p.sequence = p.tensor > 1 && *rc::gen::arbitrary<bool>();
  p.zero = *rc::gen::inRange(0, 4);
  p.schedule = any_of<Schedule>({Schedule::gpipe, Schedule::one_forward_one_backward, Schedule::zero_bubble});
  run.workload.micro_batch = any_of<int>({1, 2, 3});
  const double count = run.workload.global_batch / run.workload.micro_batch / p.data;
  if (p.pipeline > 1 && std::fmod(count, p.pipeline) == 0 && *rc::gen::arbitrary<bool>()) p.schedule = Schedule::interleaved, p.interleave = 2;
  p.recompute = any_of<models::Recompute>({models::Recompute::none, models::Recompute::selective, models::Recompute::full});
  p.overlap_gradients = *rc::gen::arbitrary<bool>(), p.overlap_weights = *rc::gen::arbitrary<bool>();
  run.chips = p.chips();
  run.calibrated = *rc::gen::arbitrary<bool>();
  RC_PRE(!problem_with(p, run.model, run.chips).has_value());
  return run;
}

Run any_inference() {
  Run run = any_training();
  const ParallelismPlan& p = run.plan;
  run.plan = {.tensor = p.tensor, .context = p.context, .data = p.data, .pipeline = p.pipeline, .expert = p.expert, .expert_data = p.expert_data, .sequence = p.sequence};
  run.workload = {.phase = any_of<PhaseKind>({PhaseKind::prefill, PhaseKind::decode}), .batch = double(*rc::gen::inRange(1, 40))};
  (run.workload.phase == PhaseKind::prefill ? run.workload.new_tokens : run.workload.past_tokens) = *rc::gen::inRange(4, 300);
  return run;
}

Run any_run() { return *rc::gen::arbitrary<bool>() ? any_training() : any_inference(); }

double parts(const StepTimeline& t) { return t.compute.value + t.exposed_network.value + t.bubble.value + t.overhead.value; }

}  // namespace

TEST_CASE("law: the parts of a plan's timeline sum to its time, and none is negative") {
  CHECK(rc::check("timeline", [] {
    const Estimate e = predict(any_run());
    RC_ASSERT(near(parts(e.timeline), e.total.time.value));
    for (const Seconds part : {e.timeline.compute, e.timeline.exposed_network, e.timeline.bubble, e.timeline.overhead, e.timeline.overlap}) RC_ASSERT(part.value >= 0);
    RC_ASSERT(std::isfinite(e.total.time.value));
    RC_ASSERT(e.total.mfu <= 1 + 1e-9);
    RC_ASSERT(e.total.time_low.value <= e.total.time.value * (1 + 1e-12));
    RC_ASSERT(e.total.time.value <= e.total.time_high.value * (1 + 1e-12));
  }));
}

TEST_CASE("law: a plan's memory is the sum of its parts, and fits when they do") {
  CHECK(rc::check("memory", [] {
    const Estimate e = predict(any_run());
    bool over = false;
    for (const TierUse& tier : e.memory.tiers) {
      RC_ASSERT(near(tier.used().value, tier.weights.value + tier.kv_cache.value + tier.activations.value + tier.gradients.value + tier.optimizer.value));
      over = over || (tier.capacity.value > 0 && tier.used() > tier.capacity);
    }
    RC_ASSERT(over == !e.memory.fits);
  }));
}

TEST_CASE("law: scheduling a step's tasks one by one takes the time that was composed") {
  CHECK(rc::check("compose == schedule", [] {
    Run run = any_training();
    RC_PRE(run.plan.pipeline > 1);
    const Estimate e = predict(run);
    const Phase& phase = e.phases.front();
    double tail = 0;
    for (const StageTail& t : phase.tails) tail = std::max(tail, t.seconds());
    RC_ASSERT(near(schedule(tasks_of(phase.pipeline)).seconds + tail, e.total.time.value));
    RC_ASSERT(near(step_tasks(e).when.seconds, e.total.time.value));
  }));
}

TEST_CASE("law: ranks together multiply as often as one chip does, and what they copy besides") {
  CHECK(rc::check("flops", [] {
    Run run = any_training();
    RC_PRE(run.plan.expert == 1);
    run.calibrated = false;
    Run alone = run;
    alone.plan = {.recompute = run.plan.recompute};
    alone.chips = 1;
    const auto products = [](const Estimate& e, bool copied) {
      double sum = 0;
      for (const OpEstimate& op : e.phases.front().ops)
        if ((op.kind == "gemm" || op.kind.starts_with("attention")) && (op.name.find("router") != std::string::npos) == copied) sum += op.flops.value * op.count * op.ranks;
      return sum;
    };
    const Estimate one = predict(alone), many = predict(run);
    RC_ASSERT(products(many, false) >= products(one, false) * (1 - 1e-9));
    // Key/value heads are fewer than ranks in none of these models: nothing but routers is copied.
    RC_ASSERT(near(products(many, false), products(one, false), 1e-6));
    RC_ASSERT(many.total.flops >= one.total.flops * (1 - 1e-9));
  }));
}

TEST_CASE("law: a plan of all ones is the chip alone") {
  CHECK(rc::check("ones", [] {
    Run run = any_inference();
    run.plan = {}, run.chips = 1;
    Run alone = run;
    alone.system = run_of("model: gpt2\nsystem: " + run.system.chip().id + "\nworkload: {phase: decode, batch: 1, context: 2}\n").system;
    const Estimate a = predict(run), b = predict(alone);
    RC_ASSERT(a.total.time == b.total.time);
    RC_ASSERT(a.total.flops == b.total.flops);
    RC_ASSERT(a.total.kept_bytes == b.total.kept_bytes);
    for (std::size_t i = 0; i < a.phases[0].ops.size(); ++i) RC_ASSERT(a.phases[0].ops[i].time == b.phases[0].ops[i].time);
  }));
}

TEST_CASE("law: overlap, a faster host and faster links are never slower") {
  CHECK(rc::check("never slower", [] {
    Run run = any_training();
    Run better = run;
    switch (*rc::gen::inRange(0, 4)) {
      case 0: run.plan.overlap_gradients = false, better.plan.overlap_gradients = true; break;
      case 1: run.plan.overlap_weights = false, better.plan.overlap_weights = true; break;
      case 2: run.host_overhead = Seconds{0.01}; break;
      default: for (hw::NetworkLevel& level : better.system.pools.front().network) level.bandwidth *= 2.0; break;
    }
    RC_ASSERT(predict(better).total.time.value <= predict(run).total.time.value * (1 + 1e-9));
  }));
}

TEST_CASE("law: twice the global batch takes longer, and at most twice as long") {
  CHECK(rc::check("batch", [] {
    const Run run = any_training();
    Run more = run;
    more.workload.global_batch *= 2;
    const double one = predict(run).total.time.value, two = predict(more).total.time.value;
    RC_ASSERT(two > one);
    RC_ASSERT(two <= 2 * one * (1 + 1e-9));
  }));
}

TEST_CASE("law: with the batch of each rank kept, more data ranks make no step faster") {
  CHECK(rc::check("data", [] {
    Run run = any_training();
    RC_PRE(run.plan.zero == 0);
    Run more = run;
    more.plan.data *= 2, more.plan.expert_data *= 2, more.workload.global_batch *= 2;
    more.chips = more.plan.chips();
    RC_ASSERT(predict(more).total.time.value >= predict(run).total.time.value * (1 - 1e-9));
  }));
}

TEST_CASE("law: more recomputation keeps no more and takes no less time") {
  CHECK(rc::check("recompute", [] {
    Run run = any_training();
    run.plan.recompute = models::Recompute::none;
    Run full = run;
    full.plan.recompute = models::Recompute::full;
    const Estimate a = predict(run), b = predict(full);
    RC_ASSERT(b.total.time >= a.total.time);
    RC_ASSERT(near(b.training->model_flops_per_chip * b.total.time.value, a.training->model_flops_per_chip * a.total.time.value));
  }));
}

TEST_CASE("law: no random plan is faster than the search's winner, and the winner's time is its estimate") {
  const Run run = run_of("model: gpt2\nsystem: dgx-a100\nworkload: {phase: train, global_batch: 16, sequence: 256}\nplan: best\n");
  const auto best = estimate(run);
  REQUIRE(best.has_value());
  const auto search = search_plans(run, 1);
  REQUIRE(search.has_value());
  const auto written = estimate(with_plan(run, search->best.front()));
  REQUIRE(written.has_value());
  CHECK(written->total.time == best->total.time);
  const std::vector<ShardChoice> choices = shard_choices(run);
  CHECK(rc::check("winner", [&] {
    const ShardChoice& choice = any_of(choices);
    const std::vector<ParallelismPlan> plans = plans_of(run, choice);
    RC_PRE(!plans.empty());
    const Estimate other = predict(with_plan(run, {any_of(plans), choice.micro_batch, 0}));
    if (other.memory.fits) RC_ASSERT(other.total.time.value >= best->total.time.value * (1 - 1e-9));
  }));
}

}  // namespace gambrel::sim

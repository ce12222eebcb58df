// Laws of the search's short cuts: each plan's time is what `estimate` says of it, and the best are those of a search
// without short cuts.
#include <doctest/doctest.h>
#include <rapidcheck.h>

#include <algorithm>
#include <cmath>

#include "random_draws.hpp"
#include "sim/plan_search/plan_evaluator.hpp"
#include "sim/plan_search/plan_search.hpp"
#include "sim/predict.hpp"
#include "tests/unit/run_support.hpp"

namespace gambrel::sim {
namespace {

using test::run_of;

bool near(double a, double b) { return std::abs(a - b) <= 1e-9 * std::max(std::abs(a), std::abs(b)); }

/// Read once each: dense, with a tied table, long enough for the context axis, with experts.
const std::vector<Run>& bases() {
  static const std::vector<Run> runs{
      run_of("model: gpt2\nsystem: a100-superpod\nchips: 64\nworkload: {phase: train, global_batch: 48, sequence: 128}\nplan: best\n"),
      run_of("model: gpt3-175b\nsystem: a100-superpod\nchips: 64\nworkload: {phase: train, global_batch: 16, sequence: 256}\nfusion: {attention: false}\nplan: best\n"),
      run_of("model: llama-3.2-1b\nsystem: a100-superpod\nchips: 32\nworkload: {phase: train, global_batch: 8, sequence: 32768}\nplan: best\n"),
      run_of("model: qwen3-30b-a3b\nsystem: a100-superpod\nchips: 32\nworkload: {phase: train, global_batch: 24, sequence: 128}\nplan: best\n")};
  return runs;
}

Run any_run() {
  Run run = *rc::gen::elementOf(bases());
  run.chips = *rc::gen::element(8, 16, 24, run.chips);
  run.calibrated = *rc::gen::arbitrary<bool>();
  return run;
}

struct Searcher {
  explicit Searcher(const Run& of) : run(of), machine(make_machine(run.system.chip(), run.placement, run.sparsity_pattern)), network(run.system, 0, &run.calibration), evaluator(run, machine, &network) {}
  const Run& run;
  Machine machine;
  Network network;
  PlanEvaluator evaluator;
};

double bytes_of(const MemoryUse& memory) {
  double bytes = 0;
  for (const TierUse& tier : memory.tiers) bytes += tier.used().value;
  return bytes;
}

/// Every plan of a space timed, the fastest first, equal ones in the order of enumeration.
std::vector<RankedPlan> all_plans(const Run& run, PlanSpace space) {
  Searcher s(run);
  std::vector<RankedPlan> ranked;
  for (const ShardChoice& choice : shard_choices(run, space)) {
    const auto plans = plans_of(run, choice, space);
    if (!plans.empty()) s.evaluator.choose(choice);
    for (const ParallelismPlan& plan : plans)
      if (s.evaluator.memory(plan).total() <= s.machine.capacity[s.machine.main_level]) ranked.push_back({plan, choice.micro_batch, s.evaluator.seconds(plan)});
  }
  std::ranges::stable_sort(ranked, {}, &RankedPlan::seconds);
  return ranked;
}

PipelineShape any_pipeline() {
  const auto work = [] { return StageWork{magnitude(0.1, 10), magnitude(0.1, 10), magnitude(0.1, 10), *rc::gen::arbitrary<bool>() ? magnitude(1e-3, 3) : 0}; };
  PipelineShape shape{.schedule = *rc::gen::element(Schedule::gpipe, Schedule::one_forward_one_backward, Schedule::interleaved, Schedule::zero_bubble),
                      .stages = static_cast<int>(one_of_range(1, 10)), .microbatches = static_cast<int>(one_of_range(1, 40)), .overlap_sends = *rc::gen::arbitrary<bool>()};
  if (shape.schedule == Schedule::interleaved) shape.chunks = static_cast<int>(one_of_range(1, 4));
  shape.work.assign(static_cast<std::size_t>(shape.stages * shape.chunks), work());
  if (*rc::gen::arbitrary<bool>()) shape.work.back() = work();
  if (*rc::gen::arbitrary<bool>()) shape.work.front() = work();
  if (*rc::gen::inRange(0, 4) == 0)
    for (StageWork& w : shape.work) w = work();
  return shape;
}

}  // namespace

TEST_CASE("law: a plan's time and memory in a search are what an estimate says of it, whatever was asked before") {
  CHECK(rc::check("evaluator == estimate", [] {
    const Run run = any_run();
    Searcher s(run);
    const auto choices = shard_choices(run, PlanSpace::all);
    for (int round = 0; round < 2; ++round) {
      const ShardChoice choice = *rc::gen::elementOf(choices);
      const auto plans = plans_of(run, choice, PlanSpace::all);
      if (plans.empty()) continue;
      s.evaluator.choose(choice);
      for (int i = 0; i < 4; ++i) {
        const ParallelismPlan plan = *rc::gen::elementOf(plans);
        const double seconds = s.evaluator.seconds(plan);
        const auto e = estimate(with_plan(run, {plan, choice.micro_batch, 0}));
        RC_ASSERT(e.has_value());
        RC_ASSERT(near(seconds, e->total.time.value));
        RC_ASSERT(near(s.evaluator.memory(plan).total(), bytes_of(e->memory)));
        RC_ASSERT(s.evaluator.seconds(plan, seconds * 0.999) > seconds * 0.999);
        RC_ASSERT(s.evaluator.seconds(plan, seconds) == seconds);
      }
    }
  }));
}

TEST_CASE("law: the best plans of a search are those of all plans, and the same for any number of threads") {
  for (const PlanSpace space : {PlanSpace::usual, PlanSpace::all})
    for (Run run : {bases()[0], bases()[1], bases()[3]}) {
      run.chips = 16;
      if (run.model.id == "gpt3-175b") run.chips = 64;  // it needs them
      CAPTURE(run.model.id);
      const std::vector<RankedPlan> all = all_plans(run, space);
      for (const unsigned workers : {1u, 2u, 5u}) {
        const auto search = search_plans(run, 10, space, workers);
        REQUIRE(search.has_value());
        CHECK(search->fitting == static_cast<double>(all.size()));
        REQUIRE(search->best.size() == std::min<std::size_t>(10, all.size()));
        for (std::size_t i = 0; i < search->best.size(); ++i) {
          CHECK(search->best[i].seconds == all[i].seconds);
          CHECK(search->best[i].plan == all[i].plan);
          CHECK(search->best[i].micro_batch == all[i].micro_batch);
        }
      }
    }
}

TEST_CASE("law: the usual space's winner is no slower than a hundredth above the whole space's") {
  for (const Run& base : {bases()[0], bases()[1]}) {
    const auto usual = search_plans(base, 1), all = search_plans(base, 1, PlanSpace::all);
    REQUIRE(usual.has_value());
    REQUIRE(all.has_value());
    CHECK(all->considered > usual->considered);
    CHECK(all->best.front().seconds <= usual->best.front().seconds);
    CHECK(usual->best.front().seconds <= 1.01 * all->best.front().seconds);
  }
}

TEST_CASE("law: no pipeline takes less than the least; where all stages are alike, no more either") {
  CHECK(rc::check("least_seconds <= simulate", [] {
    for (int i = 0; i < 20; ++i) {
      PipelineShape shape = any_pipeline();
      const double exact = simulate(shape).seconds;
      RC_ASSERT(least_seconds(shape) <= exact * (1 + 1e-12));
      RC_ASSERT(least_seconds(shape) >= 0.2 * exact);
      shape.work.assign(1, {.forward = 1, .backward_inputs = 1.5, .backward_weights = 0.5, .send = 0.25});
      shape.overlap_sends = true;
      if (shape.schedule == Schedule::interleaved) RC_ASSERT(near(least_seconds(shape), closed_form(shape).seconds));
    }
  }));
}

}  // namespace gambrel::sim

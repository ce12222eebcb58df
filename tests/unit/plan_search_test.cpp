// Searches of plans: the space has every legal plan once, the winner is what an estimate says of it.
#include "sim/plan_search/plan_search.hpp"

#include <algorithm>
#include <set>

#include "run_support.hpp"

using namespace gambrel;
using namespace gambrel::sim;
using namespace gambrel::test;

namespace {

const std::string train = "model: gpt2\nsystem: dgx-a100\nworkload: {phase: train, global_batch: 16, sequence: 128}\nplan: best\ncost_model: roofline\n";
const std::string decode = "model: llama-3.2-1b\nsystem: dgx-h100\nworkload: {phase: decode, batch: 8, context: 1024}\nplan: best\ncost_model: roofline\n";

PlanSearch searched(const Run& run, std::size_t keep) {
  auto search = search_plans(run, keep);
  REQUIRE_MESSAGE(search.has_value(), placed(search ? Diagnostics{} : search.error()));
  return std::move(*search);
}

}  // namespace

TEST_CASE("plan space: every plan is legal, on all chips, and comes once") {
  for (const std::string& text : {train, decode, std::string("model: mixtral-8x7b\nsystem: dgx-h100\nworkload: {phase: train, global_batch: 8, sequence: 128}\nplan: best\n")}) {
    const Run run = run_of(text);
    std::set<std::string> seen;
    std::size_t plans = 0;
    for (const ShardChoice& choice : shard_choices(run))
      for (const ParallelismPlan& plan : plans_of(run, choice)) {
        ++plans;
        CHECK(plan.chips() == run.chips);
        CHECK_FALSE(problem_with(plan, run.model, run.chips).has_value());
        const int microbatches = microbatches_of(run, plan, choice.micro_batch);
        CHECK(microbatches >= 1);
        if (plan.interleave > 1) CHECK(microbatches % plan.pipeline == 0);
        seen.insert(fmt::format("{} {} e{} {} {}", describe(plan), choice.micro_batch, plan.expert, plan.overlap_gradients, plan.overlap_weights));
      }
    CHECK(plans > 10);
    CHECK(seen.size() == plans);
  }
}

TEST_CASE("plan space: what is known to be good is in it") {
  const Run run = run_of("model: gpt3-175b\nsystem: a100-superpod\nchips: 64\nworkload: {phase: train, global_batch: 64, sequence: 2048}\nplan: best\n");
  bool found = false;
  for (const ShardChoice& choice : shard_choices(run))
    for (const ParallelismPlan& p : plans_of(run, choice))
      found = found || (p.tensor == 8 && p.pipeline == 8 && p.sequence && p.recompute == models::Recompute::selective && p.interleave == 3 && choice.micro_batch == 1);
  CHECK(found);
}

TEST_CASE("plan space: micro-batches of a rank, none if the batch does not divide") {
  const Run run = run_of(train);
  CHECK(microbatches_of(run, {.data = 4}, 2) == 2);
  CHECK(microbatches_of(run, {.data = 3}, 1) == 0);
  CHECK(microbatches_of(run, {.data = 8}, 4) == 0);
  CHECK(microbatches_of(run_of(decode), {.data = 4, .pipeline = 4}, 1) == 2);  // no more than there are sequences
}

TEST_CASE("plan search: the fastest first, each with the time that an estimate gives it") {
  for (const std::string& text : {train, decode}) {
    const Run run = run_of(text);
    const PlanSearch search = searched(run, 5);
    CHECK(search.considered >= search.fitting);
    CHECK(search.fitting >= 5);
    REQUIRE(search.best.size() == 5);
    CHECK(std::ranges::is_sorted(search.best, {}, &RankedPlan::seconds));
    const RankedPlan& best = search.best.front();
    CHECK(estimate_of(with_plan(run, best)).total.time.value <= best.seconds * (1 + 1e-9));
  }
}

TEST_CASE("plan search: an estimate of `plan: best` is the winner's, with the next ones listed") {
  const Run run = run_of(train);
  const Estimate e = estimate_of(run);
  const PlanSearch search = searched(run, 10);
  CHECK(e.plan == describe(search.best.front().plan));
  CHECK(e.total.time == estimate_of(with_plan(run, search.best.front())).total.time);
  CHECK(e.next_plans.size() == 9);
  CHECK(e.memory.fits);
  for (std::size_t i = 0; i < 9; ++i) {
    CHECK(e.next_plans[i].second.value == search.best[i + 1].seconds);
    CHECK(e.next_plans[i].first.find("micro-batch ") != std::string::npos);
  }
  CHECK(std::ranges::any_of(e.notes, [&](const std::string& n) { return n == fmt::format("the fastest of {} plans, of which {} fit", search.considered, search.fitting); }));
}

TEST_CASE("plan search: the same whoever finishes first") {
  const Run run = run_of(train);
  const PlanSearch first = searched(run, 8), second = searched(run, 8);
  REQUIRE(first.best.size() == second.best.size());
  for (std::size_t i = 0; i < first.best.size(); ++i) {
    CHECK(first.best[i].plan == second.best[i].plan);
    CHECK(first.best[i].micro_batch == second.best[i].micro_batch);
  }
}

TEST_CASE("plan search: only plans that fit; none is an error at the plan") {
  const std::string large = "model: gpt3-175b\nsystem: dgx-a100\nworkload: {phase: train, global_batch: 8, sequence: 2048}\nplan: best\n";
  const auto none = search_plans(run_of(large), 5);
  REQUIRE_FALSE(none.has_value());
  CHECK(placed(none.error()).find("plans of 8 chips fits: gpt3-175b does not fit into them | more chips, a smaller batch, or narrower formats") != std::string::npos);
  CHECK(placed(none.error()).find("run.yaml:4:7: none of ") == 0);
  const PlanSearch tight = searched(run_of("model: llama-3.1-70b\nsystem: dgx-h100\nworkload: {phase: decode, batch: 8, context: 1024}\nplan: best\ncost_model: roofline\n"), 3);
  CHECK(tight.fitting < tight.considered);
  for (const RankedPlan& ranked : tight.best) CHECK(ranked.plan.tensor * ranked.plan.pipeline > 1);
}

TEST_CASE("plan search: one chip has one division of the work") {
  const Estimate e = estimate_of(run_of(train, {"system=a100-sxm-80gb", "workload.global_batch=1"}));
  CHECK(e.chips == 1);
  CHECK(e.plan.empty());
}

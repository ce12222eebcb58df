#include "sim/plan_search/plan_search.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <cmath>
#include <limits>
#include <thread>

#include "sim/plan_search/plan_evaluator.hpp"
#include "sim/predict.hpp"

namespace gambrel::sim {
namespace {

/// The `keep` fastest, in a vector kept sorted; equal ones stay in the order they came.
class Ranking {
 public:
  explicit Ranking(std::size_t keep) : keep_(keep) {}

  void add(const RankedPlan& ranked) {
    if (best_.size() == keep_ && ranked.seconds >= best_.back().seconds) return;
    best_.insert(std::ranges::upper_bound(best_, ranked.seconds, {}, &RankedPlan::seconds), ranked);
    if (best_.size() > keep_) best_.pop_back();
  }
  std::vector<RankedPlan>& best() { return best_; }

 private:
  std::size_t keep_;
  std::vector<RankedPlan> best_;
};

/// What one choice of shards leads to.
struct Found {
  std::vector<RankedPlan> best;
  double considered = 0, fitting = 0;
};

/// The slowest time that is still among the best, whichever thread found it: what is slower need not be timed exactly.
class Limit {
 public:
  double value() const { return value_.load(std::memory_order_relaxed); }
  void lower_to(double seconds) {
    double known = value();
    while (seconds < known && !value_.compare_exchange_weak(known, seconds, std::memory_order_relaxed)) {}
  }

 private:
  std::atomic<double> value_{std::numeric_limits<double>::infinity()};
};

/// Recomputations under which no plan of a choice fits. None of the same shards then does with a multiple of its micro-batch:
/// activations grow with it, and fewer micro-batches in flight make up for that at most.
class Hopeless {
 public:
  explicit Hopeless(const std::vector<ShardChoice>& choices) : choices_(choices), known_(choices.size()) {}

  unsigned of(std::size_t choice) const {
    unsigned found = 0;
    for (std::size_t i = choice; i-- > 0 && choices_[i].plan == choices_[choice].plan;)
      if (std::fmod(choices_[choice].micro_batch, choices_[i].micro_batch) == 0) found |= known_[i].load(std::memory_order_relaxed);
    return found;
  }
  void set(std::size_t choice, unsigned recomputations) { known_[choice].store(recomputations, std::memory_order_relaxed); }

 private:
  const std::vector<ShardChoice>& choices_;
  std::vector<std::atomic<unsigned>> known_;  ///< bits
};

/// What the threads of a search share.
struct Shared {
  const Run& run;
  PlanSpace space;
  std::size_t keep;
  double capacity;
  std::vector<ShardChoice> choices = shard_choices(run, space);
  Hopeless hopeless{choices};
  Limit limit;
};

Found search_training(Shared& shared, std::size_t index, PlanEvaluator& evaluator) {
  const ShardChoice& choice = shared.choices[index];
  Limit& limit = shared.limit;
  const std::vector<ParallelismPlan> plans = plans_of(shared.run, choice, shared.space);
  Found found{.considered = static_cast<double>(plans.size())};
  const unsigned hopeless = shared.hopeless.of(index);
  unsigned fits = 0;
  evaluator.choose(choice);
  Ranking ranking(shared.keep);
  for (const ParallelismPlan& plan : plans) {
    const unsigned bit = 1u << static_cast<unsigned>(plan.recompute);
    if ((hopeless & bit) || (shared.capacity > 0 && evaluator.memory(plan).total() > shared.capacity)) continue;
    ++found.fitting;
    fits |= bit;
    const double seconds = evaluator.seconds(plan, limit.value());
    if (seconds > limit.value()) continue;
    ranking.add({plan, choice.micro_batch, seconds});
    if (ranking.best().size() == shared.keep) limit.lower_to(ranking.best().back().seconds);
  }
  shared.hopeless.set(index, ~fits);
  found.best = std::move(ranking.best());
  return found;
}

Found search_inference(const Shared& shared, std::size_t index) {
  const Run& run = shared.run;
  const std::vector<ParallelismPlan> plans = plans_of(run, shared.choices[index], shared.space);
  Found found{.considered = static_cast<double>(plans.size())};
  Ranking ranking(shared.keep);
  for (const ParallelismPlan& plan : plans) {
    RankedPlan ranked{plan, 1, 0};
    const auto estimated = estimate(with_plan(run, ranked));
    if (!estimated || !estimated->memory.fits) continue;
    ++found.fitting;
    ranked.seconds = estimated->total.time.value;
    ranking.add(ranked);
  }
  found.best = std::move(ranking.best());
  return found;
}

}  // namespace

Run with_plan(const Run& run, const RankedPlan& ranked) {
  Run result = run;
  result.plan = ranked.plan;
  result.best_plan = false;
  result.workload.micro_batch = ranked.micro_batch;
  return result;
}

Result<PlanSearch> search_plans(const Run& run, std::size_t keep, PlanSpace space, unsigned workers) {
  const bool trains = run.workload.phase == PhaseKind::train;
  const Machine machine = make_machine(run.system.chip(), run.placement, run.sparsity_pattern);
  std::optional<Network> network;
  if (run.chips > 1) network.emplace(run.system, 0, &run.calibration);
  Shared shared{run, space, keep, machine.capacity[machine.main_level]};
  std::vector<Found> found(shared.choices.size());
  std::atomic<std::size_t> next{0};
  auto work = [&] {
    PlanEvaluator evaluator(run, machine, network ? &*network : nullptr);
    for (std::size_t i = next++; i < found.size(); i = next++) found[i] = trains ? search_training(shared, i, evaluator) : search_inference(shared, i);
  };
  {
    std::vector<std::jthread> threads;
    for (unsigned i = 1; i < (workers > 0 ? workers : std::thread::hardware_concurrency()); ++i) threads.emplace_back(work);
    work();
  }
  PlanSearch result;
  Ranking ranking(keep);
  for (const Found& f : found) {  // in the order of enumeration, whichever thread was first
    result.considered += f.considered;
    result.fitting += f.fitting;
    for (const RankedPlan& ranked : f.best) ranking.add(ranked);
  }
  result.best = std::move(ranking.best());
  if (result.best.empty())
    return fail({run.plan_at, fmt::format("none of {} plans of {} chips fits: {} does not fit into them", result.considered, run.chips, run.model.id), "more chips, a smaller batch, or narrower formats"});
  return result;
}

}  // namespace gambrel::sim

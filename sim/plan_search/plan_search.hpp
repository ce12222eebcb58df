// The best plans of a run, by evaluating all that are legal.
#pragma once

#include "base/result.hpp"
#include "sim/plan_search/plan_space.hpp"

namespace gambrel::sim {

struct RankedPlan {
  ParallelismPlan plan;
  double micro_batch = 1;
  double seconds = 0;        ///< of a step; of a generation: prefill and all decode steps
};

struct PlanSearch {
  std::vector<RankedPlan> best;      ///< those that fit, the fastest first; equal ones in the order of enumeration
  double considered = 0, fitting = 0;
};

/// The `keep` fastest of a space: what a timing of every plan would give, though most are left once it is clear that they
/// are slower. `workers`: threads, 0 for one a core; the result does not depend on them. Error: no plan fits into memory.
Result<PlanSearch> search_plans(const Run& run, std::size_t keep, PlanSpace space = PlanSpace::usual, unsigned workers = 0);

/// The run with the plan and micro-batch of a search's result.
Run with_plan(const Run& run, const RankedPlan& ranked);

}  // namespace gambrel::sim

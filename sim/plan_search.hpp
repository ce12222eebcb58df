// The best plans of a run, by evaluating all that are legal.
#pragma once

#include "base/result.hpp"
#include "sim/plan_space.hpp"

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

/// Exhaustive; keeps the `keep` fastest. Error: no plan fits into the chips' memory.
Result<PlanSearch> search_plans(const Run& run, std::size_t keep);

/// The run with the plan and micro-batch of a search's result.
Run with_plan(const Run& run, const RankedPlan& ranked);

}  // namespace gambrel::sim

// What a report says of runs on several chips: the plan, where the time goes, what the network carries.
#pragma once

#include "base/node.hpp"
#include "reports/grid.hpp"
#include "reports/summary.hpp"

namespace gambrel::reports {

/// Plan, timeline and training figures in words; nothing of a run on one chip.
std::vector<Line> plan_lines(const sim::Estimate& run);

/// One collective a row, the longest first; no rows if the network carries nothing.
Grid network_grid(const sim::Estimate& run);

/// The plans of a search after the best one; no rows without a search.
Grid next_plans_grid(const sim::Estimate& run);

/// Keys `chips`, `plan`, `timeline`, `network`, `training`, `sites`, `pools` and `next_plans` of an estimate's JSON.
void set_plan(Node& estimate, const sim::Estimate& run);

}  // namespace gambrel::reports

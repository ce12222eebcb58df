// What a report says of sites that train together, of failures, and of pools that share a request.
#pragma once

#include "base/node.hpp"
#include "reports/summary.hpp"

namespace gambrel::reports {

Line sites_line(const sim::SiteFigures& sites);
/// Count, level, chips; an exchange; `golden_bandwidth` and `near_golden_bandwidth` in B/s of a site, null where no
/// bandwidth is enough; `golden_distance_m` likewise, and `near_golden_local_steps` of `local` alone.
Node sites_node(const sim::SiteFigures& sites);

Line failures_line(const sim::Goodput& goodput);

std::vector<Line> pool_lines(const sim::Pools& pools);
Node pools_node(const sim::Pools& pools);

}  // namespace gambrel::reports

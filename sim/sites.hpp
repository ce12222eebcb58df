// Training over several sites: each holds a whole replica under a plan of its own, and a slow network level joins them.
#pragma once

#include <string>
#include <vector>

#include "base/data_type.hpp"
#include "base/diagnostic.hpp"
#include "base/result.hpp"
#include "sim/plan/fleet.hpp"
#include "sim/plan/plan.hpp"

namespace gambrel::sim {

struct Run;
struct StepTime;

/// `plan: {sites: ...}` of a run.
struct SitePlan {
  SiteSync sync = SiteSync::synchronous;
  std::string level;
  std::size_t network_level = 0;  ///< its index in the pool's network
  int count = 2;                  ///< sites that the plan's chips cover
  double local_steps = 1, fragments = 1, overlapped_steps = 0;
  DataType type = Format::fp32;   ///< in which gradients or outer gradients travel
};

/// What sites exchange, and what that costs a step.
struct SiteFigures {
  double count = 1, chips = 1;        ///< sites, and chips of each
  std::string level, sync;
  double local_steps = 1;
  double exchanges_per_step = 1;
  Bytes bytes{0};                     ///< of one exchange: what every site contributes
  BytesPerSecond bandwidth{0};        ///< of a site
  Seconds latency{0};
  Seconds exchange{0}, exposed{0};    ///< of one exchange; of a step on average
  Seconds step{0};                    ///< of one site alone
  BytesPerSecond golden_bandwidth{0}; ///< of a site, at which nothing is exposed; infinite: none
  BytesPerSecond near_bandwidth{0};   ///< at which a step takes 5 % more than on one site
  double golden_distance = 0;         ///< metres of fibre between neighbours, with no other latency, up to which nothing is exposed; negative: none
  double near_local_steps = 1;        ///< of `local`: fewest steps between exchanges for those 5 %
};

/// Reads the section `sites` for a run whose plan is read. Errors: no training, an unknown level, chips that do not fill
/// several members of it, an axis beside data (or experts) across it, local steps without `sync: local`.
Result<void> read_sites(const Node& section, Run& run);

/// Orders of the axes that the plan's places allow; with sites, those that put data alone across their level.
std::vector<std::vector<models::MeshAxis>> orders_of(const Run& run);

/// What one site runs: the plan with its share of the data ranks; the plan itself without sites.
ParallelismPlan plan_of_site(const Run& run);

/// Adds the exposed part of the exchange to the end of a step. `backward`: how long gradients may travel beside
/// arithmetic: once they are accumulated, in the last micro-batch's backward pass from the last stage to the first.
SiteFigures exchange_between_sites(const Run& run, double parameters, double backward, StepTime& time);

}  // namespace gambrel::sim

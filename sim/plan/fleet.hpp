// Beyond one building: training over several sites, and the time that failures and checkpoints cost.
// Plain doubles in base units: seconds, bytes, bytes per second, metres.
#pragma once

#include "base/node.hpp"
#include "base/result.hpp"

namespace gambrel::sim {

// --- Several sites ---------------------------------------------------------------------------------------------------

/// Light in glass: c / 1.468 (ITU-T G.652 fibre at 1550 nm), 4.9 us for each kilometre.
inline constexpr double metres_per_second_in_fibre = 299'792'458 / 1.468;

/// Buildings or metros that train one model, each with a replica sharded over its chips.
struct Sites {
  double count = 2;           ///< at least 1
  double bandwidth = 0;       ///< of a site, one direction, all its chips together
  double distance = 0;        ///< of fibre between neighbours
  double latency = 0;         ///< beside the light's, one way: switches, transceivers
  double one_way() const { return latency + distance / metres_per_second_in_fibre; }
};

/// When sites agree on the weights.
enum class SiteSync {
  synchronous,  ///< every step, after the backward pass
  overlapped,   ///< every step, beside the backward pass
  local,        ///< every `local_steps` steps an outer step averages what they learnt (DiLoCo, Douillard 2023, arXiv 2311.08105)
};

/// What one site does between two exchanges, and what it then exchanges. Quality is not a systems number: that a model
/// trained with local steps is as good is not said here.
struct SiteTraining {
  SiteSync sync = SiteSync::synchronous;
  double step = 0;                ///< one step within a site, everything but the exchange
  double backward = 0;            ///< of it, the part gradients may travel beside (`overlapped`)
  double bytes = 0;               ///< of all gradients, or of the outer gradients, in the type they travel in
  // of `local`:
  double local_steps = 1;
  double fragments = 1;           ///< parts of the model, exchanged in turn (Streaming DiLoCo, Douillard 2025, arXiv 2501.18512)
  double overlapped_steps = 0;    ///< steps that go on while a fragment travels, at most local_steps / fragments

  double exchanges_per_step() const { return sync == SiteSync::local ? fragments / local_steps : 1; }
  double bytes_of_exchange() const { return sync == SiteSync::local ? bytes / fragments : bytes; }
  /// Time an exchange may take without holding up a step.
  double window() const { return sync == SiteSync::synchronous ? 0 : sync == SiteSync::overlapped ? backward : overlapped_steps * step; }
};

/// A ring all-reduce between the sites: 2 (m - 1)/m bytes through each site's link, 2 (m - 1) times the way. One site: 0.
/// No bandwidth: infinite.
double site_exchange_seconds(double bytes, const Sites& sites);

/// Mean time of a step, the exposed part of exchanges in it.
double site_step_seconds(const SiteTraining& training, const Sites& sites);

/// The golden bandwidth: the least at which a step takes (1 + `loss`) times what it takes on one site; with loss 0 the
/// exchange is just hidden. Of `sites` the bandwidth is not read. Infinite where latency alone is too long.
double golden_bandwidth(const SiteTraining& training, const Sites& sites, double loss = 0);

/// Its inverse in distance: how far apart neighbours may be at sites.bandwidth; negative: at no distance.
double golden_distance(const SiteTraining& training, const Sites& sites, double loss = 0);

/// Its inverse in local steps, for SiteSync::local: the fewest steps between outer steps, at sites.bandwidth, for a loss
/// of at most `loss`; where exchanges overlap, they overlap all of local_steps / fragments. At least 1.
double golden_local_steps(const SiteTraining& training, const Sites& sites, double loss = 0);

// --- Failures --------------------------------------------------------------------------------------------------------

/// Failures come at random, at a constant rate (exponential), and stop every chip.
struct Reliability {
  double mtbf_per_chip = 0;       ///< chip-seconds for each failure, of the chip and all that fails with it; 0: none fail
  double checkpoint_stall = 0;    ///< training stands still for each checkpoint; all of the write if it is not asynchronous
  double checkpoint_write = 0;    ///< until a checkpoint can be restored
  double checkpoint_interval = 0; ///< training time between the starts of stalls; 0: the best
  double restart = 0;             ///< from a failure until training goes on: detection, a spare, loading
};

/// Share of wall time, 0 to 1; the three sum to 1.
struct Goodput {
  double productive = 1, checkpoints = 0, failures = 0;  ///< failures: restarts and work done again
  double interval = 0;            ///< that was used
  double mtbf = 0;                ///< of all chips together; 0: none fail
  double failures_per_day = 0;
};

/// Young 1974: sqrt(2 stall mtbf).
double young_interval(double stall, double mtbf);
/// Daly 2006, "A higher order estimate of the optimum checkpoint interval", eq. 37; mtbf where stall >= 2 mtbf.
double daly_interval(double stall, double mtbf);
/// The interval at which `goodput` is largest, exactly: (1 - t/M) e^(t/M) = e^(-stall/M). At least the time of a write,
/// since one is finished before the next starts.
double best_interval(const Reliability& reliability, double mtbf);

/// Daly 2006's complete model for an exponential distribution: t of work take M e^(R/M) (e^((t + stall)/M) - 1) of wall time.
/// What an asynchronous write has not finished is lost too: R = restart + write - stall. Failures during a restart
/// restart it.
Goodput goodput(const Reliability& reliability, double chips);

/// The `reliability` section of a run, checked by its schema:
/// {mtbf_per_chip: 50000 h, checkpoint: {write: 30 s, asynchronous: true, stall: 5 s, interval: 20 min}, restart: 5 min}.
/// Errors: a stall longer than the write, an interval shorter than the write, a stall of a write that is not asynchronous.
Result<Reliability> read_reliability(const Node& section);

}  // namespace gambrel::sim

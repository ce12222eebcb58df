// Inside sim/ only: prefill and decode on pools of their own.
#pragma once

#include "base/result.hpp"
#include "sim/estimate.hpp"
#include "sim/run.hpp"

namespace gambrel::sim {

/// `run.pools` are two runs, which are predicted apart and joined: phases, memory and notes side by side; figures of the
/// total are those of one decode batch and as much prefill as it needs, one after the other. Serving: requests come
/// as fast as the slowest of prefill, decode and the network between takes them.
Result<Estimate> predict_pools(const Run& run);

}  // namespace gambrel::sim

// Shards' files into one.
#pragma once

#include <string>
#include <vector>

#include "base/result.hpp"
#include "sim/sweep/store.hpp"

namespace gambrel::sim {

struct MergeSummary {
  std::uint64_t finished = 0;         ///< positions of the sweep
  std::optional<StateCounts> counts;  ///< of them; not known if ranges of the inputs overlap in part
  std::uint64_t stored = 0;           ///< rows
  std::size_t front = 0;
};

/// Adds what the inputs hold to `out`, which is made if it is not there; points that occur twice are the same point.
/// Nothing is written before all inputs are known to be of one sweep. Errors: an input that is no sweep's file, of
/// another sweep, or of a search that learns, which has no shards.
Result<MergeSummary> merge_stores(const std::string& out, const std::vector<std::string>& inputs, const SweepContext& context);

}  // namespace gambrel::sim

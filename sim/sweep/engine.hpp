// Runs a sweep: a search names points, threads or MPI ranks evaluate them, one writer stores them. Resumes what is there.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>

#include "base/result.hpp"
#include "sim/sweep/design_point.hpp"
#include "sim/sweep/search.hpp"
#include "sim/sweep/store.hpp"

namespace gambrel::sim {

struct SweepProgress {
  std::uint64_t done = 0, total = 0;  ///< points of this shard, those of earlier sessions included; total 0: not known
  std::uint64_t computed = 0;         ///< in this session
  double seconds = 0;                 ///< of this session
};

struct SweepOptions {
  SearchOptions search;
  unsigned jobs = 0;                  ///< threads; 0: one a core. MPI ranks have one each
  unsigned shard = 1, shards = 1;     ///< this process does part `shard` of `shards`, counted from 1
  const std::atomic<bool>* stop = nullptr;               ///< becomes true: commit what is done and return
  std::function<void(const SweepProgress&)> progress;    ///< called about four times a second, from another thread
};

struct SweepSummary {
  std::uint64_t total = 0, done = 0;  ///< points of this shard
  std::uint64_t computed = 0;         ///< in this session; the others were stored already
  std::optional<StateCounts> counts;  ///< of all finished points of the file
  std::size_t front = 0;              ///< points on the Pareto front of the file; 0 without objectives
  bool interrupted = false;
  double seconds = 0;
};

/// Evaluates what the store has not got yet. What the store holds at the end depends on neither threads, shards, ranks,
/// interruptions nor on other processes that write to it. What is kept is the store's `keep`.
/// Errors: the store cannot be written (what was committed stays); an unknown search; a shard of a search that learns;
/// no objective where the search or `keep` needs one.
Result<SweepSummary> run_sweep(const DesignSpace& space, ResultStore& store, const SweepOptions& options);

/// Positions [first, second) of part `shard` of `shards`, counted from 1.
std::pair<std::uint64_t, std::uint64_t> shard_of(std::uint64_t size, unsigned shard, unsigned shards);

}  // namespace gambrel::sim

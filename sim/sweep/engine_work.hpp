// The parts of the engine: what is to be done, evaluating it, and writing it down.
#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <functional>
#include <mutex>
#include <optional>
#include <thread>
#include <vector>

#include "sim/sweep/engine.hpp"
#include "sim/sweep/search_sequence.hpp"

namespace gambrel::sim {

using Clock = std::chrono::steady_clock;
inline double seconds_since(Clock::time_point start) { return std::chrono::duration<double>(Clock::now() - start).count(); }

/// Hands out the unfinished parts of [first, last), each worth about 20 ms. Used from many threads.
class WorkSource {
 public:
  WorkSource(FinishedRanges finished, std::uint64_t first, std::uint64_t last) : taken_(std::move(finished)), next_(first), last_(last) {}
  std::optional<FinishedRange> next();
  /// What others have finished meanwhile is not handed out any more.
  void skip(const FinishedRanges& finished);
  void took(std::uint64_t points, double seconds);

 private:
  std::mutex mutex_;
  FinishedRanges taken_;
  std::uint64_t next_, last_;
  double points_per_batch_ = 16;
};

/// Evaluates points in one thread.
class BatchEvaluator {
 public:
  BatchEvaluator(const DesignSpace& space, const Sequence* sequence, const Keep& keep, const std::atomic<bool>* stop);
  /// Those positions, fewer if the stop flag is raised, with the points that a store may want to keep.
  Batch evaluate(const FinishedRange& work);
  /// One point, its key included. The result lives until the next call.
  const StoredPoint& evaluate(std::uint64_t index);

 private:
  void compute(std::uint64_t index);
  void go_to(std::uint64_t index);

  const DesignSpace& space_;
  const Sequence* sequence_;
  const std::atomic<bool>* stop_;
  std::vector<std::uint32_t> sizes_;
  std::unique_ptr<PointEvaluator> evaluator_;
  std::unique_ptr<Selection> seen_;  ///< of everything this thread has seen: what it refuses, no store would take
  Coordinates coordinates_;
  std::uint64_t at_ = 0;             ///< index of coordinates_
  StoredPoint current_;
};

/// Commits batches from a thread of its own, all that came in meanwhile at once: at 100 rows or after 250 ms.
class BatchWriter {
 public:
  /// `after_commit` runs in the writer's thread after each commit; `others`: other processes have written meanwhile.
  BatchWriter(ResultStore& store, std::function<void(bool others)> after_commit);
  ~BatchWriter();
  /// Waits while much is pending. False: writing has failed, or all is over.
  bool add(Batch batch);
  /// Writes what is pending and ends. Error: the first commit that failed.
  Result<void> finish();

 private:
  void work();

  ResultStore& store_;
  std::function<void(bool)> after_commit_;
  std::mutex mutex_;
  std::condition_variable more_, less_;
  std::vector<Batch> pending_;
  std::size_t pending_rows_ = 0, pending_points_ = 0;
  bool ending_ = false, failed_ = false;
  Diagnostics problem_;
  std::jthread thread_;
};

/// Evaluates points, in any order; the result has their order. Fewer if the stop flag is raised.
using EvaluateAll = std::function<std::vector<StoredPoint>(const std::vector<std::uint64_t>& indices)>;

/// The loop of a search that learns. Points that the store holds are not evaluated again.
Result<void> run_learning(const DesignSpace& space, ResultStore& store, const SweepOptions& options, const EvaluateAll& evaluate, SweepSummary& summary);

/// What is common to all ways of evaluating a sequence: the summary's figures and the progress, around `evaluate_all`,
/// which takes work from the source, evaluates it and adds it to the writer until there is none.
Result<void> run_sequence(ResultStore& store, const SweepOptions& options, const Sequence& sequence, SweepSummary& summary,
                          const std::function<void(WorkSource&, BatchWriter&)>& evaluate_all);

}  // namespace gambrel::sim

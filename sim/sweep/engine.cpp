// Threads by TBB: a pipeline whose first stage hands out work, whose second evaluates and whose last hands to the writer.
#include "sim/sweep/engine.hpp"

#include <fmt/format.h>
#include <tbb/enumerable_thread_specific.h>
#include <tbb/global_control.h>
#include <tbb/parallel_for.h>
#include <tbb/parallel_pipeline.h>
#include <tbb/task_arena.h>

#include <algorithm>
#include <thread>

#include "sim/sweep/engine_work.hpp"
#include "sim/sweep/mpi_engine.hpp"

namespace gambrel::sim {
namespace {

/// So many threads for a while, even if there are fewer cores.
class Threads {
 public:
  explicit Threads(unsigned jobs)
      : count_(jobs > 0 ? jobs : std::max(1u, std::thread::hardware_concurrency())), control_(tbb::global_control::max_allowed_parallelism, std::max(count_, std::max(1u, std::thread::hardware_concurrency()))), arena_(static_cast<int>(count_)) {}
  unsigned count() const { return count_; }
  tbb::task_arena& arena() { return arena_; }

 private:
  unsigned count_;
  tbb::global_control control_;
  tbb::task_arena arena_;
};

/// One evaluator a thread, made by the thread that uses it.
class Evaluators {
 public:
  Evaluators(const DesignSpace& space, const Sequence* sequence, const Keep& keep, const std::atomic<bool>* stop)
      : each_([=, &space] { return std::make_unique<BatchEvaluator>(space, sequence, keep, stop); }) {}
  BatchEvaluator& mine() { return *each_.local(); }

 private:
  tbb::enumerable_thread_specific<std::unique_ptr<BatchEvaluator>> each_;
};

void evaluate_by_threads(const DesignSpace& space, const Sequence& sequence, const Keep& keep, const SweepOptions& options, WorkSource& source, BatchWriter& writer) {
  Threads threads(options.jobs);
  Evaluators evaluators(space, &sequence, keep, options.stop);
  std::atomic<bool> over = false;
  const auto take = [&](tbb::flow_control& flow) -> FinishedRange {
    if (!over && !(options.stop && *options.stop))
      if (const auto work = source.next()) return *work;
    flow.stop();
    return {};
  };
  const auto evaluate = [&](const FinishedRange& work) {
    const auto start = Clock::now();
    Batch batch = evaluators.mine().evaluate(work);
    source.took(batch.states.size(), seconds_since(start));
    return std::make_shared<Batch>(std::move(batch));
  };
  const auto hand_over = [&](const std::shared_ptr<Batch>& batch) {
    if (!writer.add(std::move(*batch))) over = true;
  };
  threads.arena().execute([&] {
    tbb::parallel_pipeline(2 * threads.count(), tbb::make_filter<void, FinishedRange>(tbb::filter_mode::serial_in_order, take) &
                                                    tbb::make_filter<FinishedRange, std::shared_ptr<Batch>>(tbb::filter_mode::parallel, evaluate) &
                                                    tbb::make_filter<std::shared_ptr<Batch>, void>(tbb::filter_mode::serial_out_of_order, hand_over));
  });
}

EvaluateAll by_threads(Threads& threads, Evaluators& evaluators, const std::atomic<bool>* stop) {
  return [&threads, &evaluators, stop](const std::vector<std::uint64_t>& indices) {
    std::vector<StoredPoint> points(indices.size());
    std::vector<char> done(indices.size(), 0);
    threads.arena().execute([&] {
      tbb::parallel_for(std::size_t{0}, indices.size(), [&](std::size_t i) {
        if (stop && *stop) return;
        points[i] = evaluators.mine().evaluate(indices[i]);
        done[i] = 1;
      });
    });
    points.resize(static_cast<std::size_t>(std::ranges::find(done, 0) - done.begin()));
    return points;
  };
}

Diagnostics problems(const DesignSpace& space, const Keep& keep, const SweepOptions& options) {
  const auto usage = [](std::string message, std::string hint) { return Diagnostics{{{}, std::move(message), std::move(hint), Fault::usage}}; };
  const bool learns = search_learns(options.search.kind);
  if (options.shard < 1 || options.shard > options.shards) return usage(fmt::format("there is no shard {} of {}", options.shard, options.shards), "count shards from 1");
  if (learns && options.shards > 1)
    return usage(fmt::format("{} learns from results, so its points cannot be shared out", options.search.kind), "use mpirun, or a search that does not learn");
  if (space.objectives().empty() && (learns || keep.kind != Keep::Kind::all))
    return usage(fmt::format("{} needs an objective", learns ? options.search.kind : "--keep " + to_string(keep)), "state `objectives:` in the sweep file, or --keep all");
  return {};
}

Result<void> run_points(const DesignSpace& space, ResultStore& store, const SweepOptions& options, SweepSummary& summary) {
  const Keep& keep = store.sweep().keep;
  const bool ranks = mpi_ranks().count > 1;
  if (search_learns(options.search.kind)) {
    if (ranks) return run_learning(space, store, options, evaluate_by_ranks(options.stop), summary);
    Threads threads(options.jobs);
    Evaluators evaluators(space, nullptr, {}, options.stop);
    return run_learning(space, store, options, by_threads(threads, evaluators, options.stop), summary);
  }
  const auto sequence = make_sequence(space, options.search);
  if (!sequence) return fail(sequence.error());
  return run_sequence(store, options, **sequence, summary, [&](WorkSource& source, BatchWriter& writer) {
    if (ranks) evaluate_by_ranks(options.stop, source, writer);
    else evaluate_by_threads(space, **sequence, keep, options, source, writer);
  });
}

}  // namespace

std::pair<std::uint64_t, std::uint64_t> shard_of(std::uint64_t size, unsigned shard, unsigned shards) {
  const auto start = [&](unsigned s) { return size / shards * s + std::min<std::uint64_t>(s, size % shards); };
  return {start(shard - 1), start(shard)};
}

Result<void> run_sequence(ResultStore& store, const SweepOptions& options, const Sequence& sequence, SweepSummary& summary,
                          const std::function<void(WorkSource&, BatchWriter&)>& evaluate_all) {
  const auto start = Clock::now();
  const auto [first, last] = shard_of(sequence.size(), options.shard, options.shards);
  summary.total = last - first;
  const std::uint64_t before = store.finished().covered(first, last);
  summary.done = before;
  if (before == summary.total) return {};
  WorkSource source(store.finished(), first, last);
  BatchWriter writer(store, [&, first = first, last = last](bool others) {
    summary.done = store.finished().covered(first, last);
    if (others) source.skip(store.finished());
    if (options.progress) options.progress({summary.done, summary.total, summary.done - before, seconds_since(start)});
  });
  evaluate_all(source, writer);
  auto written = writer.finish();
  summary.computed = summary.done - before;
  return written;
}

Result<SweepSummary> run_sweep(const DesignSpace& space, ResultStore& store, const SweepOptions& options) {
  if (Diagnostics found = problems(space, store.sweep().keep, options); !found.empty()) return fail(std::move(found));
  const auto start = Clock::now();
  SweepSummary summary;
  auto run = run_points(space, store, options, summary);
  release_ranks();
  if (!run) return fail(std::move(run.error()));
  summary.interrupted = options.stop && *options.stop && summary.done < summary.total;
  summary.seconds = seconds_since(start);
  summary.counts = store.finished().counts();
  if (!space.objectives().empty()) {
    auto written = store.write_front([&](const PointResult& point) {
      ++summary.front;
      return space.command(space.coordinates_of(point.index));
    });
    if (!written) return fail(std::move(written.error()));
  }
  if (auto ended = store.end_session(summary.interrupted ? "interrupted" : "finished", summary.computed, summary.seconds); !ended) return fail(std::move(ended.error()));
  return summary;
}

}  // namespace gambrel::sim

// What a sweep costs around its evaluations: rows made durable a second (goal: 15,000) and points through the engine,
// with memory that does not grow with their number (goal: 10^8 points under `--keep pareto` in 500 MB).
#include <benchmark/benchmark.h>

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <sys/resource.h>

#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>

#include "sim/sweep/engine.hpp"

namespace {

using namespace gambrel;
using namespace gambrel::sim;

constexpr std::size_t figures = 24;  ///< as many as a point of a real sweep has

/// Evaluation is a handful of multiplications: what is left is the engine.
class TrivialSpace final : public DesignSpace {
 public:
  explicit TrivialSpace(std::uint64_t points) {
    // Three axes, as even as they can be.
    const auto side = static_cast<std::uint64_t>(std::cbrt(static_cast<double>(points)) + 0.5);
    for (std::size_t a = 0; a < 3; ++a) {
      SweepAxis& axis = axes_.emplace_back();
      axis.paths = {fmt::format("key{}", a)};
      for (std::uint64_t v = 0; v < side; ++v) axis.values.push_back({fmt::format("{}", v)});
    }
    for (std::size_t f = 0; f < figures; ++f) columns_.push_back({fmt::format("figure{}_s", f), "", "s"});
  }
  const std::vector<SweepAxis>& axes() const override { return axes_; }
  const std::vector<FigureColumn>& columns() const override { return columns_; }
  const std::vector<Objective>& objectives() const override { return objectives_; }
  std::vector<std::string> constraints() const override { return {}; }
  std::string message(std::uint32_t) const override { return ""; }
  std::string canonical(std::span<const std::uint32_t> c) const override { return fmt::format("{}", fmt::join(c, " ")); }
  std::string command(std::span<const std::uint32_t> c) const override { return canonical(c); }
  std::unique_ptr<PointEvaluator> evaluator() const override {
    struct Trivial final : PointEvaluator {
      void evaluate(std::span<const std::uint32_t> c, PointResult& result) override {
        const double a = c[0] + 1.0, b = c[1] + 1.0, d = c[2] + 1.0;
        result.figures.assign(figures, a * b);
        result.figures[0] = 1000 / a + 1000 / b + 1000 / d;
        result.figures[1] = a + 2 * b + 3 * d;
      }
    };
    return std::make_unique<Trivial>();
  }

 private:
  std::vector<SweepAxis> axes_;
  std::vector<FigureColumn> columns_;
  std::vector<Objective> objectives_{{"figure0_s", 0, false}, {"figure1_s", 1, false}};
};

/// GAMBREL_BENCH_DB names the folder: the disk under it is what is measured.
std::string fresh_file() {
  const char* folder = std::getenv("GAMBREL_BENCH_DB");
  const auto path = (folder ? std::filesystem::path(folder) : std::filesystem::temp_directory_path()) / "gambrel-bench.sqlite";
  std::filesystem::remove(path);
  return path.string();
}

/// Resident memory of this process now, in MB.
double resident_mb() {
  std::ifstream file("/proc/self/statm");
  double pages = 0, resident = 0;
  file >> pages >> resident;
  return resident * 4096 / 1e6;
}

void report(benchmark::State& state, std::uint64_t points, const char* name) {
  state.counters[name] = benchmark::Counter(static_cast<double>(points) * static_cast<double>(state.iterations()), benchmark::Counter::kIsRate);
  state.counters["resident_MB"] = resident_mb();
}

void sweep(benchmark::State& state, const std::string& keep, const char* name) {
  const TrivialSpace space(static_cast<std::uint64_t>(state.range(0)));
  const Keep kept = parse_keep(keep).value();
  for (auto _ : state) {
    const std::string file = fresh_file();
    auto store = ResultStore::open(file, describe(space, {}, kept), {});
    const auto summary = run_sweep(space, *store, {});
    if (!summary || summary->done != space.size()) state.SkipWithError("the sweep did not end");
  }
  report(state, space.size(), name);
}

/// Every row committed to the disk, its key hashed, two threads beside the writer.
void keep_all(benchmark::State& state) { sweep(state, "all", "rows/s"); }
BENCHMARK(keep_all)->Arg(100'000)->Arg(1'000'000)->UseRealTime()->MeasureProcessCPUTime()->Unit(benchmark::kMillisecond);

void keep_pareto(benchmark::State& state) { sweep(state, "pareto", "points/s"); }
BENCHMARK(keep_pareto)->Arg(1'000'000)->Arg(10'000'000)->Arg(100'000'000)->UseRealTime()->MeasureProcessCPUTime()->Iterations(1)->Unit(benchmark::kMillisecond);

/// Commits of exactly that many rows each.
void commits_of(benchmark::State& state) {
  const TrivialSpace space(1'000'000);
  const std::string file = fresh_file();
  auto store = ResultStore::open(file, describe(space, {}, {}), {});
  const auto evaluator = space.evaluator();
  const auto rows = static_cast<std::uint64_t>(state.range(0));
  Batch batch;
  for (auto _ : state) {
    batch.first += batch.states.size();
    batch.states.assign(rows, PointState::ok);
    batch.points.clear();
    for (std::uint64_t i = batch.first; i < batch.first + rows; ++i) {
      StoredPoint& stored = batch.points.emplace_back();
      const Coordinates coordinates = space.coordinates_of(i);
      evaluator->evaluate(coordinates, stored.point);
      stored.point.index = i;
      stored.key = point_key(space.canonical(coordinates));
    }
    if (!store->commit({&batch, 1})) state.SkipWithError("commit failed");
  }
  report(state, rows, "rows/s");
}
BENCHMARK(commits_of)->Arg(100)->Arg(1000)->Iterations(100)->UseRealTime()->Unit(benchmark::kMillisecond);

void pareto_archive(benchmark::State& state) {
  const TrivialSpace space(1'000'000);
  const auto evaluator = space.evaluator();
  PointResult point;
  std::uint64_t points = 0;
  ParetoArchive archive(space.objectives());
  for (auto _ : state) {
    const std::uint64_t index = (points * 0x9e3779b97f4a7c15u) % space.size();
    evaluator->evaluate(space.coordinates_of(index), point);
    point.index = index;
    benchmark::DoNotOptimize(archive.add(point));
    ++points;
  }
  state.counters["front"] = static_cast<double>(archive.size());
}
BENCHMARK(pareto_archive);

}  // namespace

#include "kernels/suite/run_benchmarks.hpp"

#include <benchmark/benchmark.h>

#include <algorithm>
#include <string>

namespace gambrel::kernels {
namespace {

constexpr int repetitions = 8;  ///< into which a kernel's rounds are split

/// Google Benchmark's flags are its own business: one fixed command line, once a process.
void initialize() {
  static const bool done = [] {
    std::string words[]{"gambrel", "--benchmark_enable_random_interleaving=true", "--benchmark_repetitions=" + std::to_string(repetitions)};
    char* arguments[]{words[0].data(), words[1].data(), words[2].data(), nullptr};
    int count = 3;
    benchmark::Initialize(&count, arguments);
    return true;
  }();
  (void)done;
}

/// One repetition: as many iterations as it has rounds left, each a clean round if there is one to be had.
void repeat(benchmark::State& state, Prepared& one, const Sampling& sampling) {
  for ([[maybe_unused]] auto iteration : state) {
    const std::size_t before = one.measurement.clean.size();
    while (one.measurement.clean.size() == before && one.measurement.sampled < sampling.attempts) one.round();
    if (one.measurement.clean.size() == before) {
      state.SkipWithError("not measurable: every sample was disturbed");
      return;
    }
    state.SetIterationTime(one.measurement.clean.back().seconds);
  }
  state.counters["flops"] = benchmark::Counter(one.measurement.flops, benchmark::Counter::kIsIterationInvariantRate);
  state.counters["bytes"] = benchmark::Counter(one.measurement.bytes, benchmark::Counter::kIsIterationInvariantRate);
}

/// Prints nothing: hands each case on when all its repetitions are done.
class Feeder final : public benchmark::BenchmarkReporter {
 public:
  Feeder(std::vector<Prepared>& group, const std::function<void(const Measurement&)>& finished) : group_(group), finished_(finished) {}
  bool ReportContext(const Context&) override { return true; }
  void ReportRuns(const std::vector<Run>& runs) override {
    for (const Run& run : runs) {
      const auto one = std::ranges::find(group_, run.run_name.function_name, [](const Prepared& prepared) { return prepared.measurement.name; });
      if (one == group_.end() || run.run_type != Run::RT_Iteration) continue;
      if (finished_) finished_(one->measurement);
      return;
    }
  }

 private:
  std::vector<Prepared>& group_;
  const std::function<void(const Measurement&)>& finished_;
};

}  // namespace

std::vector<Measurement> run_benchmarks(std::span<const KernelCase> cases, const Sampling& sampling, const std::function<void(const Measurement&)>& finished) {
  initialize();
  std::vector<Measurement> measurements;
  while (!cases.empty()) {
    const auto group = next_group(cases);
    cases = cases.subspan(group.size());
    std::vector<Prepared> prepared;
    for (const KernelCase& kernel : group) prepared.push_back(prepare(kernel, sampling));
    for (Prepared& one : prepared)
      benchmark::RegisterBenchmark(one.measurement.name.c_str(), [&one, &sampling](benchmark::State& state) { repeat(state, one, sampling); })
          ->UseManualTime()
          ->Iterations(std::max(1, (sampling.rounds + repetitions - 1) / repetitions));
    Feeder feeder(prepared, finished);
    benchmark::RunSpecifiedBenchmarks(&feeder);
    benchmark::ClearRegisteredBenchmarks();
    for (Prepared& one : prepared) measurements.push_back(std::move(one.measurement));
  }
  return measurements;
}

}  // namespace gambrel::kernels

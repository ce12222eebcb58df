// The same kernels as a plain Google Benchmark: its counters flops and bytes, of one iteration, say what to hold them against.
// gambrel check --command './own_benchmark --benchmark_format=json --benchmark_repetitions=20 --benchmark_min_time=0.002'
#include <benchmark/benchmark.h>

#include <cstddef>
#include <vector>

namespace {

/// y = a x + y: 2 FLOPs and 12 bytes an element. Beyond the caches, as the reads are that gambrel holds a command against.
void saxpy(benchmark::State& state) {
  constexpr std::size_t n = 1 << 23;
  std::vector<float> x(n, 0.5f), y(n, 0.25f);
  for ([[maybe_unused]] auto iteration : state) {
    for (std::size_t i = 0; i < n; ++i) y[i] += 1e-6f * x[i];
    benchmark::ClobberMemory();
  }
  state.counters["flops"] = 2.0 * n;
  state.counters["bytes"] = 12.0 * n;
}

/// A polynomial of degree 15 by Horner's rule: 30 FLOPs and 8 bytes an element.
void polynomial(benchmark::State& state) {
  constexpr std::size_t n = 1 << 16;
  std::vector<float> x(n, 0.5f), y(n, 0.25f);
  for ([[maybe_unused]] auto iteration : state) {
    for (std::size_t i = 0; i < n; ++i) {
      float sum = 1;
      for (int power = 0; power < 15; ++power) sum = sum * x[i] + 0.5f;
      y[i] = sum;
    }
    benchmark::ClobberMemory();
  }
  state.counters["flops"] = 30.0 * n;
  state.counters["bytes"] = 8.0 * n;
}

BENCHMARK(saxpy)->Unit(benchmark::kMicrosecond);
BENCHMARK(polynomial)->Unit(benchmark::kMicrosecond);

}  // namespace

BENCHMARK_MAIN();

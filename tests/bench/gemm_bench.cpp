// What a GEMM prediction costs. Goals: at most 2 us cold, the search over tilings included, and 0.3 us with the tilings of
// its shape at hand; five million tilings a second.
#include <benchmark/benchmark.h>

#include "models/single_op.hpp"
#include "sim/kernel_models/gemm_cache.hpp"
#include "sim/kernel_models/gemm_model.hpp"
#include "sim/kernel_models/kernel_models.hpp"

namespace {

using namespace gambrel;
using sim::TileRule;

sim::ChipFigures chip() {
  sim::ChipFigures figures{.cores = 132, .clock = 1.83e9, .bandwidth = 3.35e12, .cache = 5e7, .cache_bandwidth = 5.5e12, .vector_rate = 6e13};
  figures.peak.fill(989e12);
  figures.runs_as.fill(Format::bf16);
  return figures;
}

/// Shapes of models from decode to prefill, none of them twice in a row: no call helps the next one's branches.
std::vector<sim::KernelCall> calls() {
  std::vector<sim::KernelCall> result;
  for (double k : {512, 4096, 16384})
    for (double n : {256, 1024, 4096, 10240})
      for (double m : {1, 16, 64, 129, 257, 512, 2048, 8192})
        result.emplace_back().op = models::single_gemm(m, n, k, Format::bf16, Format::bf16, Format::bf16);
  return result;
}

std::vector<double> constants(TileRule rule) {
  std::vector<double> values;
  for (const sim::Constant& c : sim::gemm_model.constants) values.push_back(c.name == "tile_rule" ? static_cast<double>(rule) : c.usual);
  return values;
}

sim::GemmShape shape_of(const sim::KernelCall& call) { return {call.dim(models::Dim::m), call.dim(models::Dim::n), call.dim(models::Dim::k), 64}; }

void report(benchmark::State& state, TileRule rule, std::size_t done, const std::vector<sim::KernelCall>& all) {
  double tilings = 0;
  sim::Tilings found;
  for (const auto& call : all) {
    sim::enumerate_tilings(shape_of(call), chip().cores, rule, found);
    tilings += found.split_count;
  }
  tilings *= static_cast<double>(done) / static_cast<double>(all.size());
  state.counters["predictions"] = benchmark::Counter(static_cast<double>(done), benchmark::Counter::kIsRate);
  state.counters["tilings"] = benchmark::Counter(tilings, benchmark::Counter::kIsRate);
}

void gemm_prediction(benchmark::State& state, TileRule rule) {
  const auto all = calls();
  const auto values = constants(rule);
  const auto on = chip();
  std::size_t i = 0;
  for (auto _ : state) benchmark::DoNotOptimize(sim::gemm_model.predict(all[i++ % all.size()], on, values));
  report(state, rule, i, all);
}
BENCHMARK_CAPTURE(gemm_prediction, few_tiles, TileRule::few);
BENCHMARK_CAPTURE(gemm_prediction, many_tiles, TileRule::many);
BENCHMARK_CAPTURE(gemm_prediction, one_tile, TileRule::one);

/// The tilings of these shapes are at hand, and the chip's rates change from call to call. `kept`: tilings a shape that no
/// other beats under all rates.
void gemm_prepared(benchmark::State& state, TileRule rule) {
  const auto all = calls();
  const auto values = constants(rule);
  auto on = chip();
  std::vector<sim::PreparedGemm> prepared;
  for (const auto& call : all) prepared.emplace_back(call, on, values);
  std::size_t i = 0;
  double kept = 0;
  for (const auto& p : prepared) kept += static_cast<double>(p.tilings());
  for (auto _ : state) {
    on.bandwidth = 3.35e12 * (1 + 0.01 * static_cast<double>(i % 7));
    benchmark::DoNotOptimize(prepared[i++ % prepared.size()].seconds(on));
  }
  report(state, rule, i, all);
  state.counters["kept"] = kept / static_cast<double>(all.size());
}
BENCHMARK_CAPTURE(gemm_prepared, few_tiles, TileRule::few);
BENCHMARK_CAPTURE(gemm_prepared, many_tiles, TileRule::many);
BENCHMARK_CAPTURE(gemm_prepared, one_tile, TileRule::one);

/// The same found by call.
void gemm_cached(benchmark::State& state, TileRule rule) {
  const auto all = calls();
  auto on = chip();
  sim::GemmCache cache(on, constants(rule));
  std::size_t i = 0;
  for (auto _ : state) {
    on.bandwidth = 3.35e12 * (1 + 0.01 * static_cast<double>(i % 7));
    benchmark::DoNotOptimize(cache.seconds(all[i++ % all.size()], on));
  }
  report(state, rule, i, all);
}
BENCHMARK_CAPTURE(gemm_cached, few_tiles, TileRule::few);
BENCHMARK_CAPTURE(gemm_cached, many_tiles, TileRule::many);

void gemm_preparation(benchmark::State& state, TileRule rule) {
  const auto all = calls();
  const auto values = constants(rule);
  const auto on = chip();
  std::size_t i = 0;
  for (auto _ : state) benchmark::DoNotOptimize(sim::PreparedGemm(all[i++ % all.size()], on, values).tilings());
  report(state, rule, i, all);
}
BENCHMARK_CAPTURE(gemm_preparation, few_tiles, TileRule::few);
BENCHMARK_CAPTURE(gemm_preparation, many_tiles, TileRule::many);

void gemm_tilings(benchmark::State& state, TileRule rule) {
  const auto all = calls();
  const double cores = chip().cores;
  sim::Tilings found;
  std::size_t i = 0;
  for (auto _ : state) {
    sim::enumerate_tilings(shape_of(all[i++ % all.size()]), cores, rule, found);
    benchmark::DoNotOptimize(found);
  }
  report(state, rule, i, all);
}
BENCHMARK_CAPTURE(gemm_tilings, few_tiles, TileRule::few);
BENCHMARK_CAPTURE(gemm_tilings, many_tiles, TileRule::many);
BENCHMARK_CAPTURE(gemm_tilings, one_tile, TileRule::one);

}  // namespace

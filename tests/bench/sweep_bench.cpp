// Design points a second. Goal: 300,000 full points a second on two cores for one-chip decode, exhaustive.
#include <benchmark/benchmark.h>

#include "base/catalog.hpp"
#include "base/load.hpp"
#include "sim/sweep/run_space.hpp"

namespace {

using namespace gambrel;

std::unique_ptr<sim::RunSpace> space_of(const std::string& text) {
  static const Catalog catalog(GAMBREL_SOURCE_DIR "/configs");
  return sim::read_sweep(catalog, parse_yaml(text, "bench.yaml").value(), {}).and_then([](sim::SweepFile file) { return sim::RunSpace::open(catalog, std::move(file)); }).value();
}

/// Every point in the order of the space, all operators, kernel models with calibrated constants.
void exhaust(benchmark::State& state, const std::string& text) {
  const auto space = space_of(text);
  const auto evaluator = space->evaluator();
  const std::uint64_t size = space->size();
  sim::PointResult result;
  std::uint64_t index = 0;
  for (auto _ : state) {
    evaluator->evaluate(space->coordinates_of(index), result);
    benchmark::DoNotOptimize(result.figures.data());
    index = index + 1 == size ? 0 : index + 1;
  }
  state.SetItemsProcessed(state.iterations());
}

const std::string decode = R"(
model: llama-3.1-70b
system: h200-sxm
precision: {weights: fp8, activations: fp8, kv_cache: fp8}
)";
BENCHMARK_CAPTURE(exhaust, chip_axes, decode + R"(
workload: {phase: decode, batch: 32, context: 8192}
set:
  chip.memory.HBM.bandwidth: {sweep: {from: 1 TB/s, to: 20 TB/s, count: 100}}
  chip.compute.matrix.peak.fp8_e4m3: {sweep: {from: 500 TFLOP/s, to: 5000 TFLOP/s, count: 50}}
  chip.memory.L2.capacity: {sweep: {from: 16 MiB, to: 512 MiB, factor: 2}}
)");
BENCHMARK_CAPTURE(exhaust, hypothetical_chip_axes, decode + R"(
hypothetical: true
workload: {phase: decode, batch: 32, context: 8192}
set:
  chip.memory.HBM.bandwidth: {sweep: {from: 1 TB/s, to: 20 TB/s, count: 100}}
  chip.compute.matrix.peak.fp8_e4m3: {sweep: {from: 500 TFLOP/s, to: 5000 TFLOP/s, count: 50}}
  chip.memory.L2.capacity: {sweep: {from: 16 MiB, to: 512 MiB, factor: 2}}
)");
BENCHMARK_CAPTURE(exhaust, chip_and_workload_axes, decode + R"(
workload: {phase: decode, batch: {sweep: {from: 1, to: 256, factor: 2}}, context: {sweep: {from: 1024, to: 131072, factor: 2}}}
set:
  chip.memory.HBM.bandwidth: {sweep: {from: 1 TB/s, to: 20 TB/s, count: 100}}
  chip.compute.matrix.peak.fp8_e4m3: {sweep: {from: 500 TFLOP/s, to: 5000 TFLOP/s, count: 50}}
)");

/// The definition, for comparison: each point read from its files.
void define(benchmark::State& state) {
  const auto space = space_of(decode + "workload: {phase: decode, batch: {sweep: [8, 16, 32]}, context: 8192}\n");
  const auto evaluator = space->reference_evaluator();
  sim::PointResult result;
  std::uint64_t index = 0;
  for (auto _ : state) evaluator->evaluate(space->coordinates_of(index++ % 3), result);
  state.SetItemsProcessed(state.iterations());
}
BENCHMARK(define)->Unit(benchmark::kMillisecond);

}  // namespace

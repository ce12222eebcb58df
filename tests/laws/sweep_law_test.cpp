// Sweeps: the fast evaluation equals the definition, bit for bit, whatever was evaluated before.
#include <doctest/doctest.h>

#include <bit>
#include <cstdint>
#include <random>

#include "../unit/sweep_support.hpp"

namespace {

using namespace gambrel;
using namespace gambrel::test;

std::string bits_of(const sim::PointResult& point) {
  std::string text = fmt::format("state {} reason {}", static_cast<int>(point.state), point.reason);
  for (double figure : point.figures) text += fmt::format(" {:x}", std::isnan(figure) ? 0 : std::bit_cast<std::uint64_t>(figure));
  return text;
}

/// Random points in random order, some of them twice, by one evaluator; each also by the definition.
void check_equal(const std::string& text, int points, unsigned seed) {
  const auto space = space_of(text);
  const auto fast = space->evaluator(), definition = space->reference_evaluator();
  std::mt19937_64 random(seed);
  int possible = 0;
  for (int i = 0; i < points; ++i) {
    const std::uint64_t index = random() % space->size();
    const sim::PointResult quick = point_of(*fast, *space, index), defined = point_of(*definition, *space, index);
    possible += quick.state != sim::PointState::impossible;
    CHECK_MESSAGE(bits_of(quick) == bits_of(defined), space->command(space->coordinates_of(index)) << "\n" << space->message(quick.reason) << " | " << space->message(defined.reason));
  }
  CHECK(possible > 0);
}

}  // namespace

TEST_CASE("law: a dense decode on a chip of many rates") {
  check_equal(R"(
model: llama-3.1-8b
system: h100-sxm
workload: {phase: decode, batch: {sweep: [1, 3, 32, 100, 700]}, context: {sweep: {from: 128, to: 32768, factor: 4}}}
precision: {weights: {sweep: [bf16, fp8, int4_wo]}}
set:
  chip.memory.HBM.bandwidth: {sweep: [0.5x, 1x, 6 TB/s]}
  chip.memory.HBM.capacity: {sweep: [24 GB, 1x, 2x]}
  chip.memory.L2.capacity: {sweep: [0.25x, 1x, 4x]}
  chip.compute.matrix.peak.bf16: {sweep: [0.1x, 1x, 3x]}
  chip.compute.vector.clock: {sweep: [0.5x, 1x]}
  chip.hierarchy.core.count: {sweep: [66, 132, 200]}
constraints: ["memory.peak < 0.9 * chip.memory.HBM.capacity", "power < 700 W"]
derived: {headroom: chip.memory.HBM.capacity - memory.peak}
)", 60, 1);
}

TEST_CASE("law: hypothetical chips are costed alike") {
  check_equal(R"(
model: llama-3.1-8b
system: h100-sxm
hypothetical: true
workload: {phase: prefill, batch: {sweep: [1, 4]}, new_tokens: {sweep: [100, 2048]}}
set:
  chip.memory.HBM.bandwidth: {sweep: [0.5x, 1x, 2x]}
  chip.memory.SMEM.capacity: {sweep: [0.5x, 1x, 2x]}
  chip.compute.matrix.peak.bf16: {sweep: [0.5x, 2x]}
  chip.price.hourly: {sweep: [1x, 2x]}
)", 30, 2);
}

TEST_CASE("law: routed experts, latent attention, systolic arrays, sparse weights") {
  check_equal(R"(
model: {sweep: [deepseek-v2-lite, tiny-mixtral]}
system: {sweep: [h200-sxm, tpu-v5e, mi300x]}
workload: {phase: decode, batch: {sweep: [1, 16, 64]}, context: {sweep: [1024, 5000]}}
sparsity: {weights: {sweep: [none, "2:4"]}}
set: {chip.memory.HBM.bandwidth: {sweep: [0.5x, 1x]}}
)", 30, 3);
}

TEST_CASE("law: plans, generations, host tiers, largest batches, zipped axes") {
  check_equal(R"(
model: llama-3.1-8b
system: dgx-h100
workload: {phase: decode, batch: {sweep: [max, 8]}, context: 2048}
plan: {tensor: {sweep: [1, 2, 3, 8]}}
set: {chip.memory.HBM.bandwidth: {sweep: [1x, 2x]}, system.network.nvlink.bandwidth: {sweep: [1x, 0.5x]}}
)", 12, 4);
  check_equal(R"(
model: llama-3.2-1b
system: h100-sxm
workload: {phase: generate, batch: {sweep: [1, 8]}, input: 256, output: {sweep: [1, 40]}}
set: {chip.memory.HBM.bandwidth: {sweep: [1x, 2x]}, chip.compute.matrix.peak.bf16: {sweep: [1x, 2x]}}
zip: [[chip.memory.HBM.bandwidth, chip.compute.matrix.peak.bf16]]
)", 6, 5);
  check_equal(R"(
model: llama-3.1-70b
system: h100-sxm
workload: {phase: decode, batch: {sweep: [1, 8, 64]}, context: {sweep: [1024, 16384]}}
placement: {weights: [HBM, DRAM], kv_cache: HBM}
set: {chip.memory.HBM.capacity: {sweep: [40 GB, 80 GB, 200 GB]}, chip.host.link.bandwidth: {sweep: [1x, 4x]}}
)", 16, 6);
}

TEST_CASE("law: several workloads make one figure, however they are evaluated") {
  check_equal(R"(
model: llama-3.1-8b
system: h100-sxm
workloads:
  - {weight: 3, workload: {phase: decode, batch: 32, context: 4096}}
  - {weight: 1, workload: {phase: prefill, batch: 1, new_tokens: 2048}, precision: {weights: fp8, activations: fp8}}
set: {chip.memory.HBM.bandwidth: {sweep: [0.5x, 1x, 2x]}, chip.compute.matrix.clock: {sweep: [1x, 1.5x]}}
)", 8, 7);
}

TEST_CASE("law: a point's canonical text is the design's, not the sweep's") {
  const auto a = space_of("model: llama-3.1-8b\nsystem: h100-sxm\nworkload: {phase: decode, batch: {sweep: [1, 32]}, context: 4096}\n");
  const auto b = space_of("run: other\nsystem: h100-sxm\nmodel: llama-3.1-8b\nworkload: {phase: decode, context: {sweep: [8192, 4096, 1]}, batch: 32}\n");
  const std::vector<std::uint32_t> of_a{1}, of_b{1}, else_b{0};
  CHECK(a->canonical(of_a) == b->canonical(of_b));
  CHECK(a->canonical(of_a) != b->canonical(else_b));
}

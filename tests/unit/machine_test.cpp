// A chip as the cost model sees it: levels in a row, what crosses them, and the format that arithmetic runs in.
#include "sim/machine.hpp"

#include "run_support.hpp"

using namespace gambrel;
using namespace gambrel::test;
using models::Role;
using sim::Machine;
using sim::Placement;

namespace {

hw::Chip shipped_chip(const std::string& name, const std::vector<std::string>& set = {}) {
  return run_of("model: llama-3.2-1b\nsystem: " + name + "\nworkload: {phase: decode, batch: 1, context: 8}\n", set).system.chip();
}

const sim::MathRate& rate(const Machine& machine, Format format) { return machine.matrix[static_cast<std::size_t>(format)]; }

/// Everything in one level.
sim::Shares all_in(const Machine& machine, std::string_view level) {
  sim::Shares shares;
  for (auto& share : shares) {
    share.assign(machine.levels.size(), 0.0);
    share[machine.index(level)] = 1;
  }
  return shares;
}

/// The levels that the bytes of a role cross.
std::string crossed(const Machine& machine, const sim::Shares& shares, Role role) {
  std::string names;
  const auto crossing = sim::crossing(machine, shares);
  for (std::size_t i = 0; i < machine.levels.size(); ++i)
    if (const double share = crossing[i][static_cast<std::size_t>(role)]; share > 0) names += fmt::format("{}{}={}", names.empty() ? "" : " ", machine.levels[i], share);
  return names;
}

}  // namespace

TEST_CASE("machine: the chip's memories in order, host tiers only where something is placed") {
  const hw::Chip chip = shipped_chip("dgx-h100");
  const Machine bare = sim::make_machine(chip, {}, "");
  CHECK(bare.levels == std::vector<std::string>{"HBM", "L2", "SMEM"});
  CHECK(bare.main_level == 0);
  CHECK(bare.bandwidth == std::vector<double>{3.35e12, 5.5e12, 33.5e12});
  CHECK(bare.inner == std::vector<int>{1, 2, -1});

  const Machine dram = sim::make_machine(chip, {.kv_cache = {"HBM", "DRAM"}}, "");
  CHECK(dram.levels == std::vector<std::string>{"DRAM", "HBM", "L2", "SMEM"});
  CHECK(dram.main_level == 1);
  CHECK(dram.bandwidth[0] == 63e9);  // the link, not the DRAM behind it
  CHECK(dram.capacity[0] == 2e12);
  CHECK(dram.inner == std::vector<int>{1, 2, 3, -1});

  const Machine disk = sim::make_machine(chip, {.experts = {"NVMe"}}, "");
  CHECK(disk.levels == std::vector<std::string>{"NVMe", "DRAM", "HBM", "L2", "SMEM"});
  CHECK(disk.main_level == 2);
  CHECK(disk.bandwidth[0] == 63e9);
}

TEST_CASE("machine: a host tier slower than its link keeps its own rate") {
  hw::Chip chip = chip_of({});
  chip.host_memory = {{.level = "DRAM", .bandwidth = BytesPerSecond{20e9}}, {.level = "NVMe", .bandwidth = BytesPerSecond{5e9}}};
  chip.host_link = BytesPerSecond{50e9};
  const Placement far{.weights = {"NVMe"}};
  CHECK(sim::make_machine(chip, far, "").bandwidth == std::vector<double>{5e9, 20e9, 1e12});
  chip.host_link = BytesPerSecond{0};
  CHECK(sim::make_machine(chip, far, "").bandwidth == std::vector<double>{5e9, 20e9, 1e12});
  chip.host_link = BytesPerSecond{2e9};
  CHECK(sim::make_machine(chip, far, "").bandwidth == std::vector<double>{2e9, 2e9, 1e12});
}

TEST_CASE("machine: bytes cross where they lie and everything further in") {
  const Machine machine = sim::make_machine(shipped_chip("dgx-h100"), {.weights = {"NVMe"}}, "");
  CHECK(crossed(machine, all_in(machine, "NVMe"), Role::weight) == "NVMe=1 DRAM=1 HBM=1 L2=1 SMEM=1");
  CHECK(crossed(machine, all_in(machine, "HBM"), Role::weight) == "HBM=1 L2=1 SMEM=1");
  CHECK(crossed(machine, all_in(machine, "SMEM"), Role::kv_cache) == "SMEM=1");
  sim::Shares split = all_in(machine, "HBM");
  auto& weights = split[static_cast<std::size_t>(Role::weight)];
  weights[machine.index("HBM")] = 0.75;
  weights[machine.index("DRAM")] = 0.25;
  CHECK(crossed(machine, split, Role::weight) == "DRAM=0.25 HBM=1 L2=1 SMEM=1");
  CHECK(crossed(machine, split, Role::activation) == "HBM=1 L2=1 SMEM=1");
}

TEST_CASE("machine: of memories side by side the way in leads through one, and the other holds what is placed there") {
  SmallChip small;
  small.memory = {{.level = "HBM", .bandwidth = BytesPerSecond{1e12}},
                  {.level = "A", .bandwidth = BytesPerSecond{4e12}, .behind = 0},
                  {.level = "B", .bandwidth = BytesPerSecond{2e12}, .behind = 0},
                  {.level = "B2", .bandwidth = BytesPerSecond{8e12}, .behind = 2}};
  const Machine machine = sim::make_machine(chip_of(small), {}, "");
  CHECK(machine.inner == std::vector<int>{2, -1, 3, -1});  // the deeper branch
  CHECK(crossed(machine, all_in(machine, "HBM"), Role::activation) == "HBM=1 B=1 B2=1");
  CHECK(crossed(machine, all_in(machine, "A"), Role::kv_cache) == "A=1");

  const Machine twins = sim::make_machine(shipped_chip("example-lpddr-sram-inference"), {}, "");
  CHECK(twins.levels == std::vector<std::string>{"LPDDR", "WSRAM", "ASRAM"});
  CHECK(crossed(twins, all_in(twins, "LPDDR"), Role::weight) == "LPDDR=1 WSRAM=1");
  CHECK(crossed(twins, all_in(twins, "ASRAM"), Role::kv_cache) == "ASRAM=1");
}

TEST_CASE("machine: a format that a chip lacks runs in the nearest one that holds its values") {
  const Machine a100 = sim::make_machine(shipped_chip("a100-sxm-80gb"), {}, "");
  CHECK(rate(a100, Format::bf16).runs_as == Format::bf16);
  CHECK(rate(a100, Format::bf16).rate == 312e12);
  CHECK(rate(a100, Format::bf16).unit == "matrix");
  for (Format narrow : {Format::fp8_e4m3, Format::fp8_e5m2, Format::mxfp8, Format::mxfp6, Format::mxfp4, Format::nvfp4}) {
    CHECK_MESSAGE(rate(a100, narrow).runs_as == Format::bf16, to_string(narrow));
    CHECK(rate(a100, narrow).rate == 312e12);
  }
  CHECK(rate(a100, Format::int4).runs_as == Format::int4);
  CHECK(rate(a100, Format::int2).runs_as == Format::int8);
  CHECK(rate(a100, Format::sign1).runs_as == Format::int8);
  CHECK(rate(a100, Format::fp32).runs_as == Format::fp32);  // on the vector unit: tf32 would not hold it
  CHECK(rate(a100, Format::fp32).unit == "vector");
  CHECK(rate(a100, Format::tf32).rate == 156e12);

  const Machine v100 = sim::make_machine(shipped_chip("v100-sxm2"), {}, "");
  CHECK(rate(v100, Format::bf16).runs_as == Format::fp16);
  CHECK(rate(v100, Format::bf16).rate == 125e12);
  CHECK(rate(v100, Format::int8).runs_as == Format::fp16);

  const Machine h100 = sim::make_machine(shipped_chip("h100-sxm"), {}, "");
  CHECK(rate(h100, Format::mxfp4).runs_as == Format::fp8_e4m3);
  CHECK(rate(h100, Format::fp8_e5m2).runs_as == Format::fp8_e5m2);
  CHECK(rate(h100, Format::int4).runs_as == Format::int8);

  const Machine v5e = sim::make_machine(shipped_chip("tpu-v5e"), {}, "");
  CHECK(rate(v5e, Format::fp16).runs_as == Format::bf16);
  CHECK(rate(v5e, Format::fp8_e4m3).runs_as == Format::bf16);
}

TEST_CASE("machine: a chip that only knows integers computes everything in them") {
  const Machine machine = sim::make_machine(shipped_chip("tpu-v1"), {}, "");
  for (int f = 0; f < format_count; ++f) {
    CHECK(machine.matrix[static_cast<std::size_t>(f)].runs_as == Format::int8);
    CHECK(machine.matrix[static_cast<std::size_t>(f)].rate == 92e12);
  }
  CHECK(machine.vector_rate == 92e12);
  CHECK(machine.vector_unit == "matrix");
}

TEST_CASE("machine: vector work runs at the vector unit's fp32 rate, or the nearest there is") {
  const Machine h100 = sim::make_machine(shipped_chip("h100-sxm"), {}, "");
  CHECK(h100.vector_rate == 66.9e12);
  CHECK(h100.vector_unit == "vector");
  const Machine v4i = sim::make_machine(shipped_chip("tpu-v4i"), {}, "");
  CHECK(v4i.vector_rate == 138e12);
  CHECK(v4i.vector_unit == "matrix");
}

TEST_CASE("machine: zeros are skipped only in the pattern that the unit knows") {
  const hw::Chip h100 = shipped_chip("h100-sxm");
  CHECK(rate(sim::make_machine(h100, {}, "2:4"), Format::bf16).sparse_rate == 2 * 989e12);
  CHECK(rate(sim::make_machine(h100, {}, "2:4"), Format::bf16).rate == 989e12);
  CHECK(rate(sim::make_machine(h100, {}, "1:4"), Format::bf16).sparse_rate == 2 * 989e12);  // any four hold at most two
  CHECK(rate(sim::make_machine(h100, {}, "4:8"), Format::bf16).sparse_rate == 989e12);      // four of them may be neighbours
  CHECK(rate(sim::make_machine(h100, {}, ""), Format::bf16).sparse_rate == 989e12);
  CHECK(rate(sim::make_machine(shipped_chip("v100-sxm2"), {}, "2:4"), Format::fp16).sparse_rate == 125e12);
}

TEST_CASE("machine: a unit that can only do some operations computes no matrix product") {
  hw::Chip chip = chip_of({});
  hw::ComputeUnit in_memory{.name = "pim", .kind = hw::UnitKind::vector, .at = "HBM"};
  in_memory.peak = {{Format::bf16, FlopsPerSecond{900e12}}, {Format::fp32, FlopsPerSecond{900e12}}};
  in_memory.ops = {"gemv"};
  chip.compute.push_back(in_memory);
  const Machine machine = sim::make_machine(chip, {}, "");
  CHECK(rate(machine, Format::bf16).unit == "matrix");
  CHECK(machine.vector_unit == "vector");
}

TEST_CASE("machine: energies of what the chip states or its process tells, 0 where neither does") {
  const Machine a100 = sim::make_machine(shipped_chip("a100-sxm-80gb"), {}, "");
  CHECK(a100.energy[0] == doctest::Approx(5.5e-12 * 8));
  CHECK(a100.energy[1] > 0);
  CHECK(a100.energy_per_flop[static_cast<std::size_t>(Format::bf16)] == doctest::Approx(0.16e-12));
  CHECK(a100.energy_per_flop[static_cast<std::size_t>(Format::fp64)] > a100.energy_per_flop[static_cast<std::size_t>(Format::fp32)]);
  const Machine unknown = sim::make_machine(chip_of({}), {}, "");
  CHECK(unknown.energy[0] == 0);
  CHECK(unknown.energy_per_flop[static_cast<std::size_t>(Format::bf16)] == 0);
}

TEST_CASE("machine: every shipped chip computes every format at some rate, on the vector unit too") {
  for (const std::string& name : shipped().names("chips")) {
    const Machine machine = sim::make_machine(shipped_chip(name), {}, "2:4");
    CHECK_MESSAGE(machine.vector_rate > 0, name);
    for (const sim::MathRate& one : machine.matrix) {
      CHECK_MESSAGE(one.rate > 0, name);
      CHECK(one.sparse_rate >= one.rate);
      CHECK_FALSE(one.unit.empty());
    }
    CHECK(machine.inner.size() == machine.levels.size());
    for (std::size_t i = 0; i < machine.inner.size(); ++i) CHECK(machine.inner[i] != static_cast<int>(i));
  }
}

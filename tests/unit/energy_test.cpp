// Energy, power and their price: per operator, in total, against the design power.
#include <algorithm>

#include "run_support.hpp"
#include "sim/energy.hpp"
#include "sim/machine.hpp"

namespace gambrel {
namespace {

using sim::Estimate;
using test::estimate_of;

const std::string decode = "model: llama-3.1-8b\nsystem: h100-sxm\nworkload: {phase: decode, batch: 32, context: 4096}\n";
const std::string prefill = "model: llama-3.1-8b\nsystem: h100-sxm\nworkload: {phase: prefill, batch: 4, new_tokens: 4096}\n";

bool has_note(const Estimate& e, std::string_view text) {
  return std::ranges::any_of(e.notes, [&](const std::string& note) { return note.find(text) != std::string::npos; });
}

/// One gemm and one norm, a second in all, on a chip whose energies are 1 pJ a FLOP, 2 of vector work, 3 a byte.
struct Bench {
  sim::Run run;
  Estimate estimate;
  sim::Machine machine;

  Bench() {
    hw::Chip chip = test::chip_of({});
    chip.energy = {.arithmetic = {{Format::bf16, JoulesPerFlop{1e-12}}}, .movement = {{"HBM", JoulesPerByte{3e-12}}, {"wire", JoulesPerByte{5e-12}}}, .vector = JoulesPerFlop{2e-12}};
    chip.idle = Watts{0.5};
    chip.tdp = Watts{10};
    chip.link_name = "wire";
    run.system = hw::single_chip(chip);
    machine = sim::make_machine(run.system.chip(), {}, "");
    sim::Phase phase{.name = "decode", .levels = machine.levels, .main_level = machine.main_level};
    sim::OpEstimate gemm{.name = "gemm", .kind = "gemm", .count = 2, .math = Format::bf16, .flops = Flops{1e12}, .levels = {{Bytes{1e11}, Seconds{0}}}};
    sim::OpEstimate norm{.name = "norm", .kind = "rms_norm", .count = 1, .math = Format::fp32, .flops = Flops{1e11}, .vector_flops = Flops{1e11}, .levels = {{Bytes{2e11}, Seconds{0}}}};
    phase.ops = {gemm, norm};
    phase.total.time = estimate.total.time = Seconds{1};
    phase.total.tokens = estimate.total.tokens = 10;
    estimate.phases = {phase};
  }
  void fill() { add_energy(estimate, run, machine); }
  sim::OpEstimate& op(std::size_t i) { return estimate.phases[0].ops[i]; }
};

TEST_CASE("energy: of an operator, arithmetic of its format and bytes of every level; vector work at the vector unit's") {
  Bench bench;
  bench.fill();
  REQUIRE(bench.op(0).energy);
  CHECK(bench.op(0).energy->arithmetic.value == doctest::Approx(1));
  CHECK(bench.op(0).energy->movement.value == doctest::Approx(0.3));
  CHECK(bench.op(1).energy->arithmetic.value == doctest::Approx(0.2));
  CHECK(bench.op(1).energy->movement.value == doctest::Approx(0.6));
}

TEST_CASE("energy: totals count executions and idle power; average power and its share of the design power") {
  Bench bench;
  bench.fill();
  const sim::Total& total = bench.estimate.total;
  REQUIRE(total.energy);
  CHECK(total.active_energy->arithmetic.value == doctest::Approx(2.2));
  CHECK(total.active_energy->movement.value == doctest::Approx(1.2));
  CHECK(total.idle_energy.value == doctest::Approx(0.5));
  CHECK(total.energy->value == doctest::Approx(3.9));
  CHECK(total.power->value == doctest::Approx(3.9));
  CHECK(total.power_share == doctest::Approx(0.39));
  CHECK(bench.estimate.phases[0].total.energy->value == doctest::Approx(3.9));
  CHECK_FALSE(has_note(bench.estimate, "would draw"));
}

TEST_CASE("energy: several chips draw several times; power is of one") {
  Bench bench;
  bench.run.chips = 4;
  bench.op(0).ranks = bench.op(1).ranks = 4;
  bench.fill();
  CHECK(bench.estimate.total.energy->value == doctest::Approx(4 * 3.9));
  CHECK(bench.estimate.total.power->value == doctest::Approx(3.9));
}

TEST_CASE("energy: a collective's bytes cost their links; all-reduce sends almost twice") {
  Bench bench;
  bench.run.chips = 4;
  bench.op(1).message = sim::OpMessage{.collective = "all_gather", .ranks = 4, .bytes = Bytes{4e11}};
  bench.fill();
  CHECK(bench.op(1).energy->movement.value == doctest::Approx(0.6 + 3e11 * 5e-12));
  bench.op(1).message->collective = "all_reduce";
  bench.fill();
  CHECK(bench.op(1).energy->movement.value == doctest::Approx(0.6 + 6e11 * 5e-12));
  const double before = bench.estimate.total.energy->value;
  bench.estimate.phases[0].exchanges = {{.collective = "all_reduce", .ranks = 2, .count = 3, .bytes = Bytes{1e11}}};
  bench.fill();
  CHECK(bench.estimate.total.energy->value == doctest::Approx(before + 4 * 3 * 1e11 * 5e-12));
}

TEST_CASE("energy: more than the design power is noted, with both") {
  Bench bench;
  bench.run.system.pools[0].chip.tdp = Watts{3};
  bench.fill();
  CHECK(bench.estimate.total.power_share == doctest::Approx(1.3));
  CHECK(has_note(bench.estimate, "decode would draw 3.9 W of 3 W a chip"));
}

TEST_CASE("energy: unknown arithmetic or main memory is no energy, not a smaller one") {
  for (const bool math : {true, false}) {
    Bench bench;
    if (math) bench.machine.energy_per_flop[static_cast<std::size_t>(Format::bf16)] = 0;
    else bench.machine.energy[0] = 0;
    bench.fill();
    CHECK_FALSE(bench.op(0).energy.has_value());
    CHECK_FALSE(bench.estimate.total.energy.has_value());
    CHECK_FALSE(bench.estimate.total.power.has_value());
  }
}

TEST_CASE("energy: shipped runs take what their chip does not state from the technology table and say so") {
  const Estimate e = estimate_of(decode);
  REQUIRE(e.total.energy.has_value());
  CHECK(has_note(e, "from technology table 'default', 4 nm extrapolated"));
  CHECK(has_note(e, "idle power"));
  // Weights and KV cache from the main memory outweigh the arithmetic when decoding, not in a prefill.
  CHECK(e.total.active_energy->movement > e.total.active_energy->arithmetic);
  const Estimate p = estimate_of(prefill);
  CHECK(p.total.active_energy->arithmetic > p.total.active_energy->movement);
  CHECK(p.total.power->value > e.total.idle_energy.value / e.total.time.value);
  // A chip without a process and energies has none.
  CHECK_FALSE(estimate_of(decode, {"system=tpu-v5e", "workload.batch=1"}).total.energy.has_value());
}

TEST_CASE("energy: what the chip states wins over the table") {
  const double table = estimate_of(decode).total.energy->value;
  const double stated = estimate_of(decode, {"chip.energy.HBM=35 pJ/bit"}).total.energy->value;
  CHECK(stated > 3 * table);
  const Estimate resting = estimate_of(decode, {"chip.power.idle=300 W"});
  CHECK(resting.total.idle_energy.value == doctest::Approx(300 * resting.total.time.value));
  CHECK_FALSE(has_note(resting, "idle power"));
}

TEST_CASE("energy: the table is part of a run's identity") {
  const sim::Run run = test::run_of(decode);
  CHECK(run.energy_notes.size() == 2);
  CHECK_FALSE(run.system.chip().energy.movement.empty());
}

}  // namespace
}  // namespace gambrel

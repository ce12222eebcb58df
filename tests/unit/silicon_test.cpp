// Area and price of small chips, worked by hand.
#include <cmath>

#include "hardware_support.hpp"
#include "hw/silicon.hpp"

namespace gambrel {
namespace {

using hw::Silicon;
using hw::Technology;

/// One million transistors a mm2, a bit cell of 1 um2, round constants.
Technology round_table() {
  const Node document = test::document(R"(technology: round
nodes:
  - {node: 5 nm, transistors_per_mm2: 1.0e6, bit_cell: 1 um2, wafer: 1000 USD, defects_per_cm2: 1}
  - {node: 10 nm, transistors_per_mm2: 1.0e6, bit_cell: 1 um2, wafer: 1000 USD, defects_per_cm2: 1}
arithmetic: {scales_as: fp16, at: [{node: 7 nm, fp16: 1 pJ/FLOP, fp32: 2 pJ/FLOP}]}
sram: [{node: 7 nm, capacity: 1 MiB, energy: 1 pJ/bit}]
memories: [{match: HBM, energy: 4 pJ/bit, channel: 100 GB/s, phy: 2 mm2, controller: 1.0e6, usd_per_gb: 10, interposer: true}]
links: [{match: any, energy: 1 pJ/bit, channel: 10 GB/s, phy: 1 mm2, controller: 0}]
logic:
  multiply_add: {fp64: 1.0e6, fp32: 1.0e5, fp16: 1.0e4, int32: 2.0e5}
  register_file_per_kib: 1.0e4
  kinds: {gpu: {control_per_vector_unit: 3.0e6, interconnect_per_core: 4.0e6, registers: 100 KiB, sram: 2.0}}
power: {static_w_per_mm2: 0.1}
manufacture: {wafer_diameter: 300 mm, defect_clustering: 2, package: 5 USD, interposer_usd_per_mm2: 1}
)",
                                       "technology");
  const auto table = hw::read_technology(document);
  REQUIRE_MESSAGE(table.has_value(), test::complaints(table ? Diagnostics{} : table.error()));
  return *table;
}

const std::string text = R"(chip: small
kind: gpu
cores: 10
compute:
  matrix: {kind: matrix, per: core, count: 2, clock: 1 GHz, flops_per_cycle: {fp16: 200, fp32: 100}}
  vector: {kind: vector, per: core, clock: 1 GHz, flops_per_cycle: {fp64: 4, fp32: 20}}
memory:
  - {level: HBM, capacity: 10 GB, bandwidth: 400 GB/s}
  - {level: L2, capacity: 1 MiB}
  - {level: SMEM, per: core, capacity: 128 KiB}
link: {bandwidth: 30 GB/s}
host: {link: {bandwidth: 20 GB/s}}
area: {process: 7 nm}
)";

double mm2(SquareMetres area) { return area.value * 1e6; }

TEST_CASE("silicon: every part, worked by hand") {
  const Silicon s = hw::silicon_of(test::read_chip(text), round_table());
  CHECK(mm2(s.matrix) == doctest::Approx(20 * 100 * 0.01));                          // fp16 only: fp32 shares
  CHECK(mm2(s.vector) == doctest::Approx(10 * (2 * 1.0 + (10 - 2) * 0.1 + 10 * 0.2)));  // fp64 lanes do fp32 too
  CHECK(mm2(s.control) == doctest::Approx(30));
  CHECK(mm2(s.registers) == doctest::Approx(10));
  CHECK(mm2(s.interconnect) == doctest::Approx(40));
  CHECK(mm2(s.memory) == doctest::Approx(4 * 3));
  CHECK(mm2(s.links) == doctest::Approx(3));
  CHECK(mm2(s.host) == doctest::Approx(2));
  REQUIRE(s.sram.size() == 3);
  CHECK(s.sram[0].value == 0);
  CHECK(mm2(s.sram[1]) == doctest::Approx((1 << 20) * 8 * 2e-6));
  CHECK(mm2(s.sram[2]) == doctest::Approx(1.25 * mm2(s.sram[1])));
  CHECK(mm2(s.total()) == doctest::Approx(20 + 48 + 30 + 10 + 40 + 12 + 3 + 2 + 2.25 * mm2(s.sram[1])));
  CHECK(s.dies == 1);
}

TEST_CASE("silicon: spares take area, a chip without a process none") {
  const Technology table = round_table();
  const Silicon plain = hw::silicon_of(test::read_chip(text), table);
  const Silicon spare = hw::silicon_of(test::read_chip(text.substr(0, text.find("area:")) + "area: {process: 7 nm, built: {core: 12, SMEM: 256 KiB, HBM: 15 GB}}\n"), table);
  CHECK(spare.logic() / plain.logic() == doctest::Approx(1.2));
  CHECK(spare.memory / plain.memory == doctest::Approx(1.5));
  CHECK(spare.sram[2] / plain.sram[2] == doctest::Approx(2.4));
  CHECK(spare.sram[1] == plain.sram[1]);
  const Silicon none = hw::silicon_of(test::read_chip(text.substr(0, text.find("area:"))), table);
  CHECK(none.total().value == 0);
  CHECK(none.sram.size() == 3);
}

TEST_CASE("silicon: dies are counted, joined by links; arithmetic inside the memory is not on them") {
  const std::string dies = text.substr(0, text.find("cores:")) + "hierarchy: [{level: die, count: 2, link: {bandwidth: 50 GB/s}}, {level: core, count: 5}]\n" + text.substr(text.find("compute:"));
  const Technology table = round_table();
  const Silicon one = hw::silicon_of(test::read_chip(text), table), two = hw::silicon_of(test::read_chip(dies), table);
  CHECK(two.dies == 2);
  CHECK(mm2(two.links) == doctest::Approx(mm2(one.links) + 10));
  CHECK(two.logic() == one.logic());
  std::string pim = text;
  pim.insert(pim.find("memory:"), "  pim: {kind: vector, at: HBM, clock: 1 GHz, peak: {fp16: 5 TFLOP/s}, ops: [gemv]}\n");
  CHECK(hw::silicon_of(test::read_chip(pim), table).total() == one.total());
}

TEST_CASE("silicon: price of a die from its wafer, yield and memory") {
  const hw::Chip chip = test::read_chip(text);
  const hw::Price price = hw::price_of(chip, SquareMetres{100e-6}, 1, round_table());
  CHECK(price.dies_per_wafer == doctest::Approx(M_PI * 300 * 300 / 400 * std::exp(-2 * 10.0 / 300)));
  CHECK(price.yield == doctest::Approx(std::pow(1 + 1.0 / 2, -2)));
  CHECK(price.die.value == doctest::Approx(1000 / (price.dies_per_wafer * price.yield)));
  CHECK(price.memory.value == doctest::Approx(100));
  CHECK(price.package.value == doctest::Approx(5 + 100));
  CHECK(price.total().value == doctest::Approx(price.die.value + 205));
  // Two halves are cheaper than a whole: fewer are hit by a defect.
  CHECK(hw::price_of(chip, SquareMetres{100e-6}, 2, round_table()).die < price.die);
  CHECK(hw::price_of(chip, SquareMetres{0}, 1, round_table()).die.value == 0);
}

TEST_CASE("silicon: a wafer routes around its defects") {
  std::string wafer = text;
  wafer.replace(wafer.find("gpu"), 3, "wafer");
  const hw::Price price = hw::price_of(test::read_chip(wafer), SquareMetres{46000e-6}, 1, round_table());
  CHECK(price.yield == 1);
  CHECK(price.die.value == doctest::Approx(1000));
}

TEST_CASE("silicon: what one more of each resource takes") {
  hw::Chip chip = test::read_chip(text);
  const Technology table = round_table();
  hw::fill_energy(chip, table);
  const auto list = hw::marginals_of(chip, table);
  std::vector<std::string> names;
  for (const hw::Marginal& one : list) names.push_back(one.what);
  CHECK(names == std::vector<std::string>{"1 core", "1 GB/s of HBM", "1 GB of HBM", "1 MiB of L2", "1 MiB of SMEM", "1 GB/s of link", "1 GB/s to the host"});
  const Silicon s = hw::silicon_of(chip, table);
  CHECK(list[0].area.value == doctest::Approx((s.logic() + s.sram[2]).value / 10));
  CHECK(list[1].area.value == doctest::Approx(0.03e-6));
  CHECK(list[1].power.value == doctest::Approx(1e9 * 32e-12 + 0.03 * 0.1));
  CHECK(list[2].price.value == doctest::Approx(10));
  CHECK(list[3].area.value == doctest::Approx(s.sram[1].value));
  for (const hw::Marginal& one : list) CHECK_MESSAGE(one.price.value > 0, one.what);
}

}  // namespace
}  // namespace gambrel

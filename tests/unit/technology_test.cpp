// The technology table: interpolation, what chips take from it, what is refused.
#include "hardware_support.hpp"
#include "hw/technology.hpp"

namespace gambrel {
namespace {

using hw::Curve;
using hw::Technology;

const Catalog& catalog() {
  static const Catalog shipped{std::filesystem::path(GAMBREL_SOURCE_DIR) / "configs"};
  return shipped;
}

const Technology& shipped() {
  static const Technology table = [] {
    auto loaded = hw::load_technology(catalog());
    REQUIRE_MESSAGE(loaded.has_value(), test::complaints(loaded ? Diagnostics{} : loaded.error()));
    REQUIRE(loaded->has_value());
    return **loaded;
  }();
  return table;
}

constexpr Metres nm(double n) { return Metres{n * 1e-9}; }
double picojoule(std::optional<JoulesPerFlop> energy) { return energy ? energy->value * 1e12 : 0; }

const std::string chip_text = R"(chip: small
kind: gpu
cores: 10
compute:
  matrix: {kind: matrix, per: core, clock: 1 GHz, flops_per_cycle: {bf16: 1024}}
  vector: {kind: vector, per: core, clock: 1 GHz, flops_per_cycle: {fp32: 64}}
memory:
  - {level: HBM, type: HBM3, capacity: 80 GB, bandwidth: 3 TB/s}
  - {level: L2, capacity: 32 MiB, bandwidth: 5 TB/s}
  - {level: SMEM, per: core, capacity: 128 KiB}
)";

double movement(const hw::Chip& chip, std::string_view level) {
  for (const auto& [name, energy] : chip.energy.movement)
    if (name == level) return energy.value;
  return 0;
}

TEST_CASE("technology: a curve is straight in log-log, and goes on beyond its ends") {
  Curve curve;
  CHECK(curve.at(5) == 0);
  curve.add(10, 100);
  CHECK(curve.at(5) == 100);
  curve.add(1, 1);
  CHECK(curve.at(1) == doctest::Approx(1));
  CHECK(curve.at(10) == doctest::Approx(100));
  CHECK(curve.at(3) == doctest::Approx(9));
  CHECK(curve.at(100) == doctest::Approx(10000));
  CHECK(curve.at(0.1) == doctest::Approx(0.01));
  curve.add(100, 100);
  CHECK(curve.at(30) == doctest::Approx(100));
  CHECK(curve.covers(100));
  CHECK_FALSE(curve.covers(101));
}

TEST_CASE("technology: published energies at 45 and 7 nm, a format of one node by the reference's scaling") {
  CHECK(picojoule(shipped().arithmetic_energy(Format::fp16, nm(45))) == doctest::Approx((1.1 + 0.4) / 2));
  CHECK(picojoule(shipped().arithmetic_energy(Format::fp32, nm(45))) == doctest::Approx((3.7 + 0.9) / 2));
  CHECK(picojoule(shipped().arithmetic_energy(Format::bf16, nm(7))) == doctest::Approx((0.21 + 0.11) / 2));
  CHECK(picojoule(shipped().arithmetic_energy(Format::fp16, nm(7))) == doctest::Approx((0.34 + 0.16) / 2));
  CHECK(picojoule(shipped().arithmetic_energy(Format::fp32, nm(7))) == doctest::Approx((1.31 + 0.38) / 2));
  CHECK(picojoule(shipped().arithmetic_energy(Format::int8, nm(7))) == doctest::Approx((0.07 + 0.03) / 2));
  CHECK(picojoule(shipped().arithmetic_energy(Format::bf16, nm(45))) == doctest::Approx(0.16 * 0.75 / 0.25));
  const double seven = picojoule(shipped().arithmetic_energy(Format::bf16, nm(7))), four = picojoule(shipped().arithmetic_energy(Format::bf16, nm(4)));
  CHECK(four < seven);
  CHECK(four > seven * 4 / 7);
  CHECK_FALSE(shipped().arithmetic_energy(Format::e8m0, nm(7)).has_value());
}

TEST_CASE("technology: an access costs more in a larger memory and at an older node") {
  const auto at = [](double kib, double node) { return shipped().sram_energy(Bytes{kib * 1024}, nm(node)).value / 8 * 64 * 1e12; };
  CHECK(at(8, 7) == doctest::Approx(7.5).epsilon(0.01));
  CHECK(at(1024, 7) == doctest::Approx(14).epsilon(0.01));
  CHECK(at(1024, 45) == doctest::Approx(100).epsilon(0.01));
  CHECK(at(128, 7) > at(32, 7));
  CHECK(at(40 * 1024, 7) > at(1024, 7));
  CHECK(at(128, 14) > at(128, 7));
}

TEST_CASE("technology: the longest match names a memory, by its type before its name; SRAM is on the chip") {
  const auto match = [](const char* level, const char* type) {
    const hw::Interface* found = shipped().memory({.level = level, .type = type});
    return found ? found->match : "";
  };
  CHECK(match("HBM", "HBM3e") == "HBM3e");
  CHECK(match("HBM", "HBM2 of some kind") == "HBM2");
  CHECK(match("HBM", "") == "HBM");
  CHECK(match("main", "lpddr5x") == "LPDDR");
  CHECK(match("SRAM", "SRAM") == "");
  CHECK(match("L2", "") == "");
}

TEST_CASE("technology: of two generations of a link the nearer node's holds, and an unknown link is any") {
  CHECK(shipped().link("nvlink", nm(7))->phy > shipped().link("nvlink", nm(4))->phy);
  CHECK(shipped().link("nvlink", nm(3)) == shipped().link("nvlink", nm(4)));
  CHECK(shipped().link("carrier-pigeon", nm(7))->match == "any");
}

TEST_CASE("technology: a chip takes what its file leaves open and keeps what it states") {
  hw::Chip bare = test::read_chip(chip_text + "area: {process: 7 nm, die: 100 mm2}\n");
  const auto notes = hw::fill_energy(bare, shipped());
  REQUIRE(bare.energy.arithmetic.size() == 2);
  CHECK(bare.energy.arithmetic[1].second.value == doctest::Approx(0.16e-12 * 1.22));
  CHECK(bare.energy.vector.value == doctest::Approx(0.845e-12 + 5e-12));
  CHECK(movement(bare, "HBM") == doctest::Approx(8 * 3.5e-12));
  CHECK(movement(bare, "L2") > movement(bare, "SMEM"));
  CHECK(bare.idle.value == doctest::Approx(6));
  REQUIRE(notes.size() == 2);
  CHECK(notes[0] == "energy of fp32, bf16, vector, HBM, L2, SMEM from technology table 'default', 7 nm interpolated");
  CHECK(notes[1] == "idle power 6 W from technology table 'default', by stated die area");

  hw::Chip stated = test::read_chip(chip_text + "area: {process: 4 nm}\npower: {idle: 50 W}\nenergy: {bf16: 1 pJ/FLOP, HBM: 1 pJ/bit}\n");
  const auto rest = hw::fill_energy(stated, shipped());
  CHECK(movement(stated, "HBM") == doctest::Approx(8e-12));
  CHECK(stated.energy.arithmetic[0].second.value == doctest::Approx(1e-12));
  CHECK(stated.idle.value == 50);
  REQUIRE(rest.size() == 1);
  CHECK(rest[0] == "energy of fp32, vector, L2, SMEM from technology table 'default', 4 nm extrapolated");
}

TEST_CASE("technology: without a process a chip takes nothing") {
  hw::Chip chip = test::read_chip(chip_text);
  CHECK(hw::fill_energy(chip, shipped()).empty());
  CHECK(chip.energy.arithmetic.empty());
  CHECK(chip.idle.value == 0);
}

TEST_CASE("technology: a host's memory is paid with its link") {
  hw::Chip chip = test::read_chip(chip_text + "area: {process: 7 nm}\nhost: {memory: [{level: DRAM, type: DDR5, capacity: 1 TB}, {level: NVMe, capacity: 1 TB}]}\n");
  hw::fill_energy(chip, shipped());
  CHECK(movement(chip, "DRAM") == doctest::Approx(8 * (20.3e-12 + 6.5e-12)));
  CHECK(movement(chip, "NVMe") == 0);
}

TEST_CASE("technology: the shipped table names a source for each of its parts") {
  const auto document = hw::load_technology_document(catalog());
  REQUIRE(document.has_value());
  const Node* sources = document->find("sources");
  REQUIRE(sources);
  for (const Member& member : sources->members)
    CHECK_MESSAGE((member.key == "default" || find_path(*document, member.key)), member.key);
  for (const char* part : {"nodes", "arithmetic", "delivery", "sram", "memories", "links", "power", "manufacture"})
    CHECK_MESSAGE(sources->find(part), part);
}

TEST_CASE("technology: mistakes are placed; a catalog without a table is none") {
  const Node document = test::document(
      "nodes: [{node: 7 nm}, {node: 5 nm}]\narithmetic: {scales_as: fp61, at: [{node: 7 nm, bf61: 1 pJ/FLOP}]}\nsram: [{node: 7 nm, capacity: 1 MiB, energy: 1 pJ/bit}]\n"
      "memories: []\nlinks: []\nlogic: {multiply_add: {fp16: 1}}\nmanufacture: {wafer_diameter: 300 mm, defect_clustering: 3}\n",
      "technology");
  const auto table = hw::read_technology(document);
  REQUIRE_FALSE(table.has_value());
  const std::string text = test::complaints(table.error());
  CHECK(text.find("2:25: ") != std::string::npos);
  CHECK(text.find("2:49: ") != std::string::npos);
  const auto none = hw::load_technology(Catalog("/nowhere"));
  REQUIRE(none.has_value());
  CHECK_FALSE(none->has_value());
}

TEST_CASE("technology: what a die has built besides what is used") {
  const std::string built = "area: {process: 7 nm, built: {core: 12, L2: 48 MiB, HBM: 40 GB}}\n";
  const hw::Chip chip = test::read_chip(chip_text + built);
  CHECK(chip.built_over_used("core") == doctest::Approx(1.2));
  CHECK(chip.built_over_used("L2") == doctest::Approx(1.5));
  CHECK(chip.built_over_used("HBM") == 1);
  CHECK(chip.built_over_used("SMEM") == 1);
  const auto more = test::changed_chip(chip_text + built, "cores", "20");
  REQUIRE(more.has_value());
  CHECK(more->built_over_used("core") == doctest::Approx(1.2));
  CHECK(test::chip_complaints(chip_text + "area: {built: {crore: 12}}\n") == "11:16: no hierarchy or memory level 'crore' | did you mean 'core'?\n");
  CHECK(test::chip_complaints(chip_text + "area: {built: {L2: 48}}\n").starts_with("11:20: "));
}

}  // namespace
}  // namespace gambrel

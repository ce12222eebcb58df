// Laws of area and price: nothing is free, and the margins are the differences they promise.
#include <doctest/doctest.h>
#include <fmt/format.h>
#include <rapidcheck.h>

#include <cmath>
#include <filesystem>

#include "base/load.hpp"
#include "base/path.hpp"
#include "hw/silicon.hpp"

namespace gambrel {
namespace {

const hw::Technology& table() {
  static const hw::Technology shipped = **hw::load_technology(Catalog(std::filesystem::path(GAMBREL_SOURCE_DIR) / "configs"));
  return shipped;
}

Node any_chip() {
  const auto kind = *rc::gen::elementOf(std::vector<std::string>{"gpu", "tpu", "npu", "cpu"});
  const std::string text = fmt::format(
      "chip: any\nkind: {}\nhierarchy: [{{level: core, count: {}}}]\n"
      "compute:\n  matrix: {{kind: matrix, per: core, count: {}, clock: 1 GHz, flops_per_cycle: {{bf16: {}}}}}\n"
      "  vector: {{kind: vector, per: core, clock: 1 GHz, flops_per_cycle: {{fp32: {}}}}}\n"
      "memory:\n  - {{level: HBM, type: HBM3, capacity: {} GB, bandwidth: {} GB/s}}\n"
      "  - {{level: L2, capacity: {} MiB}}\n  - {{level: SMEM, per: core, capacity: {} KiB}}\n"
      "link: {{level: nvlink, bandwidth: {} GB/s}}\nhost: {{link: {{bandwidth: 63 GB/s}}}}\narea: {{process: {} nm}}\n",
      kind, *rc::gen::inRange(1, 300), *rc::gen::inRange(1, 9), *rc::gen::inRange(1, 9000), *rc::gen::inRange(1, 512),
      *rc::gen::inRange(1, 500), *rc::gen::inRange(1, 9000), *rc::gen::inRange(1, 300), *rc::gen::inRange(1, 512),
      *rc::gen::inRange(1, 1000), *rc::gen::inRange(3, 29));
  auto node = parse_yaml(text, "chip.yaml");
  RC_ASSERT(node.has_value());
  return *node;
}

hw::Chip chip_with(const Node& before, const std::string& path = "", const std::string& value = "") {
  Node after = before;
  if (!path.empty()) RC_ASSERT(set_path(after, path, value, {}).has_value());
  auto chip = hw::read_chip(after, before);
  RC_ASSERT(chip.has_value());
  return *chip;
}

SquareMetres area_of(const hw::Chip& chip) { return hw::silicon_of(chip, table()).total(); }

hw::Marginal margin(const hw::Chip& chip, std::string_view what) {
  for (const hw::Marginal& one : hw::marginals_of(chip, table()))
    if (one.what == what) return one;
  return {};
}

bool near(double a, double b) { return std::abs(a - b) <= 1e-6 * std::abs(b); }

TEST_CASE("law: a margin is the area that the resource adds") {
  rc::check([] {
    const Node node = any_chip();
    const hw::Chip chip = chip_with(node);
    const auto grows_by = [&](const std::string& path, const std::string& value, std::string_view what, double times) {
      const double grown = (area_of(chip_with(node, path, value)) - area_of(chip)).value;
      RC_ASSERT(near(grown, times * margin(chip, what).area.value));
    };
    grows_by("hierarchy.core.count", fmt::format("{}", chip.members("core") + 7), "1 core", 7);
    grows_by("memory.L2.capacity", fmt::format("{} MiB", chip.memory[1].capacity.value / (1 << 20) + 5), "1 MiB of L2", 5);
    grows_by("memory.HBM.bandwidth", fmt::format("{} GB/s", chip.memory[0].bandwidth.value / 1e9 + 100), "1 GB/s of HBM", 100);
    grows_by("link.bandwidth", fmt::format("{} GB/s", chip.link->value / 1e9 + 50), "1 GB/s of nvlink", 50);
  });
}

TEST_CASE("law: every added resource costs something, and more area is never cheaper") {
  rc::check([] {
    hw::Chip chip = chip_with(any_chip());
    hw::fill_energy(chip, table());
    for (const hw::Marginal& one : hw::marginals_of(chip, table())) {
      RC_ASSERT(one.price.value > 0);
      RC_ASSERT(one.area.value > 0 || one.what == "1 GB of HBM");
      RC_ASSERT(one.power.value > 0 || one.what == "1 GB of HBM");
    }
  });
}

TEST_CASE("law: the parts sum to the whole, and a yield is a share") {
  rc::check([] {
    const hw::Chip chip = chip_with(any_chip());
    const hw::Silicon s = hw::silicon_of(chip, table());
    double sum = (s.matrix + s.vector + s.control + s.registers + s.interconnect + s.memory + s.links + s.host).value;
    for (const SquareMetres& one : s.sram) sum += one.value;
    RC_ASSERT(near(sum, s.total().value));
    const hw::Price price = hw::price_of(chip, s.total(), 1, table());
    RC_ASSERT(price.yield > 0 && price.yield <= 1);
    RC_ASSERT(std::isfinite(price.total().value));
  });
}

}  // namespace
}  // namespace gambrel

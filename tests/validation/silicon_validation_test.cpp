// Modelled against published die areas. What was fitted: LLMCompass's two overheads a core, by its authors, on GA100
// and Aldebaran together; the overhead of systolic and scratchpad chips, on the floor plan of TPU v1, which is no row
// here, but was changed after Groq's and WSE-3's errors had been seen: those two, and GA100 and Aldebaran, are no blind test.
#include <doctest/doctest.h>
#include <fmt/format.h>

#include <cmath>
#include <filesystem>
#include <map>
#include <string>

#include "base/catalog.hpp"
#include "hw/silicon.hpp"

namespace gambrel {
namespace {

const Catalog& catalog() {
  static const Catalog shipped{std::filesystem::path(GAMBREL_SOURCE_DIR) / "configs"};
  return shipped;
}

/// Modelled over stated area - 1, of every shipped chip that states both its area and its process.
std::map<std::string, double> errors() {
  const auto table = hw::load_technology(catalog());
  REQUIRE(table.has_value());
  REQUIRE(table->has_value());
  std::map<std::string, double> result;
  for (const std::string& name : catalog().names("chips")) {
    const auto document = catalog().load("chips", name);
    REQUIRE(document.has_value());
    const auto chip = hw::read_chip(*document);
    REQUIRE(chip.has_value());
    if (chip->die_area.value > 0 && chip->process.value > 0 && chip->family != "example")
      result[name] = hw::silicon_of(*chip, **table).total() / chip->die_area - 1;
  }
  return result;
}

TEST_CASE("silicon: GA100 within 2 %, Aldebaran within 10 % of their published areas") {
  const auto error = errors();
  CHECK(std::abs(error.at("a100-sxm-80gb")) <= 0.02);
  CHECK(std::abs(error.at("a100-sxm-40gb")) <= 0.02);  // the same die
  CHECK(std::abs(error.at("mi250x")) <= 0.10);         // two dies
}

// Recorded, not asked for: these say how far to trust the model. mi210 is half of mi250x without the links that its
// file does not state; mi355x states its compute dies only, and the model counts caches and interfaces that lie on its
// two I/O dies; 12 nm is taken between 14 and 10 nm, but is an enhanced 16 nm.
TEST_CASE("silicon: the error on every other published die") {
  const std::map<std::string, double> recorded{{"a100-sxm-40gb", -0.004}, {"a100-sxm-80gb", -0.007}, {"cerebras-wse-3", -0.361},
                                               {"groq-lpu", 0.193},       {"h100-pcie", -0.178},     {"h100-sxm", -0.180},
                                               {"h200-sxm", -0.197},      {"h800-sxm", -0.234},      {"l40s", -0.071},
                                               {"mi210", -0.130},         {"mi250x", -0.088},        {"mi355x", 0.696},
                                               {"rtx-4090", -0.077},      {"v100-sxm2", 0.231}};
  std::string lines = "\nchip              modelled area\n";
  for (const auto& [name, error] : errors()) {
    lines += fmt::format("{:<16}  {:+.1f}%\n", name, 100 * error);
    const auto row = recorded.find(name);
    if (row == recorded.end()) continue;  // a chip added since
    CHECK_MESSAGE(error == doctest::Approx(row->second).epsilon(0.002), name);
  }
  MESSAGE(lines);
}

}  // namespace
}  // namespace gambrel

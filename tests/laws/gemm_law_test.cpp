// Laws of the GEMM kernel model, for random chips, constants and calls: always an answer, never better than the roofline,
// never slower at a better rate, and the same whether its tilings are searched or at hand. More cores at equal rates are
// no such law: the same tiles may fill the cores' rounds worse.
#include <doctest/doctest.h>
#include <rapidcheck.h>

#include <algorithm>
#include <cmath>

#include "../unit/gemm_support.hpp"
#include "random_draws.hpp"
#include "sim/kernel_models/attention_model.hpp"
#include "sim/kernel_models/gemm_cache.hpp"

namespace gambrel::sim {
namespace {

/// Anything, the absurd included.
ChipFigures any_chip() {
  const double peak = magnitude(1e11, 1e17);
  ChipFigures chip = chip_with(peak, *rc::gen::arbitrary<bool>() ? peak * one_of_range(1, 4) : 0);
  chip.cores = *rc::gen::arbitrary<bool>() ? one_of_range(1, 16) : one_of_range(1, 600);
  chip.clock = magnitude(2e8, 4e9);
  chip.bandwidth = magnitude(1e9, 1e14);
  chip.cache = *rc::gen::arbitrary<bool>() ? 0 : magnitude(1e3, 1e10);
  return chip;
}

/// What could be bought or built.
ChipFigures likely_chip() {
  const double peak = magnitude(1e14, 2.5e15);
  ChipFigures chip = chip_with(peak, 2 * peak);
  chip.cores = one_of_range(50, 200);
  chip.clock = magnitude(1e9, 2.5e9);
  chip.bandwidth = magnitude(5e11, 8e12);
  chip.cache = magnitude(8e6, 2e8);
  return chip;
}

std::vector<double> any_values() {
  std::vector<double> values;
  for (const Constant& c : gemm_model.constants) {
    const double at = c.name == "tile_rule" ? one_of_range(0, 2) / 2 : one_of_range(0, 100) / 100;
    values.push_back(c.search == Search::logarithmic ? c.low * std::pow(c.high / c.low, at) : c.low + (c.high - c.low) * at);
  }
  return values;
}

KernelCall any_call() {
  const DataType x = *rc::gen::element<DataType>(Format::bf16, Format::fp8_e4m3, Format::fp32, Format::int8, Format::nvfp4);
  const DataType w = *rc::gen::element<DataType>(Format::bf16, Format::fp16, Format::fp8_e4m3, fp8_block, Format::int4, Format::mxfp4, Format::fp32);
  return gemm_call(whole_magnitude(1, 1e7), whole_magnitude(1, 1e6), whole_magnitude(1, 1e6), x, w);
}

KernelCall likely_call(const NamedType& type = {Format::bf16, false}) {
  return gemm_call(whole_magnitude(1, 32768), 64 * whole_magnitude(1, 1024), 64 * whole_magnitude(2, 512), type);
}

double peak_of(const KernelCall& call, const ChipFigures& chip) { return chip.peak[static_cast<std::size_t>(gemm_path(call, chip).math)]; }

/// From a hair, which crosses the edges between tilings, to eight times.
double gain() { return *rc::gen::arbitrary<bool>() ? 1 + one_of_range(1, 30) / 1000 : 1 + one_of_range(0, 70) / 10; }

/// One of a chip's rates better, or all of them, each by its own factor: of memory, cache, cores (whose loads, steps and
/// epilogues run at their clock), arithmetic.
ChipFigures faster(ChipFigures chip) {
  const int which = *rc::gen::inRange(0, 5);
  if (which == 0 || which == 4) chip.bandwidth *= gain();
  if (which == 1 || which == 4) chip.clock *= gain();
  if (which == 2 || which == 4) chip.cache_bandwidth *= gain();
  if (which == 3 || which == 4)
    for (const double factor = gain(); double& peak : chip.peak) peak *= factor;
  return chip;
}

ChipFigures scaled(ChipFigures chip, double factor) {
  chip.bandwidth *= factor;
  chip.clock *= factor;
  for (double& peak : chip.peak) peak *= factor;
  return chip;
}

TEST_CASE("law: a GEMM takes a finite, positive time that is not below the roofline") {
  CHECK(rc::check("finite, positive, at least the floor", [] {
    const KernelCall call = any_call();
    const ChipFigures chip = any_chip();
    const double seconds = gemm_model.predict(call, chip, any_values());
    const double floor = roofline_floor(call, chip, peak_of(call, chip));
    RC_ASSERT(std::isfinite(seconds) && floor >= 0);
    return seconds > 0 && seconds >= floor;
  }));
}

TEST_CASE("law: a GEMM is never slower at a better rate, whoever chooses the tile") {
  CHECK(rc::check("monotonic in every rate, of anything", [] {
    const KernelCall call = any_call();
    const ChipFigures chip = any_chip();
    const auto values = any_values();
    return gemm_model.predict(call, faster(chip), values) <= gemm_model.predict(call, chip, values) * (1 + 1e-12);
  }));
}

TEST_CASE("law: nor is one of a likely shape on a likely chip, where many tilings compete") {
  for (const NamedType& type : {NamedType{Format::bf16, false}, NamedType{Format::fp8_e4m3, false}, NamedType{fp8_block, false}})
    for (double rule : {0.0, 1.0, 2.0})
      CHECK(rc::check("monotonic in every rate", [&] {
        const KernelCall call = likely_call(type);
        const ChipFigures chip = likely_chip();
        const auto values = gemm_values({{"tile_rule", rule}});
        return gemm_model.predict(call, faster(chip), values) <= gemm_model.predict(call, chip, values) * (1 + 1e-12);
      }));
}

/// The rates that constants state: what a core or the cache does in a clock, and shares of the chip's.
TEST_CASE("law: nor at better rates among its constants") {
  CHECK(rc::check("monotonic in every efficiency and load", [] {
    const KernelCall call = any_call();
    const ChipFigures chip = any_chip();
    auto values = any_values();
    const double before = gemm_model.predict(call, chip, values);
    for (std::size_t i = 0; i < values.size(); ++i)
      for (std::string_view name : {"matrix_efficiency", "core_load", "cold_load", "epilogue", "cache_load", "hbm_efficiency", "hbm_write_efficiency", "split_efficiency", "padded_load"})
        if (gemm_model.constants[i].name == name) values[i] *= 1 + one_of_range(0, 20) / 10;
    return gemm_model.predict(call, chip, values) <= before * (1 + 1e-12);
  }));
}

/// Tilings that others beat in all costs are left out when a call is prepared: no rates must miss them.
TEST_CASE("law: a prepared GEMM takes as long as a searched one, at any rates") {
  CHECK(rc::check("exact", [] {
    const KernelCall call = any_call();
    const ChipFigures chip = any_chip();
    const auto values = any_values();
    ChipFigures other = any_chip();
    other.cores = chip.cores;
    other.runs_as = chip.runs_as;
    GemmCache cache(chip, values);
    for (const ChipFigures& rates : {chip, other, faster(other)}) {
      const double searched = gemm_model.predict(call, rates, values);
      RC_ASSERT(std::abs(cache.seconds(call, rates) - searched) <= 1e-12 * searched);
    }
    return cache.size() == 1;
  }));
}

TEST_CASE("law: the same of likely ones, from rates to better rates") {
  CHECK(rc::check("exact", [] {
    const KernelCall call = likely_call();
    ChipFigures chip = likely_chip();
    const auto values = gemm_values({{"tile_rule", one_of_range(0, 1)}});
    const PreparedGemm prepared(call, chip, values);
    for (int i = 0; i < 8; ++i, chip = faster(chip)) {
      const double searched = gemm_model.predict(call, chip, values);
      RC_ASSERT(std::abs(prepared.seconds(chip) - searched) <= 1e-12 * searched);
    }
    return true;
  }));
}

TEST_CASE("law: nor with more cache, where the cache is not the slower one") {
  CHECK(rc::check("monotonic in the cache", [] {
    const KernelCall call = any_call();
    ChipFigures chip = any_chip();
    auto values = any_values();
    for (const auto& [name, value] : {std::pair{"tile_rule", 2.0}, {"core_load", 128.0}, {"quantise_cached", 8.0}}) RC_ASSERT(set(gemm_model, values, name, value));
    const double before = gemm_model.predict(call, chip, values);
    chip.cache = chip.cache * (1 + one_of_range(0, 70) / 10) + 1e6;
    return gemm_model.predict(call, chip, values) <= before * (1 + 1e-12);
  }));
}

TEST_CASE("law: all rates times k is the time over k, of latencies in clocks; a chip faster all round is never slower") {
  CHECK(rc::check("homogeneous", [] {
    const KernelCall call = any_call();
    const ChipFigures chip = any_chip();
    auto values = any_values();
    for (std::string_view name : {"split_s", "slowdown", "quantise_s"}) RC_ASSERT(set(gemm_model, values, name, 0));
    const double factor = magnitude(0.1, 10);
    const double here = gemm_model.predict(call, chip, values), there = gemm_model.predict(call, scaled(chip, factor), values);
    return std::abs(there * factor / here - 1) < 1e-9;
  }));
}

TEST_CASE("law: a GEMM does not get faster with longer rows") {
  CHECK(rc::check("monotonic in k, one tile", [] {
    const double m = whole_magnitude(1, 1e6), n = whole_magnitude(1, 1e6), k = whole_magnitude(1, 1e6);
    const ChipFigures chip = any_chip();
    auto values = any_values();
    RC_ASSERT(set(gemm_model, values, "tile_rule", 2));
    const double longer = k + whole_magnitude(1, 1e5);
    return gemm_model.predict(gemm_call(m, n, k), chip, values) <= gemm_model.predict(gemm_call(m, n, longer), chip, values) * (1 + 1e-12);
  }));
}

TEST_CASE("law: weights that have left the cache are never the faster ones") {
  CHECK(rc::check("monotonic in the copies", [] {
    const KernelCall call = likely_call();
    const ChipFigures chip = likely_chip();
    const auto seconds = [&](double copies) { return gemm_model.predict(call, chip, gemm_values({{"weight_copies", copies}, {"tile_rule", 2}})); };
    return seconds(1) <= seconds(5) * (1 + 1e-12) && seconds(5) <= seconds(0) * (1 + 1e-12);
  }));
}

}  // namespace
}  // namespace gambrel::sim

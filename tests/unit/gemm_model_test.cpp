// The GEMM kernel model: against an independent implementation of the same formulas (Python, in which they were found;
// tests/golden/gemm_*.csv), the tilings it searches, and what each of its effects must do.
#include "sim/kernel_models/gemm_model.hpp"

#include <doctest/doctest.h>

#include <cmath>
#include <map>
#include <set>

#include "gemm_support.hpp"
#include "golden_table.hpp"
#include "sim/kernel_models/gemm_cache.hpp"

namespace gambrel::sim {
namespace {

using GoldenRow = GoldenCells;

std::map<std::string, std::vector<double>> golden_constants() {
  std::map<std::string, std::vector<double>> sets;
  const CsvTable table = golden_table("gemm_constants.csv");
  for (const CsvRow& cells : table.rows) {
    const GoldenRow row{table, cells};
    auto& values = sets.try_emplace(row.text("constants"), gemm_model.constants.size(), std::nan("")).first->second;
    CHECK_MESSAGE(set(gemm_model, values, row.text("name"), row.number("value")), "no constant " << row.text("name"));
  }
  return sets;
}

std::string_view type_of(const KernelCall& call, const ChipFigures& chip) { return gemm_model.type_of(call, chip); }

Tilings tilings_of(const GemmShape& shape, TileRule rule, double cores = 132) {
  Tilings found;
  enumerate_tilings(shape, cores, rule, found);
  return found;
}

TEST_CASE("gemm: equal to the independent implementation") {
  const auto constants = golden_constants();
  const CsvTable table = golden_table("gemm_model.csv");
  CHECK(table.rows.size() >= 360);
  for (const CsvRow& cells : table.rows) {
    const GoldenRow row{table, cells};
    ChipFigures chip = chip_with(row.number("peak"), row.number("peak"));
    chip.cores = row.number("cores");
    chip.clock = row.number("clock");
    chip.bandwidth = row.number("bandwidth");
    chip.cache = row.number("cache");
    const KernelCall call = gemm_call(row.number("m"), row.number("n"), row.number("k"), parse_data_type(row.text("type")).value());
    const double seconds = gemm_model.predict(call, chip, constants.at(row.text("constants")));
    CHECK_MESSAGE(std::abs(seconds / row.number("seconds") - 1) < 1e-9, "line " << cells.line << ": " << seconds << " for " << row.text("seconds"));
  }
}

TEST_CASE("gemm: every constant has a unique name, a meaning and a usual value in its range") {
  std::set<std::string_view> names;
  for (const Constant& c : gemm_model.constants) {
    CHECK_MESSAGE(names.insert(c.name).second, c.name);
    CHECK_MESSAGE((c.low <= c.usual && c.usual <= c.high && c.low < c.high), c.name);
    CHECK_MESSAGE((c.search != Search::logarithmic || c.low > 0), c.name);
    CHECK_FALSE(c.meaning.empty());
  }
}

TEST_CASE("gemm: the type of a call is that of the arithmetic") {
  const ChipFigures with = chip_with(1e15, 2e15), without = chip_with(1e15, 0);
  const DataType fp8 = Format::fp8_e4m3, bf16 = Format::bf16;
  CHECK(type_of(gemm_call(1, 64, 64), with) == "bf16");
  CHECK(type_of(gemm_call(1, 64, 64, Format::fp16, Format::fp16), with) == "bf16");
  CHECK(type_of(gemm_call(1, 64, 64, fp8, fp8), with) == "fp8");
  CHECK(type_of(gemm_call(1, 64, 64, fp8, fp8_block), with) == "fp8_block");
  CHECK(type_of(gemm_call(1, 64, 64, fp8, fp8_block), without) == "bf16");
  CHECK(type_of(gemm_call(1, 64, 64, bf16, fp8), with) == "bf16");
  CHECK(type_of(gemm_call(1, 64, 64, bf16, Format::int4), with) == "bf16");
  CHECK(type_of(gemm_call(1, 64, 64, Format::fp32, Format::fp32), with) == "bf16");
}

TEST_CASE("gemm: how operands are read") {
  const ChipFigures with = chip_with(1e15, 2e15), without = chip_with(1e15, 0);
  const GemmPath narrow = gemm_path(gemm_call(1, 64, 64, Format::fp8_e4m3, fp8_block), with);
  CHECK(narrow.activation == 1);
  CHECK(narrow.weight == 1);
  CHECK(narrow.output == 2);
  CHECK(narrow.depth == 128);
  CHECK(narrow.math == Format::fp8_e4m3);
  const GemmPath widened = gemm_path(gemm_call(1, 64, 64, Format::fp8_e4m3, Format::fp8_e4m3), without);
  CHECK(widened.activation == 2);
  CHECK(widened.weight == 1);
  CHECK(widened.depth == 64);
  CHECK(widened.math == Format::bf16);
  CHECK(gemm_path(gemm_call(1, 64, 64, Format::bf16, Format::mxfp4), with).weight == 4.25 / 8);  // its scales come along
  CHECK(gemm_path(gemm_call(1, 64, 64, Format::fp32, Format::fp32), with).activation == 4);
}

TEST_CASE("gemm: rounding up without a library call") {
  for (double x : {0.0, 0.1, 0.5, 1.0, 1.5, 2.0, 2.5, 3.0000000001, 7.9, 1e6 + 0.25, 4e9 + 0.5, 1e12, 1e15, 1e22}) CHECK(round_up(x) == std::ceil(x));
}

TEST_CASE("gemm tilings: they cover the output, and k, with whole tiles") {
  for (TileRule rule : {TileRule::few, TileRule::many, TileRule::one})
    for (const GemmShape& shape : {GemmShape{1, 4096, 4096, 64}, {257, 1000, 777, 64}, {8192, 10240, 128, 128}}) {
      const Tilings found = tilings_of(shape, rule);
      REQUIRE(found.tile_count >= 1);
      CHECK(found.tile_count <= most_tiles);
      CHECK(found.split_count <= most_splits);
      int next = 0;
      for (int t = 0; t < found.tile_count; ++t) {
        const GemmTile& tile = found.tiles[t];
        CHECK(tile.first == next);
        next = tile.last;
        CHECK(tile.row_blocks * tile.rows >= shape.m);
        CHECK((tile.row_blocks - 1) * tile.rows < shape.m);
        CHECK(tile.blocks * tile.rows * tile.columns >= shape.m * shape.n);
        for (int s = tile.first; s < tile.last; ++s) {
          const GemmSplit& split = found.splits[s];
          CHECK(split.steps * split.parts * shape.depth >= shape.k);
          CHECK(split.units == tile.blocks * split.parts);
          CHECK(split.rounds * 132 >= split.units);
          CHECK((split.filled > 0 && split.filled <= 1));
        }
      }
      CHECK(next == found.split_count);
    }
}

TEST_CASE("gemm tilings: what a library would not take is not among them") {
  const Tilings decode = tilings_of({1, 4096, 4096, 64}, TileRule::many);
  CHECK(decode.tiles[0].rows == 1);
  CHECK(tilings_of({2, 4096, 4096, 64}, TileRule::many).tiles[0].rows == 16);
  CHECK(decode.splits[decode.tiles[0].last - 1].parts == 8);
  for (const Tilings& short_k : {tilings_of({1, 4096, 64, 64}, TileRule::many), tilings_of({1, 4096, 64, 64}, TileRule::few)}) CHECK(short_k.split_count == short_k.tile_count);
  const Tilings large = tilings_of({16384, 16384, 4096, 64}, TileRule::many);  // 128 x 128 tiles: 124 rounds
  CHECK(large.split_count == large.tile_count);
  for (int t = 0; t < large.tile_count; ++t) CHECK(large.tiles[t].rows * large.tiles[t].columns >= 128 * 128);
}

// By hand: 4096 / 128 = 32 rows of tiles. 132 cores hold 4 of them in a round: with 4096 columns in 32 of 128, 1024 tiles
// are 8 rounds; no width does better, narrower ones need more.
TEST_CASE("gemm tilings: the rule of one tile") {
  CHECK(rule_tile(4096, 4096, 132) == std::array<double, 2>{128, 128});
  CHECK(rule_tile(64, 128, 132) == std::array<double, 2>{64, 16});    // always one round: the fullest has 8 tiles
  CHECK(rule_tile(1, 4096, 132) == std::array<double, 2>{16, 128});   // operands change places
  CHECK(rule_tile(31, 64, 132) == std::array<double, 2>{16, 64});
  CHECK(rule_tile(128, 16 * 132, 132) == std::array<double, 2>{128, 16});  // exactly one full round
}

TEST_CASE("gemm: a large product reaches the matrix peak times its efficiency") {
  const ChipFigures chip = chip_with(1e15, 0);
  const auto values = gemm_values({{"matrix_efficiency", 0.8}, {"slowdown", 0}});
  REQUIRE_FALSE(values.empty());
  const KernelCall call = gemm_call(1 << 16, 132 * 256, 16384);
  CHECK(gemm_model.predict(call, chip, values) == doctest::Approx(call.op.work.flops / 0.8e15).epsilon(0.08));
}

TEST_CASE("gemm: decode reads its weights once, from memory or from the cache") {
  const ChipFigures chip = chip_with(1e15, 0);
  const KernelCall large = gemm_call(1, 16384, 16384), small = gemm_call(1, 2048, 2048);  // 537 MB, 8 MB
  const auto cold = gemm_values({{"weight_copies", 0}}), one = gemm_values({{"weight_copies", 1}}), five = gemm_values({{"weight_copies", 5}});
  const double weights = 2.0 * 16384 * 16384 / (0.88 * chip.bandwidth);
  CHECK(gemm_model.predict(large, chip, cold) == doctest::Approx(weights).epsilon(0.15));
  CHECK(gemm_model.predict(large, chip, cold) == gemm_model.predict(large, chip, one));
  CHECK(gemm_model.predict(small, chip, one) < gemm_model.predict(small, chip, cold));
  CHECK(gemm_model.predict(small, chip, five) > gemm_model.predict(small, chip, one));  // 42 of 50 MB: no longer all of it
}

TEST_CASE("gemm: narrow weights under 16-bit activations save bytes, not arithmetic") {
  const ChipFigures chip = chip_with(1e15, 2e15);
  const auto seconds = [&](double m, DataType stored) { return usual_seconds(gemm_model, gemm_call(m, 16384, 16384, Format::bf16, stored), chip); };
  CHECK(seconds(1, Format::int4) < 0.4 * seconds(1, Format::bf16));
  CHECK(seconds(1, Format::fp8_e4m3) < 0.6 * seconds(1, Format::bf16));
  CHECK(seconds(16384, Format::int4) > 0.95 * seconds(16384, Format::bf16));
}

TEST_CASE("gemm: quantising activations is part of a narrow call as it was measured") {
  const ChipFigures chip = chip_with(1e15, 2e15);
  const KernelCall call = gemm_call(64, 1024, 1024, Format::fp8_e4m3, Format::fp8_e4m3);
  const double with = usual_seconds(gemm_model, call, chip);
  const double without = gemm_model.predict(call, chip, gemm_values({{"quantise_s", 0}, {"quantise_bytes", 0}}));
  CHECK(with - without == doctest::Approx(9.75e-6 + 5 * 64 * 1024 / chip.bandwidth).epsilon(1e-6));
  CHECK(gemm_model.predict(gemm_call(64, 1024, 1024), chip, gemm_values({{"quantise_s", 0}})) == usual_seconds(gemm_model, gemm_call(64, 1024, 1024), chip));
}

TEST_CASE("gemm: one tile more than the cores is another round") {
  ChipFigures chip = chip_with(1e15, 0);
  chip.bandwidth = 1e14;  // arithmetic counts
  for (double rule : {0, 1, 2}) {
    const auto values = gemm_values({{"tile_rule", rule}, {"cache_load", 100}, {"cold_load", 128}});
    const auto seconds = [&](double columns) { return gemm_model.predict(gemm_call(128, columns, 16384), chip, values); };
    CHECK(seconds(132 * 128 + 1) > 1.1 * seconds(132 * 128));
    CHECK(seconds(132 * 128 - 1) > 0.999 * seconds(132 * 128));
  }
}

TEST_CASE("gemm: kernels of milliseconds slow down") {
  const ChipFigures chip = chip_with(1e15, 0);
  const auto steady = gemm_values({{"slowdown", 0}});
  const auto ratio = [&](double m) { return usual_seconds(gemm_model, gemm_call(m, 16384, 16384), chip) / gemm_model.predict(gemm_call(m, 16384, 16384), chip, steady); };
  CHECK(ratio(128) < 1.005);
  CHECK(ratio(65536) > 1.1);
  CHECK(ratio(65536) < 1.22);
}

TEST_CASE("gemm: no prediction beats the roofline") {
  ChipFigures chip = chip_with(1e15, 0);
  chip.bandwidth = 1e9;
  const auto values = gemm_values({{"hbm_efficiency", 1}, {"hbm_write_efficiency", 1.5}, {"resident_below", 1}, {"cold_above", 2}, {"weight_copies", 1}});
  const KernelCall call = gemm_call(4096, 4096, 4096);  // 101 MB on 50 MB of cache, of which these constants keep all but a part
  chip.cache = 90e6;
  CHECK(gemm_model.predict(call, chip, values) == call.op.work.bytes() / chip.bandwidth);
  chip.cache = 1e9;
  CHECK(gemm_model.predict(call, chip, values) < 0.3 * call.op.work.bytes() / chip.bandwidth);
}

TEST_CASE("gemm cache: one search a shape, whatever the rates") {
  const ChipFigures chip = chip_with(1e15, 2e15);
  const auto values = gemm_values({});
  GemmCache cache(chip, values);
  const KernelCall call = gemm_call(512, 4096, 4096);
  const PreparedGemm& prepared = cache.prepare(call);
  for (double factor : {0.1, 1.0, 10.0}) {
    ChipFigures rates = chip;
    rates.bandwidth *= factor;
    CHECK(cache.seconds(call, rates) == doctest::Approx(gemm_model.predict(call, rates, values)).epsilon(1e-13));
  }
  CHECK(cache.size() == 1);
  CHECK(&cache.prepare(call) == &prepared);
}

TEST_CASE("gemm cache: what differs in a size or a type differs in time") {
  const ChipFigures chip = chip_with(1e15, 2e15);
  const auto values = gemm_values({});
  GemmCache cache(chip, values);
  const DataType fp8 = Format::fp8_e4m3, bf16 = Format::bf16;
  const KernelCall calls[] = {gemm_call(512, 4096, 4096), gemm_call(512, 4096, 8192), gemm_call(512, 8192, 4096), gemm_call(1024, 4096, 4096),
                              gemm_call(512, 4096, 4096, fp8, fp8), gemm_call(512, 4096, 4096, bf16, fp8), gemm_call(512, 4096, 4096, bf16, Format::int4)};
  for (int round = 0; round < 2; ++round)
    for (const KernelCall& call : calls) CHECK(cache.seconds(call, chip) == doctest::Approx(gemm_model.predict(call, chip, values)).epsilon(1e-13));
  CHECK(cache.size() == std::size(calls));
}

// 132 cores; 92 candidates before. Equal rates of all kinds leave few that could be best.
TEST_CASE("gemm: preparing keeps what some rates make the cheapest") {
  const ChipFigures chip = chip_with(1e15, 0);
  const auto values = gemm_values({});
  const PreparedGemm prepared(gemm_call(257, 4096, 4096), chip, values);
  CHECK(prepared.tilings() >= 2);
  CHECK(prepared.tilings() < static_cast<std::size_t>(tilings_of({257, 4096, 4096, 64}, TileRule::many).split_count));
  CHECK(PreparedGemm(gemm_call(257, 4096, 4096), chip, gemm_values({{"tile_rule", 2}})).tilings() == 1);
}

}  // namespace
}  // namespace gambrel::sim

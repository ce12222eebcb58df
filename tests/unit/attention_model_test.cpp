// The attention and latent-attention kernel models: against an independent implementation of the same formulas (Python,
// in which they were found; tests/golden/attention_*.csv), and what each choice of kernel must do.
#include "sim/kernel_models/attention_model.hpp"

#include <doctest/doctest.h>

#include <cmath>
#include <map>
#include <set>

#include "attention_support.hpp"
#include "golden_table.hpp"

namespace gambrel::sim {
namespace {

const KernelModel* const models_under_test[] = {&attention_prefill_model, &attention_decode_model, &mla_prefill_model, &mla_decode_model};

struct GoldenRow : GoldenCells {
  DataType type(std::string_view column) const { return text(column) == "fp8" ? Format::fp8_e4m3 : Format::bf16; }
};

const KernelModel& model_named(const std::string& kind) {
  const std::map<std::string, const KernelModel*> names{{"attention_prefill", &attention_prefill_model}, {"attention_decode", &attention_decode_model},
                                                        {"mla_prefill", &mla_prefill_model}, {"mla_decode", &mla_decode_model}};
  return *names.at(kind);
}

KernelCall call_of(const GoldenRow& row) {
  const double batch = row.number("batch"), tokens = row.number("tokens"), heads = row.number("heads");
  const DataType kv = row.type("kv");
  if (row.text("kind") == "mla_prefill") return mla_prefill_call(batch, tokens, heads, kv);
  if (row.text("kind") == "mla_decode") return mla_decode_call(batch, tokens, heads, kv);
  const models::AttentionShape shape{.batch = batch, .queries = tokens, .heads = heads, .kv_heads = row.number("kv_heads"), .qk_width = row.number("width"),
                                     .v_width = row.number("width"), .window = row.number("window")};
  return row.text("kind") == "attention_decode" ? decode_call(shape, tokens, kv) : prefill_call(shape, row.type("q"), kv);
}

ChipFigures chip_of(const GoldenRow& row) {
  ChipFigures chip = chip_with(row.number("peak_bf16"), row.number("peak_fp8"));
  chip.cores = row.number("cores");
  chip.clock = row.number("clock");
  chip.bandwidth = row.number("bandwidth");
  chip.cache = row.number("cache");
  chip.cache_bandwidth = row.number("cache_bandwidth");
  return chip;
}

/// The sets of constants by name, in their models' order.
std::map<std::string, std::vector<double>> golden_constants() {
  std::map<std::string, std::vector<double>> sets;
  const CsvTable table = golden_table("attention_constants.csv");
  for (const CsvRow& cells : table.rows) {
    const GoldenRow row{table, cells};
    const std::string name = row.text("constants");
    const KernelModel& model = model_named(name.substr(0, name.find('.')));
    auto& values = sets.try_emplace(name, model.constants.size(), std::nan("")).first->second;
    CHECK_MESSAGE(set(model, values, row.text("name"), row.number("value")), name << ": no constant " << row.text("name"));
  }
  return sets;
}

models::AttentionShape heads_of(double heads, double kv_heads, double width = 128) {
  return {.heads = heads, .kv_heads = kv_heads, .qk_width = width, .v_width = width};
}

TEST_CASE("attention: equal to the independent implementation") {
  const auto constants = golden_constants();
  const CsvTable table = golden_table("attention_model.csv");
  CHECK(table.rows.size() >= 480);
  for (const CsvRow& cells : table.rows) {
    const GoldenRow row{table, cells};
    const KernelModel& model = model_named(row.text("kind"));
    const KernelCall call = call_of(row);
    const ChipFigures chip = chip_of(row);
    const auto& values = constants.at(row.text("constants"));
    CHECK(row.text("constants").ends_with(model.type_of(call, chip)));
    const double seconds = model.predict(call, chip, values);
    CHECK_MESSAGE(std::abs(seconds / row.number("seconds") - 1) < 1e-9, "line " << cells.line << ": " << seconds << " for " << row.text("seconds"));
  }
}

TEST_CASE("attention: every constant has a unique name, a meaning and a usual value in its range") {
  for (const KernelModel* model : models_under_test) {
    std::set<std::string_view> names;
    for (const Constant& c : model->constants) {
      CHECK_MESSAGE(names.insert(c.name).second, c.name);
      CHECK_MESSAGE((c.low <= c.usual && c.usual <= c.high && c.low < c.high), c.name);
      CHECK_MESSAGE((c.search != Search::logarithmic || c.low > 0), c.name);
      CHECK_FALSE(c.meaning.empty());
    }
  }
}

TEST_CASE("attention: an fp8 cache runs in fp8 where the chip can") {
  const ChipFigures with = chip_with(1e15, 2e15), without = chip_with(1e15, 0);
  const auto type = [](DataType kv, const ChipFigures& chip) { return attention_type(decode_call({}, 100, kv), chip); };
  CHECK(type(Format::fp8_e4m3, with) == "fp8");
  CHECK(type(Format::fp8_e5m2, with) == "fp8");
  CHECK(type(Format::fp8_e4m3, without) == "bf16");
  CHECK(type(Format::bf16, with) == "bf16");
  CHECK(type(Format::int8, with) == "bf16");
  CHECK(kv_path(decode_call({}, 100, Format::int8), with).stored == 1);
  CHECK(kv_path(decode_call({}, 100, Format::fp8_e4m3), with).peak == 2e15);
  CHECK(kv_path(decode_call({}, 100, Format::fp8_e4m3), with).wide_peak == 1e15);
}

TEST_CASE("prefill: a long sequence reaches the matrix peak times its efficiency") {
  const ChipFigures chip = chip_with(1e15, 0);
  auto values = usual_values(attention_prefill_model);
  REQUIRE(set(attention_prefill_model, values, "matrix_efficiency", 0.5));
  REQUIRE(set(attention_prefill_model, values, "score_rate", 1e6));  // softmax costs nothing
  auto shape = heads_of(32, 8);
  shape.queries = 1 << 18;
  const KernelCall call = prefill_call(shape);
  CHECK(attention_prefill_model.predict(call, chip, values) == doctest::Approx(call.op.work.flops / 0.5e15).epsilon(0.01));
}

TEST_CASE("prefill: a window that covers everything is plain causal, a narrow one is cheaper") {
  const ChipFigures chip = chip_with(1e15, 0);
  auto plain = heads_of(32, 8), covered = plain, narrow = plain;
  plain.queries = covered.queries = narrow.queries = 16384;
  covered.window = 16384;
  narrow.window = 512;
  const auto seconds = [&](const models::AttentionShape& s) { return usual_seconds(attention_prefill_model, prefill_call(s), chip); };
  CHECK(seconds(covered) == seconds(plain));
  CHECK(seconds(narrow) < 0.3 * seconds(plain));
}

TEST_CASE("prefill: tokens in the cache are walked over by every query tile") {
  const ChipFigures chip = chip_with(1e15, 0);
  auto fresh = heads_of(32, 8);
  fresh.queries = 4096;
  auto after_past = fresh;
  after_past.past = 3 * 4096;
  const KernelCall first = prefill_call(fresh), later = prefill_call(after_past);
  const double flops = later.op.work.flops / first.op.work.flops;
  const double seconds = usual_seconds(attention_prefill_model, later, chip) / usual_seconds(attention_prefill_model, first, chip);
  CHECK(flops == doctest::Approx(7).epsilon(0.01));
  CHECK(seconds > 0.7 * flops);
  CHECK(seconds < 1.05 * flops);
}

TEST_CASE("decode: heads that share K and V move them once") {
  const ChipFigures chip = chip_with(1e15, 2e15);
  auto many = heads_of(32, 32), shared = heads_of(32, 4);
  many.batch = shared.batch = 64;
  const double a = usual_seconds(attention_decode_model, decode_call(many, 8192), chip);
  const double b = usual_seconds(attention_decode_model, decode_call(shared, 8192), chip);
  CHECK(a > 4 * b);
  CHECK(a < 8 * b);
}

TEST_CASE("decode: tokens outside the window are not read") {
  const ChipFigures chip = chip_with(1e15, 2e15);
  auto full = heads_of(32, 8), windowed = full;
  full.batch = windowed.batch = 64;
  windowed.window = 128;
  const double all = usual_seconds(attention_decode_model, decode_call(full, 32768), chip);
  CHECK(usual_seconds(attention_decode_model, decode_call(windowed, 32768), chip) < 0.1 * all);
  windowed.window = 32768;
  CHECK(usual_seconds(attention_decode_model, decode_call(windowed, 32768), chip) == all);
}

TEST_CASE("decode: one sequence is split over the cores") {
  const ChipFigures chip = chip_with(1e15, 0);
  const double one = usual_seconds(attention_decode_model, decode_call(heads_of(1, 1), 16384), chip);
  ChipFigures single = chip;
  single.cores = 1;
  CHECK(usual_seconds(attention_decode_model, decode_call(heads_of(1, 1), 16384), single) > 4 * one);
}

TEST_CASE("latent decode: the family of kernels is a constant") {
  const ChipFigures chip = chip_with(1e15, 0);
  auto values = usual_values(mla_decode_model);
  const KernelCall call = mla_decode_call(1, 65536, 16);
  const double balanced = mla_decode_model.predict(call, chip, values);
  REQUIRE(set(mla_decode_model, values, "balanced", 0));
  CHECK(mla_decode_model.predict(call, chip, values) > 10 * balanced);  // one CTA walks the whole sequence
}

TEST_CASE("attention: no prediction beats the roofline") {
  ChipFigures chip = chip_with(1e15, 0);
  chip.bandwidth = 1e9;  // the launch counts for nothing
  auto values = usual_values(attention_decode_model);
  REQUIRE(set(attention_decode_model, values, "hbm_efficiency", 1));
  REQUIRE(set(attention_decode_model, values, "cache_share", 1));
  auto shape = heads_of(8, 8);
  shape.batch = 8;
  const KernelCall call = decode_call(shape, 1600);  // 52 MB on 50 MB of cache: by the soft step, half of it would stay there
  const double floor = call.op.work.bytes() / chip.bandwidth;
  CHECK(call.op.work.bytes() > chip.cache);
  CHECK(attention_decode_model.predict(call, chip, values) == floor);
  chip.cache = 1e9;
  CHECK(attention_decode_model.predict(call, chip, values) < 0.01 * floor);
}

TEST_CASE("attention: the soft step of the cache and the overlap of two times") {
  CHECK(cache_miss(1, 100) < 1e-12);
  CHECK(cache_miss(100, 100) == doctest::Approx(0.5));
  CHECK(cache_miss(1000, 100) == doctest::Approx(1));
  CHECK(cache_miss(1, 0) == 1);
  CHECK(overlap(3, 4, 2) == doctest::Approx(5));
  CHECK(overlap(3, 4, 1) == doctest::Approx(7));
  CHECK(overlap(0, 0, 2) == 0);
}

}  // namespace
}  // namespace gambrel::sim

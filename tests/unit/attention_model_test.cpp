// The attention and latent-attention kernel models: against an independent implementation of the same formulas (Python,
// in which they were found; tests/golden/attention_*.csv), and what each choice of kernel must do.
#include "sim/kernel_models/attention_model.hpp"

#include <doctest/doctest.h>

#include <cmath>
#include <map>
#include <set>

#include "attention_support.hpp"
#include "golden_table.hpp"
#include "kernels/suite/survey.hpp"

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

/// A processor at which nothing takes time but what a test makes slow.
ChipFigures swift_processor() {
  ChipFigures chip{.bandwidth = 1e20, .vector_rate = 1e20};
  chip.peak.fill(1e20);
  chip.caches = {{{32e3, 1e20}, {1e6, 1e20}, {1e8, 1e20}}};
  return chip;
}

/// Seconds of decoding on that processor under usual values but one, less those under another value of it.
double decode_difference(const models::AttentionShape& shape, double tokens, std::string_view name, double value, double other, const ChipFigures& chip = swift_processor()) {
  const auto seconds = [&](double of) {
    auto values = usual_values(cpu_attention_decode_model);
    REQUIRE(set(cpu_attention_decode_model, values, name, of));
    KernelCall call = decode_call(shape, tokens, Format::fp32);
    return cpu_attention_decode_model.predict(call, chip, values);
  };
  return seconds(value) - seconds(other);
}

TEST_CASE("processor's decode: a pass over keys and values serves four, two or one query head") {
  const auto passes = [&](double group) { return decode_difference(heads_of(group, 1), 1024, "load_efficiency", 1e-20, 1); };
  const double one = passes(4);
  CHECK(one == doctest::Approx(1024.0 * 2 * 128 * 4));
  for (const auto& [group, wanted] : std::vector<std::pair<double, double>>{{3, 2}, {5, 2}, {6, 2}, {7, 3}, {8, 2}, {16, 4}})
    CHECK_MESSAGE(passes(group) == doctest::Approx(wanted * one), group);
}

TEST_CASE("processor's decode: a query head goes through blocks of tokens, smaller ones where KV heads are many and wide") {
  const auto blocks = [&](double heads, double kv_heads, double width, double tokens) {
    return decode_difference(heads_of(heads, kv_heads, width), tokens, "block_s", 2, 1) / (heads * (0.75 + width / 256));
  };
  CHECK(blocks(1, 1, 64, 1024) == doctest::Approx(4));
  CHECK(blocks(1, 1, 64, 1025) == doctest::Approx(5));
  CHECK(blocks(4, 1, 256, 1024) == doctest::Approx(16));
  CHECK(blocks(8, 8, 64, 1024) == doctest::Approx(16));
  CHECK(blocks(32, 8, 128, 1024) == doctest::Approx(32));
  CHECK(blocks(16, 16, 256, 1024) == doctest::Approx(64));  // never fewer than 16 tokens
}

TEST_CASE("processor's decode: values that fill no block of sums cost more, most where rows share sets of the first cache") {
  ChipFigures chip = swift_processor();
  chip.caches[0].bandwidth = 1e9;
  const auto narrow = [&](double heads, double kv_heads, double width) {
    return decode_difference(heads_of(heads, kv_heads, width), 1024, "narrow_cost", 1e6, 2e-6, chip) / kv_heads / 1e6;
  };
  const double alone = 1024 * 64 * 4 / 1e9;
  CHECK(narrow(1, 1, 128) < 1e-3 * alone);
  CHECK(narrow(4, 1, 64) < 1e-3 * alone);  // four heads' blocks are 64 wide
  CHECK(narrow(1, 1, 64) == doctest::Approx(alone).epsilon(0.02));
  CHECK(narrow(3, 1, 64) == doctest::Approx(2 * alone).epsilon(0.02));  // in both passes
  CHECK(narrow(5, 1, 64) == doctest::Approx(alone).epsilon(0.02));      // in the pass of the fifth
  CHECK(narrow(1, 1, 192) == doctest::Approx(alone).epsilon(0.02));
  CHECK(narrow(16, 16, 64) == doctest::Approx(4 * alone).epsilon(0.02));  // 8 KiB apart
  CHECK(narrow(7, 7, 64) == doctest::Approx(alone).epsilon(0.02));        // 3.5 KiB, which is odd
}

TEST_CASE("processor's decode: from main memory, a KV head's only query head waits for what was not fetched ahead") {
  ChipFigures chip = swift_processor();
  chip.bandwidth = 1e9;
  chip.caches[2].capacity = 1e5;
  const auto values = usual_values(cpu_attention_decode_model);
  const auto rate = [&](double heads, double tokens) {
    models::AttentionShape shape = heads_of(heads, 8);
    shape.batch = 16;
    const KernelCall call = decode_call(shape, tokens, Format::fp32);
    return call.op.work.bytes() / cpu_attention_decode_model.predict(call, chip, values);
  };
  CHECK(rate(8, 100) == doctest::Approx(0.55 * rate(16, 100)).epsilon(0.02));
  CHECK(rate(8, 50000) == doctest::Approx(rate(16, 50000)).epsilon(0.02));
}

TEST_CASE("processor's decode: more tokens or sequences are never faster, nor more query heads that share keys and values") {
  ChipFigures chip = swift_processor();
  chip.bandwidth = 3e10, chip.vector_rate = 1e11;
  chip.peak.fill(1e11);
  for (std::size_t i = 0; i < 3; ++i) chip.caches[i].bandwidth = 2e11 / static_cast<double>(1 << i);
  const auto seconds = [&](models::AttentionShape shape, double batch, double tokens) {
    shape.batch = batch;
    return usual_seconds(cpu_attention_decode_model, decode_call(shape, tokens, Format::fp32), chip);
  };
  for (const double kv_heads : {1.0, 2.0, 8.0, 12.0})
    for (const double group : {1.0, 2.0, 3.0, 4.0, 7.0})
      for (const double width : {64.0, 96.0, 128.0, 256.0}) {
        const auto shape = heads_of(group * kv_heads, kv_heads, width);
        double before = 0;
        for (double tokens = 1; tokens < 1e5; tokens = std::ceil(1.1 * tokens)) {
          const double now = seconds(shape, 1, tokens);
          CHECK_MESSAGE(now >= before, tokens);
          before = now;
        }
        CHECK(seconds(shape, 2, 300) > seconds(shape, 1, 300));
        // Not at other widths: four heads take a value of 64 elements whole, two do not.
        if (std::fmod(width, 128) == 0) CHECK(seconds(heads_of(2 * group * kv_heads, kv_heads, width), 1, 300) > seconds(shape, 1, 300));
      }
}

TEST_CASE("survey: decoding is drawn from heads of all kinds, and from each cache") {
  std::map<std::string, int> found;
  for (const kernels::SurveyCase& row : kernels::survey_cases(1, false)) {
    if (row.kind != "attention_decode") continue;
    std::map<std::string, double> size(row.kernel.sizes.begin(), row.kernel.sizes.end());
    const double group = size["num_heads"] / size["num_key_value_heads"], bytes = row.kernel.working_set;
    ++found[group == 1 ? "own KV heads" : std::fmod(8, group) == 0 ? "groups of 2, 4, 8" : "other groups"];
    ++found[size["batch_size"] == 1 ? "one sequence" : "several"];
    ++found[bytes < 1e6 ? "inner caches" : bytes < 4e7 ? "last cache" : "main memory"];
    ++found[size["head_dim"] == 64 ? "narrow" : "wide"];
    CHECK(row.kernel.flops <= 4e8);
    CHECK(bytes < 2e8);
  }
  CHECK(found.size() == 10);
  for (const auto& [kind, count] : found) CHECK_MESSAGE(count >= 4, kind << ": " << count);
}

}  // namespace
}  // namespace gambrel::sim

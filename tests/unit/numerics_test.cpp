// A graph's formats executed: which tensor is rounded how, on models small enough to look at every number.
#include "kernels/executor/numerics.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <random>

#include "kernels/executor/buffer.hpp"
#include "kernels/executor/executor.hpp"
#include "kernels/numerics/error.hpp"
#include "kernels/numerics/quantise.hpp"
#include "kernels/numerics/sparsity.hpp"
#include "kernels/weights/synthetic_weights.hpp"
#include "tests/unit/model_support.hpp"

using namespace gambrel;
using namespace gambrel::models;
using namespace gambrel::test;
using namespace gambrel::kernels;

namespace {

using Floats = std::vector<float>;

ModelConfig small_model(std::string_view ffn = "{kind: dense, inner: 24, activation: swiglu}") {
  return model_with(fmt::format(
      "  - count: 2\n    attention: {{kind: gqa, heads: 4, kv_heads: 2, head_dim: 4}}\n    ffn: {}\n", ffn));
}

Precision all_of(DataType type) { return {.all = {.weights = type, .activations = type, .kv_cache = type}}; }

Floats normal(std::size_t count, unsigned seed) {
  std::mt19937 random(seed);
  std::normal_distribution<float> draw;
  Floats values(count);
  std::ranges::generate(values, [&] { return draw(random); });
  return values;
}

/// Everything that was written in a run, by operator.
std::map<std::string, Floats> results(const ModelConfig& model, const Precision& precision, Numerics& numerics,
                                      Step step) {
  std::map<std::string, Floats> all;
  numerics.observe([&](const WrittenResult& r) { all[r.name].assign(r.values.data.begin(), r.values.data.end()); });
  ExecutorOptions options{.count = false};
  options.numerics = &numerics;
  const auto done = Executor<float>(model, {}, options).run(graph_of(model, step, precision), step);
  REQUIRE_MESSAGE(done.has_value(), complaints(done ? Diagnostics{} : done.error()));
  return all;
}

NumericsSettings settings_of(const ModelConfig& model, const Precision& precision) {
  return {.policy = {model.dtype, model.precision, precision}};
}

bool holds_only(const Floats& values, const FloatLayout& layout) {
  return std::ranges::all_of(values, [&](float v) { return rounded(v, layout, Overflow::special) == v; });
}

}  // namespace

TEST_CASE("numerics: narrow formats that name no scale get one, caches by head") {
  using Per = Scale::Per;
  CHECK(executed_type(Format::bf16, Role::weight) == DataType(Format::bf16));
  CHECK(executed_type(Format::mxfp4, Role::activation) == DataType(Format::mxfp4));
  CHECK(executed_type(Format::int8, Role::weight).scale == Scale{Per::channel, 0, 0, Format::fp32});
  CHECK(executed_type(Format::fp8_e4m3, Role::activation).scale == Scale{Per::tensor, 0, 0, Format::fp32});
  CHECK(executed_type(Format::fp8_e4m3, Role::kv_cache, 4).scale.per == Per::none);
  CHECK(executed_type(Format::int8, Role::kv_cache, 4).scale == Scale{Per::block, 1, 4, Format::fp32});
  DataType own(Format::int8);
  own.scale = {Per::block, 1, 16, Format::fp16};
  CHECK(executed_type(own, Role::kv_cache, 4) == own);
}

TEST_CASE("numerics: without rounding a run is the executor's own") {
  const ModelConfig model = small_model();
  const Step step{.new_tokens = 5};
  Numerics exact({.rounds = false});
  const Precision precision = all_of(Format::mxfp4);
  const auto logits = results(model, precision, exact, step).at("lm_head");
  const auto plain = Executor<float>(model).run(graph_of(model, step), step);
  REQUIRE(plain.has_value());
  CHECK(std::ranges::equal(logits, plain->logits, {}, [](float v) { return static_cast<double>(v); }));
  CHECK(exact.statistics().elements == 0);
}

TEST_CASE("numerics: every result is a number of its tensor's format") {
  const ModelConfig model = small_model();
  const Precision precision = all_of(Format::bf16);
  Numerics numerics(settings_of(model, precision));
  for (const auto& [name, values] : results(model, precision, numerics, {.new_tokens = 6}))
    if (name != "sample") CHECK_MESSAGE(holds_only(values, bf16_layout), name);
  Numerics halves(settings_of(model, all_of(Format::fp16)));
  for (const auto& [name, values] : results(model, all_of(Format::fp16), halves, {.new_tokens = 6}))
    if (name != "sample") CHECK_MESSAGE(holds_only(values, fp16_layout), name);
}

TEST_CASE("numerics: weights are pruned, then rounded; tables, routers and gains are not pruned") {
  const ModelConfig model = small_model("{kind: moe, experts: 4, top_k: 2, inner: 8, activation: swiglu}");
  NumericsSettings settings = settings_of(model, all_of(Format::bf16));
  settings.sparsity = {.structure = WeightSparsity::Structure::n_of_m, .density = 0.5, .n = 2, .m = 4};
  const Numerics numerics(std::move(settings));
  const Graph graph = graph_of(model, {.new_tokens = 3}, all_of(Format::bf16));
  int pruned = 0, kept = 0;
  for (const Op& op : graph.ops())
    for (const Use& use : op.uses) {
      const Tensor& tensor = graph.tensor(use.tensor);
      if (tensor.role != Role::weight && tensor.role != Role::expert_weight) continue;
      const Floats drawn = normal(static_cast<std::size_t>(tensor.elements()), 7);
      const Floats values = numerics.weight(tensor.name, op, tensor, [&] { return drawn; });
      const bool prunable =
          tensor.shape.size() > 1 && tensor.name.starts_with("layers.") && !tensor.name.ends_with("router.weight");
      CHECK_MESSAGE(density_of(values) == (prunable ? 0.5 : 1.0), tensor.name);
      CHECK(holds_only(values, bf16_layout));
      ++(prunable ? pruned : kept);
    }
  CHECK(pruned == 4);  // qkv, out, up, down
  CHECK(kept >= 4);    // table, gains, router, lm_head
  CHECK(numerics.statistics().kept < numerics.statistics().elements);
}

TEST_CASE("numerics: an expert's matrix has scales of its own") {
  const ModelConfig model = small_model("{kind: moe, experts: 2, top_k: 1, inner: 4, activation: relu}");
  DataType type(Format::int8);
  type.scale = {Scale::Per::tensor, 0, 0, Format::fp32};
  const Numerics numerics(settings_of(model, all_of(type)));
  const Graph graph = graph_of(model, {.new_tokens = 3, .fused_experts = false}, all_of(type));
  for (const Op& op : graph.ops()) {
    if (op.kind != OpKind::grouped_gemm) continue;
    const Tensor& tensor = graph.tensor(op.uses[1].tensor);
    Floats drawn = normal(static_cast<std::size_t>(tensor.elements()), 3);
    for (std::size_t i = 0; i < drawn.size() / 2; ++i) drawn[i] *= 1000;
    const Floats values = numerics.weight(tensor.name, op, tensor, [&] { return drawn; });
    const std::size_t half = drawn.size() / 2;
    CHECK(sqnr_db(std::span(drawn).subspan(half), std::span(values).subspan(half)) > 30);
  }
}

TEST_CASE("numerics: a cache is rounded as it is appended, by head, and old rows stay") {
  const ModelConfig model = small_model();
  const Precision precision{.all = {.kv_cache = DataType(Format::int4)}};
  Numerics numerics(settings_of(model, precision));
  Floats first, second;
  numerics.observe([&](const WrittenResult& r) {
    if (r.name == "layers.0.attn.kv_append") (first.empty() ? first : second).assign(r.values.data.begin(), r.values.data.end());
  });
  ExecutorOptions options{.count = false};
  options.numerics = &numerics;
  Executor<float> executor(model, {}, options);
  for (const Step& step : {Step{.new_tokens = 3}, Step{.new_tokens = 1, .past_tokens = 3}})
    REQUIRE(executor.run(graph_of(model, step, precision), step).has_value());
  REQUIRE(first.size() == 3 * 16);
  REQUIRE(second.size() == 4 * 16);
  CHECK(std::equal(first.begin(), first.end(), second.begin()));
  for (std::size_t block = 0; block < second.size(); block += 4) {  // of every head: whole multiples of its largest / 7
    float largest = 0;
    for (std::size_t i = block; i < block + 4; ++i) largest = std::max(largest, std::abs(second[i]));
    for (std::size_t i = block; i < block + 4; ++i)
      CHECK(std::abs(second[i] / largest * 7 - std::round(second[i] / largest * 7)) < 1e-5);
  }
}

TEST_CASE("numerics: the accumulator is the setting's, or the policy's by operator") {
  const ModelConfig model = small_model();
  Precision precision = all_of(Format::bf16);
  precision.overrides = {{"layers.*.mlp", {.accumulate = DataType(Format::bf16)}}};
  const Numerics by_policy(settings_of(model, precision));
  const Graph graph = graph_of(model, {}, precision);
  for (const Op& op : graph.ops()) {
    const auto accumulator = by_policy.accumulator(op);
    CHECK(accumulator.has_value() == (op.name.find(".mlp.") != op.name.npos));
    if (accumulator) CHECK(accumulator->layout == bf16_layout);
  }
  NumericsSettings settings = settings_of(model, precision);
  settings.accumulator = Accumulator{.layout = narrow_accumulator(13), .promote_every = 8};
  const Numerics by_setting(settings);
  settings.rounds = false;
  const Numerics none(std::move(settings));
  for (const Op& op : graph.ops()) {
    CHECK(by_setting.accumulator(op)->promote_every == 8);
    CHECK_FALSE(none.accumulator(op).has_value());
  }
}

TEST_CASE("numerics: products go through the narrow accumulator, attention's too") {
  const ModelConfig model = small_model("{kind: moe, experts: 4, top_k: 2, inner: 8, activation: swiglu}");
  const Step step{.new_tokens = 5};
  const Precision precision = all_of(Format::fp32);
  NumericsSettings settings = settings_of(model, precision);
  settings.accumulator = Accumulator{.layout = narrow_accumulator(4)};
  Numerics narrow(std::move(settings)), wide(settings_of(model, precision));
  const auto coarse = results(model, precision, narrow, step), fine = results(model, precision, wide, step);
  for (const char* name : {"layers.0.attn.qkv", "layers.0.attn.core", "layers.0.moe.experts", "lm_head"}) {
    CHECK_MESSAGE(holds_only(coarse.at(name),
                             name == std::string_view("layers.0.moe.experts") ? fp32_layout : narrow_accumulator(4)),
                  name);
    const double error = relative_error(fine.at(name), coarse.at(name));
    CHECK_MESSAGE(error > 0.005, name, error);
  }
}

TEST_CASE("numerics: number formats are executed in fp32 only") {
  const Numerics numerics({});
  ExecutorOptions options;
  options.numerics = &numerics;
  const ModelConfig model = small_model();
  const auto done = Executor<double>(model, {}, options).run(graph_of(model), {});
  REQUIRE_FALSE(done.has_value());
  CHECK(done.error().front().message == "number formats are executed in fp32 only");
}

TEST_CASE("numerics: synthetic weights are the same on every drawing, with outliers where they belong") {
  const SyntheticStatistics statistics{.stored_as = Format::fp32};
  const SyntheticWeights weights(statistics, 5), again(statistics, 5), other(statistics, 6);
  const std::string matrix = "layers.3.attn.qkv.weight";
  const Floats values = *weights.whole(matrix, 256, 512 * 256);
  CHECK(values == *again.whole(matrix, 256, 512 * 256));
  CHECK(values != *other.whole(matrix, 256, 512 * 256));
  std::size_t large = 0;
  for (std::size_t row = 0; row < 512; ++row) {
    double squares = 0;
    for (std::size_t i = 0; i < 256; ++i) squares += static_cast<double>(values[row * 256 + i]) * values[row * 256 + i];
    CHECK((std::abs(squares - 1) < 0.4 || std::abs(squares - 16) < 6.4));
    large += squares > 4;
  }
  CHECK(large >= 1);
  CHECK(large <= 10);
  auto outliers = [&](std::string_view name) {
    const Floats gains = *weights.whole(name, 1, 4096);
    std::vector<std::size_t> places;
    for (std::size_t i = 0; i < gains.size(); ++i)
      if (gains[i] > 10) places.push_back(i);
    return places;
  };
  CHECK(outliers("layers.0.attn.norm.gain").size() == 6);
  CHECK(outliers("layers.0.attn.norm.gain") == outliers("layers.9.mlp.norm.gain"));
  CHECK(weights.whole("norm.gain", 1, 64) == nullptr);
  CHECK(weights.whole("layers.0.attn.qkv.bias", 1, 64) == nullptr);
  CHECK(describe(statistics, 5) ==
        "synthetic: Gaussian, 0.146 % of the hidden channels 20 times the others, 0.391 % of the weight rows 4 times, "
        "stored as fp32, seed 5");
}

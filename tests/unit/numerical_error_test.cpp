// Error against fp32: the copy that stands for a model, what a report holds, and what is refused.
#include "kernels/numerical_error/numerical_error.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>

#include "kernels/numerical_error/numerical_error_copy.hpp"
#include "tests/unit/model_support.hpp"

using namespace gambrel;
using namespace gambrel::models;
using namespace gambrel::test;
using namespace gambrel::kernels;

namespace {

const char* attention = "    attention: {kind: gqa, heads: 4, kv_heads: 2, head_dim: 16}\n";

ModelConfig small_model(std::string_view ffn = "{kind: dense, inner: 128, activation: swiglu}", int layers = 4) {
  return model_of(
      fmt::format("hidden: 64\nvocab: 300\nlayers:\n  - count: {}\n{}    ffn: {}\n", layers, attention, ffn));
}

ErrorVariant both(std::string name, DataType type) {
  return {.name = std::move(name), .precision = {.all = {.weights = type, .activations = type}}};
}

ErrorOptions small_options() { return {.layers = 2, .width_fraction = 1.0, .vocabulary_rows = 200.0, .tokens = 8}; }

ErrorReport measured(const ModelConfig& model, const ErrorVariant& variant,
                     const ErrorOptions& options = small_options()) {
  const auto report = measure_error(model, variant, options);
  REQUIRE_MESSAGE(report.has_value(), complaints(report ? Diagnostics{} : report.error()));
  return *report;
}

std::string refusal(const ErrorOptions& options) {
  const auto report = measure_error(small_model(), {}, options);
  REQUIRE_FALSE(report.has_value());
  CHECK_FALSE(report.error().front().hint.empty());
  return report.error().front().message;
}

const OperatorError& of(const ErrorReport& report, std::string_view name) {
  const auto found = std::ranges::find(report.operators, name, &OperatorError::name);
  REQUIRE(found != report.operators.end());
  return *found;
}

}  // namespace

TEST_CASE("numerical error: a copy has layers of every kind, spread over the model") {
  CHECK(sampled_layers(small_model("{kind: dense, inner: 8, activation: relu}", 32), 2) == std::vector{8, 24});
  CHECK(sampled_layers(small_model("{kind: dense, inner: 8, activation: relu}", 3), 9) == std::vector{0, 1, 2});
  const std::string dense = "    ffn: {kind: dense, inner: 8, activation: relu}\n",
                    routed = "    ffn: {kind: moe, experts: 4, top_k: 1, inner: 8, activation: relu}\n";
  const ModelConfig mixed = model_of("hidden: 64\nvocab: 300\nlayers:\n  - count: 3\n" + std::string(attention) +
                                     dense + "  - count: 57\n" + attention + routed);
  CHECK(sampled_layers(mixed, 1) == std::vector{31});
  CHECK(sampled_layers(mixed, 2) == std::vector{1, 31});
  CHECK(sampled_layers(mixed, 4) == std::vector{1, 12, 31, 50});
  CHECK(sampled_layers(mixed, 60).size() == 60);
}

TEST_CASE("numerical error: overrides of layers follow the layers that the copy's stand for") {
  const PrecisionChoice choice{.weights = DataType(Format::int4)};
  Precision precision;
  for (const char* match : {"layers.*.mlp", "layers.8-31.attn", "layers.24", "lm_head", "**.down"})
    precision.overrides.push_back({match, choice});
  std::vector<std::string> patterns;
  for (const PrecisionOverride& o : translated(precision, {8, 24}).overrides) patterns.push_back(o.match);
  CHECK(patterns == std::vector<std::string>{"layers.0.mlp", "layers.1.mlp", "layers.0.attn", "layers.1.attn",
                                             "layers.1", "lm_head", "**.down"});
}

TEST_CASE("numerical error: fp32 has none") {
  const ErrorReport report = measured(small_model(), both("fp32", Format::fp32));
  CHECK(report.relative_error == 0);
  CHECK(report.sqnr_db == INFINITY);
  CHECK(report.distribution.kl_divergence == 0);
  CHECK(report.distribution.top1_agreement == 1);
  for (const OperatorError& error : report.operators) {
    CHECK(error.relative_error == 0);
    CHECK(error.own_relative_error == 0);
  }
  CHECK(report.growth.at_full_depth == 0);
}

TEST_CASE("numerical error: a report says what was run and how error grows") {
  const ErrorReport report = measured(small_model(), both("fp8", Format::fp8_e4m3));
  CHECK(report.variant == "fp8");
  CHECK_FALSE(report.real_weights);
  CHECK(report.weights.starts_with("synthetic: Gaussian"));
  CHECK(report.executed_layers == std::vector{1, 3});
  CHECK(report.scaling == "2 of 4 layers (1, 3), widths x 1, 8 tokens, 200 of 300 rows of the vocabulary");
  CHECK(report.operators.front().name == "embed");
  CHECK(report.operators.back().name == "lm_head");
  CHECK(report.relative_error == of(report, "lm_head").relative_error);
  CHECK(std::abs(report.sqnr_db + 20 * std::log10(report.relative_error)) < 1e-9);
  CHECK(std::abs(report.weight_sqnr_db - 31.5) < 1.5);
  REQUIRE(report.growth.points.size() == 3);
  CHECK(report.growth.points[2].layers == 4);
  CHECK(std::abs(report.growth.at_full_depth / report.growth.points[2].relative_error - 1) < 0.3);
  CHECK(of(report, "layers.1.attn.qkv").layer == 1);
  CHECK(of(report, "layers.1.attn.qkv").kind == "gemm");
  CHECK(worst_operator(report)->sqnr_db <= report.sqnr_db);
}

TEST_CASE("numerical error: an operator's own error is that of its weights and inputs alone") {
  ErrorVariant variant{
      .name = "down", .precision = {.all = {.weights = DataType(Format::fp32), .activations = DataType(Format::fp32)}}};
  variant.precision.overrides = {{"layers.*.mlp.down", {.weights = DataType(Format::int4)}}};
  const ErrorReport report = measured(small_model(), variant);
  CHECK(of(report, "layers.0.mlp.act").relative_error == 0);
  CHECK(of(report, "layers.0.mlp.down").own_relative_error == of(report, "layers.0.mlp.down").relative_error);
  CHECK(of(report, "layers.0.mlp.down").own_relative_error > 0.05);
  CHECK(of(report, "layers.1.attn.qkv").relative_error > 0);
  CHECK(of(report, "layers.1.attn.qkv").own_relative_error == 0);
  CHECK(of(report, "layers.1.mlp.down").own_relative_error < of(report, "layers.1.mlp.down").relative_error);
}

TEST_CASE("numerical error: rows that change their expert are not compared") {
  const ModelConfig model = small_model("{kind: moe, experts: 8, top_k: 2, inner: 32, activation: relu2}");
  for (const char* format : {"mxfp4", "bf16"}) {
    const ErrorReport report = measured(model, both(format, parse_data_type(format)->type));
    for (const OperatorError& error : report.operators) CHECK_MESSAGE(error.own_relative_error < 0.5, error.name);
    CHECK(of(report, "layers.0.moe.experts").relative_error < 0.9);
    CHECK(std::ranges::find(report.operators, "layers.0.moe.topk", &OperatorError::name) == report.operators.end());
  }
}

TEST_CASE("numerical error: squared ReLU leaves half of its outputs at 0") {
  const ErrorReport report =
      measured(small_model("{kind: dense, inner: 512, activation: relu2}"), both("bf16", Format::bf16));
  CHECK(std::abs(of(report, "layers.0.mlp.act").nonzero - 0.5) < 0.05);
  CHECK(of(report, "layers.0.mlp.down").nonzero == 1);
}

TEST_CASE("numerical error: 2:4 keeps half of the weights of the layers") {
  ErrorVariant variant = both("2:4", Format::bf16);
  variant.sparsity = {.structure = WeightSparsity::Structure::n_of_m, .density = 0.5, .n = 2, .m = 4};
  const ModelConfig model = small_model();
  const ErrorReport report = measured(model, variant);
  const double layers = 2 * ((64 + 64) * 64 + 64 * 64 + 3 * 64 * 128), head = 64 * 200;
  CHECK(std::abs(report.weight_density - (layers / 2 + head) / (layers + head)) < 1e-12);
  CHECK(report.weight_sqnr_db < 12);
}

TEST_CASE("numerical error: latent attention and state spaces run, tied embeddings too") {
  const ModelConfig latent = model_of(
      "hidden: 64\nvocab: 300\ntie_embeddings: true\nlayers:\n  - attention: {kind: mla, heads: 4, kv_lora_rank: 32, rope_head_dim: 8, nope_head_dim: 16, v_head_dim: 16}\n"
      "    ffn: {kind: dense, inner: 64, activation: gelu}\n");
  for (const ErrorVariant& variant : {both("fp8", Format::fp8_e4m3), both("bf16", Format::bf16)}) {
    const ErrorReport report = measured(latent, variant);
    CHECK(report.relative_error > 0);
    CHECK(report.relative_error < 0.6);
  }
}

TEST_CASE("numerical error: a given prompt is what runs") {
  ErrorOptions options = small_options();
  options.token_ids = {5, 6, 7};
  const ErrorReport report = measured(small_model(), both("fp8", Format::fp8_e4m3), options);
  CHECK(report.tokens == 3);
  options.token_ids = {5, 6, 8};
  CHECK(report.relative_error != measured(small_model(), both("fp8", Format::fp8_e4m3), options).relative_error);
}

TEST_CASE("numerical error: options out of range are refused") {
  auto with = [](auto change) {
    ErrorOptions options = small_options();
    change(options);
    return refusal(options);
  };
  CHECK(with([](ErrorOptions& o) { o.layers = 0; }) == "0 layers cannot be run");
  CHECK(with([](ErrorOptions& o) { o.width_fraction = 1.5; }) == "a width fraction of 1.5 makes no model");
  CHECK(with([](ErrorOptions& o) { o.vocabulary_rows = 1; }) == "1 rows of the vocabulary cannot be run");
  CHECK(with([](ErrorOptions& o) { o.tokens = 0; }) == "0 tokens cannot be run");
  CHECK(with([](ErrorOptions& o) { o.growth_layers = {0}; }) == "a depth of 0 layers has no error");
  CHECK(with([](ErrorOptions& o) { o.token_ids = {200}; }) ==
        "a token is beyond the 200 rows of the vocabulary that are run");
  CHECK(with([](ErrorOptions& o) { o.weights_file = "x.safetensors", o.width_fraction = 0.5; }) ==
        "weights from a file are not cut in width");
  ErrorOptions large{.layers = 2, .width_fraction = 1.0};
  const auto report = measure_error(
      model_of("hidden: 65536\nvocab: 300\nlayers:\n  - attention: {kind: mha, heads: 512}\n"), {}, large);
  REQUIRE_FALSE(report.has_value());
  CHECK(report.error().front().message.starts_with("the copy has"));
}

// Laws of measured error: what is wider is never worse, finer scales help where channels differ, depth adds error, a seed is a result.
#include <doctest/doctest.h>
#include <rapidcheck.h>

#include <cmath>
#include <random>
#include <vector>

#include "kernels/numerical_error/numerical_error.hpp"
#include "kernels/numerics/error.hpp"
#include "kernels/numerics/quantise.hpp"
#include "tests/unit/model_support.hpp"

using namespace gambrel;
using namespace gambrel::models;
using namespace gambrel::test;
using namespace gambrel::kernels;

namespace {

using Floats = std::vector<float>;

DataType scaled(Format format, Scale scale) {
  DataType type(format);
  type.scale = scale;
  return type;
}
const Scale per_tensor{Scale::Per::tensor, 0, 0, Format::fp32}, per_channel{Scale::Per::channel, 0, 0, Format::fp32},
    per_128{Scale::Per::block, 1, 128, Format::fp16};

ErrorVariant both(std::string name, DataType type) {
  return {.name = std::move(name), .precision = {.all = {.weights = type, .activations = type}}};
}

ModelConfig random_model() {
  const int kv = *rc::gen::inRange(1, 3);
  return model_of(fmt::format(
      "hidden: {}\nvocab: 256\nlayers:\n  - count: 4\n    attention: {{kind: gqa, heads: {}, kv_heads: {}, head_dim: 16}}\n"
      "    ffn: {{kind: dense, inner: {}, activation: {}}}\n",
      32 * *rc::gen::inRange(1, 3), 2 * kv, kv, 32 * *rc::gen::inRange(2, 5),
      *rc::gen::elementOf(std::vector<std::string>{"swiglu", "gelu", "relu2"})));
}

ErrorOptions small(std::uint64_t seed) {
  return {.layers = 2, .width_fraction = 1.0, .vocabulary_rows = 64.0, .tokens = 12, .seed = seed, .growth_layers = {}};
}

std::vector<ErrorReport> measured(const ModelConfig& model, const std::vector<ErrorVariant>& variants,
                                  const ErrorOptions& options) {
  auto reports = measure_errors(model, variants, options);
  REQUIRE_MESSAGE(reports.has_value(), complaints(reports ? Diagnostics{} : reports.error()));
  return *reports;
}

/// Mean square of the products' own errors: those of a whole small model hang on few numbers.
double own_noise(const ErrorReport& report) {
  double sum = 0, count = 0;
  for (const OperatorError& error : report.operators)
    if (error.kind == "gemm") sum += error.own_relative_error * error.own_relative_error, count += 1;
  return sum / count;
}

/// SQNR of a Gaussian matrix of 256 x 4096 after its round trip.
double gaussian_sqnr(const DataType& type) {
  std::mt19937 random(1);
  std::normal_distribution<float> draw(0.0F, 0.02F);
  Floats values(256 * 4096);
  for (float& value : values) value = draw(random);
  Floats rounded = values;
  round_in_place(rounded, 256, 4096, type);
  return sqnr_db(values, rounded);
}

}  // namespace

// A step of D in a uniform quantiser leaves an error of D^2 / 12 (Bennett 1948). Of b bits over +-a deviations of a Gaussian
// that is 20 log10(2^(b-1) - 1) + 10 log10(12) - 20 log10(a): int8 over the largest of 4096 (a about 3.75) 41.4 dB, int4
// over the largest of 128 (2.7) 19.1. Floating point of m mantissa bits leaves 1 / (24 x 2^2m) of the signal (Chen et al.
// 2025, "INT v.s. FP", arXiv 2510.25602): 25.8 dB for 2 bits, 31.9 for 3, 55.9 for 7, 74.0 for 10; subnormals cost a little
// more. NVFP4 lies above MXFP4 for its finer scales (there, too).
TEST_CASE("Gaussian weights lose what the textbook says") {
  struct Row {
    const char* name;
    DataType type;
    double expected, tolerance;
  };
  for (const Row& row : {Row{"bf16", Format::bf16, 55.7, 1.5}, Row{"fp16", Format::fp16, 73.5, 1.5},
                         Row{"int8 channel", scaled(Format::int8, per_channel), 41.4, 1},
                         Row{"int4 group 128", scaled(Format::int4, per_128), 19, 1},
                         Row{"fp8_e4m3 tensor", scaled(Format::fp8_e4m3, per_tensor), 31.5, 0.7},
                         Row{"fp8_e5m2 tensor", scaled(Format::fp8_e5m2, per_tensor), 25.5, 0.7},
                         Row{"mxfp8", Format::mxfp8, 31, 1}, Row{"mxfp6", Format::mxfp6, 31, 1.5},
                         Row{"mxfp4", Format::mxfp4, 18.7, 0.7}, Row{"nvfp4", Format::nvfp4, 20.5, 0.7}}) {
    const double sqnr = gaussian_sqnr(row.type);
    CHECK_MESSAGE(std::abs(sqnr - row.expected) < row.tolerance, row.name, " ", sqnr);
  }
}

TEST_CASE("laws: a wider format never loses more on random models") {
  rc::check([] {
    const ModelConfig model = random_model();
    const auto seed = *rc::gen::inRange<std::uint64_t>(0, 1000);
    const std::vector<ErrorVariant> widening{both("mxfp4", Format::mxfp4), both("mxfp8", Format::mxfp8),
                                             both("bf16", Format::bf16), both("fp16", Format::fp16),
                                             both("fp32", Format::fp32)};
    const auto reports = measured(model, widening, small(seed));
    for (std::size_t i = 1; i < reports.size(); ++i) {
      RC_ASSERT(own_noise(reports[i]) < 0.5 * own_noise(reports[i - 1]));
      RC_ASSERT(reports[i].sqnr_db > reports[i - 1].sqnr_db - 1);
    }
    RC_ASSERT(reports[4].distribution.kl_divergence == 0);
    RC_ASSERT(reports[0].sqnr_db + 6 < reports[2].sqnr_db);
  });
}

TEST_CASE("laws: finer scales help where channels differ: int8 by tensor, by channel; int4 by channel, by group") {
  const ModelConfig model = model_of(
      "hidden: 256\nvocab: 256\nlayers:\n  - count: 2\n    attention: {kind: gqa, heads: 4, kv_heads: 2, head_dim: 64}\n    ffn: {kind: dense, inner: 512, activation: swiglu}\n");
  const std::vector<ErrorVariant> variants{both("int8 tensor", scaled(Format::int8, per_tensor)),
                                           both("int8 channel", scaled(Format::int8, per_channel)),
                                           both("int4 channel", scaled(Format::int4, per_channel)),
                                           both("int4 group", scaled(Format::int4, per_128)),
                                           both("mxfp4", Format::mxfp4),
                                           both("nvfp4", Format::nvfp4)};
  for (std::uint64_t seed : {0, 1, 2}) {
    const auto reports = measured(model, variants, small(seed));
    CHECK(own_noise(reports[1]) < 0.6 * own_noise(reports[0]));
    CHECK(own_noise(reports[3]) < own_noise(reports[2]));
    CHECK(own_noise(reports[5]) < own_noise(reports[4]));
    CHECK(own_noise(reports[1]) < own_noise(reports[5]));
    CHECK(reports[1].sqnr_db > reports[5].sqnr_db);
  }
}

TEST_CASE("laws: outlier channels cost integers many dB, and floating point few") {
  const ModelConfig model = model_of(
      "hidden: 256\nvocab: 256\nlayers:\n  - count: 2\n    attention: {kind: gqa, heads: 4, kv_heads: 2, head_dim: 64}\n    ffn: {kind: dense, inner: 512, activation: swiglu}\n");
  ErrorOptions with = small(0), without = small(0);
  without.synthetic = {.outlier_share = 0, .row_share = 0};
  const std::vector<ErrorVariant> variants{both("int8", scaled(Format::int8, per_channel)),
                                           both("fp8", Format::fp8_e4m3)};
  const auto hard = measured(model, variants, with), easy = measured(model, variants, without);
  CHECK(easy[0].sqnr_db > hard[0].sqnr_db + 8);
  CHECK(std::abs(easy[1].sqnr_db - hard[1].sqnr_db) < 6);
  CHECK(easy[0].sqnr_db > easy[1].sqnr_db);
}

TEST_CASE("laws: error grows with depth, slower than the depth") {
  const ModelConfig model = model_of(
      "hidden: 128\nvocab: 256\nlayers:\n  - count: 4\n    attention: {kind: gqa, heads: 4, kv_heads: 2, head_dim: 32}\n    ffn: {kind: dense, inner: 256, activation: swiglu}\n");
  double first = 0, second = 0, fourth = 0;
  for (std::uint64_t seed : {0, 1, 2, 3}) {  // of one seed a single outlier can outweigh a layer
    ErrorOptions options = small(seed);
    options.growth_layers = {1, 2, 4};
    const auto report = measured(model, {both("fp8", Format::fp8_e4m3)}, options).front();
    first += report.growth.points[0].relative_error;
    second += report.growth.points[1].relative_error;
    fourth += report.growth.points[2].relative_error;
    CHECK(report.growth.exponent < 1);
    CHECK(std::abs(report.growth.at_full_depth / report.growth.points[2].relative_error - 1) < 0.3);
  }
  CHECK(first < second);
  CHECK(second < fourth);
  CHECK(fourth < 4 * first);
}

TEST_CASE("laws: a narrower accumulator errs more") {
  rc::check([] {
    const ModelConfig model = random_model();
    const ErrorOptions options = small(*rc::gen::inRange<std::uint64_t>(0, 1000));
    ErrorVariant narrow = both("narrow", Format::bf16), narrower = narrow, wide = narrow;
    narrow.accumulator = Accumulator{.layout = narrow_accumulator(7)};
    narrower.accumulator = Accumulator{.layout = narrow_accumulator(5)};
    const auto reports = measured(model, {wide, narrow, narrower}, options);
    RC_ASSERT(own_noise(reports[1]) > own_noise(reports[0]));
    RC_ASSERT(own_noise(reports[2]) > own_noise(reports[1]));
  });
}

TEST_CASE("laws: the same seed is the same report, on one thread and on several") {
  const ModelConfig model = model_of(
      "hidden: 64\nvocab: 256\nlayers:\n  - count: 3\n    attention: {kind: gqa, heads: 4, kv_heads: 2, head_dim: 16}\n    ffn: {kind: moe, experts: 4, top_k: 2, inner: 32, activation: swiglu}\n");
  const std::vector<ErrorVariant> variants{both("fp8", Format::fp8_e4m3), both("int8", Format::int8),
                                           both("mxfp4", Format::mxfp4)};
  ErrorOptions one = small(3), three = small(3), other = small(4);
  one.threads = 1, three.threads = 3;
  const auto a = measured(model, variants, one), b = measured(model, variants, three),
             c = measured(model, variants, other);
  for (std::size_t i = 0; i < variants.size(); ++i) {
    CHECK(a[i].relative_error == b[i].relative_error);
    CHECK(a[i].weight_sqnr_db == b[i].weight_sqnr_db);
    CHECK(a[i].distribution.kl_divergence == b[i].distribution.kl_divergence);
    CHECK(a[i].relative_error != c[i].relative_error);
  }
}

TEST_CASE("laws: pruning more loses more; what is kept by structure loses at least what is kept freely") {
  const ModelConfig model = model_of(
      "hidden: 128\nvocab: 256\nlayers:\n  - count: 2\n    attention: {kind: gqa, heads: 4, kv_heads: 2, head_dim: 32}\n    ffn: {kind: dense, inner: 256, activation: swiglu}\n");
  using Structure = WeightSparsity::Structure;
  auto sparse = [&](WeightSparsity sparsity) {
    ErrorVariant variant = both("sparse", Format::fp32);
    variant.sparsity = sparsity;
    return variant;
  };
  const auto reports = measured(model,
                                {sparse({.structure = Structure::unstructured, .density = 0.5}),
                                 sparse({.structure = Structure::n_of_m, .density = 0.5, .n = 4, .m = 8}),
                                 sparse({.structure = Structure::n_of_m, .density = 0.5, .n = 2, .m = 4}),
                                 sparse({.structure = Structure::block, .density = 0.5, .block = 16}),
                                 sparse({.structure = Structure::n_of_m, .density = 0.25, .n = 1, .m = 4})},
                                small(0));
  for (std::size_t i = 1; i < reports.size(); ++i)
    CHECK_MESSAGE(reports[i].weight_sqnr_db < reports[i - 1].weight_sqnr_db + (i == 4 ? 3 : 0), i);
  CHECK(reports[4].weight_sqnr_db < reports[2].weight_sqnr_db);
  CHECK(reports[0].relative_error < reports[4].relative_error);
  for (std::size_t i = 0; i < 4; ++i) CHECK(std::abs(reports[i].weight_density - reports[0].weight_density) < 1e-9);
}

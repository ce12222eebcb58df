// Matrices with their scales: the rules of MX v1.0, NVFP4, integers and sign1 on numbers worked out by hand.
#include "kernels/numerics/quantise.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <random>

#include "kernels/numerics/formats.hpp"

using namespace gambrel;
using namespace gambrel::kernels;
using enum Format;

namespace {

using Floats = std::vector<float>;

DataType with(Format format, Scale scale) {
  DataType type(format);
  type.scale = scale;
  return type;
}

Scale group(std::int32_t columns, Format type) { return {Scale::Per::block, 1, columns, type}; }

Floats one_row(const Floats& values, const DataType& type) {
  return round_trip(values, 1, static_cast<std::int64_t>(values.size()), type);
}

Floats normal(std::size_t count, unsigned seed) {
  std::mt19937 random(seed);
  std::normal_distribution<float> draw(0.0F, 0.02F);
  Floats values(count);
  std::ranges::generate(values, [&] { return draw(random); });
  return values;
}

bool all_nan(std::span<const float> values) {
  return std::ranges::all_of(values, [](float v) { return std::isnan(v); });
}

}  // namespace

TEST_CASE("mxfp4 by hand: the power of two below the largest value over that of 6") {
  Floats values(32, 0.0F);
  values[0] = 5.0F;  // floor(log2 5) - 2 = 0: the scale is 1; 5 lies between 4 and 6, and 4 has the even mantissa
  values[1] = -2.6F;
  values[2] = 0.25F;
  values[3] = 0.3F;
  const Quantised matrix = quantise(values, 1, 32, mxfp4);
  CHECK(matrix.scales == Floats{1.0F});
  CHECK(matrix.codes[0] == 0b0'11'0);
  const Floats back = dequantise(matrix);
  CHECK(Floats(back.begin(), back.begin() + 4) == Floats{4.0F, -3.0F, 0.0F, 0.5F});
  values[0] = 7.9F;
  CHECK_MESSAGE(one_row(values, mxfp4)[0] == 6.0F, "the rule of MX lets the largest values saturate");
  values[0] = 8.0F;
  CHECK(quantise(values, 1, 32, mxfp4).scales == Floats{2.0F});
}

TEST_CASE("MX scales are 2^(floor(log2 amax) - emax) for every element format") {
  struct Row {
    DataType type;
    int emax;
  };
  for (const Row& row :
       {Row{mxfp4, 2}, {mxfp6, 2}, {mxfp8, 8}, {with(fp8_e5m2, group(32, e8m0)), 15}, {with(int8, group(32, e8m0)), 6}})
    for (int exponent = -100; exponent <= 120; ++exponent)
      for (const float fraction : {1.0F, 1.5F, 1.9999999F}) {
        Floats values(32, 0.0F);
        values[17] = -std::ldexp(fraction, exponent);
        const float scale = quantise(values, 1, 32, row.type).scales[0];
        CHECK(scale == std::ldexp(1.0F, exponent - row.emax));
      }
}

TEST_CASE("MX scales at their ends") {
  const Floats zeros(32, -0.0F);
  CHECK(quantise(zeros, 1, 32, mxfp8).scales == Floats{std::ldexp(1.0F, -127)});
  CHECK(std::signbit(one_row(zeros, mxfp8)[5]));
  const Floats tiny(32, std::ldexp(1.0F, -130));  // scale 2^-127, element 2^-3
  CHECK(one_row(tiny, mxfp8) == tiny);
  const Floats huge(32, std::numeric_limits<float>::max());
  CHECK(quantise(huge, 1, 32, mxfp8).scales == Floats{std::ldexp(1.0F, 127 - 8)});
  CHECK(one_row(huge, mxfp8)[0] == std::ldexp(448.0F, 127 - 8));
}

TEST_CASE("MXINT8 is int8 with a power of two per 32: steps of 2^-6 of the shared power") {
  Floats values(32, 0.0F);
  values[0] = 1.0F;
  values[1] = 1.0F / 64;
  values[2] = 1.5F / 64;
  values[3] = -1.999F;
  const Floats back = one_row(values, with(int8, group(32, e8m0)));
  CHECK(Floats(back.begin(), back.begin() + 4) == Floats{1.0F, 1.0F / 64, 2.0F / 64, -127.0F / 64});
}

TEST_CASE("groups do not see each other, and the last may be short") {
  Floats values(33, 1.0F);
  values[32] = 1024.0F;
  CHECK(one_row(values, mxfp4) == values);
  CHECK(quantise(values, 1, 33, mxfp4).scales == Floats{0.25F, 256.0F});
  CHECK(quantise(values, 33, 1, mxfp4).scales.size() == 33);
}

TEST_CASE("nvfp4 by hand: an fp8 scale per 16 under an fp32 scale of the tensor") {
  Floats values(48, 0.0F);
  values[0] = 2688.0F;  // 448 x 6: the scale of the tensor is 1, of this block 448
  values[16] = 6.0F;
  values[17] = 2.4F;   // to 2
  values[32] = 13.0F;  // 13 / 6 = 2.17, whose nearest fp8 is 2.25; 13 / 2.25 = 5.8, to 6
  const Quantised matrix = quantise(values, 1, 48, nvfp4);
  CHECK(matrix.tensor_scale == 1.0F);
  CHECK(matrix.scales == Floats{448.0F, 1.0F, 2.25F});
  const Floats back = dequantise(matrix);
  CHECK(back[0] == 2688.0F);
  CHECK(back[16] == 6.0F);
  CHECK(back[17] == 2.0F);
  CHECK(back[32] == 13.5F);
  for (float& value : values) value *= 0.0078125F;
  CHECK_MESSAGE(quantise(values, 1, 48, nvfp4).scales == matrix.scales, "the tensor's scale takes the magnitude");
}

TEST_CASE("nvfp4: a block far below the largest of the tensor vanishes, an empty tensor stays empty") {
  Floats values(32, 1.0F);
  for (std::size_t i = 16; i < 32; ++i) values[i] = 1e-6F;
  const Floats back = one_row(values, nvfp4);
  CHECK(back[0] == doctest::Approx(1.0F));
  CHECK(back[16] == 0.0F);
  CHECK(one_row(Floats(32, 0.0F), nvfp4) == Floats(32, 0.0F));
  CHECK(round_trip({}, 0, 16, nvfp4).empty());
  CHECK(round_trip({}, 4, 0, bf16).empty());
}

TEST_CASE("integers by hand: per channel, per tensor, per group") {
  const Floats values{127.0F, -63.5F, 0.4F, 254.0F, -254.0F, 3.0F};
  const Quantised channel = quantise(values, 2, 3, with(int8, {Scale::Per::channel}));
  CHECK(channel.scales == Floats{1.0F, 2.0F});
  CHECK(dequantise(channel) == Floats{127.0F, -64.0F, 0.0F, 254.0F, -254.0F, 4.0F});
  const Quantised tensor = quantise(values, 2, 3, with(int8, {Scale::Per::tensor}));
  CHECK(tensor.scales == Floats{2.0F});
  CHECK(dequantise(tensor) == Floats{128.0F, -64.0F, 0.0F, 254.0F, -254.0F, 4.0F});
  const Floats small{7.0F, 3.4F, -14.0F, 5.0F};
  CHECK(one_row(small, with(int4, group(2, fp16))) == Floats{7.0F, 3.0F, -14.0F, 4.0F});
  const Floats ternary{2.0F, 0.9F, -1.1F, 1.0F};  // two bits are -1, 0 and 1
  CHECK(one_row(ternary, with(int2, group(4, fp32))) == Floats{2.0F, 0.0F, -2.0F, 0.0F});
}

TEST_CASE("a block of rows and columns has one scale") {
  const Floats values{448, 1, 4480, 10,  //
                      2,   3, 20,   30,  //
                      896, 0, 0,    0};
  const Quantised matrix = quantise(values, 3, 4, with(fp8_e4m3, {Scale::Per::block, 2, 2, fp32}));
  CHECK(matrix.scales == Floats{1, 10, 2, 0});
  CHECK(dequantise(matrix) == values);
}

TEST_CASE("a narrow scale type rounds the scale; values it no longer reaches are clamped alike on both sides") {
  // 134.62 / 127 = 1.06, whose nearest fp8 is 1.
  const Floats back = one_row({134.62F, -134.62F}, with(int8, {Scale::Per::tensor, 0, 0, fp8_e4m3}));
  CHECK(back == Floats{127.0F, -127.0F});
  const Floats small{1e-7F, -1e-8F};  // over 127 or 448 they are below half of the smallest fp16
  CHECK(quantise(small, 1, 2, with(int8, group(2, fp16))).codes == std::vector<std::uint32_t>{0, 0});
  CHECK(quantise(small, 1, 2, with(fp8_e4m3, group(2, fp16))).codes == std::vector<std::uint32_t>{0x00, 0x80});
}

TEST_CASE("sign1 is the best fit of {0, s}") {
  const DataType groups_of_4 = with(sign1, group(4, fp32));
  CHECK(one_row({0.5F, 0.0F, 0.5F, 0.0F}, groups_of_4) == Floats{0.5F, 0.0F, 0.5F, 0.0F});
  CHECK(one_row({-2.0F, 0.1F, -4.0F, 1.0F}, groups_of_4) == Floats{-3.0F, 0.0F, -3.0F, 0.0F});
  CHECK(one_row({0.0F, 0.0F, 0.0F, 0.0F}, groups_of_4) == Floats(4, 0.0F));
  for (unsigned seed = 0; seed < 50; ++seed) {
    const Floats values = normal(8, seed);
    double best = std::numeric_limits<double>::infinity();
    for (unsigned subset = 1; subset < 256; ++subset) {
      double sum = 0, count = 0, error = 0;
      for (unsigned i = 0; i < 8; ++i)
        if (subset >> i & 1) sum += values[i], ++count;
      for (unsigned i = 0; i < 8; ++i) error += std::pow(values[i] - (subset >> i & 1 ? sum / count : 0), 2);
      best = std::min(best, error);
    }
    const Floats back = one_row(values, with(sign1, group(8, fp32)));
    double error = 0;
    for (std::size_t i = 0; i < 8; ++i) error += std::pow(values[i] - back[i], 2);
    CHECK(error == doctest::Approx(best).epsilon(1e-6));
  }
}

TEST_CASE("a NaN or an infinity makes its block NaN and no other") {
  for (const float bad : {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity()})
    for (const DataType& type : {DataType(mxfp4), DataType(nvfp4), with(int8, group(32, fp16)),
                                 with(fp8_e4m3, group(32, fp32)), with(sign1, group(32, fp16))}) {
      Floats values = normal(96, 3);
      values[40] = bad;
      const Floats back = one_row(values, type);
      const auto width = static_cast<std::size_t>(type.scale.columns);
      CHECK_MESSAGE(all_nan(std::span(back).subspan(40 / width * width, width)), to_string(type));
      CHECK_MESSAGE(std::isfinite(back[31]), to_string(type));
      CHECK_MESSAGE(std::isfinite(back[64]), to_string(type));
    }
}

TEST_CASE("without a scale a format is a cast") {
  const Floats values{1.0F + 1.0F / 512, -1e6F, 3.14159F, 0.4F, std::numeric_limits<float>::infinity()};
  const float infinity = std::numeric_limits<float>::infinity();
  CHECK(one_row(values, fp32) == values);
  CHECK(one_row(values, fp64) == values);
  CHECK(one_row(values, bf16) == Floats{1.0F, -999424.0F, 3.140625F, 0.400390625F, infinity});
  CHECK(one_row(values, fp16)[1] == -infinity);
  CHECK(one_row(values, fp8_e4m3) == Floats{1.0F, -448.0F, 3.25F, 0.40625F, 448.0F});
  CHECK(one_row(values, int8) == Floats{1.0F, -128.0F, 3.0F, 0.0F, 127.0F});
}

TEST_CASE("integers without a scale are executed with one per channel") {
  CHECK(with_executable_scale(int8) == with(int8, {Scale::Per::channel}));
  CHECK(with_executable_scale(with(int4, group(32, fp16))) == with(int4, group(32, fp16)));
  CHECK(with_executable_scale(bf16) == DataType(bf16));
  CHECK(with_executable_scale(sign1) == DataType(sign1));
}

TEST_CASE("what is stored has the bytes that the cost model counts") {
  const std::int64_t rows = 6, columns = 80;
  const Floats values = normal(480, 5);
  for (const DataType& type : {DataType(bf16), DataType(mxfp8), DataType(mxfp6), DataType(mxfp4), DataType(nvfp4),
                               DataType(sign1), with(int8, {Scale::Per::channel}), with(int4, {Scale::Per::tensor}),
                               with(int4, group(32, bf16)), with(fp8_e4m3, {Scale::Per::block, 4, 32, fp32})}) {
    const Quantised matrix = quantise(values, rows, columns, type);
    const bool scaled = type.scale.per != Scale::Per::none;
    const double bits =
        static_cast<double>(matrix.codes.size()) * type.element_bits() +
        (scaled ? static_cast<double>(matrix.scales.size()) * DataType(type.scale.type).element_bits() : 0);
    CHECK_MESSAGE(bits == 8 * type.stored_bytes(rows, columns), to_string(type));
  }
}

// Codes against the tables of OFP8 rev. 1.0 and MX v1.0, and conversions against a search of the nearest code.
#include "kernels/numerics/formats.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>
#include <random>
#include <string>
#include <vector>

using namespace gambrel;
using namespace gambrel::kernels;

namespace {

constexpr double inf = std::numeric_limits<double>::infinity();
constexpr double not_a_number = std::numeric_limits<double>::quiet_NaN();

struct Named {
  std::string name;
  FloatLayout layout;
};

const std::vector<Named> layouts{{"bf16", bf16_layout}, {"fp16", fp16_layout}, {"e4m3", e4m3_layout},
                                 {"e5m2", e5m2_layout}, {"e3m2", e3m2_layout}, {"e2m3", e2m3_layout},
                                 {"e2m1", e2m1_layout}};

std::uint32_t codes_of(const FloatLayout& layout) { return 1U << layout.bits(); }

/// The numbers from 0 up, as decode gives them; the position in the table is the code.
std::vector<double> numbers(const FloatLayout& layout) {
  std::vector<double> values;
  for (std::uint32_t code = 0; code < codes_of(layout) / 2 && std::isfinite(decode(code, layout)); ++code)
    values.push_back(decode(code, layout));
  return values;
}

/// The nearest number by search, of two equally near the one with the even code. Beyond the last number the next one
/// would follow at the same distance.
double nearest_number(double value, const std::vector<double>& table, Overflow overflow, const FloatLayout& layout) {
  const double magnitude = std::abs(value);
  const double step = table.back() - table[table.size() - 2];
  const double over = magnitude - table.back();
  const bool last_is_odd = table.size() % 2 == 0;
  double nearest = table.back();
  if (over > step / 2 || (over == step / 2 && last_is_odd)) {
    if (overflow == Overflow::special && layout.specials == Specials::ieee) nearest = inf;
    if (overflow == Overflow::special && layout.specials == Specials::nan_only) nearest = not_a_number;
  } else if (over < 0) {
    const auto above = static_cast<std::size_t>(std::ranges::lower_bound(table, magnitude) - table.begin());
    const std::size_t below = above == 0 ? 0 : above - 1;
    const double up = table[above] - magnitude, down = magnitude - table[below];
    nearest = up < down || (up == down && above % 2 == 0) ? table[above] : table[below];
  }
  return std::copysign(nearest, value);
}

bool same(double a, double b) { return std::isnan(a) ? std::isnan(b) : a == b && std::signbit(a) == std::signbit(b); }

/// The values for which encode and the search differ, of `values` and their negatives, under both overflows.
int differences(const std::vector<double>& values, const FloatLayout& layout) {
  const std::vector<double> table = numbers(layout);
  int wrong = 0;
  for (const double value : values)
    for (const double signed_value : {value, -value})
      for (const Overflow overflow : {Overflow::saturate, Overflow::special})
        wrong += same(rounded(signed_value, layout, overflow), nearest_number(signed_value, table, overflow, layout))
                     ? 0
                     : 1;
  return wrong;
}

}  // namespace

TEST_CASE("fp4 and fp6: every code of the tables of MX v1.0, 5.3.2 and 5.3.3") {
  const std::vector<double> e2m1{0, 0.5, 1, 1.5, 2, 3, 4, 6};
  const std::vector<double> e2m3{0,     0.125, 0.25,  0.375, 0.5,   0.625, 0.75, 0.875, 1,    1.125, 1.25,
                                 1.375, 1.5,   1.625, 1.75,  1.875, 2,     2.25, 2.5,   2.75, 3,     3.25,
                                 3.5,   3.75,  4,     4.5,   5,     5.5,   6,    6.5,   7,    7.5};
  const std::vector<double> e3m2{0,     0.0625, 0.125, 0.1875, 0.25, 0.3125, 0.375, 0.4375, 0.5, 0.625, 0.75,
                                 0.875, 1,      1.25,  1.5,    1.75, 2,      2.5,   3,      3.5, 4,     5,
                                 6,     7,      8,     10,     12,   14,     16,    20,     24,  28};
  CHECK(numbers(e2m1_layout) == e2m1);
  CHECK(numbers(e2m3_layout) == e2m3);
  CHECK(numbers(e3m2_layout) == e3m2);
  for (const FloatLayout& layout : {e2m1_layout, e2m3_layout, e3m2_layout})
    for (std::uint32_t code = 0; code < codes_of(layout) / 2; ++code)
      CHECK(same(decode(code | codes_of(layout) / 2, layout), -decode(code, layout)));
}

TEST_CASE("fp8: the limits of OFP8 rev. 1.0, table 2") {
  struct Row {
    FloatLayout layout;
    std::uint32_t code;
    double value;
  };
  for (const Row& row : {Row{e4m3_layout, 0b0'1111'110, 448},
                         {e4m3_layout, 0b0'0001'000, 0.015625},     // 2^-6
                         {e4m3_layout, 0b0'0000'111, 0.013671875},  // 0.875 x 2^-6
                         {e4m3_layout, 0b0'0000'001, 0.001953125},  // 2^-9
                         {e4m3_layout, 0b1'0111'000, -1},
                         {e4m3_layout, 0b1'0000'000, -0.0},
                         {e4m3_layout, 0b0'1111'111, not_a_number},
                         {e4m3_layout, 0b1'1111'111, not_a_number},
                         {e5m2_layout, 0b0'11110'11, 57344},
                         {e5m2_layout, 0b0'00001'00, 6.103515625e-5},    // 2^-14
                         {e5m2_layout, 0b0'00000'11, 4.57763671875e-5},  // 0.75 x 2^-14
                         {e5m2_layout, 0b0'00000'01, 1.52587890625e-5},  // 2^-16
                         {e5m2_layout, 0b1'01111'00, -1},
                         {e5m2_layout, 0b0'11111'00, inf},
                         {e5m2_layout, 0b1'11111'00, -inf},
                         {e5m2_layout, 0b0'11111'01, not_a_number},
                         {e5m2_layout, 0b1'11111'11, not_a_number}})
    CHECK_MESSAGE(same(decode(row.code, row.layout), row.value), row.code);
}

TEST_CASE("fp8: every code by the definition") {
  for (std::uint32_t code = 0; code < 256; ++code) {
    const double sign = code >= 128 ? -1 : 1;
    const std::uint32_t e = code / 8 % 16, m = code % 8;
    const double e4m3 = e == 0 ? m / 8.0 * std::pow(2, -6) : (1 + m / 8.0) * std::pow(2, static_cast<int>(e) - 7);
    CHECK(same(decode(code, e4m3_layout), e == 15 && m == 7 ? not_a_number : sign * e4m3));
    const std::uint32_t e5 = code / 4 % 32, m2 = code % 4;
    const double e5m2 = e5 == 0 ? m2 / 4.0 * std::pow(2, -14) : (1 + m2 / 4.0) * std::pow(2, static_cast<int>(e5) - 15);
    CHECK(same(decode(code, e5m2_layout), e5 < 31 ? sign * e5m2 : m2 == 0 ? sign * inf : not_a_number));
  }
}

TEST_CASE("bf16 and fp16: every code by the definition") {
  int wrong = 0;
  for (std::uint32_t code = 0; code < 65536; ++code) {
    const double as_bf16 = std::bit_cast<float>(code << 16);
    wrong += same(decode(code, bf16_layout), as_bf16) ? 0 : 1;
    const std::uint32_t e = code / 1024 % 32, m = code % 1024;
    const double sign = code >= 32768 ? -1 : 1;
    const double number =
        e == 0 ? m / 1024.0 * std::pow(2, -14) : (1 + m / 1024.0) * std::pow(2, static_cast<int>(e) - 15);
    const double as_fp16 = e < 31 ? sign * number : m == 0 ? sign * inf : not_a_number;
    wrong += same(decode(code, fp16_layout), as_fp16) ? 0 : 1;
  }
  CHECK(wrong == 0);
}

TEST_CASE("every code survives the round trip, and there are as many NaN as the formats say") {
  const std::vector<int> nans{254, 2046, 2, 6, 0, 0, 0};
  for (std::size_t i = 0; i < layouts.size(); ++i) {
    const auto& [name, layout] = layouts[i];
    int wrong = 0, nan_codes = 0;
    for (std::uint32_t code = 0; code < codes_of(layout); ++code) {
      const double value = decode(code, layout);
      const std::uint32_t back = encode(value, layout, Overflow::special);
      nan_codes += std::isnan(value) ? 1 : 0;
      wrong += std::isnan(value) ? !std::isnan(decode(back, layout)) : back != code;
    }
    CHECK_MESSAGE(wrong == 0, name);
    CHECK_MESSAGE(nan_codes == nans[i], name);
    const std::vector<double> table = numbers(layout);
    CHECK_MESSAGE(std::ranges::adjacent_find(table, std::greater_equal<>{}) == table.end(), name);
    CHECK_MESSAGE(largest(layout) == table.back(), name);
  }
}

TEST_CASE("conversions are those of a search: all numbers, all midpoints and their neighbours") {
  for (const auto& [name, layout] : layouts) {
    std::vector<double> values = numbers(layout);
    const std::size_t count = values.size();
    const double beyond = values[count - 1] + (values[count - 1] - values[count - 2]) / 2;
    for (std::size_t i = 0; i < count; ++i) {
      const double middle = i + 1 < count ? (values[i] + values[i + 1]) / 2 : beyond;
      values.insert(values.end(), {middle, std::nextafter(middle, inf), std::nextafter(middle, 0.0)});
    }
    CHECK_MESSAGE(differences(values, layout) == 0, name);
  }
}

TEST_CASE("conversions are those of a search: random floats") {
  std::mt19937 random(7);
  for (const auto& [name, layout] : layouts) {
    std::vector<double> values{0.0, inf, 1e300, 1e-300, std::numeric_limits<double>::denorm_min()};
    const int top = std::ilogb(largest(layout)), low = -layout.bias - layout.mantissa_bits;
    std::uniform_int_distribution<int> exponent(low - 3, top + 3);
    for (int i = 0; i < 20000; ++i) {
      const float any = std::bit_cast<float>(static_cast<std::uint32_t>(random()) & 0x7FFFFFFFU);
      if (!std::isnan(any)) values.push_back(any);
      values.push_back(std::ldexp(1.0 + std::ldexp(static_cast<double>(random()), -32), exponent(random)));
    }
    CHECK_MESSAGE(differences(values, layout) == 0, name);
  }
}

TEST_CASE("bf16, tf32 and fp32 are the carry trick on the bits of a float") {
  std::mt19937 random(11);
  int wrong = 0;
  for (int i = 0; i < 100000; ++i) {
    const auto bits = static_cast<std::uint32_t>(random());
    const float value = std::bit_cast<float>(bits);
    if (std::isnan(value)) continue;
    wrong += encode(value, bf16_layout, Overflow::special) == (bits + 0x7FFF + (bits >> 16 & 1)) >> 16 ? 0 : 1;
    wrong += encode(value, tf32_layout, Overflow::special) == (bits + 0xFFF + (bits >> 13 & 1)) >> 13 ? 0 : 1;
    wrong += encode(value, fp32_layout, Overflow::special) == bits ? 0 : 1;
  }
  CHECK(wrong == 0);
}

TEST_CASE("overflow saturates or becomes special") {
  struct Row {
    FloatLayout layout;
    double value, saturated, special;
  };
  for (const Row& row : {Row{e4m3_layout, 464, 448, 448},  // a tie: 448 has the even mantissa
                         {e4m3_layout, 464.01, 448, not_a_number},
                         {e4m3_layout, inf, 448, not_a_number},
                         {e5m2_layout, 61439, 57344, 57344},
                         {e5m2_layout, 61440, 57344, inf},  // a tie: the next number would be even
                         {e5m2_layout, inf, 57344, inf},
                         {fp16_layout, 65519, 65504, 65504},
                         {fp16_layout, 65520, 65504, inf},
                         {bf16_layout, 1e39, largest(bf16_layout), inf},
                         {e2m3_layout, 1e39, 7.5, 7.5},
                         {e3m2_layout, inf, 28, 28},
                         {e2m1_layout, 7, 6, 6}}) {
    for (const double sign : {1.0, -1.0}) {
      CHECK(same(rounded(sign * row.value, row.layout, Overflow::saturate), sign * row.saturated));
      CHECK(same(rounded(sign * row.value, row.layout, Overflow::special), sign * row.special));
    }
  }
}

TEST_CASE("NaN stays NaN and keeps its sign; a format without one saturates") {
  for (const Overflow overflow : {Overflow::saturate, Overflow::special}) {
    CHECK(encode(not_a_number, e4m3_layout, overflow) == 0x7F);
    CHECK(encode(-not_a_number, e4m3_layout, overflow) == 0xFF);
    CHECK(encode(not_a_number, e5m2_layout, overflow) == 0x7E);
    CHECK(encode(not_a_number, fp16_layout, overflow) == 0x7E00);
    CHECK(encode(-not_a_number, bf16_layout, overflow) == 0xFFC0);
    CHECK(encode(not_a_number, e2m1_layout, overflow) == 0b0'11'1);
  }
}

TEST_CASE("rounding toward zero cuts, and never overflows") {
  for (const auto& [name, layout] : layouts) {
    const std::vector<double> table = numbers(layout);
    int wrong = 0;
    for (std::size_t i = 0; i + 1 < table.size(); ++i)
      wrong +=
          rounded(-std::nextafter(table[i + 1], 0.0), layout, Overflow::special, Rounding::toward_zero) != -table[i];
    CHECK_MESSAGE(wrong == 0, name);
    CHECK(rounded(1e300, layout, Overflow::special, Rounding::toward_zero) == table.back());
  }
  CHECK(rounded(inf, fp16_layout, Overflow::special, Rounding::toward_zero) == inf);
}

TEST_CASE("integers: every code, ties to even, the ends") {
  for (const Format format : {Format::int8, Format::int4, Format::int2}) {
    const int bits = code_bits(format), end = 1 << (bits - 1);
    for (int value = -end; value < end; ++value) {
      const std::uint32_t code = encode(value, format, Overflow::saturate);
      CHECK(code == static_cast<std::uint32_t>(value < 0 ? value + 2 * end : value));
      CHECK(decode(code, format) == value);
    }
    CHECK(decode(encode(1e9, format, Overflow::saturate), format) == end - 1);
    CHECK(decode(encode(-inf, format, Overflow::saturate), format) == -end);
    CHECK(encode(not_a_number, format, Overflow::saturate) == 0);
    CHECK(largest(format) == end - 1);
  }
  const auto to_int8 = [](double value) {
    return decode(encode(value, Format::int8, Overflow::saturate), Format::int8);
  };
  CHECK(to_int8(0.5) == 0);
  CHECK(to_int8(1.5) == 2);
  CHECK(to_int8(2.5) == 2);
  CHECK(to_int8(-2.5) == -2);
  CHECK(to_int8(-127.6) == -128);
  CHECK(decode(encode(-2147483648.0, Format::int32, Overflow::saturate), Format::int32) == -2147483648.0);
}

TEST_CASE("e8m0: every power of two of MX v1.0, 5.4.1") {
  for (std::uint32_t code = 0; code < 255; ++code) {
    const double power = decode(code, Format::e8m0);
    CHECK(power == std::pow(2.0, static_cast<int>(code) - 127));
    CHECK(encode(power, Format::e8m0, Overflow::saturate) == code);
    CHECK(encode(std::nextafter(2 * power, 0.0), Format::e8m0, Overflow::saturate) == code);
  }
  CHECK(std::isnan(decode(255, Format::e8m0)));
  for (const double none : {inf, not_a_number, -1.0}) CHECK(encode(none, Format::e8m0, Overflow::saturate) == 255);
  CHECK(encode(0.0, Format::e8m0, Overflow::saturate) == 0);
  CHECK(encode(1e300, Format::e8m0, Overflow::saturate) == 254);
  CHECK(encode(1e-300, Format::e8m0, Overflow::saturate) == 0);
}

TEST_CASE("every format of the base has its elements here") {
  for (int i = 0; i < format_count; ++i) {
    const auto format = static_cast<Format>(i);
    const std::uint32_t code = encode(largest(format), format, Overflow::saturate);
    CHECK_MESSAGE(decode(code, format) == largest(format), to_string(format));
    CHECK_MESSAGE(std::bit_width(code) <= code_bits(format), to_string(format));
    CHECK_MESSAGE(code_bits(format) <= DataType(format).element_bits(), to_string(format));
    CHECK_MESSAGE(decode(encode(1.0, format, Overflow::saturate), format) == 1.0, to_string(format));
  }
  CHECK(largest(Format::mxfp8) == 448);
  CHECK(largest(Format::mxfp6) == 7.5);
  CHECK(largest(Format::nvfp4) == 6);
  CHECK(encode(0.5, Format::sign1, Overflow::saturate) == 0);
  CHECK(usual_overflow(Format::fp8_e5m2) == Overflow::saturate);
  CHECK(usual_overflow(Format::fp16) == Overflow::special);
}

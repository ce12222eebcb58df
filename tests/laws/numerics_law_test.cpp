// The fast ways of rounding and accumulating give, bit by bit, what the slow ones that are checked exhaustively give.
#include <doctest/doctest.h>
#include <rapidcheck.h>

#include <bit>
#include <cmath>
#include <limits>
#include <vector>

#include "kernels/numerics/accumulate.hpp"
#include "kernels/numerics/formats.hpp"
#include "kernels/numerics/quantise.hpp"

using namespace gambrel;
using namespace gambrel::kernels;

namespace {

using Floats = std::vector<float>;

bool same(float a, float b) {
  return std::bit_cast<std::uint32_t>(a) == std::bit_cast<std::uint32_t>(b) || (std::isnan(a) && std::isnan(b));
}

bool same(const Floats& a, const Floats& b) {
  return std::ranges::equal(a, b, [](float x, float y) { return same(x, y); });
}

/// Of any sign and magnitude between 2^low and 2^high; now and then 0.
float any_value(int low, int high) {
  if (*rc::gen::inRange(0, 20) == 0) return 0.0F;
  const float value =
      std::ldexp(1.0F + static_cast<float>(*rc::gen::inRange(0, 1 << 23)) * 0x1p-23F, *rc::gen::inRange(low, high));
  return *rc::gen::arbitrary<bool>() ? -value : value;
}

Floats any_values(std::size_t count, int low, int high) {
  Floats values;
  for (std::size_t i = 0; i < count; ++i) values.push_back(any_value(low, high));
  return values;
}

DataType any_type() {
  using enum Format;
  DataType type(*rc::gen::elementOf(std::vector<Format>{fp32, bf16, fp16, tf32, fp8_e4m3, fp8_e5m2, mxfp8, mxfp6, mxfp4,
                                                        nvfp4, int8, int4, int2, sign1}));
  if (*rc::gen::arbitrary<bool>()) return type;
  const auto per =
      *rc::gen::elementOf(std::vector<Scale::Per>{Scale::Per::tensor, Scale::Per::channel, Scale::Per::block});
  type.scale = {per, *rc::gen::inRange(1, 4), *rc::gen::inRange(1, 9),
                *rc::gen::elementOf(std::vector<Format>{fp32, fp16, fp8_e4m3, e8m0})};
  return type;
}

const std::vector<FloatLayout> layouts = {bf16_layout, fp16_layout, tf32_layout, e4m3_layout, e5m2_layout,
                                          e3m2_layout, e2m3_layout, e2m1_layout, fp32_layout};

}  // namespace

TEST_CASE("a rounder gives what rounding by codes gives: neighbours of every number of 16 bits and fewer, specials") {
  for (const FloatLayout& layout : layouts)
    for (Overflow overflow : {Overflow::saturate, Overflow::special}) {
      const FloatRounder round(layout, overflow);
      auto check = [&](double value) {
        const double slow = rounded(value, layout, overflow), fast = round(value);
        REQUIRE_MESSAGE((std::bit_cast<std::uint64_t>(slow) == std::bit_cast<std::uint64_t>(fast) ||
                         std::isnan(slow) == std::isnan(fast)),
                        value);
        if (!std::isnan(slow)) REQUIRE_MESSAGE(std::signbit(slow) == std::signbit(fast), value);
        if (!std::isnan(slow)) REQUIRE_MESSAGE(slow == fast, value);
      };
      const std::uint32_t step = layout.bits() > 16 ? (1U << (layout.bits() - 12)) + 1 : layout.bits() > 8 ? 7 : 1;
      for (std::uint64_t code = 0; code < (std::uint64_t{1} << layout.bits()); code += step) {
        const double value = decode(static_cast<std::uint32_t>(code), layout),
                     next = decode(static_cast<std::uint32_t>(code + 1), layout);
        for (double v :
             {value, (value + next) / 2, std::nextafter((value + next) / 2, 0.0), std::nextafter(value, INFINITY)})
          check(v);
      }
      for (double v : {0.0, -0.0, 1e300, -1e300, 1e-300, 5e-324, static_cast<double>(INFINITY),
                       -static_cast<double>(INFINITY), std::nan("")})
        check(v);
    }
}

TEST_CASE("laws: rounding in place is the round trip through codes") {
  rc::check([] {
    const std::int64_t rows = *rc::gen::inRange(1, 5), columns = *rc::gen::inRange(1, 40);
    Floats values = any_values(static_cast<std::size_t>(rows * columns), -20, 12);
    if (*rc::gen::inRange(0, 6) == 0) values[0] = *rc::gen::elementOf(Floats{NAN, INFINITY, -INFINITY});
    const DataType type = any_type();
    const Floats slow = round_trip(values, rows, columns, type);
    Floats fast = values;
    round_in_place(fast, rows, columns, type);
    RC_ASSERT(same(slow, fast));
  });
}

TEST_CASE("laws: many sums at once are the dot products one by one") {
  rc::check([] {
    const std::size_t m = *rc::gen::inRange<std::size_t>(1, 4), n = *rc::gen::inRange<std::size_t>(1, 20),
                      k = *rc::gen::inRange<std::size_t>(1, 30);
    const int low = *rc::gen::elementOf(std::vector<int>{-80, -20, -3}),
              high = *rc::gen::elementOf(std::vector<int>{4, 20, 60});
    Floats x = any_values(m * k, low, high), w = any_values(n * k, low, high), y(m * n);
    if (*rc::gen::inRange(0, 8) == 0) x[0] = *rc::gen::elementOf(Floats{NAN, INFINITY});
    const Accumulator accumulator{
        .layout = *rc::gen::elementOf(std::vector<FloatLayout>{bf16_layout, fp16_layout, fp32_layout,
                                                               narrow_accumulator(13), narrow_accumulator(3)}),
        .rounding = *rc::gen::elementOf(std::vector<Rounding>{Rounding::nearest_even, Rounding::toward_zero}),
        .promote_every = *rc::gen::elementOf(std::vector<std::int64_t>{0, 0, 4, 7})};
    multiply_narrow({x.data(), w.data(), y.data(), m, n, k, k, k, n}, accumulator);
    for (std::size_t i = 0; i < m; ++i)
      for (std::size_t j = 0; j < n; ++j) {
        const float one = dot(std::span(x).subspan(i * k, k), std::span(w).subspan(j * k, k), accumulator);
        RC_ASSERT(one == y[i * n + j] || (std::isnan(one) && std::isnan(y[i * n + j])));
      }
  });
}

// Laws of number formats: rounding is monotone, odd and idempotent, its error is half a step; matrices, sums and masks
// keep what their definitions promise.
#include <doctest/doctest.h>
#include <rapidcheck.h>

#include <algorithm>
#include <cmath>
#include <numeric>
#include <vector>

#include "kernels/numerics/accumulate.hpp"
#include "kernels/numerics/error.hpp"
#include "kernels/numerics/formats.hpp"
#include "kernels/numerics/quantise.hpp"
#include "kernels/numerics/sparsity.hpp"

using namespace gambrel;
using namespace gambrel::kernels;

namespace {

using Floats = std::vector<float>;

FloatLayout any_layout() {
  return *rc::gen::elementOf(std::vector<FloatLayout>{bf16_layout, fp16_layout, tf32_layout, e4m3_layout, e5m2_layout,
                                                      e3m2_layout, e2m3_layout, e2m1_layout});
}

/// Of any sign and of the magnitudes 2^low to 2^high; now and then 0.
double any_value(int low, int high) {
  if (*rc::gen::inRange(0, 20) == 0) return 0.0;
  const double mantissa = 1.0 + *rc::gen::inRange(0, 1 << 23) * 0x1p-23;
  const double value = std::ldexp(mantissa, *rc::gen::inRange(low, high + 1));
  return *rc::gen::arbitrary<bool>() ? -value : value;
}

/// From half the smallest subnormal to twice the largest number.
double value_of(const FloatLayout& layout) {
  return any_value(-layout.bias - layout.mantissa_bits - 1, std::ilogb(largest(layout)) + 1);
}

Floats any_values(std::size_t count, int low = -12, int high = 4) {
  Floats values(count);
  std::ranges::generate(values, [&] { return static_cast<float>(any_value(low, high)); });
  return values;
}

Floats times(Floats values, float factor) {
  for (float& value : values) value *= factor;
  return values;
}

struct Matrix {
  std::int64_t rows = 0, columns = 0;
  Floats values;
};

Matrix any_matrix() {
  const int rows = *rc::gen::inRange(1, 6), columns = *rc::gen::inRange(1, 80);
  return {rows, columns, any_values(static_cast<std::size_t>(rows * columns))};
}

Floats through(const Matrix& matrix, const DataType& type) {
  return round_trip(matrix.values, matrix.rows, matrix.columns, type);
}

Scale any_scale(Format type) {
  const auto per = *rc::gen::element(Scale::Per::tensor, Scale::Per::channel, Scale::Per::block);
  if (per != Scale::Per::block) return {per, 0, 0, type};
  return {per, *rc::gen::inRange(1, 4), *rc::gen::inRange(1, 40), type};
}

/// A narrow element format with any layout of scales of type `scale`.
DataType any_type(Format scale) {
  DataType type(*rc::gen::element(Format::mxfp8, Format::mxfp6, Format::mxfp4, Format::nvfp4, Format::fp8_e5m2,
                                  Format::fp8_e4m3, Format::int8, Format::int4, Format::int2));
  type.scale = any_scale(scale);
  return type;
}

}  // namespace

TEST_CASE("rounding is odd and idempotent") {
  CHECK(rc::check("rounded(-x) == -rounded(x), rounded(rounded(x)) == rounded(x)", [] {
    const FloatLayout layout = any_layout();
    const double value = value_of(layout), once = rounded(value, layout, Overflow::saturate);
    RC_ASSERT(rounded(-value, layout, Overflow::saturate) == -once);
    RC_ASSERT(rounded(once, layout, Overflow::special) == once);
    RC_ASSERT(std::signbit(once) == std::signbit(value));
  }));
}

TEST_CASE("rounding is monotone") {
  CHECK(rc::check("x <= y => rounded(x) <= rounded(y)", [] {
    const FloatLayout layout = any_layout();
    const auto rounding = *rc::gen::element(Rounding::nearest_even, Rounding::toward_zero);
    const auto [low, high] = std::minmax({value_of(layout), value_of(layout)});
    RC_ASSERT(rounded(low, layout, Overflow::saturate, rounding) <=
              rounded(high, layout, Overflow::saturate, rounding));
  }));
}

TEST_CASE("the error of rounding is at most half a step, of cutting less than one") {
  CHECK(rc::check("|rounded(x) - x| <= step / 2", [] {
    const FloatLayout layout = any_layout();
    const double value = value_of(layout);
    RC_PRE(std::abs(value) <= largest(layout));
    const int exponent = value == 0.0 ? 1 - layout.bias : std::max(std::ilogb(value), 1 - layout.bias);
    const double step = std::ldexp(1.0, exponent - layout.mantissa_bits);
    RC_ASSERT(std::abs(rounded(value, layout, Overflow::special) - value) <= step / 2);
    const double cut = rounded(value, layout, Overflow::special, Rounding::toward_zero);
    RC_ASSERT(std::abs(cut) <= std::abs(value));
    RC_ASSERT(std::abs(cut - value) < step);
  }));
}

TEST_CASE("a matrix and its negative round alike") {
  CHECK(rc::check("round_trip(-x) == -round_trip(x)", [] {
    const Matrix matrix = any_matrix();
    const DataType type = any_type(*rc::gen::element(Format::e8m0, Format::fp32, Format::fp16, Format::fp8_e4m3));
    const Matrix negative{matrix.rows, matrix.columns, times(matrix.values, -1.0F)};
    RC_ASSERT(through(negative, type) == times(through(matrix, type), -1.0F));
  }));
}

TEST_CASE("under power-of-two scales a round trip is idempotent") {
  CHECK(rc::check("round_trip(round_trip(x)) == round_trip(x)", [] {
    Matrix matrix = any_matrix();
    const DataType type = any_type(Format::e8m0);
    matrix.values = through(matrix, type);
    RC_ASSERT(through(matrix, type) == matrix.values);
  }));
}

TEST_CASE("a power of two passes through every scale that has room for it") {
  CHECK(rc::check("round_trip(2^k x) == 2^k round_trip(x)", [] {
    const Matrix matrix = any_matrix();
    const float factor = std::ldexp(1.0F, *rc::gen::inRange(-20, 21));
    const DataType type = any_type(*rc::gen::element(Format::e8m0, Format::fp32));
    const Matrix scaled{matrix.rows, matrix.columns, times(matrix.values, factor)};
    RC_ASSERT(through(scaled, type) == times(through(matrix, type), factor));
  }));
}

TEST_CASE("nothing is off by more than its scale allows") {
  CHECK(rc::check("|q - x| <= scale x half the widest step; under MX also what saturates", [] {
    const Matrix matrix = any_matrix();
    const DataType type = any_type(*rc::gen::element(Format::e8m0, Format::fp32));
    const Quantised stored = quantise(matrix.values, matrix.rows, matrix.columns, type);
    const Floats back = dequantise(stored);
    const auto layout = element_layout(type.format);
    const double top = largest(type.format);
    const double step = layout ? std::ldexp(1.0, std::ilogb(top) - layout->mantissa_bits) : 1.0;
    const double widest = *std::ranges::max_element(stored.scales);
    // amax / scale is below 2^(emax + 1) under MX, and the largest number but for a rounding under fp32.
    const double beyond = type.scale.type == Format::e8m0 ? std::exp2(std::ilogb(top) + 1) - top : top * 1e-6;
    RC_ASSERT(largest_error(matrix.values, back) <= widest * std::max(step / 2 * 1.000001, beyond));
  }));
}

TEST_CASE("sign1 never loses against keeping nothing") {
  CHECK(rc::check("||q - x|| <= ||x||", [] {
    const Matrix matrix = any_matrix();
    RC_ASSERT(largest_error(matrix.values, Floats(matrix.values.size(), 0.0F)) == 0.0 ||
              relative_error(matrix.values, through(matrix, Format::sign1)) <= 1.0);
  }));
}

TEST_CASE("a dot product in fp32 is a chain of fused multiply-adds") {
  CHECK(rc::check("dot(a, b) == fma(a[n], b[n], ...)", [] {
    const auto count = static_cast<std::size_t>(*rc::gen::inRange(0, 40));
    const Floats a = any_values(count, -60, 20), b = any_values(count, -60, 20);
    float chain = 0.0F;
    for (std::size_t i = 0; i < count; ++i) chain = std::fma(a[i], b[i], chain);
    RC_ASSERT(dot(a, b) == chain);
    RC_ASSERT(dot(a, b, {.layout = narrow_accumulator(23)}) == chain);
    RC_ASSERT(dot(a, b, {.promote_every = 1000}) == chain);
    RC_ASSERT(dot(b, a) == chain);
  }));
}

TEST_CASE("the error of a sum is bounded by its additions") {
  CHECK(rc::check("|dot - exact| <= n u sum |a b| (Higham 2002, eq. 3.5)", [] {
    const int bits = *rc::gen::inRange(4, 24);
    const auto count = static_cast<std::size_t>(*rc::gen::inRange(1, 60));
    const Floats a = any_values(count), b = any_values(count);
    double exact = 0.0, magnitudes = 0.0;
    for (std::size_t i = 0; i < count; ++i) {
      exact += static_cast<double>(a[i]) * b[i];
      magnitudes += std::abs(static_cast<double>(a[i]) * b[i]);
    }
    const double gamma = std::pow(1 + std::ldexp(1.0, -bits - 1), static_cast<double>(count)) - 1;
    const float sum = dot(a, b, {.layout = narrow_accumulator(bits)});
    RC_ASSERT(std::abs(sum - exact) <= gamma * magnitudes * (1 + 1e-9));
  }));
}

TEST_CASE("n:m keeps n of every full group, none of them smaller than one it drops") {
  CHECK(rc::check("kept >= dropped", [] {
    const int m = *rc::gen::inRange(1, 9), n = *rc::gen::inRange(0, m + 1), groups = *rc::gen::inRange(1, 10);
    const auto group = static_cast<std::size_t>(m);
    Floats values = any_values(group * static_cast<std::size_t>(groups));
    const Mask mask = n_of_m_mask(values, 1, groups * m, n, m);
    for (std::size_t start = 0; start < values.size(); start += group) {
      float least_kept = INFINITY, most_dropped = 0.0F;
      int kept = 0;
      for (std::size_t i = start; i < start + group; ++i) {
        const float magnitude = std::abs(values[i]);
        kept += mask[i];
        if (mask[i]) least_kept = std::min(least_kept, magnitude);
        else most_dropped = std::max(most_dropped, magnitude);
      }
      RC_ASSERT(kept == n);
      RC_ASSERT(least_kept >= most_dropped);
    }
    apply_mask(values, mask);
    const Floats once = values;
    apply_sparsity(values, 1, groups * m, n, m);
    RC_ASSERT(values == once);
  }));
}

TEST_CASE("freer structures lose no more") {
  CHECK(rc::check("error(unstructured) <= error(2:4), error(unstructured) <= error(blocks)", [] {
    const Floats dense = any_values(static_cast<std::size_t>(16 * *rc::gen::inRange(1, 6)));
    const auto rows = static_cast<std::int64_t>(dense.size() / 8);
    const auto error = [&](const Mask& mask) {
      Floats pruned = dense;
      apply_mask(pruned, mask);
      return relative_error(dense, pruned);
    };
    const double free = error(unstructured_mask(dense, 0.5));
    RC_ASSERT(free <= error(n_of_m_mask(dense, rows, 8, 2, 4)) * (1 + 1e-12));
    RC_ASSERT(free <= error(block_mask(dense, rows, 8, 2, 4, 0.5)) * (1 + 1e-12));
    const auto kept = [](const Mask& mask) { return std::accumulate(mask.begin(), mask.end(), 0); };
    RC_ASSERT(kept(unstructured_mask(dense, 0.5)) == kept(n_of_m_mask(dense, rows, 8, 2, 4)));
  }));
}

TEST_CASE("SQNR is the relative error in dB, and knows no unit") {
  CHECK(rc::check("sqnr == -20 log10(relative error); both are free of a common factor", [] {
    const Matrix matrix = any_matrix();
    const Floats back = through(matrix, Format::mxfp4);
    const double error = relative_error(matrix.values, back), sqnr = sqnr_db(matrix.values, back);
    RC_PRE(error > 0.0);
    RC_ASSERT(std::abs(sqnr + 20 * std::log10(error)) < 1e-9);
    RC_ASSERT(std::abs(relative_error(times(matrix.values, 8), times(back, 8)) - error) <= 1e-12 * error);
  }));
}

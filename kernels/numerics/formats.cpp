#include "kernels/numerics/formats.hpp"

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>

namespace gambrel::kernels {
namespace {

using enum Format;

constexpr double nan = std::numeric_limits<double>::quiet_NaN();
constexpr std::uint32_t e8m0_nan = 0xFF;
constexpr int e8m0_bias = 127;

constexpr std::uint32_t mask(int bits) { return static_cast<std::uint32_t>((std::uint64_t{1} << bits) - 1); }

constexpr std::uint32_t exponent_of_ones(const FloatLayout& layout) {
  return mask(layout.exponent_bits) << layout.mantissa_bits;
}

/// The code of the largest number, without a sign.
constexpr std::uint32_t largest_code(const FloatLayout& layout) {
  switch (layout.specials) {
    case Specials::ieee: return exponent_of_ones(layout) - 1;
    case Specials::nan_only: return mask(layout.bits() - 1) - 1;
    case Specials::finite: return mask(layout.bits() - 1);
  }
  return 0;
}

constexpr std::uint32_t nan_code(const FloatLayout& layout) {
  switch (layout.specials) {
    case Specials::ieee: return exponent_of_ones(layout) | (1U << (layout.mantissa_bits - 1));
    case Specials::nan_only: return mask(layout.bits() - 1);
    case Specials::finite: return largest_code(layout);
  }
  return 0;
}

constexpr std::uint32_t overflow_code(const FloatLayout& layout, Overflow overflow) {
  if (overflow == Overflow::saturate || layout.specials == Specials::finite) return largest_code(layout);
  return layout.specials == Specials::ieee ? exponent_of_ones(layout) : nan_code(layout);
}

/// 2^exponent for the exponents of normal doubles; std::ldexp and std::ilogb cost five times as much.
double power_of_two(int exponent) { return std::bit_cast<double>(static_cast<std::uint64_t>(exponent + 1023) << 52); }

/// floor(log2(magnitude)); -1023 for 0 and subnormal doubles, which lie below the subnormals of every layout.
int exponent_of(double magnitude) { return static_cast<int>(std::bit_cast<std::uint64_t>(magnitude) >> 52) - 1023; }

/// 0 <= value < 2^52 to the nearest whole number, ties to even: above 2^52 doubles are whole.
double nearest_whole(double value) { return (value + 0x1p52) - 0x1p52; }

/// The code as if exponents had no end. A mantissa that rounds up to 2 carries into the exponent by itself: codes of
/// one sign are in the order of their values.
std::uint64_t unbounded_code(double magnitude, const FloatLayout& layout, Rounding rounding) {
  const int lowest = 1 - layout.bias;
  const int exponent = std::max(exponent_of(magnitude), lowest);
  const double units = magnitude * power_of_two(layout.mantissa_bits - exponent);
  const double whole = rounding == Rounding::nearest_even ? nearest_whole(units) : units;
  return (static_cast<std::uint64_t>(exponent - lowest) << layout.mantissa_bits) + static_cast<std::uint64_t>(whole);
}

std::uint32_t magnitude_code(double magnitude, const FloatLayout& layout, Overflow overflow, Rounding rounding) {
  if (std::isnan(magnitude)) return nan_code(layout);
  if (std::isinf(magnitude)) return overflow_code(layout, overflow);
  const std::uint64_t code = unbounded_code(magnitude, layout, rounding);
  if (code <= largest_code(layout)) return static_cast<std::uint32_t>(code);
  return rounding == Rounding::toward_zero ? largest_code(layout) : overflow_code(layout, overflow);
}

double magnitude_of(std::uint32_t code, const FloatLayout& layout) {
  if (code > largest_code(layout))
    return code == exponent_of_ones(layout) && layout.specials == Specials::ieee
               ? std::numeric_limits<double>::infinity()
               : nan;
  const std::uint32_t mantissa = code & mask(layout.mantissa_bits);
  const int exponent = static_cast<int>(code >> layout.mantissa_bits);
  const std::uint32_t hidden = exponent > 0 ? 1U << layout.mantissa_bits : 0U;
  return (mantissa + hidden) * power_of_two(std::max(exponent, 1) - layout.bias - layout.mantissa_bits);
}

std::uint32_t encode_integer(double value, int bits) {
  if (std::isnan(value)) return 0;
  const double end = std::ldexp(1.0, bits - 1);
  const double whole = std::clamp(std::nearbyint(value), -end, end - 1);
  return static_cast<std::uint32_t>(static_cast<std::int64_t>(whole)) & mask(bits);
}

double decode_integer(std::uint32_t code, int bits) {
  const std::int64_t end = std::int64_t{1} << (bits - 1);
  const std::int64_t value = code & mask(bits);
  return static_cast<double>(value >= end ? value - 2 * end : value);
}

std::uint32_t encode_power(double value) {
  if (!std::isfinite(value) || value < 0.0) return e8m0_nan;
  const int exponent = value == 0.0 ? -e8m0_bias : std::ilogb(value);
  return static_cast<std::uint32_t>(std::clamp(exponent, -e8m0_bias, e8m0_bias) + e8m0_bias);
}

double decode_power(std::uint32_t code) {
  return code == e8m0_nan ? nan : std::ldexp(1.0, static_cast<int>(code) - e8m0_bias);
}

}  // namespace

std::uint32_t encode(double value, const FloatLayout& layout, Overflow overflow, Rounding rounding) {
  const std::uint32_t sign = std::signbit(value) ? 1U << (layout.bits() - 1) : 0U;
  return sign | magnitude_code(std::abs(value), layout, overflow, rounding);
}

double decode(std::uint32_t code, const FloatLayout& layout) {
  const int sign_at = layout.bits() - 1;
  const double magnitude = magnitude_of(code & mask(sign_at), layout);
  return (code >> sign_at & 1U) != 0 ? -magnitude : magnitude;
}

double rounded(double value, const FloatLayout& layout, Overflow overflow, Rounding rounding) {
  return decode(encode(value, layout, overflow, rounding), layout);
}

FloatRounder::FloatRounder(const FloatLayout& layout, Overflow overflow)
    : layout_(layout),
      overflow_(overflow),
      shift_(52 - layout.mantissa_bits),
      half_(std::uint64_t{1} << (shift_ - 1)),
      shifter_(std::ldexp(1.0, 53 - layout.bias - layout.mantissa_bits)),
      least_(std::ldexp(1.0, 1 - layout.bias)),
      most_(largest(layout)) {}

double largest(const FloatLayout& layout) { return magnitude_of(largest_code(layout), layout); }

std::optional<FloatLayout> element_layout(Format format) {
  switch (format) {
    case fp64:
    case fp32: return fp32_layout;
    case tf32: return tf32_layout;
    case bf16: return bf16_layout;
    case fp16: return fp16_layout;
    case fp8_e4m3:
    case mxfp8: return e4m3_layout;
    case fp8_e5m2: return e5m2_layout;
    case mxfp6: return e2m3_layout;
    case mxfp4:
    case nvfp4: return e2m1_layout;
    case int32:
    case int8:
    case int4:
    case int2:
    case sign1:
    case e8m0: return std::nullopt;
  }
  return std::nullopt;
}

int code_bits(Format format) {
  if (const auto layout = element_layout(format)) return layout->bits();
  return static_cast<int>(DataType(format).element_bits());
}

std::uint32_t encode(double value, Format format, Overflow overflow) {
  if (const auto layout = element_layout(format)) return encode(value, *layout, overflow);
  if (format == e8m0) return encode_power(value);
  if (format == sign1) return value > 0.5 ? 1 : 0;
  return encode_integer(value, code_bits(format));
}

double decode(std::uint32_t code, Format format) {
  if (const auto layout = element_layout(format)) return decode(code, *layout);
  if (format == e8m0) return decode_power(code);
  if (format == sign1) return code & 1U;
  return decode_integer(code, code_bits(format));
}

double largest(Format format) {
  if (const auto layout = element_layout(format)) return largest(*layout);
  if (format == e8m0) return decode_power(e8m0_nan - 1);
  if (format == sign1) return 1.0;
  return std::ldexp(1.0, code_bits(format) - 1) - 1.0;
}

Overflow usual_overflow(Format format) { return code_bits(format) <= 8 ? Overflow::saturate : Overflow::special; }

}  // namespace gambrel::kernels

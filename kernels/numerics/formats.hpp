// Number formats bit by bit: codes of floating-point and integer elements, encoded with round to nearest even.
// Sources: IEEE 754-2019 (fp16, fp32), OCP OFP8 rev. 1.0 (e4m3, e5m2), OCP Microscaling (MX) v1.0, 5.3 and 5.4.
#pragma once

#include <bit>
#include <cstdint>
#include <optional>

#include "base/data_type.hpp"

namespace gambrel::kernels {

/// What the largest codes mean. ieee: an exponent of all ones is infinity or NaN; nan_only: only the code of all ones
/// is NaN, there is no infinity (e4m3); finite: every code is a number (fp6, fp4).
enum class Specials : std::uint8_t { ieee, nan_only, finite };

/// A sign, `exponent_bits` and `mantissa_bits` in this order; subnormals below 2^(1 - bias).
struct FloatLayout {
  int exponent_bits = 8, mantissa_bits = 23, bias = 127;
  Specials specials = Specials::ieee;
  constexpr bool operator==(const FloatLayout&) const = default;
  constexpr int bits() const { return 1 + exponent_bits + mantissa_bits; }
};

inline constexpr FloatLayout fp32_layout{8, 23, 127};
inline constexpr FloatLayout tf32_layout{8, 10, 127};  ///< the 19 bits that are computed with
inline constexpr FloatLayout bf16_layout{8, 7, 127};
inline constexpr FloatLayout fp16_layout{5, 10, 15};
inline constexpr FloatLayout e4m3_layout{4, 3, 7, Specials::nan_only};  ///< largest 448
inline constexpr FloatLayout e5m2_layout{5, 2, 15};                     ///< largest 57344
inline constexpr FloatLayout e3m2_layout{3, 2, 3, Specials::finite};    ///< largest 28
inline constexpr FloatLayout e2m3_layout{2, 3, 1, Specials::finite};    ///< largest 7.5
inline constexpr FloatLayout e2m1_layout{2, 1, 1, Specials::finite};    ///< largest 6

/// What becomes of a value that rounds beyond the largest number, infinity included (OFP8 rev. 1.0, the table of
/// saturating and non-saturating conversions): the largest number, or infinity (e4m3: NaN). Where neither exists
/// (Specials::finite) it saturates.
enum class Overflow : std::uint8_t { saturate, special };

/// toward_zero cuts the mantissa; a finite value then never overflows to infinity.
enum class Rounding : std::uint8_t { nearest_even, toward_zero };

/// The code of `value` in the low bits(). NaN keeps its sign, not its payload; where there is no NaN the spec leaves
/// the result open, and it is the largest number here.
std::uint32_t encode(double value, const FloatLayout& layout, Overflow overflow,
                     Rounding rounding = Rounding::nearest_even);
double decode(std::uint32_t code, const FloatLayout& layout);

/// decode(encode(value)): the number of this layout that stands for `value`.
double rounded(double value, const FloatLayout& layout, Overflow overflow, Rounding rounding = Rounding::nearest_even);

double largest(const FloatLayout& layout);

/// rounded() to nearest for many values: the same numbers without forming codes.
class FloatRounder {
 public:
  FloatRounder(const FloatLayout& layout, Overflow overflow);
  double operator()(double value) const {
    const auto code = std::bit_cast<std::uint64_t>(value);
    const std::uint64_t sign = code & (std::uint64_t{1} << 63);
    const double magnitude = std::bit_cast<double>(code ^ sign);
    double size = (magnitude + shifter_) - shifter_;  // of subnormals: whole units of the smallest
    if (magnitude >= least_) {
      const std::uint64_t bits = code ^ sign, odd = (bits >> shift_) & 1;
      size = std::bit_cast<double>((bits + half_ - 1 + odd) & ~(2 * half_ - 1));
    }
    if (!(size <= most_)) return rounded(value, layout_, overflow_);  // NaN too
    return std::bit_cast<double>(std::bit_cast<std::uint64_t>(size) | sign);
  }

 private:
  FloatLayout layout_;
  Overflow overflow_;
  int shift_;
  std::uint64_t half_;             ///< half a unit of the last bit that stays
  double shifter_, least_, most_;  ///< 2^52 units of the smallest; the smallest normal and the largest number
};

/// The layout of one element, none for integers, sign1 and e8m0. mxfp8 is e4m3 (e5m2 is fp8_e5m2 with e8m0 scales),
/// mxfp6 is e2m3, mxfp4 and nvfp4 are e2m1; fp64 is that of fp32, since what is encoded here are floats.
std::optional<FloatLayout> element_layout(Format format);

/// Bits of an element's code: those of the layout or of the integer (tf32: 19, fp64: 32).
int code_bits(Format format);

/// The code of one element, scales apart.
/// - Integers: two's complement, to the nearest (ties to even), clamped to the range; NaN becomes 0.
/// - sign1: 1 if the value is nearer to 1 than to 0.
/// - e8m0 (MX v1.0, 5.4.1): 2^(code - 127), code 255 is NaN. The largest power of two that does not exceed the value,
///   at least 2^-127; infinity, NaN and negative values are NaN.
std::uint32_t encode(double value, Format format, Overflow overflow);
double decode(std::uint32_t code, Format format);

/// The largest number of the elements: 448, 6, 127, ...
double largest(Format format);

/// Saturating for formats of 8 bits and fewer, as frameworks cast to them; to infinity for the wider ones.
Overflow usual_overflow(Format format);

}  // namespace gambrel::kernels

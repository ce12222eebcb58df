#include "kernels/accumulate.hpp"

#include <algorithm>
#include <bit>
#include <cmath>

namespace gambrel::kernels {
namespace {

/// a + b rounded to odd: if it is not exact, of the two neighbours the one with an odd last bit. Rounding that again
/// to at most 51 bits gives what rounding the exact sum gives (Boldo and Melquiond 2008, "Emulation of FMA and
/// correctly rounded sums: proved algorithms using rounding to odd"). The error of the sum is Knuth's TwoSum.
double add_to_odd(double a, double b) {
  const double sum = a + b;
  const double b_part = sum - a;
  const double error = (a - (sum - b_part)) + (b - b_part);
  const bool odd = (std::bit_cast<std::uint64_t>(sum) & 1U) != 0;
  if (!std::isfinite(sum) || error == 0.0 || odd) return sum;
  return std::nextafter(sum, error > 0.0 ? INFINITY : -INFINITY);
}

/// The sum of the products of `a` and `b` in one accumulator that starts at 0. A float product fits a double exactly.
double chain(std::span<const float> a, std::span<const float> b, const Accumulator& accumulator) {
  double sum = 0.0;
  for (std::size_t i = 0; i < a.size(); ++i) {
    const double product = static_cast<double>(a[i]) * b[i];
    sum = rounded(add_to_odd(sum, product), accumulator.layout, Overflow::special, accumulator.rounding);
  }
  return sum;
}

}  // namespace

float dot(std::span<const float> a, std::span<const float> b, const Accumulator& accumulator) {
  if (accumulator.promote_every <= 0) return static_cast<float>(chain(a, b, accumulator));
  const auto length = static_cast<std::size_t>(accumulator.promote_every);
  float total = 0.0F;
  for (std::size_t at = 0; at < a.size(); at += length) {
    const std::size_t count = std::min(length, a.size() - at);
    total += static_cast<float>(chain(a.subspan(at, count), b.subspan(at, count), accumulator));
  }
  return total;
}

}  // namespace gambrel::kernels

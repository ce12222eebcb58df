#include "kernels/numerics/accumulate.hpp"

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>
#include <vector>

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

/// Sums that are formed side by side: a vector register's worth, or two.
constexpr std::size_t lanes = 16;
constexpr std::int64_t lane_sign = std::numeric_limits<std::int64_t>::min();

/// What rounding to an accumulator's layout needs, worked out once.
struct LaneRounding {
  explicit LaneRounding(const Accumulator& a)
      : unit(std::int64_t{1} << (52 - a.layout.mantissa_bits)),
        shift(52 - a.layout.mantissa_bits),
        half(a.rounding == Rounding::nearest_even ? unit / 2 - 1 : 0),
        tie(a.rounding == Rounding::nearest_even ? 1 : 0),
        quantum(std::ldexp(1.0, 1 - a.layout.bias - a.layout.mantissa_bits)),
        least(std::ldexp(1.0, 1 - a.layout.bias)),
        most(largest(a.layout)),
        beyond(tie == 1 ? std::numeric_limits<double>::infinity() : most) {}
  std::int64_t unit;              ///< of the last bit that stays, in codes
  int shift;
  std::int64_t half, tie;         ///< what is added before the rest is cut: just below half a unit, and the last bit
  double quantum, least, most, beyond;  ///< of subnormals; smallest normal and largest number; what is larger becomes
};

/// a + b as add_to_odd forms it, without branches.
inline double lane_add_to_odd(double a, double b) {
  const double sum = a + b, b_part = sum - a, error = (a - (sum - b_part)) + (b - b_part);
  const auto code = std::bit_cast<std::int64_t>(sum);
  const double signed_error = std::bit_cast<double>(std::bit_cast<std::int64_t>(error) ^ (code & lane_sign));
  std::int64_t step = signed_error > 0.0 ? 1 : 0;  // away from zero, towards it, or nowhere (exact, or no number)
  step = signed_error < 0.0 ? -1 : step;
  return std::bit_cast<double>(code + (step & ((code & 1) - 1)));
}

/// rounded(): what is normal by its bits, what is subnormal by adding a number whose unit is the quantum.
inline double lane_rounded(double value, const LaneRounding& r) {
  const auto code = std::bit_cast<std::int64_t>(value);
  const std::int64_t sign = code & lane_sign, bits = code ^ sign;
  const double magnitude = std::bit_cast<double>(bits);
  const double shifter = 0x1p52 * r.quantum, nearest = (magnitude + shifter) - shifter;
  const double below = r.tie == 0 && nearest > magnitude ? nearest - r.quantum : nearest;
  double size = std::bit_cast<double>((bits + r.half + (r.tie & (bits >> r.shift))) & -r.unit);
  size = size > r.most ? r.beyond : size;
  size = magnitude < std::numeric_limits<double>::infinity() ? size : magnitude;
  size = magnitude < r.least ? below : size;
  return std::bit_cast<double>(std::bit_cast<std::int64_t>(size) | sign);
}

// One program for every CPU: which of the copies runs is decided when it starts. None contracts a product and a sum
// (-ffp-contract=off), so all give the same bits.
#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__)
#define GAMBREL_CLONES [[gnu::target_clones("default", "avx2", "arch=skylake-avx512")]]
#else
#define GAMBREL_CLONES
#endif

/// One row of x times `lanes` rows of w, which stand beside each other in `columns` [k, lanes].
GAMBREL_CLONES
void multiply_lanes(const float* x, const double* columns, std::size_t k, const Accumulator& accumulator,
                    const LaneRounding& rounding, float* y) {
  const LaneRounding r = rounding;
  const std::size_t length = accumulator.promote_every > 0 ? static_cast<std::size_t>(accumulator.promote_every) : k;
  float total[lanes] = {};
  for (std::size_t at = 0; at < k; at += length) {
    double sum[lanes] = {};
    for (std::size_t i = at; i < std::min(k, at + length); ++i) {
      const double factor = x[i];
      for (std::size_t j = 0; j < lanes; ++j)
        sum[j] = lane_rounded(lane_add_to_odd(sum[j], columns[i * lanes + j] * factor), r);
    }
    for (std::size_t j = 0; j < lanes; ++j) total[j] += static_cast<float>(sum[j]);
  }
  std::copy_n(total, lanes, y);
}
#undef GAMBREL_CLONES

}  // namespace

void multiply_narrow(const NarrowProduct& p, const Accumulator& accumulator) {
  const LaneRounding rounding(accumulator);
  std::vector<double> columns(p.k * lanes);
  float sums[lanes];
  for (std::size_t first = 0; first < p.n; first += lanes) {
    const std::size_t count = std::min(lanes, p.n - first);
    for (std::size_t i = 0; i < p.k; ++i)
      for (std::size_t j = 0; j < lanes; ++j) columns[i * lanes + j] = j < count ? p.w[(first + j) * p.w_stride + i] : 0.0;
    for (std::size_t row = 0; row < p.m; ++row) {
      multiply_lanes(p.x + row * p.x_stride, columns.data(), p.k, accumulator, rounding, sums);
      std::copy_n(sums, count, p.y + row * p.y_stride + first);
    }
  }
}

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

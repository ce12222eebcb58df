// Sums of products as a matrix unit forms them: exact products, an accumulator of few bits.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "kernels/numerics/formats.hpp"

namespace gambrel::kernels {

/// The accumulator of a dot product. The default is a chain of fp32 fused multiply-adds.
struct Accumulator {
  FloatLayout layout = fp32_layout;  ///< bf16_layout, or narrow_accumulator(bits)
  Rounding rounding = Rounding::nearest_even;
  /// Products after which the accumulator is added to a total in fp32 and starts again at 0; 0: never. DeepSeek-V3
  /// (arXiv 2412.19437, 3.3.2) does so every 128 products, since the matrix unit it ran on keeps about 14 bits.
  std::int64_t promote_every = 0;
};

/// An fp32 accumulator with `mantissa_bits` (1 to 23) instead of 23: the exponent keeps its range.
constexpr FloatLayout narrow_accumulator(int mantissa_bits) { return {8, mantissa_bits, 127, Specials::ieee}; }

/// sum of a[i] b[i], in order. Each product is exact, each addition is rounded once to the accumulator's layout; what
/// is too large becomes infinity. `a` and `b` are of one length. Hardware that aligns several products before it
/// rounds (Fasi et al. 2021, "Numerical behavior of NVIDIA tensor cores") errs less than this chain.
float dot(std::span<const float> a, std::span<const float> b, const Accumulator& accumulator = {});

/// y[i, j] = sum of x[i, :] w[j, :], every sum bit by bit what dot() forms, several at a time (about 1 ns a product).
/// x [m, k] with rows x_stride apart, w [n, k] with rows w_stride, y [m, n] with rows y_stride.
struct NarrowProduct {
  const float *x, *w;
  float* y;
  std::size_t m, n, k, x_stride, w_stride, y_stride;
};
void multiply_narrow(const NarrowProduct& product, const Accumulator& accumulator);

}  // namespace gambrel::kernels

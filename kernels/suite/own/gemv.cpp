// y = W x for one token, weights in several formats: bound by reading W, if turning it into numbers is cheap enough.
#include "kernels/suite/own/functions.hpp"
#include "kernels/suite/own/vector.hpp"

namespace gambrel::kernels::GAMBREL_WIDTH {
namespace {

inline V weights(const float* w) { return load(w); }
inline V weights(const uint16_t* bf16) { return from_bf16(bf16); }
inline V weights(const int8_t* w) { return __builtin_convertvector(widened(w), V); }
inline float weight(float w) { return w; }
inline float weight(int8_t w) { return w; }
inline float weight(uint16_t bf16) {
  const uint32_t wide = static_cast<uint32_t>(bf16) << 16;
  float value;
  memcpy(&value, &wide, sizeof value);
  return value;
}

/// `rows` rows of W against x: each piece of x is read once for all of them. Weights are fetched 2 KiB ahead.
template <size_t rows, class W>
inline void multiply_rows(const W* w, const float* x, float* y, size_t k) {
  constexpr size_t step = 2 * lanes, ahead = 2048 / sizeof(W);
  V s[rows] = {}, t[rows] = {};
  size_t i = 0;
  for (; i + step <= k; i += step) {
    const V a = load(x + i), b = load(x + i + lanes);
#pragma GCC unroll 8
    for (size_t r = 0; r < rows; ++r) {
      const W* const here = w + r * k + i;
      if (step * sizeof(W) >= 64 || i % (64 / sizeof(W)) == 0) fetch(here + ahead);
      if (step * sizeof(W) > 64) fetch(here + ahead + 64 / sizeof(W));
      s[r] += weights(here) * a;
      t[r] += weights(here + lanes) * b;
    }
  }
  for (size_t r = 0; r < rows; ++r) {
    y[r] = sum(s[r] + t[r]);
    for (size_t j = i; j < k; ++j) y[r] += weight(w[r * k + j]) * x[j];
  }
}

template <class W>
inline void multiply(const W* w, const float* x, float* y, size_t n, size_t k) {
  size_t row = 0;
  for (; row + 4 <= n; row += 4) multiply_rows<4>(w + row * k, x, y + row, k);
  for (; row < n; ++row) multiply_rows<1>(w + row * k, x, y + row, k);
}

}  // namespace

void gemv_f32(const float* w, const float* x, float* y, size_t n, size_t k) { multiply(w, x, y, n, k); }
void gemv_bf16(const uint16_t* w, const float* x, float* y, size_t n, size_t k) { multiply(w, x, y, n, k); }
void gemv_int8(const int8_t* w, const float* scales, const float* x, float* y, size_t n, size_t k) {
  multiply(w, x, y, n, k);
  for (size_t row = 0; row < n; ++row) y[row] *= scales[row];
}

}  // namespace gambrel::kernels::GAMBREL_WIDTH

// Inside own/ only: vectors of this width, in GCC's and Clang's notation; the compiler finds the instructions.
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace gambrel::kernels::GAMBREL_WIDTH {
namespace {

#if defined(__AVX512F__)
constexpr size_t vector_bytes = 64;
#elif defined(__AVX2__)
constexpr size_t vector_bytes = 32;
#else
constexpr size_t vector_bytes = 16;
#endif
constexpr size_t lanes = vector_bytes / sizeof(float);

using V = float __attribute__((vector_size(vector_bytes), aligned(4), may_alias));
using Int = int32_t __attribute__((vector_size(vector_bytes), aligned(4), may_alias));

inline V load(const float* p) { return *reinterpret_cast<const V*>(p); }
inline void store(float* p, V v) { *reinterpret_cast<V*>(p) = v; }
inline V all(float value) { return V{} + value; }
inline V larger(V a, V b) { return a > b ? a : b; }
inline V smaller(V a, V b) { return a < b ? a : b; }

/// 1 / x to 2e-7 for x in the middle of the range: an estimate and one step of Newton's.
inline V reciprocal(V x) {
#if defined(__AVX512F__)
  const V guess = reinterpret_cast<V>(_mm512_rcp14_ps(reinterpret_cast<__m512>(x)));
#elif defined(__AVX2__)
  const V guess = reinterpret_cast<V>(_mm256_rcp_ps(reinterpret_cast<__m256>(x)));
#else
  return 1.0f / x;
#endif
#if defined(__AVX2__)
  return guess * (2.0f - x * guess);
#endif
}

/// Two vectors into one of sums of neighbours: a's in the lower half of each pair of halves, b's in the upper.
template <size_t stride>
inline V fold(V a, V b) {
  Int low{}, high{};
  for (size_t i = 0; i < lanes; ++i) {
    const bool from_b = (i & stride) != 0;
    low[i] = static_cast<int32_t>((i & ~stride) + (from_b ? lanes : 0));
    high[i] = static_cast<int32_t>((i | stride) + (from_b ? lanes : 0));
  }
  return __builtin_shuffle(a, b, low) + __builtin_shuffle(a, b, high);
}

inline float sum(V v) {
  float total = 0;
  for (size_t i = 0; i < lanes; ++i) total += v[i];
  return total;
}
inline float largest(V v) {
  float most = v[0];
  for (size_t i = 1; i < lanes; ++i) most = v[i] > most ? v[i] : most;
  return most;
}

/// Sixteen-bit and eight-bit integers widened: GCC 12 takes its own conversions apart into halves and elements.
inline Int widened(const uint16_t* p) {
#if defined(__AVX512F__)
  return reinterpret_cast<Int>(_mm512_cvtepu16_epi32(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p))));
#elif defined(__AVX2__)
  return reinterpret_cast<Int>(_mm256_cvtepu16_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p))));
#else
  return Int{p[0], p[1], p[2], p[3]};
#endif
}
inline Int widened(const int8_t* p) {
#if defined(__AVX512F__)
  return reinterpret_cast<Int>(_mm512_cvtepi8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p))));
#elif defined(__AVX2__)
  return reinterpret_cast<Int>(_mm256_cvtepi8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(p))));
#else
  return Int{p[0], p[1], p[2], p[3]};
#endif
}
inline V from_bf16(const uint16_t* p) {
  const Int bits = widened(p) << 16;
  return reinterpret_cast<const V&>(bits);
}

inline Int nearest(V v) {
#if defined(__AVX512F__)
  return reinterpret_cast<Int>(_mm512_cvtps_epi32(reinterpret_cast<__m512>(v)));
#elif defined(__AVX2__)
  return reinterpret_cast<Int>(_mm256_cvtps_epi32(reinterpret_cast<__m256>(v)));
#else
  return __builtin_convertvector(v + (v < 0 ? all(-0.5f) : all(0.5f)), Int);
#endif
}

/// e^x to 2e-7, as 2^n 2^f: a polynomial of degree 5 at Chebyshev nodes for f in +-1/2, n added to its exponent. Outside
/// -87 .. 88 it stays at their values.
inline V exponential(V x) {
  const V t = smaller(larger(x, all(-87.0f)), all(88.0f)) * 1.44269504f;
  const Int n = nearest(t);
  const V f = t - __builtin_convertvector(n, V);
  V p = all(0.00133908634f) * f + 0.00967603192f;
  p = p * f + 0.0555035711f;
  p = p * f + 0.240221075f;
  p = p * f + 0.693147188f;
  p = p * f + 1.00000008f;
  const Int bits = reinterpret_cast<const Int&>(p) + (n << 23);
  return reinterpret_cast<const V&>(bits);
}

/// Brings the line that holds p nearer, from further away than hardware looks: several streams, or a pause between rows.
inline void fetch(const void* p) { __builtin_prefetch(p, 0, 2); }

}  // namespace
}  // namespace gambrel::kernels::GAMBREL_WIDTH

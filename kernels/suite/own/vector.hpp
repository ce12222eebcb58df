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
/// v in a register: GCC otherwise loads an operand again for each of its multiply-adds, and loads become what is scarce.
template <class T>
inline T held(T v) {
#if defined(__AVX512F__)
  asm("" : "+v"(v));
#endif
  return v;
}
inline V all(float value) { return V{} + value; }
inline V larger(V a, V b) { return a > b ? a : b; }
inline V smaller(V a, V b) { return a < b ? a : b; }

/// a / b. With 512 bits a division: it leaves the multiply-adds' pipes free, which -ffast-math's estimate and Newton step do not.
inline V divided(V a, V b) {
#if defined(__AVX512F__)
  return reinterpret_cast<V>(_mm512_div_round_ps(reinterpret_cast<__m512>(a), reinterpret_cast<__m512>(b), _MM_FROUND_CUR_DIRECTION));
#else
  return a / b;
#endif
}

/// v with lanes i and i ^ stride exchanged.
template <size_t stride>
inline V exchanged(V v) {
#if defined(__AVX512F__)
  const __m512 bits = reinterpret_cast<__m512>(v);
  if constexpr (stride == 1) return reinterpret_cast<V>(_mm512_permute_ps(bits, 0xB1));
  else if constexpr (stride == 2) return reinterpret_cast<V>(_mm512_permute_ps(bits, 0x4E));
  else return reinterpret_cast<V>(_mm512_shuffle_f32x4(bits, bits, stride == 4 ? 0xB1 : 0x4E));
#else
  Int from{};
  for (size_t i = 0; i < lanes; ++i) from[i] = static_cast<int32_t>(i ^ stride);
  return __builtin_shuffle(v, from);
#endif
}

/// a where a lane's number lacks the bit `stride`, else b.
template <size_t stride>
inline V alternating(V a, V b) {
#if defined(__AVX512F__)
  constexpr __mmask16 odd = stride == 1 ? 0xAAAA : stride == 2 ? 0xCCCC : stride == 4 ? 0xF0F0 : 0xFF00;
  return reinterpret_cast<V>(_mm512_mask_blend_ps(odd, reinterpret_cast<__m512>(a), reinterpret_cast<__m512>(b)));
#else
  Int from{};
  for (size_t i = 0; i < lanes; ++i) from[i] = static_cast<int32_t>(i + ((i & stride) != 0 ? lanes : 0));
  return __builtin_shuffle(a, b, from);
#endif
}

/// Two vectors into one of sums of lanes i and i ^ stride: a's where a lane's number lacks that bit, else b's. One shuffle:
/// on some CPUs they share a pipe with the multiply-adds, which blends do not.
template <size_t stride>
inline V fold(V a, V b) {
  return alternating<stride>(a, b) + exchanged<stride>(alternating<stride>(b, a));
}

template <size_t stride = 1>
inline float sum(V v) {
  if constexpr (stride == lanes) return v[0];
  else return sum<stride * 2>(v + exchanged<stride>(v));
}
template <size_t stride = 1>
inline float largest(V v) {
  if constexpr (stride == lanes) return v[0];
  else return largest<stride * 2>(larger(v, exchanged<stride>(v)));
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

#if defined(__AVX512F__)

/// e^x to 5e-7, as 2^(j / 16) 2^(n + f / 16): a table of 16 in one register for j, n added to the exponent, a polynomial of
/// degree 2 at Chebyshev nodes for f in +-1/2. Outside -87 .. 88 it stays at their values. Four multiply-adds: bounds,
/// roundings, shift and integer addition go to other pipes.
inline V exponential(V x) {
  // Bits of 2^(j / 16) less j << 19: adding (16 n + j) << 19 gives those of 2^(n + j / 16).
  const Int table{0x3F800000, 0x3F7DAAC3, 0x3F7B95C2, 0x3F79C3D3, 0x3F7837F0, 0x3F76F532, 0x3F75FED7, 0x3F75583F,
                  0x3F7504F3, 0x3F7508A4, 0x3F75672A, 0x3F76248C, 0x3F7744FD, 0x3F78CCDF, 0x3F7AC0C7, 0x3F7D257D};
  const V t = smaller(larger(x, all(-87.0f)), all(88.0f)) * 23.0831207f;
  const V f = t - reinterpret_cast<V>(_mm512_roundscale_ps(reinterpret_cast<__m512>(t), _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC));
  const V p = (0.000938412326f * f + 0.0433242396f) * f + 1.0f;
  const Int whole = nearest(t);
  const Int power = (whole << 19) + reinterpret_cast<Int>(_mm512_permutexvar_epi32(reinterpret_cast<__m512i>(whole), reinterpret_cast<__m512i>(table)));
  return p * reinterpret_cast<const V&>(power);
}

#else

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

#endif

/// Brings the line that holds p nearer, from further away than hardware looks: several streams, or a pause between rows.
inline void fetch(const void* p) { __builtin_prefetch(p, 0, 2); }

}  // namespace
}  // namespace gambrel::kernels::GAMBREL_WIDTH

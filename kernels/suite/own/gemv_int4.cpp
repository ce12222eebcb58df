// y = W x with 4-bit weights in groups of 32 along k, each with a bf16 scale; a weight is scale * (q - 8), q = 0 .. 15.
// Sixteen rows lie together (int4_rows): for each group four vectors of 16 times 32 bits, lane r being row r. The low
// halves of the four bytes of vector j hold weights 4 j .. 4 j + 3 of the group, the high halves 16 + 4 j .. So a lane
// adds up its row, nothing is summed across lanes, and the activations are the same for all lanes.
#include "kernels/suite/own/functions.hpp"
#include "kernels/suite/own/vector.hpp"

namespace gambrel::kernels::GAMBREL_WIDTH {
namespace {

constexpr size_t rows = int4_rows, group = int4_group, words = rows * 4;  ///< 32-bit words of a group of 16 rows
constexpr size_t vectors = rows / lanes > 0 ? rows / lanes : 1;

/// The lowest four bits of each lane as q - 8.
inline V number(Int bits) {
#if defined(__AVX512F__)
  const V table{-8, -7, -6, -5, -4, -3, -2, -1, 0, 1, 2, 3, 4, 5, 6, 7};
  return __builtin_shuffle(table, bits);
#else
  return __builtin_convertvector((bits & 15) - 8, V);
#endif
}

/// One row of each lane: a group's weights times its activations.
inline V group_product(const uint8_t* w, const float* x, size_t first_row) {
  V s[4] = {};
  for (size_t j = 0; j < 4; ++j) {
    const Int bits = *reinterpret_cast<const Int*>(w + (j * rows + first_row) * 4);
#pragma GCC unroll 4
    for (int b = 0; b < 4; ++b) {
      s[b] += number(bits >> (8 * b)) * x[4 * j + static_cast<size_t>(b)];
      s[b] += number(bits >> (8 * b + 4)) * x[16 + 4 * j + static_cast<size_t>(b)];
    }
  }
  return (s[0] + s[1]) + (s[2] + s[3]);
}

}  // namespace

void gemv_int4(const uint8_t* w, const uint16_t* scales, const float* x, float* y, size_t n, size_t k) {
  for (size_t row = 0; row < n; row += rows) {
    V sums[vectors] = {};
    for (size_t i = 0; i < k; i += group, w += words * 4, scales += rows)
      for (size_t v = 0; v < vectors; ++v) sums[v] += group_product(w, x + i, v * lanes) * from_bf16(scales + v * lanes);
    for (size_t v = 0; v < vectors; ++v) store(y + row + v * lanes, sums[v]);
  }
}

void quantise_groups(const float* x, const QuantisedRow& q, size_t k) {
  for (size_t i = 0, g = 0; i < k; i += group, ++g) {
    float most = 0;
    for (size_t j = 0; j < group; ++j) most = __builtin_fmaxf(most, __builtin_fabsf(x[i + j]));
    const float scale = most > 0 ? most / 127 : 1, inverse = 1 / scale;
    int32_t total = 0;
    for (size_t j = 0; j < group; ++j) {
      const auto value = static_cast<int8_t>(__builtin_lrintf(x[i + j] * inverse));
      q.values[i + j] = value, total += value;
    }
    q.scales[g] = scale, q.offsets[g] = -8 * total;
  }
}

#if defined(__AVX512F__)
namespace {

inline __m512i four(const int8_t* x) {
  int32_t bits;
  memcpy(&bits, x, 4);
  return _mm512_set1_epi32(bits);
}

// VPDPBUSD: four unsigned by signed products and their sum in each lane. The high halves of bytes stay where they are: their
// sums are 16 times too large. `tiles` of 16 rows go together, because each needs the same activations in all lanes.
template <size_t tiles>
__attribute__((target("avx512vnni"))) void dot_products(const uint8_t* w, const uint16_t* scales, const QuantisedRow& x, float* y, size_t k) {
  const __m512i low = _mm512_set1_epi8(15), high = _mm512_set1_epi8(-16);
  const size_t bytes_of_tile = rows * k / 2, scales_of_tile = rows * k / group;
  V sums[tiles] = {};
  for (size_t i = 0, g = 0; i < k; i += group, ++g, w += words * 4, scales += rows) {
    __m512i a[tiles], b[tiles];
#pragma GCC unroll 4
    for (size_t t = 0; t < tiles; ++t) a[t] = _mm512_set1_epi32(x.offsets[g]), b[t] = _mm512_setzero_si512();
#pragma GCC unroll 4
    for (size_t j = 0; j < 4; ++j) {
      const __m512i first = four(x.values + i + 4 * j), second = four(x.values + i + 16 + 4 * j);
#pragma GCC unroll 4
      for (size_t t = 0; t < tiles; ++t) {
        const uint8_t* const here = w + t * bytes_of_tile + j * 64;
        const __m512i bytes = held(_mm512_loadu_si512(here));
        a[t] = _mm512_dpbusd_epi32(a[t], _mm512_and_si512(bytes, low), first);
        b[t] = _mm512_dpbusd_epi32(b[t], _mm512_and_si512(bytes, high), second);
      }
    }
#pragma GCC unroll 4
    for (size_t t = 0; t < tiles; ++t)
      sums[t] += reinterpret_cast<V>(_mm512_cvtepi32_ps(_mm512_add_epi32(a[t], _mm512_srai_epi32(b[t], 4)))) * (from_bf16(scales + t * scales_of_tile) * x.scales[g]);
  }
  for (size_t t = 0; t < tiles; ++t) store(y + t * rows, sums[t]);
}

}  // namespace

bool gemv_int4_dot(const uint8_t* w, const uint16_t* scales, const QuantisedRow& x, float* y, size_t n, size_t k) {
  size_t row = 0;
  const auto next = [&](auto products, size_t taken) {
    products(w + row * k / 2, scales + row * k / group, x, y + row, k);
    row += taken;
  };
  while (row + 4 * rows <= n) next(dot_products<4>, 4 * rows);
  while (row + 2 * rows <= n) next(dot_products<2>, 2 * rows);
  if (row < n) next(dot_products<1>, rows);
  return true;
}

#elif defined(__AVX2__)

// VPMADDUBSW: sums of two products in 16 bits, at most 2 * 15 * 127; eight of them still fit.
bool gemv_int4_dot(const uint8_t* w, const uint16_t* scales, const QuantisedRow& x, float* y, size_t n, size_t k) {
  const __m256i low = _mm256_set1_epi8(15), ones = _mm256_set1_epi16(1);
  for (size_t row = 0; row < n; row += rows) {
    V sums[2] = {};
    for (size_t i = 0, g = 0; i < k; i += group, ++g, w += words * 4, scales += rows)
      for (size_t v = 0; v < 2; ++v) {
        __m256i total = _mm256_setzero_si256();
#pragma GCC unroll 4
        for (size_t j = 0; j < 4; ++j) {
          int32_t first, second;
          memcpy(&first, x.values + i + 4 * j, 4), memcpy(&second, x.values + i + 16 + 4 * j, 4);
          const __m256i bytes = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(w + j * 64 + v * 32));
          const __m256i high = _mm256_and_si256(_mm256_srli_epi16(bytes, 4), low);
          total = _mm256_add_epi16(total, _mm256_maddubs_epi16(_mm256_and_si256(bytes, low), _mm256_set1_epi32(first)));
          total = _mm256_add_epi16(total, _mm256_maddubs_epi16(high, _mm256_set1_epi32(second)));
        }
        const __m256i whole = _mm256_add_epi32(_mm256_madd_epi16(total, ones), _mm256_set1_epi32(x.offsets[g]));
        sums[v] += reinterpret_cast<V>(_mm256_cvtepi32_ps(whole)) * (from_bf16(scales + v * lanes) * x.scales[g]);
      }
    store(y + row, sums[0]), store(y + row + lanes, sums[1]);
  }
  return true;
}

#else

bool gemv_int4_dot(const uint8_t*, const uint16_t*, const QuantisedRow&, float*, size_t, size_t) { return false; }

#endif

#if defined(__AVX512F__)

namespace {

__attribute__((target("avx512vnni"))) void dot_rows(const int8_t* w, const uint8_t* x, int32_t* y, size_t n, size_t k) {
  for (size_t row = 0; row < n; row += 4, w += 4 * k) {
    __m512i s[4] = {};
    for (size_t i = 0; i < k; i += 64) {
      const __m512i a = _mm512_loadu_si512(x + i);
#pragma GCC unroll 4
      for (size_t r = 0; r < 4; ++r) s[r] = _mm512_dpbusd_epi32(s[r], a, _mm512_loadu_si512(w + r * k + i));
    }
    for (size_t r = 0; r < 4; ++r) y[row + r] = _mm512_reduce_add_epi32(s[r]);
  }
}

}  // namespace

bool gemv_int8_dot(const int8_t* w, const uint8_t* x, int32_t* y, size_t n, size_t k) {
  dot_rows(w, x, y, n, k);
  return true;
}

#else

bool gemv_int8_dot(const int8_t*, const uint8_t*, int32_t*, size_t, size_t) { return false; }

#endif

}  // namespace gambrel::kernels::GAMBREL_WIDTH

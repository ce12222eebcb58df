// Attention of one new token over its cache, for the query heads that share a key/value head: each key and value is read
// once for up to four of them. Keys go through in blocks whose scores fit into registers and the first-level cache.
#include <math.h>

#include "kernels/suite/own/functions.hpp"
#include "kernels/suite/own/vector.hpp"

namespace gambrel::kernels::GAMBREL_WIDTH {
namespace {

/// Keys at a time. Several heads find values in the first-level cache again; one head has nothing to find and wants long streams.
template <size_t heads>
constexpr size_t block = heads == 1 ? 256 : 64;
constexpr size_t ahead = 4096;  ///< elements that keys and values are fetched ahead, past the block's end into the next one

template <size_t stride, size_t n>
inline V fold_all(V (&v)[n]) {
  if constexpr (n == 1) {
    return v[0];
  } else {
    V half[n / 2];
#pragma GCC unroll 16
    for (size_t i = 0; i < n / 2; ++i) half[i] = fold<stride>(v[2 * i], v[2 * i + 1]);
    return fold_all<stride * 2>(half);
  }
}

/// The sums of `lanes` vectors, one a lane, in order.
inline V sums_of(V (&v)[lanes]) { return fold_all<1>(v); }

/// Sums of one head: rows of keys one after another, which is the order of memory.
inline void score_one_head(V (&s)[lanes], const float* q, const float* keys, size_t stride, size_t width) {
#pragma GCC unroll 16
  for (size_t key = 0; key < lanes; ++key)
    for (size_t i = 0; i < width; i += lanes) s[key] += load(q + i) * load(keys + key * stride + i);
}

/// Sums of several heads, which share each load of a key: lanes / heads keys side by side. Later keys are fetched line after
/// line, in the order of memory, which hardware then runs ahead of: the loads themselves jump from key to key.
template <size_t heads>
inline void score_heads(V (&s)[lanes], const float* q, const float* keys, size_t stride, size_t width) {
  constexpr size_t together = lanes / heads;
  for (size_t i = 0; i < width; i += lanes) {
    V query[heads];
#pragma GCC unroll 4
    for (size_t h = 0; h < heads; ++h) query[h] = load(q + h * width + i);
#pragma GCC unroll 16
    for (size_t key = 0; key < together; ++key) {
      fetch(keys + ahead + i * together + key * lanes);
      const V row = load(keys + key * stride + i);
#pragma GCC unroll 4
      for (size_t h = 0; h < heads; ++h) s[h * together + key] += query[h] * row;
    }
  }
}

/// scores[h][key ..] of lanes / heads keys: a vector of sums holds all keys of a head, then the next head's.
template <size_t heads>
inline void score_keys(const float* q, const float* keys, size_t stride, size_t width, float scale, float (*scores)[block<heads>], size_t at) {
  constexpr size_t together = lanes / heads;
  V s[lanes] = {};
  if constexpr (heads == 1) score_one_head(s, q, keys, stride, width);
  else score_heads<heads>(s, q, keys, stride, width);
  float done[lanes];
  store(done, sums_of(s) * scale);
  for (size_t h = 0; h < heads; ++h) memcpy(scores[h] + at, done + h * together, together * sizeof(float));
}

/// out[h] = out[h] * decay[h] + p[h] values on `columns` vectors. Fetches only for several heads: one reads in the order of
/// memory, which hardware runs ahead of better undisturbed (from DRAM by a fifth).
template <size_t heads, size_t columns>
inline void accumulate(const float (*p)[block<heads>], const float* values, size_t stride, size_t keys, const float* decay, float* out, size_t out_stride, bool fetches) {
  V s[heads][columns];
#pragma GCC unroll 4
  for (size_t h = 0; h < heads; ++h)
#pragma GCC unroll 8
    for (size_t c = 0; c < columns; ++c) s[h][c] = load(out + h * out_stride + c * lanes) * decay[h];
  for (size_t key = 0; key < keys; ++key) {
    if (fetches)
      for (size_t i = 0; i < out_stride; i += 64 / sizeof(float)) fetch(values + ahead + key * stride + i);
    V row[columns];
#pragma GCC unroll 8
    for (size_t c = 0; c < columns; ++c) row[c] = held(load(values + key * stride + c * lanes));
#pragma GCC unroll 4
    for (size_t h = 0; h < heads; ++h)
#pragma GCC unroll 8
      for (size_t c = 0; c < columns; ++c) s[h][c] += p[h][key] * row[c];
  }
#pragma GCC unroll 4
  for (size_t h = 0; h < heads; ++h)
#pragma GCC unroll 8
    for (size_t c = 0; c < columns; ++c) store(out + h * out_stride + c * lanes, s[h][c]);
}

/// Softmax weights of a block in place; sums and the largest score go on.
inline float weigh(float* scores, size_t keys, float& most, float& total) {
  for (size_t i = keys; i % lanes != 0; ++i) scores[i] = -1e30f;
  V largest_here = load(scores);
  for (size_t i = lanes; i < keys; i += lanes) largest_here = larger(largest_here, load(scores + i));
  const float now = fmaxf(most, largest(largest_here)), decay = exponential(all(most - now))[0];
  V sums{};
  for (size_t i = 0; i < keys; i += lanes) {
    const V e = exponential(load(scores + i) - now);
    store(scores + i, e);
    sums += e;
  }
  total = total * decay + sum(sums);
  most = now;
  return decay;
}

template <size_t heads>
void decode(const DecodePart& part, const float* q, float* out) {
  constexpr size_t together = lanes / heads;
  const float scale = 1.0f / sqrtf(static_cast<float>(part.width));
  alignas(64) float scores[heads][block<heads>];
  float most[heads], total[heads], decay[heads];
  for (size_t h = 0; h < heads; ++h) {
    most[h] = -1e30f, total[h] = 0;
    memset(out + h * part.width, 0, part.width * sizeof(float));
  }
  for (size_t first = 0; first < part.keys; first += block<heads>) {
    const size_t keys = part.keys - first < block<heads> ? part.keys - first : block<heads>;
    const float *k = part.k + first * part.kv_stride, *v = part.v + first * part.kv_stride;
    size_t key = 0;
    for (; key + together <= keys; key += together)
      score_keys<heads>(q, k + key * part.kv_stride, part.kv_stride, part.width, scale, scores, key);
    for (; key < keys; ++key)
      for (size_t h = 0; h < heads; ++h) {
        V s{};
        for (size_t i = 0; i < part.width; i += lanes) s += load(q + h * part.width + i) * load(k + key * part.kv_stride + i);
        scores[h][key] = sum(s) * scale;
      }
    for (size_t h = 0; h < heads; ++h) decay[h] = weigh(scores[h], keys, most[h], total[h]);
    size_t column = 0;
    constexpr size_t wide = heads > 2 ? 4 : 8;  // 16 sums
    for (; column + wide * lanes <= part.width; column += wide * lanes)
      accumulate<heads, wide>(scores, v + column, part.kv_stride, keys, decay, out + column, part.width, heads > 1 && column == 0);
    for (; column < part.width; column += lanes)
      accumulate<heads, 1>(scores, v + column, part.kv_stride, keys, decay, out + column, part.width, heads > 1 && column == 0);
  }
  for (size_t h = 0; h < heads; ++h) {
    if (part.totals != nullptr) part.most[h] = most[h], part.totals[h] = total[h];
    else
      for (size_t i = 0; i < part.width; i += lanes) store(out + h * part.width + i, load(out + h * part.width + i) / total[h]);
  }
}

}  // namespace

void attention_decode(const DecodePart& part) {
  size_t head = 0;
  const auto next = [&] { return part.heads - head; };
  for (DecodePart p = part; head < part.heads;) {
    const size_t taken = next() >= 4 ? 4 : next() >= 2 ? 2 : 1;
    if (part.totals != nullptr) p.most = part.most + head, p.totals = part.totals + head;
    const float* const q = part.q + head * part.width;
    float* const out = part.out + head * part.width;
    taken == 4 ? decode<4>(p, q, out) : taken == 2 ? decode<2>(p, q, out) : decode<1>(p, q, out);
    head += taken;
  }
}

}  // namespace gambrel::kernels::GAMBREL_WIDTH

// Attention of one new token over its cache: each key and value is read from memory once and used for up to four query heads at a time.
// Blocks of tokens go through all key/value heads before the next, so that a cache's rows are needed in the order of memory.
#include <math.h>

#include "kernels/suite/own/functions.hpp"
#include "kernels/suite/own/vector.hpp"

namespace gambrel::kernels::GAMBREL_WIDTH {
namespace {

/// Keys at a time. Several heads find values in the first-level cache again; one head has nothing to find and wants long streams.
template <size_t heads>
constexpr size_t block = heads == 1 ? 256 : 64;
constexpr size_t line = 64 / sizeof(float);
constexpr size_t ahead = 4096;  ///< elements of a head that its keys and values are fetched ahead, past the block's end into the next one
constexpr size_t block_elements = 32768;  ///< of keys in a block of several key/value heads: it and the next lie in the second-level cache, with their values
/// Bytes of keys and values beyond which they come from DRAM: one query head's are fetched only then (from caches its loads alone are
/// faster by a third), several heads' are read in the order of memory only then (a tenth slower from caches, a fifth faster from there).
constexpr size_t far = size_t{16} << 20;
constexpr size_t row_in_order = 8 * lanes;  ///< the width whose sums of two heads fit into registers: what Order::rows takes
constexpr size_t room = 256;  ///< query heads whose softmax goes on from block to block

/// Lines of rows yet to come, one after another in the order of memory, which hardware then runs ahead of: the loads
/// themselves jump from row to row and from head to head.
struct Ahead {
  const float* row;
  size_t stride, width, column = 0;

  const float* place() const { return row + column; }
  /// On by `elements`, at most a row: once for several lines, since each turn costs.
  void pass(size_t elements) {
    column += elements;
    if (column >= width) column = 0, row += stride;
  }
  void take(size_t elements) {
    for (size_t i = 0; i < elements; i += line) fetch(place() + i);
    pass(elements);
  }
};

/// How a pass reads keys and values: from a cache, with fetches for later blocks, or row by row in the order of memory.
enum class Order { cached, fetched, rows };

/// Keys and values of a block, rows `stride` apart, and what some query heads of `width` make of them.
struct Block {
  const float *q, *k, *v;
  float *out, *most, *total;
  size_t keys, stride, width;
};

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
template <bool fetches>
inline void score_one_head(V (&s)[lanes], const float* q, const float* keys, size_t stride, size_t width, Ahead& later) {
#pragma GCC unroll 16
  for (size_t key = 0; key < lanes; ++key) {
    if constexpr (fetches) later.take(width);
    for (size_t i = 0; i < width; i += lanes) s[key] += load(q + i) * load(keys + key * stride + i);
  }
}

/// Sums of several heads, which share each load of a key: lanes / heads keys side by side.
template <size_t heads, bool fetches>
inline void score_heads(V (&s)[lanes], const float* q, const float* keys, size_t stride, size_t width, Ahead& later) {
  constexpr size_t together = lanes / heads;
  for (size_t i = 0; i < width; i += lanes) {
    V query[heads];
#pragma GCC unroll 4
    for (size_t h = 0; h < heads; ++h) query[h] = load(q + h * width + i);
#pragma GCC unroll 16
    for (size_t key = 0; key < together; ++key) {
      if constexpr (fetches) fetch(later.place() + key * lanes);
      const V row = load(keys + key * stride + i);
#pragma GCC unroll 4
      for (size_t h = 0; h < heads; ++h) s[h * together + key] += query[h] * row;
    }
    if constexpr (fetches) later.pass(together * lanes);
  }
}

/// The same with rows one after another, which is the order of memory: queries are loaded for each, but hardware that runs ahead
/// of a stream keeps DRAM busy, which no fetching of rows side by side does.
template <size_t heads>
inline void score_in_order(V (&s)[lanes], const float* q, const float* keys, size_t stride, size_t width) {
  constexpr size_t together = lanes / heads;
#pragma GCC unroll 16
  for (size_t key = 0; key < together; ++key)
    for (size_t i = 0; i < width; i += lanes) {
      const V row = held(load(keys + key * stride + i));
#pragma GCC unroll 4
      for (size_t h = 0; h < heads; ++h) s[h * together + key] += load(q + h * width + i) * row;
    }
}

/// scores[h][key ..] of lanes / heads keys: a vector of sums holds all keys of a head, then the next head's.
template <size_t heads, Order order>
inline void score_keys(const Block& b, float scale, float (*scores)[block<heads>], size_t key, Ahead& later) {
  constexpr size_t together = lanes / heads;
  const float* const keys = b.k + key * b.stride;
  V s[lanes] = {};
  if constexpr (heads == 1) score_one_head<order == Order::fetched>(s, b.q, keys, b.stride, b.width, later);
  else if constexpr (order == Order::rows) score_in_order<heads>(s, b.q, keys, b.stride, b.width);
  else score_heads<heads, order == Order::fetched>(s, b.q, keys, b.stride, b.width, later);
  float done[lanes];
  store(done, sums_of(s) * scale);
  for (size_t h = 0; h < heads; ++h) memcpy(scores[h] + key, done + h * together, together * sizeof(float));
}

template <size_t heads, Order order>
inline void score_block(const Block& b, float (*scores)[block<heads>], Ahead& later) {
  constexpr size_t together = lanes / heads;
  const float scale = 1.0f / sqrtf(static_cast<float>(b.width));
  size_t key = 0;
  for (; key + together <= b.keys; key += together) score_keys<heads, order>(b, scale, scores, key, later);
  for (; key < b.keys; ++key)
    for (size_t h = 0; h < heads; ++h) {
      V s{};
      for (size_t i = 0; i < b.width; i += lanes) s += load(b.q + h * b.width + i) * load(b.k + key * b.stride + i);
      scores[h][key] = sum(s) * scale;
    }
}

/// out[h] = out[h] * decay[h] + p[h] values on `columns` vectors. Fetches whole rows.
template <size_t heads, size_t columns, bool fetches>
inline void accumulate(const Block& b, const float* p, const float* decay, size_t column, Ahead& later) {
  const float* const values = b.v + column;
  float* const out = b.out + column;
  V s[heads][columns];
#pragma GCC unroll 4
  for (size_t h = 0; h < heads; ++h)
#pragma GCC unroll 8
    for (size_t c = 0; c < columns; ++c) s[h][c] = load(out + h * b.width + c * lanes) * decay[h];
  for (size_t key = 0; key < b.keys; ++key) {
    if constexpr (fetches) later.take(b.width);
    V row[columns];
#pragma GCC unroll 8
    for (size_t c = 0; c < columns; ++c) row[c] = held(load(values + key * b.stride + c * lanes));
#pragma GCC unroll 4
    for (size_t h = 0; h < heads; ++h)
#pragma GCC unroll 8
      for (size_t c = 0; c < columns; ++c) s[h][c] += p[h * block<2> + key] * row[c];
  }
#pragma GCC unroll 4
  for (size_t h = 0; h < heads; ++h)
#pragma GCC unroll 8
    for (size_t c = 0; c < columns; ++c) store(out + h * b.width + c * lanes, s[h][c]);
}

/// The same for rows of row_in_order, all columns of two heads at a time, a few keys for all heads before the next: values are
/// read in the order of memory, and for the other heads from the first-level cache.
template <size_t heads>
inline void accumulate_in_order(const Block& b, const float* p, const float* decay, Ahead& later) {
  constexpr size_t few = 8, pair = 2;
  for (size_t first = 0; first < b.keys; first += few)
    for (size_t h = 0; h < heads; h += pair) {
      const float go_on[pair] = {first == 0 ? decay[h] : 1, first == 0 ? decay[h + 1] : 1};
      Block part = b;
      part.v += first * b.stride, part.out += h * b.width, part.keys = b.keys - first < few ? b.keys - first : few;
      accumulate<pair, row_in_order / lanes, false>(part, p + h * block<pair> + first, go_on, 0, later);
    }
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

/// Where the keys and values lie that are fetched next.
struct Later {
  Ahead k, v;
};

template <size_t heads, Order order>
void attend(const Block& b, Later& later) {
  alignas(64) float scores[heads][block<heads>];
  float decay[heads];
  Ahead keys = later.k, values = later.v;  // copies stay in registers
  constexpr bool fetches = order == Order::fetched;
  score_block<heads, order>(b, scores, keys);
  for (size_t h = 0; h < heads; ++h) decay[h] = weigh(scores[h], b.keys, b.most[h], b.total[h]);
  constexpr size_t wide = heads > 2 ? 4 : 8;  // 16 sums
  size_t column = 0;
  if (order == Order::rows && heads > 1) {
    accumulate_in_order<heads>(b, scores[0], decay, values);
    return;
  }
  if (b.width >= wide * lanes) accumulate<heads, wide, fetches>(b, scores[0], decay, 0, values), column = wide * lanes;
  else accumulate<heads, 1, fetches>(b, scores[0], decay, 0, values), column = lanes;
  for (; column + wide * lanes <= b.width; column += wide * lanes) accumulate<heads, wide, false>(b, scores[0], decay, column, values);
  for (; column < b.width; column += lanes) accumulate<heads, 1, false>(b, scores[0], decay, column, values);
  later = {keys, values};
}

/// All query heads of a key/value head over a block. The first of them, up to four, read in this order; others from caches.
void attend_group(Block b, size_t heads, Order order, Later& later) {
  while (heads > 0) {
    const size_t taken = heads >= 4 ? 4 : heads >= 2 ? 2 : 1;
    const auto in = [&](auto cached, auto fetched, auto rows) { (order == Order::cached ? cached : order == Order::fetched ? fetched : rows)(b, later); };
    if (taken == 4) in(attend<4, Order::cached>, attend<4, Order::fetched>, attend<4, Order::rows>);
    else if (taken == 2) in(attend<2, Order::cached>, attend<2, Order::fetched>, attend<2, Order::rows>);
    else in(attend<1, Order::cached>, attend<1, Order::fetched>, attend<1, Order::rows>);
    b.q += taken * b.width, b.out += taken * b.width, b.most += taken, b.total += taken;
    heads -= taken, order = Order::cached;
  }
}

size_t tokens_of(const DecodePart& part) {
  size_t tokens = part.heads == 1 ? block<1> : block<4>;
  if (part.kv_heads > 1)
    while (tokens > 16 && tokens * part.kv_heads * part.width > block_elements) tokens /= 2;
  return tokens;
}

Order order_of(const DecodePart& part) {
  const bool dense = part.kv_stride == part.width, beyond = 2 * part.keys * part.kv_heads * part.width * sizeof(float) > far;
  if (part.heads == 1) return beyond && !dense ? Order::fetched : Order::cached;
  return beyond && dense && part.width == row_in_order ? Order::rows : Order::fetched;
}

/// At most `room` query heads.
void decode(const DecodePart& part) {
  const size_t heads = part.heads * part.kv_heads, row = part.kv_heads * part.width, stride = part.kv_stride, tokens = tokens_of(part);
  float most[room], total[room];
  for (size_t h = 0; h < heads; ++h) most[h] = -1e30f, total[h] = 0;
  memset(part.out, 0, heads * part.width * sizeof(float));
  const size_t begin = (part.kv_heads > 1 ? tokens : ahead / part.width) * stride;
  Later later{{part.k + begin, stride, row}, {part.v + begin, stride, row}};
  const Order order = order_of(part);
  for (size_t first = 0; first < part.keys; first += tokens)
    for (size_t kv = 0; kv < part.kv_heads; ++kv) {
      const size_t head = kv * part.heads, at = first * stride + kv * part.width;
      attend_group({.q = part.q + head * part.width, .k = part.k + at, .v = part.v + at, .out = part.out + head * part.width, .most = most + head,
                    .total = total + head, .keys = part.keys - first < tokens ? part.keys - first : tokens, .stride = stride, .width = part.width},
                   part.heads, order, later);
    }
  for (size_t h = 0; h < heads; ++h) {
    float* const out = part.out + h * part.width;
    if (part.totals != nullptr) part.most[h] = most[h], part.totals[h] = total[h];
    else
      for (size_t i = 0; i < part.width; i += lanes) store(out + i, load(out + i) / total[h]);
  }
}

}  // namespace

void attention_decode(const DecodePart& part) {
  const size_t heads = part.heads < room ? part.heads : room, caches = room / heads;
  for (size_t kv = 0; kv < part.kv_heads; kv += caches)
    for (size_t head = 0; head < part.heads; head += heads) {
      const size_t at = kv * part.heads + head;
      DecodePart p = part;
      p.heads = part.heads - head < heads ? part.heads - head : heads, p.kv_heads = part.kv_heads - kv < caches ? part.kv_heads - kv : caches;
      p.q += at * p.width, p.out += at * p.width, p.k += kv * p.width, p.v += kv * p.width;
      if (p.totals != nullptr) p.most += at, p.totals += at;
      decode(p);
    }
}

}  // namespace gambrel::kernels::GAMBREL_WIDTH

// Causal attention of many queries with the softmax taken block by block (Milakov and Gimelshein 2018, arXiv 1805.02867;
// Dao et al. 2022, arXiv 2205.14135): scores never reach memory. Both products are register tiles of `tile_rows` queries:
// scores against keys that were transposed beforehand, then weights against values as they lie.
#include <math.h>

#include "kernels/suite/own/functions.hpp"
#include "kernels/suite/own/vector.hpp"

namespace gambrel::kernels::GAMBREL_WIDTH {
namespace {

// 6 x 4 accumulators of 32 registers, or 4 x 2 of 16, with the operands beside them.
#if defined(__AVX512F__)
constexpr size_t tile_rows = 6, tile_vectors = 4;
#else
constexpr size_t tile_rows = 4, tile_vectors = 2;
#endif
constexpr size_t block = tile_vectors * lanes;  ///< keys

struct Running {
  float most[tile_rows], total[tile_rows];
};

/// sums[r][c] += a[r * stride + i] * b[i * ldb + c * lanes ..] over i < depth.
template <size_t columns>
inline void multiply(V (&sums)[tile_rows][columns], const float* a, size_t stride, const float* b, size_t ldb, size_t depth) {
  for (size_t i = 0; i < depth; ++i) {
    V row[columns];
#pragma GCC unroll 8
    for (size_t c = 0; c < columns; ++c) row[c] = load(b + i * ldb + c * lanes);
#pragma GCC unroll 8
    for (size_t r = 0; r < tile_rows; ++r) {
      const V value = all(a[r * stride + i]);
#pragma GCC unroll 8
      for (size_t c = 0; c < columns; ++c) sums[r][c] += value * row[c];
    }
  }
}

/// Weights of one tile against `columns` vectors of transposed keys: p[r][key] = e^(score - most); old sums are to be
/// multiplied by decay[r]. Row r sees the first `visible` + r keys of the block, none if that is negative.
template <size_t columns>
void weigh(const float* q, const float* keys, size_t width, float scale, ptrdiff_t visible, float (*p)[block], Running& run, float* decay) {
  V s[tile_rows][columns] = {};
  multiply(s, q, width, keys, block, width);
  for (size_t r = 0; r < tile_rows; ++r) {
    float* const row = p[r];
    for (size_t c = 0; c < columns; ++c) store(row + c * lanes, s[r][c] * scale);
    const ptrdiff_t seen = visible + static_cast<ptrdiff_t>(r);
    for (size_t key = seen < 0 ? 0 : static_cast<size_t>(seen); key < columns * lanes; ++key) row[key] = -1e30f;
    V most = load(row);
    for (size_t c = 1; c < columns; ++c) most = larger(most, load(row + c * lanes));
    const float now = fmaxf(run.most[r], largest(most));
    V total{};
    for (size_t c = 0; c < columns; ++c) {
      const V e = exponential(load(row + c * lanes) - now);
      store(row + c * lanes, e);
      total += e;
    }
    decay[r] = exponential(all(run.most[r] - now))[0];
    run.total[r] = run.total[r] * decay[r] + sum(total);
    run.most[r] = now;
  }
}

/// out[r] = out[r] * decay[r] + p[r] values, over `keys` rows of values, on `columns` vectors.
template <size_t columns>
void accumulate_columns(const float (*p)[block], const float* values, size_t stride, size_t keys, const float* decay, float* out, size_t width) {
  V s[tile_rows][columns];
  for (size_t r = 0; r < tile_rows; ++r)
    for (size_t c = 0; c < columns; ++c) s[r][c] = load(out + r * width + c * lanes) * decay[r];
  multiply(s, p[0], block, values, stride, keys);
  for (size_t r = 0; r < tile_rows; ++r)
    for (size_t c = 0; c < columns; ++c) store(out + r * width + c * lanes, s[r][c]);
}

void accumulate(const float (*p)[block], const float* values, size_t stride, size_t keys, const float* decay, float* out, size_t width) {
  size_t column = 0;
  for (; column + block <= width; column += block)
    accumulate_columns<tile_vectors>(p, values + column, stride, keys, decay, out + column, width);
  for (; column < width; column += lanes) accumulate_columns<1>(p, values + column, stride, keys, decay, out + column, width);
}

/// One tile of queries, the first of which sees `seen` keys and each next one more, but none more than there are.
void tile(const float* q, const PrefillPart& part, size_t seen, float* out) {
  const size_t width = part.width;
  const float *transposed = part.transposed, *values = part.values;
  const float scale = 1.0f / sqrtf(static_cast<float>(width));
  alignas(64) float p[tile_rows][block], decay[tile_rows];
  Running run;
  for (size_t r = 0; r < tile_rows; ++r) run.most[r] = -1e30f, run.total[r] = 0;
  memset(out, 0, tile_rows * width * sizeof(float));
  const size_t end = seen + tile_rows - 1 < part.keys ? seen + tile_rows - 1 : part.keys;
  for (size_t key = 0; key < end; key += block, transposed += block * width, values += block * part.kv_stride) {
    const size_t here = end - key < block ? end - key : block;
    const ptrdiff_t visible = static_cast<ptrdiff_t>(seen) - static_cast<ptrdiff_t>(key);
    switch ((here + lanes - 1) / lanes) {
      case 1: weigh<1>(q, transposed, width, scale, visible, p, run, decay); break;
      case 2: weigh<2>(q, transposed, width, scale, visible, p, run, decay); break;
      case 3: if constexpr (tile_vectors > 2) weigh<3>(q, transposed, width, scale, visible, p, run, decay); break;
      default: weigh<tile_vectors>(q, transposed, width, scale, visible, p, run, decay);
    }
    accumulate(p, values, part.kv_stride, here, decay, out, width);
  }
  for (size_t r = 0; r < tile_rows; ++r)
    for (size_t i = 0; i < width; i += lanes) store(out + r * width + i, load(out + r * width + i) / run.total[r]);
}

}  // namespace

size_t attention_block() { return block; }

// [key, width] to blocks of [width][block]; beyond the last key stay zeros.
void transpose_keys(const float* keys, float* transposed, size_t count, size_t stride, size_t width) {
  for (size_t first = 0; first < count; first += block)
    for (size_t key = first; key < count && key < first + block; ++key)
      for (size_t i = 0; i < width; ++i) transposed[first * width + i * block + (key - first)] = keys[key * stride + i];
}

// Queries and results are copied to rows that lie together: a tile then has no holes, whatever the heads' stride.
void attention_prefill(const PrefillPart& part) {
  const size_t width = part.width;
  alignas(64) float q[tile_rows * max_head_width], out[tile_rows * max_head_width];
  for (size_t first = part.first; first < part.last; first += tile_rows) {
    const size_t rows = part.last - first < tile_rows ? part.last - first : tile_rows;
    memset(q, 0, sizeof q);
    for (size_t r = 0; r < rows; ++r) memcpy(q + r * width, part.q + (first + r) * part.q_stride, width * sizeof(float));
    tile(q, part, part.past + first + 1, out);
    for (size_t r = 0; r < rows; ++r) memcpy(part.out + (first + r) * part.q_stride, out + r * width, width * sizeof(float));
  }
}

}  // namespace gambrel::kernels::GAMBREL_WIDTH

// Row by row: a row is read from memory once and again from the nearest cache. What does not fill a vector is done last.
#include <math.h>

#include "kernels/suite/own/functions.hpp"
#include "kernels/suite/own/vector.hpp"

namespace gambrel::kernels::GAMBREL_WIDTH {
namespace {

constexpr size_t step = 4 * lanes;

/// Four sums over a row of f(vector), and the rest by f(one element in lane 0 of a vector of `none`).
template <class F, class Join>
V over_row(const float* x, size_t n, V none, const F& f, const Join& join) {
  V s0 = none, s1 = none, s2 = none, s3 = none;
  size_t i = 0;
  for (; i + step <= n; i += step) {
    s0 = join(s0, f(load(x + i))), s1 = join(s1, f(load(x + i + lanes)));
    s2 = join(s2, f(load(x + i + 2 * lanes))), s3 = join(s3, f(load(x + i + 3 * lanes)));
  }
  for (; i + lanes <= n; i += lanes) s0 = join(s0, f(load(x + i)));
  for (; i < n; ++i) {
    V one = none;
    one[0] = f(all(x[i]))[0];
    s1 = join(s1, one);
  }
  return join(join(s0, s1), join(s2, s3));
}

V add(V a, V b) { return a + b; }

/// What `each` fetches meanwhile, so that memory works while the operands come from a cache: nothing, the row at `next`, or also
/// the result's lines to come (which hardware does well enough unless they lie in DRAM).
enum class Fetch { nothing, next, all };

/// y = f(x), element by element, by vectors; the last ones through a vector of their own.
template <Fetch fetches = Fetch::next, class F>
void each(size_t n, float* y, const float* next, const F& f) {
  size_t i = 0;
#pragma GCC unroll 4
  for (; i + lanes <= n; i += lanes) {
    if constexpr (fetches != Fetch::nothing) fetch(next + i);
    if constexpr (fetches == Fetch::all) fetch(y + i + 512);
    store(y + i, f([&](const float* x) { return load(x + i); }));
  }
  if (i == n) return;
  float last[lanes] = {};
  store(last, f([&](const float* x) {
          float part[lanes] = {};
          memcpy(part, x + i, (n - i) * sizeof(float));
          return load(part);
        }));
  memcpy(y + i, last, (n - i) * sizeof(float));
}

constexpr size_t most_rows = 16, columns = 1024;
constexpr size_t block_elements = 65536;     ///< of rows made together: with their results they lie in the second-level cache
constexpr size_t far = size_t{12} << 20;     ///< bytes of operands beyond which they come from DRAM rather than from a cache

/// Rows of n whose second pass is made together, by columns whose gains then stay in the first-level cache; one alone where it
/// stays there itself with its gains and results.
size_t rows_together(size_t n) {
  if (n <= 2 * columns || n > block_elements) return 1;
  return n * most_rows <= block_elements ? most_rows : block_elements / n;
}

float scale_of(const float* x, size_t n, float epsilon) {
  return 1.0f / sqrtf(sum(over_row(x, n, V{}, [](V v) { return v * v; }, add)) / static_cast<float>(n) + epsilon);
}

/// Rows to be made together: all sums first, then the results.
void rms_norm_block(const float* x, const float* gain, float* y, size_t rows, size_t n, float epsilon) {
  float scales[most_rows];
  for (size_t row = 0; row < rows; ++row) scales[row] = scale_of(x + row * n, n, epsilon);
  for (size_t first = 0; first < n; first += columns)
    for (size_t row = 0; row < rows; ++row) {
      const size_t at_row = row * n + first;
      const V scale = all(scales[row]);
      each<Fetch::nothing>(n - first < columns ? n - first : columns, y + at_row, nullptr,
                           [&](const auto& at) { return at(x + at_row) * scale * at(gain + first); });
    }
}

}  // namespace

void rms_norm(const float* x, const float* gain, float* y, size_t rows, size_t n, float epsilon) {
  if (2 * rows * n * sizeof(float) > far) {
    for (size_t row = 0; row < rows; ++row, x += n, y += n) {
      const V scale = all(scale_of(x, n, epsilon));
      each<Fetch::all>(n, y, x + n, [&](const auto& at) { return at(x) * scale * at(gain); });
    }
    return;
  }
  for (size_t taken; rows > 0; rows -= taken, x += taken * n, y += taken * n) {
    taken = rows_together(n) < rows ? rows_together(n) : rows;
    rms_norm_block(x, gain, y, taken, n, epsilon);
  }
}

void layer_norm(const float* x, const float* gain, const float* bias, float* y, size_t rows, size_t n, float epsilon) {
  const float count = static_cast<float>(n);
  for (size_t row = 0; row < rows; ++row, x += n, y += n) {
    const V mean = all(sum(over_row(x, n, V{}, [](V v) { return v; }, add)) / count);
    const float squares = sum(over_row(x, n, V{}, [&](V v) { return (v - mean) * (v - mean); }, add));
    const V scale = all(1.0f / sqrtf(squares / count + epsilon));
    each(n, y, x + n, [&](const auto& at) { return (at(x) - mean) * scale * at(gain) + at(bias); });
  }
}

void softmax(const float* x, float* y, size_t rows, size_t n) {
  for (size_t row = 0; row < rows; ++row, x += n, y += n) {
    const V most = all(largest(over_row(x, n, all(x[0]), [](V v) { return v; }, larger)));
    each(n, y, x + n, [&](const auto& at) { return exponential(at(x) - most); });
    const V scale = all(1.0f / sum(over_row(y, n, V{}, [](V v) { return v; }, add)));
    each(n, y, y + n, [&](const auto& at) { return at(y) * scale; });
  }
}

void swiglu(const float* x, float* y, size_t rows, size_t n) {
  for (size_t row = 0; row < rows; ++row, x += 2 * n, y += n)
    each(n, y, x + 2 * n, [&](const auto& at) {
      const V gate = at(x), up = at(x + n);
      return divided(gate * up, 1.0f + exponential(-gate));
    });
}

// Pairs (i, i + width / 2), as Llama and GPT-NeoX lay them out; tables [rows, width / 2]. Both of a pair are read before either is
// written: y may be x.
void rotary(const float* x, const float* cosine, const float* sine, float* y, size_t rows, size_t heads, size_t width) {
  const size_t half = width / 2;
  for (size_t row = 0; row < rows; ++row, cosine += half, sine += half)
    for (size_t head = 0; head < heads; ++head, x += width, y += width) {
      size_t i = 0;
      for (; i + lanes <= half; i += lanes) {
        fetch(x + 512 + 2 * i), fetch(x + 512 + 2 * i + lanes);
        const V first = load(x + i), second = load(x + half + i), c = load(cosine + i), s = load(sine + i);
        store(y + i, first * c - second * s);
        store(y + half + i, second * c + first * s);
      }
      for (; i < half; ++i) {
        const float first = x[i], second = x[half + i];
        y[i] = first * cosine[i] - second * sine[i];
        y[half + i] = second * cosine[i] + first * sine[i];
      }
    }
}

void gather(const float* table, const int32_t* index, float* y, size_t rows, size_t n) {
  for (size_t row = 0; row < rows; ++row, y += n) memcpy(y, table + static_cast<size_t>(index[row]) * n, n * sizeof(float));
}

}  // namespace gambrel::kernels::GAMBREL_WIDTH

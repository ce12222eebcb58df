// Library kernels that may stand in for the references of Executor<float>: a table of functions, null where there is none.
#pragma once

#include <cstddef>
#include <memory>

namespace gambrel::kernels {

/// Attention of one sequence, all heads. Rows are tokens, `*_stride` elements apart; in a row the heads lie side by side.
/// Query i stands at position keys - queries + i and sees the keys up to its own, `window` of them at most (0: all).
struct AttentionCall {
  const float *q, *k, *v;
  float* out;  ///< [queries, heads x v_width]
  std::size_t queries, keys, heads, kv_heads, qk_width, v_width;
  std::size_t q_stride, k_stride, v_stride, out_stride;
  std::size_t window;
  float scale;  ///< of a score before the exponential
};

/// fp32, row-major, this process' threads. Each does what the reference of its operator does, to rounding.
struct FastKernels {
  /// A weight matrix in the order its product wants; made before the clock starts and kept while the executor keeps weights.
  using Packed = std::shared_ptr<const void>;
  /// `weights` [n, k] for products of about `m` rows (any other number must do too).
  Packed (*pack)(const float* weights, std::size_t m, std::size_t n, std::size_t k) = nullptr;
  /// y [m, n] = x [m, k] W^T + bias; rows of x `x_stride`, of y `y_stride` elements apart; bias [n] or null.
  void (*gemm)(const Packed& weights, const float* x, std::size_t x_stride, const float* bias, float* y,
               std::size_t y_stride, std::size_t m) = nullptr;
  /// Causal, without sinks or chunks.
  void (*attention)(const AttentionCall&) = nullptr;
  /// y = x / sqrt(mean(x^2) + epsilon) gain, [rows, n] both; y may be x.
  void (*rms_norm)(const float* x, const float* gain, float* y, std::size_t rows, std::size_t n,
                   float epsilon) = nullptr;
  /// out [rows, inner] = silu(in[:, :inner]) in[:, inner:].
  void (*swiglu)(const float* in, float* out, std::size_t rows, std::size_t inner) = nullptr;
  /// In place: `heads` heads of one row, side by side; pairs (i, i + width / 2) of each turned by position x base^(-2 i / width).
  void (*rotary)(float* x, std::size_t position, std::size_t heads, std::size_t width, double base) = nullptr;
  /// y = a + b, n elements; y may be one of them.
  void (*add)(const float* a, const float* b, float* y, std::size_t n) = nullptr;
  /// The first of the largest of x, n elements, none of them NaN.
  std::size_t (*argmax)(const float* x, std::size_t n) = nullptr;
};

}  // namespace gambrel::kernels

// Inside kernels/suite/ only: our own kernels, compiled once for each vector width, as a table of functions.
#pragma once

#include <cstddef>
#include <cstdint>

namespace gambrel::kernels {

inline constexpr std::size_t int4_rows = 16, int4_group = 32, max_head_width = 256;

/// Activations in int8 by groups: x = scale * value. offset: -8 times the sum of the values, which undoes weights 0 .. 15.
struct QuantisedRow {
  std::int8_t* values;
  float* scales;
  std::int32_t* offsets;
};

/// Queries first .. last - 1 of one head and sequence after `past` keys: row i of q and out begins at i * q_stride. Keys as
/// transpose_keys leaves them; row i of values at i * kv_stride, `keys` in all. width: a multiple of 16, at most 256.
struct PrefillPart {
  const float *q, *transposed, *values;
  float* out;
  std::size_t first, last, past, keys, width, q_stride, kv_stride;
};

/// One new token's query heads [kv_heads, heads, width] over a cache whose tokens lie kv_stride apart: keys and values of
/// kv_heads one after another [kv_heads, width], of which each is shared by `heads` query heads. With `totals` (and `most`, one
/// a query head each) out is not yet divided by the totals: parts of a cache can be joined.
struct DecodePart {
  const float *q, *k, *v;
  float* out;
  std::size_t heads, keys, width, kv_stride;
  float *most = nullptr, *totals = nullptr;
  std::size_t kv_heads = 1;
};

/// Pointers to row-major matrices, sizes in elements. Kernels are for one thread, which is given its part of the rows,
/// except where `threads` is an argument. The files in own/ are compiled for CPUs that this one need not be, so they
/// include nothing that has functions of external linkage.
struct OwnKernels {
  const char* vectors;  ///< "avx512"
  /// y = x / sqrt(mean(x^2) + epsilon) * gain, on x[rows, n].
  void (*rms_norm)(const float* x, const float* gain, float* y, std::size_t rows, std::size_t n, float epsilon);
  /// y = (x - mean) / sqrt(variance + epsilon) * gain + bias.
  void (*layer_norm)(const float* x, const float* gain, const float* bias, float* y, std::size_t rows, std::size_t n, float epsilon);
  /// Along each row of x[rows, n].
  void (*softmax)(const float* x, float* y, std::size_t rows, std::size_t n);
  /// y[rows, n] = silu(gate) * up, of x[rows, 2 n], gates first.
  void (*swiglu)(const float* x, float* y, std::size_t rows, std::size_t n);
  /// x[rows, heads * width] turned by the angles of its row: pairs (i, i + width / 2); tables [rows, width / 2]. y may be x.
  void (*rotary)(const float* x, const float* cosine, const float* sine, float* y, std::size_t rows, std::size_t heads, std::size_t width);
  /// y[i] = table[index[i]], rows of n.
  void (*gather)(const float* table, const std::int32_t* index, float* y, std::size_t rows, std::size_t n);
  /// y[n] = w[n,k] x[k].
  void (*gemv_f32)(const float* w, const float* x, float* y, std::size_t n, std::size_t k);
  /// The same with weights in bf16,
  void (*gemv_bf16)(const std::uint16_t* w, const float* x, float* y, std::size_t n, std::size_t k);
  /// in int8 with a scale for each row,
  void (*gemv_int8)(const std::int8_t* w, const float* scales, const float* x, float* y, std::size_t n, std::size_t k);
  /// and in integers: x = bytes of 0 .. 255, exact sums; k a multiple of 64, n of 4. False: this width has no instruction for it, nothing was done.
  bool (*gemv_int8_dot)(const std::int8_t* w, const std::uint8_t* x, std::int32_t* y, std::size_t n, std::size_t k);
  /// Weights of 4 bits, n a multiple of int4_rows and k of int4_group, laid out as own/gemv_int4.cpp says,
  void (*gemv_int4)(const std::uint8_t* w, const std::uint16_t* scales, const float* x, float* y, std::size_t n, std::size_t k);
  /// and their activations in int8, with a scale for each group of int4_group.
  void (*quantise_groups)(const float* x, const QuantisedRow& q, std::size_t k);
  /// In integers within a group. False as above.
  bool (*gemv_int4_dot)(const std::uint8_t* w, const std::uint16_t* scales, const QuantisedRow& x, float* y, std::size_t n, std::size_t k);
  /// Keys of a block of transposed ones,
  std::size_t (*attention_block)();
  /// keys[count, stride] to blocks of [width][block], as many as there are begun ones; memory past the last key stays as it is (zeros).
  void (*transpose_keys)(const float* keys, float* transposed, std::size_t count, std::size_t stride, std::size_t width);
  void (*attention_prefill)(const PrefillPart& part);
  void (*attention_decode)(const DecodePart& part);
  /// y[m,n] = x[m,k] w[n,k]^T by Eigen, parallel by OpenMP.
  void (*eigen_gemm)(const float* x, const float* w, float* y, std::size_t m, std::size_t n, std::size_t k, int threads);
  /// "Eigen 3.4.0"
  const char* (*eigen_version)();
  /// That Eigen says it uses.
  const char* (*eigen_instructions)();
};

/// The table for the widest vectors usable now (see usable_vectors()).
const OwnKernels& own_kernels();

namespace baseline { extern const OwnKernels kernels; }
namespace avx2 { extern const OwnKernels kernels; }
namespace avx512 { extern const OwnKernels kernels; }

}  // namespace gambrel::kernels

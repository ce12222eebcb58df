// The suite's kernels at any size: one function a kernel gives its row. See gemm.hpp for matrix products.
#pragma once

#include <string_view>
#include <vector>

#include "kernels/timing/kernel_case.hpp"

namespace gambrel::kernels {

// All operands and results are f32 except where a type is named; extents are positive. `version` is "own" or one of those
// that the comment names; an unknown one throws std::invalid_argument. Threads: see parallel.hpp.

/// y[n] = W[n,k] x[k]. types f32 (own, openblas, onednn_packed), bf16, int8 (a scale a row), int4 (groups of 32 along k, a
/// bf16 scale each; n a multiple of 16, k of 64). Version "own" turns weights into f32; "own_dot" (int8 and int4, if
/// gemv_versions() has it) rounds x to 8 bits and multiplies in integers.
KernelCase gemv_case(std::string_view type, std::string_view version, std::size_t n, std::size_t k, int threads);
struct GemvVersion {
  std::string_view type, version;
};
std::vector<GemvVersion> gemv_versions();

KernelCase softmax_case(std::string_view version, std::size_t rows, std::size_t columns, int threads);     ///< own, onednn
KernelCase rms_norm_case(std::string_view version, std::size_t rows, std::size_t columns, int threads);
KernelCase layer_norm_case(std::string_view version, std::size_t rows, std::size_t columns, int threads);  ///< own, onednn
/// y[rows, columns] from x[rows, 2 columns], gates first.
KernelCase swiglu_case(std::string_view version, std::size_t rows, std::size_t columns, int threads);
/// x[tokens, heads * head_dim]; head_dim even.
KernelCase rotary_case(std::string_view version, std::size_t tokens, std::size_t heads, std::size_t head_dim, int threads);

/// `tokens` rows of a table of `vocabulary`, in random order.
KernelCase embedding_case(std::string_view version, std::size_t tokens, std::size_t vocabulary, std::size_t hidden, int threads);
/// Each of `tokens` rows to `top_k` experts, in the experts' order.
KernelCase dispatch_case(std::string_view version, std::size_t tokens, std::size_t hidden, std::size_t experts, std::size_t top_k, int threads);

/// heads a multiple of kv_heads, head_dim a multiple of 16, at most 256.
struct HeadShape {
  std::size_t batch = 1, heads = 8, kv_heads = 2, head_dim = 128;
};
/// `queries` new tokens after `past` ones, causal. FLOPs are those of the pairs that the mask leaves.
KernelCase attention_prefill_case(std::string_view version, const HeadShape& shape, std::size_t queries, std::size_t past, int threads);
/// One new token after keys - 1 others.
KernelCase attention_decode_case(std::string_view version, const HeadShape& shape, std::size_t keys, int threads);

/// A routed FFN of gated experts (SwiGLU), tokens * top_k rows evenly over the experts, products by oneDNN with packed
/// weights (version "onednn_packed"); dispatch and combination are not in it.
KernelCase expert_ffn_case(std::string_view version, std::size_t tokens, std::size_t hidden, std::size_t inner, std::size_t experts, std::size_t top_k, int threads);

}  // namespace gambrel::kernels

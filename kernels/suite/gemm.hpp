// Matrix products at any size: what the fits and the executor's fast path draw on as well.
#pragma once

#include <string_view>
#include <vector>

#include "kernels/timing/kernel_case.hpp"

namespace gambrel::kernels {

struct GemmVersion {
  std::string_view type;     ///< of both operands: "f32"; "bf16" (result bf16); "int8" (unsigned times signed, result int32)
  std::string_view version;  ///< "onednn_packed": weights reordered beforehand; "onednn"; "openblas"; "eigen"
};
/// All that there are here: bf16 and int8 only if the CPU has the instruction.
std::vector<GemmVersion> gemm_versions();

/// y[m,n] = x[m,k] W[n,k]^T, a linear layer. `type` and `version` are a row of gemm_versions(); throws std::invalid_argument.
KernelCase gemm_case(std::string_view type, std::string_view version, std::size_t m, std::size_t n, std::size_t k, int threads);

/// oneDNN's product on packed f32 weights that come from main memory: each call takes the next of as many copies of them as
/// fill `bytes`, which no cache may hold. What a model's layers do to each other when it generates.
KernelCase streamed_gemm_case(std::size_t m, std::size_t n, std::size_t k, double bytes, int threads);

}  // namespace gambrel::kernels

// What the attention and latent-attention kernel models share: the KV cache's type, the flash kernel, waves of CTAs.
#pragma once

#include <array>
#include <cstring>
#include <span>
#include <string_view>

#include "sim/kernel_models/kernel_model.hpp"

namespace gambrel::sim {

/// The constants as the struct of doubles that a model's formulas use; its members stand in the table's order.
template <class Values, std::size_t Count>
Values bind(const std::array<Constant, Count>&, std::span<const double> values) {
  static_assert(sizeof(Values) == Count * sizeof(double), "one member a constant");
  Values bound;
  std::memcpy(&bound, values.data(), sizeof bound);
  return bound;
}

/// How a kernel treats the KV cache. A floating-point cache of at most 8 bits makes the whole kernel run in fp8, whatever
/// q is (TensorRT-LLM, seen in measurements); on a chip that cannot, it runs in bf16.
struct KvPath {
  bool narrow = false;
  double width = 2;      ///< bytes of an element of Q, K and V as the kernel reads them
  double stored = 2;     ///< bytes of an element in the cache
  double peak = 1;       ///< FLOP/s of the products
  double wide_peak = 1;  ///< FLOP/s of kernels that widen the cache first
};
KvPath kv_path(const KernelCall& call, const ChipFigures& chip);

/// "fp8" if the kernel runs in it, else "bf16".
std::string_view attention_type(const KernelCall& call, const ChipFigures& chip);

/// No prediction may beat this: FLOPs at the peak, and bytes at the main memory's bandwidth if they exceed the cache
/// (a smaller working set may still lie there from the call before).
double roofline_floor(const KernelCall& call, const ChipFigures& chip, double peak);

/// Share of `bytes` that comes from main memory when the same bytes are read again and again: a soft step at `capacity`.
double cache_miss(double bytes, double capacity);

/// (a^p + b^p)^(1/p): the larger of two times for a large p, their sum for p = 1.
double overlap(double a, double b, double p);

/// Constants of a flash kernel (Dao, FlashAttention-2, arXiv 2307.08691): one CTA takes tile_m queries of a head and
/// walks over the keys they see, tile_n at a time.
struct FlashConstants {
  double hbm_efficiency, matrix_efficiency, tile_clk, fill_rate, tail, score_rate, tile_m, tile_n;
};

struct FlashWork {
  double batch, queries, keys, heads, kv_heads, qk_width, v_width;
  double pairs = 0;          ///< of one sequence and head; more than causal self-attention has: a past, or no mask
  double window = 0;         ///< 0: full
  double width = 2, peak = 1;  ///< of the KvPath
  double tile_n = 1;         ///< keys of one step
  double score_cost = 1;     ///< of a masked score over a plain one
  double tile_clk = 0;       ///< fixed part of a CTA
};
FlashWork flash_work(const KernelCall& call, const KvPath& path);

/// Seconds from the first CTA to the last. List schedule, no integer waves.
double flash_seconds(const FlashWork& w, const FlashConstants& c, const ChipFigures& chip);

}  // namespace gambrel::sim

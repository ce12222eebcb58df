// Kernel models of a processor's fused attention: products of scores and values, exponentials between them, the KV cache
// from wherever it lies (online softmax, Milakov & Gimelshein 2018, arXiv 1805.02867).
#include <algorithm>
#include <cmath>
#include <cstdint>

#include "sim/kernel_models/attention_model.hpp"
#include "sim/kernel_models/cpu_caches.hpp"
#include "sim/kernel_models/kernel_models.hpp"

namespace gambrel::sim {

using models::Dim;

namespace {

constexpr Search linear = Search::linear, logarithmic = Search::logarithmic;

constexpr std::array<Constant, 14> attention_constants{{
    {"start_s", 5e-7, 1e-8, 3e-5, logarithmic, "s", "of a call"},
    {"head_s", 1e-7, 1e-9, 1e-5, logarithmic, "s", "of a head of a sequence"},
    {"peak_share", 0.6, 0.02, 1, linear, "", "of the peak, reached by the products of many queries"},
    {"queries_half", 4, 0.01, 300, logarithmic, "queries", "of a KV head, at which the peak share halves"},
    {"width_half", 8, 0.01, 300, logarithmic, "", "of a head at which the peak share halves"},
    {"score_cost", 2, 0.1, 40, logarithmic, "", "time of a score's exponential over the operator table's operations at the vector rate"},
    {"overlap", 2, 1, 8, logarithmic, "", "norm of arithmetic and movement"},
    {"inner_share", 0.8, 0.3, 1.3, logarithmic, "", "of the cache before the last, that operands can fill"},
    {"last_share", 0.8, 0.4, 1.3, logarithmic, "", "of the last cache"},
    {"sharpness", 4, 1.5, 8, logarithmic, "", "of the step from a cache to the next"},
    {"first_efficiency", 0.8, 0.02, 4, logarithmic, "", "share of the first cache's bandwidth"},
    {"inner_efficiency", 0.8, 0.05, 4, logarithmic, "", "share of the bandwidth of the cache before the last"},
    {"last_efficiency", 0.8, 0.1, 2, logarithmic, "", "of the last cache"},
    {"main_efficiency", 0.9, 0.2, 1.5, logarithmic, "", "of main memory"},
}};

struct AttentionValues {
  double start_s, head_s, peak_share, queries_half, width_half, score_cost, overlap;
  CacheConstants caches;
};

double predict(const KernelCall& call, const ChipFigures& chip, std::span<const double> values) {
  const auto c = bind<AttentionValues>(attention_constants, values);
  const double together = call.dim(Dim::queries) * call.dim(Dim::heads) / std::max(1.0, call.dim(Dim::kv_heads));
  const double width = call.dim(Dim::qk_width);
  const double rate = chip.peak[static_cast<std::size_t>(call.op.math)] * c.peak_share * together / (together + c.queries_half) * width / (width + c.width_half);
  const double math = call.op.work.flops / rate + c.score_cost * call.op.work.vector_flops / chip.vector_rate;
  return c.start_s + call.dim(Dim::batch) * call.dim(Dim::heads) * c.head_s + overlap(math, movement_seconds(call, chip, c.caches), c.overlap);
}

constexpr std::array<Constant, 10> decode_constants{{
    {"start_s", 3e-8, 1e-9, 3e-5, logarithmic, "s", "of a call"},
    {"head_s", 3e-8, 1e-9, 1e-5, logarithmic, "s", "of a query head of a sequence"},
    {"block_s", 3e-8, 1e-9, 1e-5, logarithmic, "s", "of a query head, 64 wide, in a block of tokens"},
    {"peak_share", 1.2, 0.1, 4, logarithmic, "", "of the peak; above 1 where multiply-adds run beside their loads, which are charged too"},
    {"load_efficiency", 0.9, 0.1, 4, logarithmic, "", "share of the first cache's bandwidth, of a pass over keys and values"},
    {"narrow_cost", 2, 0.1, 20, logarithmic, "", "of values that fill no block of sums, over the first cache's bandwidth"},
    {"score_cost", 8, 0.1, 80, logarithmic, "", "time of a score's exponential, with what it takes to gather its sum, over the operator table's operations at the vector rate"},
    {"inner_efficiency", 1.5, 0.2, 4, logarithmic, "", "share of the bandwidth of the cache before the last, loads left out"},
    {"last_efficiency", 1.1, 0.1, 3, logarithmic, "", "of the last cache"},
    {"main_efficiency", 0.6, 0.2, 1.5, logarithmic, "", "of main memory"},
}};

struct DecodeValues {
  double start_s, head_s, block_s, peak_share, load_efficiency, narrow_cost, score_cost, inner_efficiency, last_efficiency, main_efficiency;
};

/// A step from 0 to 1 at `middle`, over about a factor of 2.
double step(double value, double middle) { return 1 / (1 + std::pow(middle / std::max(value, 1e-300), 4)); }

/// One new token as kernels/suite/own/attention_decode.cpp goes about it, with 512-bit registers as it was measured; on
/// CPUs with others the fitted constants take up the difference.
struct DecodeLoops {
  double passes = 0;  ///< over a KV head's keys and values, for four, two or one of its query heads
  double narrow = 0;  ///< elements of a token's values, in all passes, that are summed one register at a time
  double blocks = 0;  ///< of tokens, each through all KV heads before the next
};

/// Tokens are halved until the second cache holds the keys of a block, and those of the next.
double block_tokens(double group, double kv_heads, double width) {
  constexpr double elements = 32768;
  double tokens = group > 1 ? 64 : 256;
  while (kv_heads > 1 && tokens > 16 && tokens * kv_heads * width > elements) tokens /= 2;
  return tokens;
}

DecodeLoops decode_loops(const KernelCall& call) {
  const double kv_heads = std::max(1.0, call.dim(Dim::kv_heads)), group = std::max(1.0, std::floor(call.dim(Dim::heads) / kv_heads));
  const double fours = std::floor(group / 4), rest = group - 4 * fours, others = rest == 0 ? 0 : rest == 3 ? 2 : 1;
  const double width = call.dim(Dim::v_width);
  return {.passes = fours + others, .narrow = fours * std::fmod(width, 64) + others * std::fmod(width, 128),
          .blocks = std::ceil(call.dim(Dim::keys) / block_tokens(group, kv_heads, call.dim(Dim::qk_width)))};
}

/// How far the rows of a KV head's values share sets of the first cache: what comes along with a register's line is gone
/// when the next register's is wanted. By the largest power of two in their distance.
double conflicts(const KernelCall& call, double bytes) {
  constexpr double middle = 2048;
  const auto stride = static_cast<std::uint64_t>(call.dim(Dim::kv_heads) * (call.dim(Dim::qk_width) + call.dim(Dim::v_width)) * bytes);
  return step(static_cast<double>(stride & (~stride + 1)), middle);
}

/// Share of main memory's rate: a KV head's only query head finds nothing fetched ahead unless its sequence's cache is
/// large, even if it lies in main memory.
double fetched(const KernelCall& call) {
  constexpr double large = 16 << 20, unfetched = 0.55;
  const double sequence = call.op.work.bytes(models::Role::kv_cache) / std::max(1.0, call.dim(Dim::batch));
  return call.dim(Dim::heads) > call.dim(Dim::kv_heads) ? 1 : unfetched + (1 - unfetched) * step(sequence, large);
}

double first_bandwidth(const ChipFigures& chip) { return chip.caches[0].bandwidth > 0 ? chip.caches[0].bandwidth : chip.bandwidth; }

/// Query heads of all sequences together.
double query_heads(const KernelCall& call) { return call.dim(Dim::batch) * call.dim(Dim::queries) * call.dim(Dim::heads); }

/// Seconds in registers and the first cache: multiply-adds, their loads, exponentials, and what begins and ends a block.
double arithmetic_seconds(const KernelCall& call, const DecodeLoops& loops, const ChipFigures& chip, const DecodeValues& c) {
  const models::Work& work = call.op.work;
  const double products = work.flops / (chip.peak[static_cast<std::size_t>(call.op.math)] * c.peak_share);
  const double loads = loops.passes * work.bytes(models::Role::kv_cache) / (first_bandwidth(chip) * c.load_efficiency);
  const double a_block = c.block_s * (0.75 + call.dim(Dim::qk_width) / 256);
  return products + loads + c.score_cost * work.vector_flops / chip.vector_rate + query_heads(call) * loops.blocks * a_block;
}

/// Seconds of values that are summed one register at a time: each waits for the sum before, and for its line.
double narrow_seconds(const KernelCall& call, const DecodeLoops& loops, const ChipFigures& chip, const DecodeValues& c) {
  constexpr double conflict_cost = 3;
  const double bytes = call.stored.storage_bits() / 8, rows = call.dim(Dim::batch) * call.dim(Dim::keys) * call.dim(Dim::kv_heads);
  return rows * loops.narrow * bytes / first_bandwidth(chip) * c.narrow_cost * (1 + conflict_cost * conflicts(call, bytes));
}

/// What few rows cannot tell is set: capacities and the steps between them, and how much of two times is hidden.
double predict_decode(const KernelCall& call, const ChipFigures& chip, std::span<const double> values) {
  constexpr double hidden = 1.7;
  const auto c = bind<DecodeValues>(decode_constants, values);
  const DecodeLoops loops = decode_loops(call);
  const CacheConstants caches{.inner_share = 0.9, .last_share = 1, .sharpness = 4, .first_efficiency = 1, .inner_efficiency = c.inner_efficiency,
                              .last_efficiency = c.last_efficiency, .main_efficiency = c.main_efficiency * fetched(call)};
  const double moving = movement_seconds(call, chip, caches) + narrow_seconds(call, loops, chip, c);
  return c.start_s + query_heads(call) * c.head_s + overlap(arithmetic_seconds(call, loops, chip, c), moving, hidden);
}

}  // namespace

constinit const KernelModel cpu_attention_prefill_model{KernelKind::attention_prefill, attention_constants, predict, processor_type};
constinit const KernelModel cpu_attention_decode_model{KernelKind::attention_decode, decode_constants, predict_decode, processor_type, true};
constinit const KernelModel cpu_mla_prefill_model{KernelKind::mla_prefill, attention_constants, predict, processor_type};
constinit const KernelModel cpu_mla_decode_model{KernelKind::mla_decode, attention_constants, predict, processor_type};

}  // namespace gambrel::sim

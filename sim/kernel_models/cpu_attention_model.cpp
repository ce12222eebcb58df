// Kernel models of a processor's fused attention: products of scores and values, exponentials between them, the KV cache
// from wherever it lies (online softmax, Milakov & Gimelshein 2018, arXiv 1805.02867).
#include <algorithm>

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

}  // namespace

constinit const KernelModel cpu_attention_prefill_model{KernelKind::attention_prefill, attention_constants, predict, processor_type};
constinit const KernelModel cpu_attention_decode_model{KernelKind::attention_decode, attention_constants, predict, processor_type};
constinit const KernelModel cpu_mla_prefill_model{KernelKind::mla_prefill, attention_constants, predict, processor_type};
constinit const KernelModel cpu_mla_decode_model{KernelKind::mla_decode, attention_constants, predict, processor_type};

}  // namespace gambrel::sim

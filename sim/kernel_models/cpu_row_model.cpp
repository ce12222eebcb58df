// Kernel models of a processor's operators on rows: norms, softmax, activations, rotary embeddings, look-ups, additions.
// What an operator is decides its constants: how often it walks a row, and what it does with an element.
#include <algorithm>

#include "sim/kernel_models/attention_model.hpp"
#include "sim/kernel_models/cpu_caches.hpp"
#include "sim/kernel_models/kernel_models.hpp"

namespace gambrel::sim {

using models::Dim;

namespace {

constexpr Search logarithmic = Search::logarithmic;

constexpr std::array<Constant, 12> row_constants{{
    {"start_s", 1e-7, 1e-9, 1e-5, logarithmic, "s", "of a call"},
    {"row_s", 1e-8, 1e-11, 1e-6, logarithmic, "s", "of a row"},
    {"byte_flops", 0.5, 0.001, 100, logarithmic, "FLOP/B", "vector operations a byte moved, whether counted by the operator table or not"},
    {"overlap", 2, 1, 8, logarithmic, "", "norm of arithmetic and movement"},
    {"passes", 0.1, 0.01, 4, logarithmic, "", "that go over a row once more, from the next cache if the first does not hold it"},
    {"inner_share", 0.8, 0.3, 1.3, logarithmic, "", "of the cache before the last, that operands can fill"},
    {"last_share", 0.8, 0.4, 1.3, logarithmic, "", "of the last cache"},
    {"sharpness", 4, 1.5, 8, logarithmic, "", "of the step from a cache to the next"},
    {"first_efficiency", 0.8, 0.02, 4, logarithmic, "", "share of the first cache's bandwidth"},
    {"inner_efficiency", 0.8, 0.02, 4, logarithmic, "", "share of the bandwidth of the cache before the last"},
    {"last_efficiency", 0.8, 0.05, 2, logarithmic, "", "of the last cache"},
    {"main_efficiency", 0.8, 0.1, 2, logarithmic, "", "of main memory: above 1 where writes do not read first"},
}};

struct RowValues {
  double start_s, row_s, byte_flops, overlap, passes;
  CacheConstants caches;
};

double predict(const KernelCall& call, const ChipFigures& chip, std::span<const double> values) {
  const auto c = bind<RowValues>(row_constants, values);
  const double all = call.op.work.bytes(), row = all / std::max(1.0, call.dim(Dim::m));
  const double math = all * c.byte_flops / chip.vector_rate;
  const double again_s = c.passes * all * missed(row, chip.caches[0].capacity * c.caches.inner_share, c.caches.sharpness) * seconds_per_byte(row, chip, c.caches);
  const double start_s = call.op.fused ? 0 : c.start_s;
  return start_s + call.dim(Dim::m) * c.row_s + overlap(math, movement_seconds(call, chip, c.caches) + again_s, c.overlap);
}

std::string_view type_of(const KernelCall& call, const ChipFigures&) {
  return call.measured_as.empty() ? models::to_string(call.op.kind) : std::string_view(call.measured_as);
}

}  // namespace

constinit const KernelModel cpu_elementwise_model{KernelKind::elementwise, row_constants, predict, type_of};
constinit const KernelModel cpu_softmax_model{KernelKind::softmax, row_constants, predict, type_of};
constinit const KernelModel cpu_layernorm_model{KernelKind::layernorm, row_constants, predict, type_of};
constinit const KernelModel cpu_gelu_model{KernelKind::gelu, row_constants, predict, type_of};

}  // namespace gambrel::sim

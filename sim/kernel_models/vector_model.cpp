// Kernel models of what moves bytes and hardly computes: elementwise operators, softmax, norms, activations.
#include <algorithm>
#include <cmath>

#include "sim/kernel_models/attention_model.hpp"
#include "sim/kernel_models/kernel_models.hpp"

namespace gambrel::sim {

using models::Dim;
using models::OpKind;

namespace {

constexpr Search linear = Search::linear, logarithmic = Search::logarithmic, fixed = Search::fixed;

double floor_of(const KernelCall& call, const ChipFigures& chip) {
  return std::max(call.op.work.vector_flops / chip.vector_rate, roofline_floor(call, chip, chip.vector_rate));
}

/// Bytes decide, whatever the type.
std::string_view type_of(const KernelCall&, const ChipFigures&) { return "any"; }

// ---- elementwise operators of a model, timed on the device

/// Share of the bandwidth by what the operator does, and time of a row's element where one CTA walks a whole row.
constexpr std::array<Constant, 10> elementwise_constants{{
    {"launch_s", 1.7e-6, 2e-7, 5e-6, logarithmic, "s", "launch of the kernel"},
    {"cache_gain", 1.4, 1, 5, linear, "", "speed-up where the cache keeps the operands from the call before"},
    {"plain_efficiency", 0.95, 0.03, 1, linear, "", "share of the memory bandwidth reached by additions and the like"},
    {"rotary_efficiency", 0.42, 0.03, 1, linear, "", "by rotary embeddings"},
    {"embedding_efficiency", 0.07, 0.03, 1, linear, "", "by look-ups of rows"},
    {"norm_efficiency", 0.34, 0.03, 1, linear, "", "by norms"},
    {"activation_efficiency", 0.48, 0.03, 1, linear, "", "by activations"},
    {"rotary_element_s", 5e-10, 0, 3e-9, linear, "s", "least time of an element of a row, rotary embeddings"},
    {"norm_element_s", 6e-10, 0, 3e-9, linear, "s", "norms"},
    {"activation_element_s", 6e-10, 0, 3e-9, linear, "s", "activations"},
}};

struct ElementwiseValues {
  double launch_s, cache_gain, plain_efficiency, rotary_efficiency, embedding_efficiency, norm_efficiency, activation_efficiency, rotary_element_s,
      norm_element_s, activation_element_s;

  struct Of {
    double efficiency, element_s;
  };
  Of of(OpKind kind) const {
    switch (kind) {
      case OpKind::rotary: return {rotary_efficiency, rotary_element_s};
      case OpKind::embedding: return {embedding_efficiency, 0};
      case OpKind::rms_norm: case OpKind::layer_norm: case OpKind::softmax: return {norm_efficiency, norm_element_s};  // all walk rows twice
      case OpKind::activation: return {activation_efficiency, activation_element_s};
      default: return {plain_efficiency, 0};
    }
  }
};

/// 0.7: of the cache; what of it two operands share with whatever ran between.
constexpr double kept_share = 0.7;

double predict_elementwise(const KernelCall& call, const ChipFigures& chip, std::span<const double> values) {
  const auto c = bind<ElementwiseValues>(elementwise_constants, values);
  const auto [efficiency, element_s] = c.of(call.op.kind);
  const double bytes = call.op.work.bytes(), x = bytes / (kept_share * chip.cache), x2 = x * x, kept = 1 / (1 + x2 * x2);
  const double moved = bytes / (efficiency * chip.bandwidth) * (1 - kept + kept / c.cache_gain);
  const double launch_s = call.op.fused ? 0 : c.launch_s;
  return std::max(launch_s + overlap(moved, element_s * call.dim(Dim::n), 4), floor_of(call, chip));
}

// ---- single operators under a host's timer

/// A host that queues a kernel and waits for it sees at least launch_s; of that, launch_share adds to a kernel that
/// takes longer. Both belong to the timer: a kernel in a model's graph has neither.
constexpr Constant timer{"launch_s", 4e-5, 0, 1e-4, linear, "s", "least time that the host's timer shows; 0 in whole models"};
constexpr Constant timer_share{"launch_share", 0.76, 0, 1, fixed, "", "part of it that adds to the time on the device"};
constexpr Constant efficiency{"hbm_efficiency", 0.8, 0.1, 1, linear, "", "share of the memory bandwidth reached, at one pass in and one out"};

constexpr std::array<Constant, 3> timed_constants{{timer, timer_share, efficiency}};
constexpr std::array<Constant, 4> softmax_constants{{
    timer, timer_share, {"hbm_efficiency", 0.5, 0.1, 1, linear, "", "share of the memory bandwidth reached, at one pass in and one out"},
    {"element_s", 1.2e-9, 0, 4e-9, linear, "s", "of an element of a row: rows are walked serially"}}};

struct TimedValues {
  double launch_s, launch_share, hbm_efficiency;
};
struct SoftmaxValues {
  TimedValues timed;
  double element_s;
};

double timed_seconds(const KernelCall& call, const ChipFigures& chip, const TimedValues& c, double serial_s) {
  const double device = call.op.work.bytes() / (c.hbm_efficiency * chip.bandwidth) + serial_s;
  return std::max(overlap(c.launch_s, c.launch_share * c.launch_s + device, 24), floor_of(call, chip));
}

double predict_timed(const KernelCall& call, const ChipFigures& chip, std::span<const double> values) {
  return timed_seconds(call, chip, bind<TimedValues>(timed_constants, values), 0);
}

double predict_softmax(const KernelCall& call, const ChipFigures& chip, std::span<const double> values) {
  const auto c = bind<SoftmaxValues>(softmax_constants, values);
  return timed_seconds(call, chip, c.timed, c.element_s * call.dim(Dim::n));
}

}  // namespace

constinit const KernelModel elementwise_model{KernelKind::elementwise, elementwise_constants, predict_elementwise, type_of};
constinit const KernelModel softmax_model{KernelKind::softmax, softmax_constants, predict_softmax, type_of};
constinit const KernelModel layernorm_model{KernelKind::layernorm, timed_constants, predict_timed, type_of};
constinit const KernelModel gelu_model{KernelKind::gelu, timed_constants, predict_timed, type_of};

}  // namespace gambrel::sim

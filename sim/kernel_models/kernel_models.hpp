// The kernel models that there are; model_of(kind) finds one.
#pragma once

#include "sim/kernel_models/kernel_model.hpp"

namespace gambrel::sim {

extern const KernelModel gemm_model;
extern const KernelModel attention_prefill_model, attention_decode_model, mla_prefill_model, mla_decode_model;
extern const KernelModel collective_model, moe_dispatch_model, moe_combine_model;
extern const KernelModel moe_model, elementwise_model, softmax_model, layernorm_model, gelu_model;

/// Of processors: loops over caches (sim/cpu_*.cpp).
extern const KernelModel cpu_gemm_model, cpu_moe_model;
extern const KernelModel cpu_attention_prefill_model, cpu_attention_decode_model, cpu_mla_prefill_model, cpu_mla_decode_model;
extern const KernelModel cpu_elementwise_model, cpu_softmax_model, cpu_layernorm_model, cpu_gelu_model;

/// Sets to 0 those constants that say how rows were measured and not what the kernel takes: weights that cycle through
/// few copies, kernels that quantise the activations (in a graph the operator before writes them quantised), a router
/// inside the timed region, tokens of other ranks. For predictions of whole models.
void forget_measurement(const KernelModel& model, std::span<double> values);

}  // namespace gambrel::sim

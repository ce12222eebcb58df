// GEMM calls for tests of the GEMM kernel model; chips as for attention.
#pragma once

#include "attention_support.hpp"
#include "sim/kernel_models/gemm_model.hpp"

namespace gambrel::sim {

inline const DataType fp8_block{[] {
  DataType type = Format::fp8_e4m3;
  type.scale = {Scale::Per::block, 128, 128, Format::fp32};
  return type;
}()};

inline KernelCall gemm_call(double m, double n, double k, DataType activations = Format::bf16, DataType stored = Format::bf16) {
  KernelCall call;
  call.activations = activations;
  call.stored = stored;
  call.op = models::single_gemm(m, n, k, activations, stored, activations.element_bits() < 16 ? DataType(Format::bf16) : activations);
  return call;
}

/// A GEMM with both operands of that type.
inline KernelCall gemm_call(double m, double n, double k, const NamedType& type) {
  return gemm_call(m, n, k, type.weight_only ? DataType(Format::bf16) : type.type, type.type);
}

/// The usual constants with some of them changed.
inline std::vector<double> gemm_values(std::initializer_list<std::pair<std::string_view, double>> changes) {
  auto values = usual_values(gemm_model);
  for (const auto& [name, value] : changes)
    if (!set(gemm_model, values, name, value)) values.clear();
  return values;
}

}  // namespace gambrel::sim

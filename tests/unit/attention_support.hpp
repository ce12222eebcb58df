// Chips and attention calls for tests of the attention kernel models.
#pragma once

#include <string_view>
#include <vector>

#include "models/single_op.hpp"
#include "sim/kernel_models/kernel_models.hpp"

namespace gambrel::sim {

inline constexpr auto fp8_index = static_cast<std::size_t>(Format::fp8_e4m3);

/// 16-bit formats at `peak`; with fp8 at `fp8_peak`, or without it if that is 0.
inline ChipFigures chip_with(double peak, double fp8_peak) {
  ChipFigures chip{.cores = 132, .clock = 1.8e9, .bandwidth = 3e12, .cache = 5e7, .cache_bandwidth = 5e12, .vector_rate = 6e13};
  chip.peak.fill(peak);
  chip.runs_as.fill(Format::bf16);
  if (fp8_peak > 0) {
    chip.peak[fp8_index] = fp8_peak;
    chip.runs_as[fp8_index] = Format::fp8_e4m3;
  }
  return chip;
}

inline KernelCall attention_call(KernelKind kind, const models::AttentionShape& shape, DataType q = Format::bf16, DataType kv = Format::bf16) {
  KernelCall call{.kind = kind, .op = models::single_attention(shape, q, kv), .activations = q, .stored = kv, .window = shape.window};
  call.context = shape.past + shape.queries;
  return call;
}

inline KernelCall prefill_call(models::AttentionShape shape, DataType q = Format::bf16, DataType kv = Format::bf16) {
  return attention_call(KernelKind::attention_prefill, shape, q, kv);
}

inline KernelCall decode_call(models::AttentionShape shape, double tokens, DataType kv = Format::bf16) {
  shape.queries = 1;
  shape.past = tokens - 1;
  return attention_call(KernelKind::attention_decode, shape, Format::bf16, kv);
}

/// DeepSeek's widths.
inline KernelCall mla_prefill_call(double batch, double tokens, double heads, DataType kv = Format::bf16) {
  return attention_call(KernelKind::mla_prefill, {.batch = batch, .queries = tokens, .heads = heads, .kv_heads = heads, .qk_width = 192, .v_width = 128}, Format::bf16, kv);
}
inline KernelCall mla_decode_call(double batch, double tokens, double heads, DataType kv = Format::bf16) {
  return attention_call(KernelKind::mla_decode, {.batch = batch, .past = tokens - 1, .heads = heads, .kv_heads = 1, .qk_width = 576, .v_width = 512, .latent = true}, Format::bf16, kv);
}

inline std::vector<double> usual_values(const KernelModel& model) {
  std::vector<double> values;
  for (const Constant& c : model.constants) values.push_back(c.usual);
  return values;
}

/// Sets the constant of that name; false if there is none.
inline bool set(const KernelModel& model, std::vector<double>& values, std::string_view name, double value) {
  for (std::size_t i = 0; i < model.constants.size(); ++i)
    if (model.constants[i].name == name) return values[i] = value, true;
  return false;
}

inline double usual_seconds(const KernelModel& model, const KernelCall& call, const ChipFigures& chip) {
  return model.predict(call, chip, usual_values(model));
}

}  // namespace gambrel::sim

// Estimates made by hand for the writers' tests: Llama-3.1-8B decoding on an H100, batch 32, context 8192, in bf16.
#pragma once

#include <algorithm>
#include <string>

#include "sim/estimate.hpp"

namespace gambrel::test {

inline constexpr double h100_peak = 989.4e12, h100_vector = 66.9e12, h100_hbm = 3.35e12, h100_l2 = 5.5e12;

/// One operator by the plain roofline: the longest of arithmetic, HBM and L2.
inline sim::OpEstimate sample_op(std::string name, std::string kind, double count, double flops, double vector,
                                 double bytes) {
  sim::OpEstimate op;
  op.name = std::move(name);
  op.kind = std::move(kind);
  op.count = count;
  op.flops = Flops{flops};
  op.vector_flops = Flops{vector};
  op.levels = {{Bytes{bytes}, Seconds{bytes / h100_hbm}}, {Bytes{bytes}, Seconds{bytes / h100_l2}}};
  op.intensity = FlopsPerByte{bytes > 0 ? flops / bytes : 0};
  op.t_math = Seconds{vector == flops ? flops / h100_vector : flops / h100_peak + vector / h100_vector};
  op.t_mem = Seconds{bytes / h100_hbm};
  op.time = std::max(op.t_math, op.t_mem);
  op.bound = op.t_math > op.t_mem ? "compute" : "HBM";
  return op;
}

inline sim::OpEstimate sample_gemm(std::string name, double count, double m, double n, double k) {
  return sample_op(std::move(name), "gemm", count, 2 * m * n * k, 0, 2 * (m * k + k * n + m * n));
}

inline sim::Total sample_total(const std::vector<sim::OpEstimate>& ops, double tokens) {
  sim::Total total;
  total.levels.resize(2);
  for (const auto& op : ops) {
    total.time += op.count * op.time;
    total.flops += op.count * op.flops;
    total.vector_flops += op.count * op.vector_flops;
    for (std::size_t i = 0; i < op.levels.size(); ++i) {
      total.levels[i].bytes += op.count * op.levels[i].bytes;
      total.levels[i].time += op.count * op.levels[i].time;
    }
  }
  total.operators = total.time;
  total.intensity = total.flops / total.levels[0].bytes;
  total.bound = "HBM";
  total.bound_share = 0.998;
  total.tokens = tokens;
  total.tokens_per_second = tokens / total.time.value;
  total.mfu = total.flops.value / (total.time.value * h100_peak);
  total.mbu = total.levels[0].bytes.value / (total.time.value * h100_hbm);
  return total;
}

/// The repeated layer: its operators once.
inline sim::LayerTotal sample_layer(const std::vector<sim::OpEstimate>& ops) {
  sim::LayerTotal layer;
  layer.name = "layers.0-31";
  layer.count = 32;
  for (const auto& op : ops) {
    if (!op.name.starts_with(layer.name)) continue;
    layer.flops += op.flops;
    layer.vector_flops += op.vector_flops;
    layer.bytes += op.levels[0].bytes;
    layer.time += op.time;
  }
  layer.intensity = layer.flops / layer.bytes;
  layer.activation_bytes = Bytes{12.3e6};
  layer.weight_bytes = Bytes{436.2e6};
  layer.kv_per_token = Bytes{4096};
  return layer;
}

inline sim::Phase sample_decode() {
  constexpr double m = 32, h = 4096, ffn = 14336, context = 8192, kv = 2 * 8 * 128 * 2 * context * m;
  sim::Phase phase;
  phase.name = "decode";
  phase.levels = {"HBM", "L2"};
  phase.ops = {
      sample_op("embed", "embedding", 1, 0, 0, 2 * 2 * m * h),
      sample_op("layers.0-31.attn_norm", "rms_norm", 32, 4 * m * h, 4 * m * h, 2 * 2 * m * h),
      sample_gemm("layers.0-31.attn.qkv", 32, m, 6144, h),
      sample_op("layers.0-31.attn.rotary", "rotary", 32, 3 * m * 5120, 3 * m * 5120, 2 * 2 * m * 5120),
      sample_op("layers.0-31.attn.kv_append", "kv_append", 32, 0, 0, 2 * 2 * m * 2048),
      sample_op("layers.0-31.attn.core", "attention", 32, 4 * m * 32 * 128 * context, 5 * m * 32 * context,
                kv + 4 * m * h),
      sample_gemm("layers.0-31.attn.out", 32, m, h, h),
      sample_op("layers.0-31.attn.residual", "elementwise", 32, m * h, m * h, 3 * 2 * m * h),
      sample_op("layers.0-31.ffn_norm", "rms_norm", 32, 4 * m * h, 4 * m * h, 2 * 2 * m * h),
      sample_gemm("layers.0-31.ffn.gate_up", 32, m, 2 * ffn, h),
      sample_op("layers.0-31.ffn.activation", "activation", 32, 5 * m * ffn, 5 * m * ffn, 3 * 2 * m * ffn),
      sample_gemm("layers.0-31.ffn.down", 32, m, h, ffn),
      sample_op("layers.0-31.ffn.residual", "elementwise", 32, m * h, m * h, 3 * 2 * m * h),
      sample_op("norm", "rms_norm", 1, 4 * m * h, 4 * m * h, 2 * 2 * m * h),
      sample_gemm("lm_head", 1, m, 128256, h),
      sample_op("sample", "sampling", 1, 5 * m * 128256, 5 * m * 128256, 2 * m * 128256),
  };
  phase.layers = {sample_layer(phase.ops)};
  phase.total = sample_total(phase.ops, m);
  return phase;
}

inline sim::Estimate sample_estimate() {
  sim::Estimate run;
  run.run = "configs/runs/llama-3.1-8b-decode-h100.yaml";
  run.model = "llama-3.1-8b";
  run.model_name = "Llama-3.1-8B";
  run.system = run.chip = "h100-sxm";
  run.chip_name = "NVIDIA H100 SXM";
  run.settings = {{"workload", "decode, batch 32, context 8192"},
                  {"precision", "weights bf16, activations bf16, KV cache bf16, accumulate fp32"},
                  {"chips", "1"}};
  run.phases = {sample_decode()};
  run.total = run.phases[0].total;
  run.total.energy = Joules{5.31};
  run.total.active_energy = sim::Energy{Joules{0.6}, Joules{4.0}};
  run.total.idle_energy = Joules{0.71};
  run.total.power = *run.total.energy / run.total.time;
  run.total.power_share = run.total.power->value / 700;
  run.phases[0].ops[0].energy = sim::Energy{Joules{0.001}, Joules{0.002}};
  run.total.cost = Dollars{run.total.time.value * 2.5 / 3600};
  run.memory.tiers = {{"HBM", Bytes{80e9}, Bytes{16.06e9}, Bytes{34.36e9}, Bytes{0.27e9}}};
  run.memory.max_batch = 59;
  run.memory.kv_per_token = Bytes{131072};
  run.parameters = {8030261248, 7504924672};
  run.roofs = {{"bf16 matrix", false, h100_peak},
               {"fp32 vector", false, h100_vector},
               {"HBM", true, h100_hbm},
               {"L2", true, h100_l2}};
  run.sources = {{"chip", "NVIDIA H100 Tensor Core GPU datasheet, 2023"},
                 {"chip.memory.L2.bandwidth", "Chips and Cheese, \"Nvidia's H100\", 2023"},
                 {"model", "config.json of meta-llama/Llama-3.1-8B"}};
  run.notes = {"launch overhead is not modelled: the prediction is the plain roofline"};
  run.config_hash = "9f86d081884c7d659a2feaa0c55ad015";
  return run;
}

/// The same model reading its prompts and then writing, on a chip where DRAM lies behind the main memory.
inline sim::Estimate sample_generation() {
  sim::Estimate run = sample_estimate();
  run.run = "generate";
  run.settings[0].second = "generate, batch 32, input 512, output 128";
  sim::Phase prefill = sample_decode();
  prefill.name = "prefill";
  for (auto& op : prefill.ops) {
    op.flops *= 512;
    op.t_math *= 512;
    op.intensity *= 512;
    op.time = std::max(op.t_math, op.t_mem);
    op.bound = op.t_math > op.t_mem ? "compute" : "HBM";
  }
  prefill.total = sample_total(prefill.ops, 32 * 512);
  prefill.total.bound = "compute";
  run.phases.insert(run.phases.begin(), prefill);
  run.total.time = run.total.operators = run.phases[0].total.time + run.phases[1].total.time;
  run.serving = sim::Serving{run.phases[0].total.time, run.phases[1].total.time, Seconds{2.1}, 1950};
  return run;
}

/// Text that would be markup, a formula, a column or a control sequence if any writer let it through.
inline const std::string hostile =
    "=cmd|' /C calc'!A0,\"q\"</script><script>document.title='pwned'</script><img src=x onerror=alert(1)>"
    "]]>{{{total}}}\x1b[31m\r\n\xE2\x80\xA8`*_x_*`%{x}&amp;";

inline sim::Estimate hostile_estimate() {
  sim::Estimate run = sample_estimate();
  run.run = run.model = run.model_name = run.system = run.chip = run.chip_name = run.config_hash = hostile;
  run.settings.emplace_back(hostile, hostile);
  run.sources.emplace_back(hostile, hostile);
  run.notes.push_back(hostile);
  run.memory.tiers[0].level = hostile;
  for (auto& roof : run.roofs) roof.name += hostile;
  sim::Phase& phase = run.phases[0];
  phase.name = hostile;
  phase.levels = {hostile, "L2"};
  for (auto& layer : phase.layers) layer.name = hostile;
  for (auto& op : phase.ops) op.name = op.kind = op.bound = hostile;
  run.total.bound = hostile;
  return run;
}

}  // namespace gambrel::test

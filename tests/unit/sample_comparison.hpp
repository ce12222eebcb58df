// A comparison made by hand for the writers' tests: bf16, fp8 and int4 weights, errors as a copy might have them.
#pragma once

#include <limits>

#include "sim/compare/compare.hpp"
#include "tests/unit/sample_estimate.hpp"

namespace gambrel::test {

inline kernels::ErrorReport sample_error(std::string name, double relative_error, double sqnr_db) {
  kernels::ErrorReport e;
  e.variant = std::move(name);
  e.weights = "synthetic, seed 0";
  e.scaling = "2 of 32 layers, widths x 0.25, 2048 of 128256 rows of the vocabulary, 32 tokens";
  e.layers = 2;
  e.model_layers = 32;
  e.width_fraction = 0.25;
  e.relative_error = relative_error;
  e.sqnr_db = sqnr_db;
  e.operators = {{.name = "layers.0.attn.qkv", .kind = "gemm", .layer = 0, .relative_error = relative_error / 2, .sqnr_db = sqnr_db + 6},
                 {.name = "layers.1.mlp.down", .kind = "gemm", .layer = 1, .relative_error = relative_error * 2, .sqnr_db = sqnr_db - 6}};
  e.growth = {.points = {{1, relative_error / 1.4}, {2, relative_error}}, .scale = relative_error / 1.4, .exponent = 0.5, .at_full_depth = relative_error * 4};
  return e;
}

inline sim::VariantResult sample_variant(std::string name, double faster, double relative_error, double sqnr_db) {
  sim::VariantResult v{.name = name, .estimate = sample_estimate()};
  for (sim::OpEstimate& op : v.estimate.phases[0].ops) op.time = op.time / faster, op.t_mem = op.t_mem / faster;
  v.estimate.total.time = v.estimate.total.time / faster;
  v.estimate.total.tokens_per_second *= faster;
  v.arithmetic = Seconds{1.1e-3};
  v.movement = v.estimate.total.time * 0.98;
  v.memory = Bytes{50.4e9 / faster};
  v.memory_ratio = 1 / faster;
  v.speedup = faster;
  if (relative_error >= 0) v.error = sample_error(std::move(name), relative_error, sqnr_db);
  return v;
}

inline sim::ComparisonResult sample_comparison() {
  sim::ComparisonResult c{.id = "sample"};
  c.variants = {sample_variant("bf16", 1, 0.0042, 47.5), sample_variant("fp8", 1.6, 0.045, 26.9), sample_variant("int4 weights", 1.5, 0.14, 17.1),
                sample_variant("exact, slow", 0.5, 0, std::numeric_limits<double>::infinity())};
  c.variants[2].estimate.total.bound = "compute";
  c.variants[2].bound_moved = true;
  for (const std::size_t front : {0, 1, 3}) c.variants[front].front = true;
  c.notes = {"something to know"};
  c.found = sim::FoundFormats{.budget = 0.05, .error = 0.045, .choices = {{"layers.*.mlp.down", "fp8", 0.03, Seconds{1e-3}}, {"lm_head", "int4_wo", 0.02, Seconds{2e-4}}},
                              .considered = {{}, {}, {}, {}}, .taken_back = 1, .precision = "{\"overrides\":[]}"};
  return c;
}

}  // namespace gambrel::test

// Inside sim/ only: the plain roofline's times of a phase -> the kernel models' times.
#pragma once

#include "models/graph.hpp"
#include "sim/calibration/kernel_predictor.hpp"
#include "sim/estimate.hpp"
#include "sim/run.hpp"

namespace gambrel::sim {

/// Predicts a model's operators by the kernels that compute them. Inside a model the other layers have swept the caches
/// between two calls of a kernel, so weights and KV cache are cold, unlike in the benchmarks the constants come from.
/// Where a chip has no constants, own or lent, contractions on systolic arrays take the cycles of their folds, and all
/// else keeps the plain roofline.
struct RefinedOp {
  std::optional<KernelCall> call;       ///< nothing: no kernel of a known kind
  bool cold_caches = false;             ///< of attention
  bool keeps_roofline = false;          ///< in an epilogue, or timed with the attention kernel
  double experts_hit = 1;
};

/// What a refinement of each operator needs to know, whatever the rates; `machine` for whether units skip zeros.
std::vector<RefinedOp> refined_ops(const models::Graph& graph, const models::Routing& routing, const Machine& machine);

class Refiner {
 public:
  explicit Refiner(const Run& run);

  /// Sets time, interval, bound and provenance of every row that a model covers; the others keep the roofline. No time
  /// becomes shorter. An operator fused into the one before it has no launch; one in a product's epilogue adds what the
  /// roofline says it adds.
  void refine(Phase& phase, const models::Graph& graph) const;

 private:
  void use_arrays(OpEstimate& row, const models::Graph& graph, const models::Op& op) const;
  void use_kernel(OpEstimate& row, const KernelPrediction& prediction) const;

  const Run& run_;
  Machine machine_;
  KernelPredictor kernels_, attention_;
};

/// The kernel that computes an operator of a graph; nothing if no kind of measured kernel does.
std::optional<KernelCall> kernel_call(const models::Graph& graph, const models::Op& op, const models::Routing& routing);

}  // namespace gambrel::sim

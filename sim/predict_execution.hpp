// What a chip is predicted to take for a graph that `execute` runs: operator by operator, nothing fused.
#pragma once

#include <vector>

#include "models/graph.hpp"
#include "sim/kernel_predictor.hpp"

namespace gambrel::sim {

/// Of an operator of the graph, over all its executions.
struct PredictedOp {
  double flops = 0, bytes = 0;   ///< by the operator table
  double seconds = 0;            ///< of its kernel's model; 0: no model covers it
  double roofline = 0;           ///< max(T_math, T_mem), main memory charged for all bytes
  std::string_view bound;
  Provenance provenance = Provenance::analytic;
};

struct PredictedGraph {
  std::vector<PredictedOp> ops;
  double weight_bytes = 0, cache_bytes = 0, activation_bytes = 0;  ///< held at the same time at the most
  double peak_bytes() const { return weight_bytes + cache_bytes + activation_bytes; }
};

/// `graph` in the formats that are executed. Weights and KV cache come back after one pass over the whole graph.
PredictedGraph predict_execution(const models::Graph& graph, const models::Routing& routing, const hw::Chip& chip, const CalibrationBook& book);

}  // namespace gambrel::sim

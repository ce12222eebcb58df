#include "sim/predict_execution.hpp"

#include <algorithm>

#include "sim/refine.hpp"

namespace gambrel::sim {
namespace {

double touched_bytes(const models::Graph& graph) {
  double bytes = 0;
  for (const models::Op& op : graph.ops()) bytes += op.count * models::work_of(graph, op).bytes();
  return bytes;
}

void add_memory(PredictedGraph& predicted, const models::Graph& graph) {
  for (const models::Tensor& t : graph.tensors()) {
    if (t.role == models::Role::activation) continue;
    const bool kept = t.role == models::Role::kv_cache || t.role == models::Role::state;
    (kept ? predicted.cache_bytes : predicted.weight_bytes) += t.bytes() * t.copies;
  }
  predicted.activation_bytes = graph.peak_activation_bytes();
}

}  // namespace

PredictedGraph predict_execution(const models::Graph& graph, const models::Routing& routing, const hw::Chip& chip, const CalibrationBook& book) {
  const KernelPredictor predictor(chip, book.for_models());
  const Machine machine = make_machine(chip, {}, {});
  const double touched = touched_bytes(graph);
  PredictedGraph predicted;
  add_memory(predicted, graph);
  for (const models::Op& op : graph.ops()) {
    const models::LoweredOp lowered{op.kind, op.math, op.sparse_weights, op.count, op.dims, models::work_of(graph, op), op.fused};
    PredictedOp row{.flops = op.count * lowered.work.flops, .bytes = op.count * lowered.work.bytes()};
    if (models::row_of(op.kind).contraction) row.flops += op.count * lowered.work.vector_flops;
    row.roofline = op.count * std::max(machine.math_time(lowered), lowered.work.bytes() / machine.bandwidth[machine.main_level]);
    if (auto call = kernel_call(graph, op, routing)) {
      call->between = touched;
      const KernelPrediction p = predictor.predict(*call);
      row.seconds = op.count * p.seconds;
      row.bound = p.bound;
      row.provenance = p.provenance;
    }
    predicted.ops.push_back(row);
  }
  return predicted;
}

}  // namespace gambrel::sim

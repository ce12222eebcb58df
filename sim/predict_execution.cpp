#include "sim/predict_execution.hpp"

#include <algorithm>

#include "sim/calibration/this_machine.hpp"
#include "sim/refine.hpp"

namespace gambrel::sim {
namespace {

double touched_bytes(const models::Graph& graph) {
  double bytes = 0;
  for (const models::Op& op : graph.ops()) bytes += op.count * models::work_of(graph, op).bytes();
  return bytes;
}

/// Bytes that a graph's operators touch, in their order, between two uses of a tensor.
class Distances {
 public:
  explicit Distances(const models::Graph& graph) : graph_(graph), last_(graph.tensors().size(), 0) {}

  /// A residual is read long after it was written: it comes from as far as a weight does. Of operators that have no weights, for
  /// those tell the models how far.
  void settle(const models::Op& op, KernelCall& call, double touched) const {
    call.between = touched;
    models::Work& work = call.op.work;
    const double all = work.bytes();
    if (all > work.bytes(models::Role::activation)) return;
    for (const models::Use& use : op.uses) {
      const models::Tensor& tensor = graph_.tensor(use.tensor);
      const double distance = at_ - last_[use.tensor];
      if (use.write || distance <= all || last_[use.tensor] == 0) continue;
      const double bytes = tensor.bytes() * (use.elements / tensor.elements());
      work.read_bytes[static_cast<std::size_t>(models::Role::activation)] -= bytes;
      work.read_bytes[static_cast<std::size_t>(models::Role::state)] += bytes;
      call.between = distance;
    }
  }
  void pass(const models::Op& op) {
    at_ += models::work_of(graph_, op).bytes();
    for (const models::Use& use : op.uses) last_[use.tensor] = at_;
  }

 private:
  const models::Graph& graph_;
  std::vector<double> last_;
  double at_ = 0;
};

}  // namespace

hw::Chip at_peaks(hw::Chip chip, const PeakRatios& ratios) {
  for (hw::ComputeUnit& unit : chip.compute) {
    for (auto& [format, rate] : unit.peak) rate = FlopsPerSecond{rate.value * ratios.arithmetic};
    unit.clock = Hertz{unit.clock.value * ratios.arithmetic};
  }
  for (std::size_t i = 0; i < std::min(chip.memory.size(), ratios.memory.size()); ++i)
    chip.memory[i].bandwidth = BytesPerSecond{chip.memory[i].bandwidth.value * ratios.memory[i]};
  return chip;
}

double calibrated_read_rate(const hw::Chip& chip, double bytes) {
  std::vector<FittedLevel> levels;
  for (std::size_t i = chip.memory.size(); i-- > 0;)
    levels.push_back({chip.memory[i].level, chip.memory[i].capacity.value / chip.memory[i].instances, chip.memory[i].bandwidth.value});
  return stream_rate(levels, bytes);
}

PredictedGraph predict_execution(const models::Graph& graph, const models::Routing& routing, const hw::Chip& chip, const CalibrationBook& book) {
  const KernelPredictor predictor(chip, book.for_models());
  const Machine machine = make_machine(chip, {}, {});
  const double touched = touched_bytes(graph);
  Distances distances(graph);
  PredictedGraph predicted;
  for (const models::Op& op : graph.ops()) {
    const models::LoweredOp lowered{op.kind, op.math, op.sparse_weights, op.count, op.dims, models::work_of(graph, op), op.fused};
    PredictedOp row{.flops = op.count * lowered.work.flops, .bytes = op.count * lowered.work.bytes()};
    if (models::row_of(op.kind).contraction) row.flops += op.count * lowered.work.vector_flops;
    row.roofline = op.count * std::max(machine.math_time(lowered), lowered.work.bytes() / machine.bandwidth[machine.main_level]);
    if (auto call = kernel_call(graph, op, routing)) {
      distances.settle(op, *call, touched);
      const KernelPrediction p = predictor.predict(*call);
      row.seconds = op.count * p.seconds;
      row.bound = p.bound;
      row.provenance = p.provenance;
    }
    distances.pass(op);
    predicted.ops.push_back(row);
  }
  return predicted;
}

HeldMemory held_memory(const models::Graph& graph) {
  HeldMemory memory{.activations = graph.peak_activation_bytes()};
  for (const models::Tensor& t : graph.tensors()) {
    if (t.role == models::Role::activation) continue;
    const bool kept = t.role == models::Role::kv_cache || t.role == models::Role::state;
    (kept ? memory.cache : memory.weights) += t.bytes() * t.copies;
  }
  return memory;
}

}  // namespace gambrel::sim

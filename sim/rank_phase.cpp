#include "sim/rank_phase.hpp"

#include <algorithm>

#include "sim/summarise.hpp"

namespace gambrel::sim {

DataType sent_type(const models::Graph& graph, const models::Op& op) {
  return op.uses.empty() ? DataType(Format::bf16) : graph.tensor(op.uses.front().tensor).type;
}

bool sends(const models::Communication& communication) { return communication.ranks > 1 && communication.bytes > 0 && !communication.backward_only; }

RankGroup group_of(const models::Communication& communication, const Placed& placed) {
  const RankGroup group = placed.of(communication.axis);
  // A part of an axis: neighbours on it. More than the axis: the data axis with the context axis inside.
  if (communication.ranks <= group.size) return {communication.ranks, group.stride * communication.stride};
  return placed.gradients;
}

RankEvaluator::RankEvaluator(const Run& run, const Machine& machine, const Shares& shares, const Network* network, const Placed& placed)
    : model_(machine, shares, run.assume), network_(network), placed_(placed) {
  if (!run.calibrated) return;
  refiner_.emplace(run);
  if (run.workload.phase == PhaseKind::train) sustained_ = run.calibration.sustained();
}

/// Compute-bound products at the rate that a long run sustains; what the user asserts stands.
void RankEvaluator::slow_products(Phase& phase, const models::Graph& graph) const {
  for (std::size_t i = 0; i < phase.ops.size(); ++i) {
    OpEstimate& row = phase.ops[i];
    if (!models::row_of(graph.ops()[i].kind).contraction || row.provenance == Provenance::assumed || row.t_math < row.t_mem) continue;
    for (Seconds* time : {&row.time, &row.time_low, &row.time_high}) *time = *time / sustained_;
    row.time_low = std::max(row.time_low, row.roofline);
    row.time = std::max(row.time, row.roofline);
  }
}

void RankEvaluator::communicate(OpEstimate& row, const models::Communication& communication, DataType type) const {
  row.message = OpMessage{.collective = std::string(to_string(communication.kind)), .axis = std::string(to_string(communication.axis)),
                          .ranks = communication.ranks, .bytes = Bytes{communication.bytes}};
  row.time = row.time_low = row.time_high = row.roofline = Seconds{0};
  row.bound = "network";
  if (!network_ || !sends(communication)) return;
  const NetworkCost cost = network_->cost({communication.kind, communication.bytes, type}, group_of(communication, placed_));
  const double steps = communication.steps;
  row.t_net = row.roofline = Seconds{steps * cost.floor_s};
  row.time = Seconds{steps * cost.seconds};
  row.time_low = Seconds{steps * cost.low};
  row.time_high = Seconds{steps * cost.high};
  row.provenance = cost.provenance;
  row.message->level = network_->levels()[cost.level];
  row.message->algorithm = std::string(to_string(cost.algorithm));
}

Phase RankEvaluator::evaluate(std::string name, const models::Graph& graph, double tokens, double ranks) const {
  Costs costs;
  model_.evaluate(models::lower(graph), costs);
  Phase phase = make_phase(std::move(name), graph, model_, costs, tokens);
  if (refiner_) refiner_->refine(phase, graph);
  if (sustained_ != 1) slow_products(phase, graph);
  for (std::size_t i = 0; i < phase.ops.size(); ++i) {
    phase.ops[i].ranks = ranks;
    if (graph.ops()[i].communication) communicate(phase.ops[i], *graph.ops()[i].communication, sent_type(graph, graph.ops()[i]));
  }
  return phase;
}

}  // namespace gambrel::sim

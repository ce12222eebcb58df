// One rank's graph -> the figures of each of its operators: arithmetic, memory, network.
#pragma once

#include <optional>

#include "sim/cost_model.hpp"
#include "sim/network/network.hpp"
#include "sim/refine.hpp"

namespace gambrel::sim {

class RankEvaluator {
 public:
  /// `network`: null on one chip. All referred to must outlive the evaluator.
  RankEvaluator(const Run& run, const Machine& machine, const Shares& shares, const Network* network, const Placed& placed);

  /// Rows as the graph's operators, each executed `count` times by each of `ranks` chips.
  Phase evaluate(std::string name, const models::Graph& graph, double tokens, double ranks) const;

 private:
  void slow_products(Phase& phase, const models::Graph& graph) const;
  void communicate(OpEstimate& row, const models::Communication& communication, DataType type) const;

  CostModel model_;
  std::optional<Refiner> refiner_;
  double sustained_ = 1;  ///< of training: see Calibration
  const Network* network_;
  const Placed& placed_;
};

/// The format that a collective operator of a graph sends, and whether this pass sends anything.
DataType sent_type(const models::Graph& graph, const models::Op& op);
bool sends(const models::Communication& communication);

/// The ranks that a collective of a graph joins.
RankGroup group_of(const models::Communication& communication, const Placed& placed);

}  // namespace gambrel::sim

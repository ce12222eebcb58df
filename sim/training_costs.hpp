// What a training step costs before it is composed: one micro-batch of one rank, and what ranks exchange.
#pragma once

#include "sim/compose.hpp"
#include "sim/rank_phase.hpp"

namespace gambrel::sim {

/// Depends on shards, micro-batch, recomputation and the axes' places only: pipelines, data parallelism and ZeRO share it.
struct TrainingCosts {
  models::Graph forward, backward, optimizer;
  Phase forward_phase, backward_phase, optimizer_phase;
  StepTemplate step;
  double optimizer_per_parameter = 0;                    ///< seconds, of a rank that updates all of its parameters
};
TrainingCosts training_costs(const Run& run, const ParallelismPlan& plan, double micro_batch, const Machine& machine, const Network* network, const Placed& placed);

/// Seconds that the optimizer takes for a parameter, on a rank that updates all of its own.
double optimizer_per_parameter(const Run& run, const models::Graph& forward, const StepTemplate& step, const RankEvaluator& evaluator);

models::Step training_step(const Run& run, double micro_batch);
ParameterBytes parameter_bytes(const Run& run);

/// Collectives that are no operators of a graph. `uses`: where to list them, or null.
Exchanges training_exchanges(const Run& run, const TrainingCosts& costs, const ParallelismPlan& plan, int microbatches, const Network* network,
                             const Placed& placed, std::vector<NetworkUse>* uses);
Exchanges training_exchanges(const Run& run, const StepTemplate& step, double optimizer_per_parameter, const ParallelismPlan& plan, int microbatches,
                             const Network* network, const Placed& placed, std::vector<NetworkUse>* uses);

}  // namespace gambrel::sim

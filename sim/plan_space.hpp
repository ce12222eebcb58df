// The legal plans of a run: enumeration only. What they cost is told by those who evaluate them.
#pragma once

#include <vector>

#include "sim/run.hpp"

namespace gambrel::sim {

/// Plans that share one template: shards, micro-batch, recomputation.
struct ShardChoice {
  ParallelismPlan plan;      ///< data, pipeline and what follows from them not yet chosen
  double micro_batch = 1;
};

/// Every division of the chips into tensor, context (from 32,768 tokens on), expert and expert-tensor ranks, with and
/// without sequence parallelism, each micro-batch that a power of two allows, and each recomputation.
std::vector<ShardChoice> shard_choices(const Run& run);

/// Every pipeline, replica count, ZeRO stage, schedule and interleaving that goes with one choice.
std::vector<ParallelismPlan> plans_of(const Run& run, const ShardChoice& choice);

/// Micro-batches of a data rank under a plan; 0 if the batch does not divide.
int microbatches_of(const Run& run, const ParallelismPlan& plan, double micro_batch);

}  // namespace gambrel::sim

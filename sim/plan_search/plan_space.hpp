// The legal plans of a run: enumeration only. What they cost is told by those who evaluate them.
#pragma once

#include <cstdint>
#include <vector>

#include "sim/run.hpp"

namespace gambrel::sim {

/// `usual` leaves out what seldom wins or cannot: other layouts than Megatron's, other exchanges than the ring, and (in
/// training) transfers that are not overlapped though they could be.
enum class PlanSpace : std::uint8_t { usual, all };

/// Plans that share one graph: shards and micro-batch.
struct ShardChoice {
  ParallelismPlan plan;      ///< data, pipeline, recomputation and what follows from them not yet chosen
  double micro_batch = 1;
};

/// Every division of the chips into tensor, context (from 32,768 tokens on), expert and expert-tensor ranks, with and
/// without sequence parallelism, and each micro-batch that divides the batch. Equal shards follow one another.
std::vector<ShardChoice> shard_choices(const Run& run, PlanSpace space = PlanSpace::usual);

/// Every recomputation, pipeline, replica count, schedule, interleaving and ZeRO stage that goes with one choice; from the
/// outermost to the innermost loop, in this order.
std::vector<ParallelismPlan> plans_of(const Run& run, const ShardChoice& choice, PlanSpace space = PlanSpace::usual);

/// Micro-batches of a data rank under a plan; 0 if the batch does not divide.
int microbatches_of(const Run& run, const ParallelismPlan& plan, double micro_batch);

}  // namespace gambrel::sim

// What one micro-batch costs one rank, part by part of the model: all that pipelines, micro-batches and data
// parallelism are composed from. Depends on the shards and the micro-batch, not on how many stages or replicas there are.
#pragma once

#include <cstdint>
#include <vector>

#include "models/backward.hpp"
#include "models/graph.hpp"
#include "sim/estimate.hpp"
#include "sim/plan/plan.hpp"

namespace gambrel::sim {

/// Seconds of one execution. `hidden` is network time that runs behind operators.
struct PassCost {
  double compute = 0, network = 0, hidden = 0;
  PassCost& operator+=(const PassCost& o);
  double seconds() const { return compute + network; }
};

/// The embedding, the head, or one layer. Bytes and parameters are of this rank's shards, unsharded over data.
struct PartCost {
  PassCost forward, backward_inputs, backward_weights;
  double weights = 0, experts = 0;                        ///< bytes
  double dense_parameters = 0, expert_parameters = 0;     ///< elements
  double kv_cache = 0;                                    ///< bytes of this micro-batch
  double saved = 0;                                       ///< activation bytes from the forward to the backward pass
};

/// Equal layers.
struct Block {
  int first = 0, step = 1, count = 1;
  PartCost layer;
};

struct StepTemplate {
  PartCost embedding, head;
  std::vector<Block> blocks;
  int layers = 0;
  double boundary = 0;           ///< bytes of activations from one stage to the next
  double working = 0;            ///< activation bytes alive beside the saved ones
  double tied_parameters = 0;    ///< of a table that both the embedding and the head count: two stages hold it, or one once
  double tied_bytes = 0;

  PartCost all_layers() const;
};

/// A graph with the figures of its operators, row for row; without them only what is kept is worked out.
struct Evaluated {
  const models::Graph* graph;
  const Phase* phase;
};

/// `backward`: null for inference.
StepTemplate make_template(const Evaluated& forward, const Evaluated* backward, const ParallelismPlan& plan);

/// A template that does not know yet how long its collectives take: that depends on where the axes lie on the network,
/// nothing else does. make_template closes it with the times of the rows.
struct OpenTemplate {
  /// A collective, in the pass of the part that waits for it.
  struct Message {
    std::uint32_t pass = 0;        ///< index into StepTemplate's passes: 3 x part + 0 forward, 1 inputs, 2 weights
    bool round = false;            ///< goes round while attention works
    double hidden_share = 0;
    const models::Op* op = nullptr;
    const models::Graph* graph = nullptr;
    double seconds = 0;            ///< as the row says
  };
  StepTemplate closed;             ///< but for network and hidden seconds
  std::vector<Message> messages;   ///< forward's, then backward's
  std::vector<double> attention;   ///< [pass] seconds that a ring's blocks hide behind

  /// `out` must be a copy of `closed`, or have been closed from this before; `seconds` of each message.
  void close(const std::vector<double>& seconds, StepTemplate& out) const;
};
/// `saved`: of forward under the plan's recomputation, where it is known already.
OpenTemplate open_template(const Evaluated& forward, const Evaluated* backward, const ParallelismPlan& plan, const models::SavedActivations* saved = nullptr);

PartCost operator+(const PartCost& a, const PartCost& b);
/// `count` parts alike.
PartCost operator*(double count, const PartCost& part);

/// Layers [first, last) of each virtual stage, chunk by chunk: chunk c of stage s is number c x stages + s. What does not
/// divide goes to the middle ones, since the first and the last stage have the embedding and the head as well.
std::vector<std::pair<int, int>> layer_ranges(int layers, int stages, int chunks);

}  // namespace gambrel::sim

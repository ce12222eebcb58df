// The step of all chips from one rank's costs: pipeline, micro-batches, what data ranks exchange, the optimizer, memory.
#pragma once

#include <array>
#include <vector>

#include "sim/estimate.hpp"
#include "sim/network/network.hpp"
#include "sim/timeline/stage_kinds.hpp"
#include "sim/timeline/step_template.hpp"
#include "sim/timeline/timeline.hpp"

namespace gambrel::sim {

/// Time of a collective as a function of its bytes, through two points: searches never ask the network twice.
struct Line {
  double latency = 0, per_byte = 0;
  double seconds(double bytes) const { return bytes > 0 ? latency + per_byte * bytes : 0; }
};
/// Through the times of `bytes` and half of it.
Line line(const Network& network, CollectiveKind kind, double bytes, DataType type, const RankGroup& group);

/// What does not depend on the number of stages or micro-batches, for one plan's groups.
struct Exchanges {
  Line boundary;                                    ///< one stage to the next
  Line dense_reduce, dense_gather;                  ///< gradients: all-reduce, or reduce-scatter; weights: all-gather
  Line expert_reduce, expert_gather;
  Line tied;                                        ///< gradients of a table that two stages hold
  double optimizer_per_parameter = 0;               ///< seconds, of a parameter this rank updates
  double optimizer_launch = 0;
  double host = 0;                                  ///< of a step
};

/// Bytes for each parameter.
struct ParameterBytes {
  double weight = 2, gradient = 4, reduced = 4, optimizer = 12;
};

/// Of the fullest stage.
struct StageMemory {
  double weights = 0, experts = 0, kv_cache = 0, activations = 0, gradients = 0, optimizer = 0;
  int stage = 0;
  double total() const { return weights + experts + kv_cache + activations + gradients + optimizer; }
};

struct StepTime {
  StepTimeline parts;
  double seconds = 0;
  PipelineTime pipeline;
  PipelineShape shape;            ///< the pipeline that was timed
  std::vector<StageTail> tails;   ///< of training
};

/// One training step. `stages`: as many as the plan has.
StepTime compose_training(const StepTemplate& step, const ParallelismPlan& plan, int microbatches,
                          const Exchanges& exchanges, const ParameterBytes& bytes);
StageMemory training_memory(const StepTemplate& step, const ParallelismPlan& plan, int microbatches,
                            const PipelineTime& pipeline, const ParameterBytes& bytes);

/// The same piece by piece, for searches that share pieces: step.seconds = closed_form(pipeline).seconds + longest tail + host.
/// Sends, ZeRO-3's transfers and the plan's schedule make the pipeline; `out` keeps its buffers.
void fill_pipeline(const StepTemplate& step, const StageKinds& kinds, const StageCosts& costs, const ParallelismPlan& plan, int microbatches,
                   const Exchanges& exchanges, const ParameterBytes& bytes, PipelineShape& out);
double longest_tail(const StepTemplate& step, const StageKinds& kinds, const StageCosts& costs, const ParallelismPlan& plan, const Exchanges& exchanges,
                    const ParameterBytes& bytes);
StageMemory training_memory(const StepTemplate& step, const StageKinds& kinds, const StageCosts& costs, const ParallelismPlan& plan, int microbatches,
                            const PeakInFlight& peak, const ParameterBytes& bytes);

/// One pass of `microbatches` through the pipeline: prefill's, or a decode step, which starts anew only when the first
/// micro-batch has left the last stage.
StepTime compose_inference(const StepTemplate& step, const ParallelismPlan& plan, int microbatches,
                           const Exchanges& exchanges, bool autoregressive);
StageMemory inference_memory(const StepTemplate& step, const ParallelismPlan& plan, int microbatches);

}  // namespace gambrel::sim

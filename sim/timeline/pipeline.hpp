// Inside sim/ only: the order in which the stages of a pipeline do their passes, the one truth of every schedule.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "sim/timeline/timeline.hpp"

namespace gambrel::sim {

enum class Pass : std::uint8_t { forward, backward, weights };

/// One pass of one micro-batch through one chunk of a stage.
struct Step {
  Pass pass = Pass::forward;
  int stage = 0, chunk = 0, microbatch = 0;
};

/// What a shape's stages have in common. `passes` = micro-batches x chunks: forwards of a stage.
struct Pipeline {
  explicit Pipeline(const PipelineShape& of)
      : shape(of), stages(of.stages), microbatches(of.microbatches), chunks(of.schedule == Schedule::interleaved ? of.chunks : 1),
        split(of.schedule == Schedule::zero_bubble) {
    if (chunks > 1) microbatches = (microbatches + stages - 1) / stages * stages;
    passes = microbatches * chunks;
  }

  const PipelineShape& shape;
  int stages, microbatches, chunks, passes = 0;
  bool split;  ///< weight gradients are passes of their own

  /// A stage runs this many forwards before its first backward, if it has so many.
  int warmup(int stage) const {
    const int later = stages - 1 - stage;
    if (shape.schedule == Schedule::gpipe) return passes;
    return chunks == 1 ? later : 2 * later + (chunks - 1) * stages;
  }
  const StageWork& work(int stage, int chunk) const {
    return shape.work[shape.work.size() == 1 ? 0 : static_cast<std::size_t>(stage * chunks + chunk)];
  }
  /// Chunk c of stage s is the (c p + s)-th part of the model.
  int parts() const { return stages * chunks; }
  double busy() const;  ///< of the busiest stage
  /// The parts of a PipelineTime that do not depend on how it was found, and the bubble.
  PipelineTime time(double seconds, double first_gradient, double last_forward) const;
  const StageWork& part(int index) const { return work(index % stages, index / stages); }
  /// Activations of `part` go to another stage, gradients come back from it.
  double send(int part) const { return stages == 1 || part + 1 == parts() ? 0 : this->part(part).send; }
  double backward_time(const StageWork& w) const { return split ? w.backward_inputs : w.backward_inputs + w.backward_weights; }
};

/// What a pass takes on its stage, and what it sends to a neighbour.
inline double pass_time(const Pipeline& p, const Step& step) {
  const StageWork& w = p.work(step.stage, step.chunk);
  return step.pass == Pass::forward ? w.forward : step.pass == Pass::backward ? p.backward_time(w) : w.backward_weights;
}
inline double send_time(const Pipeline& p, const Step& step) {
  const int part = step.chunk * p.stages + step.stage;
  if (step.pass == Pass::weights) return 0;
  return step.pass == Pass::forward ? p.send(part) : part > 0 ? p.send(part - 1) : 0;
}

/// Where a stage stands: passes done. The next one follows from these counts alone.
struct Cursor {
  int forwards = 0, backwards = 0, weights = 0;

  bool done(const Pipeline& p) const { return backwards == p.passes && (!p.split || weights == p.passes); }
  Pass next(const Pipeline& p, int stage) const {
    if (p.split && backwards - weights > stage) return Pass::weights;
    if (forwards < p.passes && forwards - backwards <= p.warmup(stage)) return Pass::forward;
    return backwards < p.passes ? Pass::backward : Pass::weights;
  }
};

/// The n-th forward (backward) pass of any stage: groups of `stages` micro-batches go through chunk after chunk,
/// forwards from the first chunk to the last, backwards the other way.
inline Step nth_pass(const Pipeline& p, Pass pass, int stage, int n) {
  if (p.chunks == 1) return {pass, stage, 0, n};
  const int group = n / p.parts(), within = n - group * p.parts(), chunk = within / p.stages;
  return {pass, stage, pass == Pass::forward ? chunk : p.chunks - 1 - chunk, group * p.stages + within - chunk * p.stages};
}

/// Calls visit(Step) for every pass, each after those it depends on and in its stage's order.
template <class Visit>
void walk(const Pipeline& p, Visit visit) {
  std::vector<Cursor> cursors(p.stages);
  std::vector<int> forwards(p.parts()), backwards(p.parts());  // micro-batches that have gone through a part
  const auto ready = [&](const Step& step) {
    const int part = step.chunk * p.stages + step.stage;
    if (step.pass == Pass::forward) return part == 0 || forwards[part - 1] > step.microbatch;
    if (step.pass == Pass::weights) return true;
    return (part + 1 == p.parts() ? forwards[part] : backwards[part + 1]) > step.microbatch;
  };
  for (bool progress = true; progress;) {
    progress = false;
    for (int stage = 0; stage < p.stages; ++stage) {
      for (Cursor& at = cursors[stage]; !at.done(p); progress = true) {
        const Pass pass = at.next(p, stage);
        int& count = pass == Pass::forward ? at.forwards : pass == Pass::backward ? at.backwards : at.weights;
        const Step step = nth_pass(p, pass, stage, count);
        if (!ready(step)) break;
        visit(step);
        ++count;
        const int part = step.chunk * p.stages + stage;
        if (pass == Pass::forward) ++forwards[part];
        if (pass == Pass::backward) ++backwards[part];
      }
    }
  }
}

/// When each stage and link falls free, and when each message arrives: feed it the steps of `walk`.
class Clock {
 public:
  explicit Clock(const Pipeline& of)
      : p(of), free_(of.stages), onward_(of.stages), back_(of.stages), in_flight_(of.stages), peak_(of.stages),
        activations_(static_cast<std::size_t>(of.parts()) * of.microbatches), gradients_(activations_.size() + of.microbatches) {}

  /// When the pass ends (a send that keeps the stage is not in it), and when its message arrives (0: it sends none).
  struct Placed {
    double end = 0, arrival = 0;
  };
  Placed place(const Step& step);
  SimulatedPipeline result() const;

 private:
  std::size_t slot(int part, int microbatch) const { return static_cast<std::size_t>(part) * p.microbatches + microbatch; }
  double sent(int stage, std::vector<double>& link, double seconds);
  Placed forward(const Step& step, int part, const StageWork& work);
  Placed backward(const Step& step, int part, const StageWork& work);

  const Pipeline& p;
  std::vector<double> free_, onward_, back_;  ///< of each stage, its link onwards, its link back
  std::vector<int> in_flight_, peak_;
  std::vector<double> activations_, gradients_;  ///< arrival; [part][micro-batch] and [part + 1][micro-batch]: the last part's gradients start with its own forward
  double last_forward_ = 0, first_gradient_ = 0;
};

}  // namespace gambrel::sim

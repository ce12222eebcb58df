// What a pipeline takes at least, in one look at each pass: searches leave out what cannot win.
#include "sim/timeline/pipeline.hpp"

namespace gambrel::sim {
namespace {

/// What all virtual stages do at least, on a pipeline whose stages are then alike and whose time is a formula.
StageWork least_work(const Pipeline& p) {
  StageWork least = p.shape.work.front();
  for (const StageWork& w : p.shape.work)
    least = {std::min(least.forward, w.forward), std::min(least.backward_inputs, w.backward_inputs), std::min(least.backward_weights, w.backward_weights), std::min(least.send, w.send)};
  return least;
}

double least_of_all(const Pipeline& p) {
  StageWork w = least_work(p);
  w.send = std::min({w.send, w.forward, p.backward_time(w)});
  if (p.split && p.microbatches <= p.stages) w.send = std::min(w.send, std::max(0.0, w.backward_inputs - w.forward));
  if (p.split && p.microbatches <= p.stages && w.forward > w.backward_inputs) return 0;
  thread_local PipelineShape alike;  // keeps its one entry's memory
  alike.schedule = p.shape.schedule, alike.stages = p.stages, alike.microbatches = p.microbatches, alike.chunks = p.chunks;
  alike.work.assign(1, w);
  return closed_form(alike).seconds;
}

/// A stage starts when the first micro-batch has come through the stages before it, then has all its own work to do, and
/// its last gradients go back through those stages.
double most_of_one(const Pipeline& p) {
  double most = 0, there = 0, back = 0;
  for (int stage = 0; stage < p.stages; ++stage) {
    double passes = 0, weights = 0;
    for (int chunk = 0; chunk < p.chunks; ++chunk) {
      const StageWork& w = p.work(stage, chunk);
      passes += w.forward + p.backward_time(w);
      weights += p.split ? w.backward_weights : 0;
    }
    // Weight gradients of its own may be left when the last gradients have gone.
    most = std::max({most, there + p.microbatches * passes + back + (p.split ? p.work(0, 0).backward_weights : 0), there + p.microbatches * (passes + weights)});
    const double send = p.send(stage);
    there += p.work(stage, 0).forward + send;
    back += p.backward_time(p.work(stage, 0)) + send;
  }
  return most;
}

}  // namespace

double least_seconds(const PipelineShape& shape) {
  const Pipeline p(shape);
  const double one = most_of_one(p);
  return shape.overlap_sends && shape.schedule != Schedule::gpipe ? std::max(one, least_of_all(p)) : one;
}

}  // namespace gambrel::sim

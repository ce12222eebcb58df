// The definition of a pipeline's time: every pass placed, stage after stage, message after message.
#include "sim/timeline/pipeline.hpp"

#include <algorithm>

namespace gambrel::sim {

double Pipeline::busy() const {
  double most = 0;
  for (int stage = 0; stage < (shape.work.size() == 1 ? 1 : stages); ++stage) {
    double seconds = 0;
    for (int chunk = 0; chunk < chunks; ++chunk) {
      const StageWork& w = work(stage, chunk);
      seconds += w.forward + w.backward_inputs + w.backward_weights;
    }
    most = std::max(most, seconds * shape.microbatches);
  }
  return most;
}

PipelineTime Pipeline::time(double seconds, double first_gradient, double last_forward) const {
  const double work = busy();
  return {seconds, work, seconds - work, first_gradient, last_forward, {shape.schedule, stages, microbatches, chunks}};
}

double PeakInFlight::operator[](std::size_t stage) const {
  const int later = stages - 1 - static_cast<int>(stage), passes = microbatches * chunks;
  if (schedule == Schedule::gpipe) return microbatches;
  if (schedule == Schedule::zero_bubble) return std::min(stages, microbatches);
  return static_cast<double>(std::min(chunks == 1 ? later + 1 : 2 * later + (chunks - 1) * stages + 1, passes)) / chunks;
}

Clock::Placed Clock::place(const Step& step) {
  const bool released = step.pass == (p.split ? Pass::weights : Pass::backward);
  int& kept = in_flight_[step.stage];
  kept += step.pass == Pass::forward ? 1 : released ? -1 : 0;
  peak_[step.stage] = std::max(peak_[step.stage], kept);
  const int part = step.chunk * p.stages + step.stage;
  const StageWork& work = p.work(step.stage, step.chunk);
  if (step.pass == Pass::forward) return forward(step, part, work);
  if (step.pass == Pass::backward) return backward(step, part, work);
  const double end = free_[step.stage] += work.backward_weights;
  if (step.stage == p.stages - 1) first_gradient_ = end;
  return {end, 0};
}

SimulatedPipeline Clock::result() const {
  SimulatedPipeline r{p.time(*std::ranges::max_element(free_), first_gradient_, last_forward_), {}};
  for (int kept : peak_) r.kept_at_most.push_back(static_cast<double>(kept) / p.chunks);
  return r;
}

/// A message leaves `stage` now; when it arrives. It waits for its link, or keeps the stage from computing.
double Clock::sent(int stage, std::vector<double>& link, double seconds) {
  if (!p.shape.overlap_sends) return free_[stage] += seconds;
  return link[stage] = std::max(link[stage], free_[stage]) + seconds;
}

Clock::Placed Clock::forward(const Step& step, int part, const StageWork& work) {
  double& now = free_[step.stage];
  if (part > 0) now = std::max(now, activations_[slot(part, step.microbatch)]);
  const double end = now += work.forward;
  if (part + 1 == p.parts()) {
    last_forward_ = gradients_[slot(part + 1, step.microbatch)] = end;
    return {end, 0};
  }
  return {end, activations_[slot(part + 1, step.microbatch)] = sent(step.stage, onward_, p.send(part))};
}

Clock::Placed Clock::backward(const Step& step, int part, const StageWork& work) {
  double& now = free_[step.stage];
  const double end = now = std::max(now, gradients_[slot(part + 1, step.microbatch)]) + p.backward_time(work);
  if (step.stage == p.stages - 1) first_gradient_ = end;
  if (part == 0) return {end, 0};
  return {end, gradients_[slot(part, step.microbatch)] = sent(step.stage, back_, p.send(part - 1))};
}

SimulatedPipeline simulate(const PipelineShape& shape) {
  const Pipeline pipeline(shape);
  Clock clock(pipeline);
  walk(pipeline, [&](const Step& step) { clock.place(step); });
  return clock.result();
}

}  // namespace gambrel::sim

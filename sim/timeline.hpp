// The schedule of one step: tasks on resources, pipelines of micro-batches, what is exposed and what overlaps.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "sim/plan.hpp"

namespace gambrel::sim {

/// A task occupies one resource for `seconds` once all of `after` have ended. Resources: one compute and one network
/// stream for each stage, links between stages.
struct Task {
  std::string name;
  std::uint32_t stage = 0, stream = 0;   ///< together the resource
  double seconds = 0;
  std::vector<std::uint32_t> after;      ///< indices of earlier tasks
};

struct Scheduled {
  std::vector<double> start;             ///< of each task
  double seconds = 0;                    ///< end of the last
  std::vector<std::uint32_t> critical;   ///< a longest chain of tasks, first to last
};

/// Each resource runs its tasks in the order of their indices among those that are ready (list scheduling, Graham 1966).
Scheduled schedule(std::span<const Task> tasks);

/// What one micro-batch costs on one stage, seconds; with `interleave` chunks, of one chunk.
struct StageWork {
  double forward = 0, backward_inputs = 0, backward_weights = 0;
  double send = 0;                       ///< activations to the next stage; gradients go back in the same time
};

struct PipelineShape {
  Schedule schedule = Schedule::one_forward_one_backward;
  int stages = 1, microbatches = 1, chunks = 1;
  std::vector<StageWork> work;           ///< [stage * chunks + chunk]; one entry: all alike
  bool overlap_sends = true;             ///< a send occupies its link, not the stage's arithmetic
};

struct PipelineTime {
  double seconds = 0;      ///< first forward to last backward
  double busy = 0;         ///< of the busiest stage: its own work
  double bubble = 0;       ///< seconds - busy
  double first_gradient = 0, last_forward = 0;
  std::vector<double> peak_in_flight;  ///< per stage: micro-batches (chunks / chunks) whose activations are kept at once, at most
};

/// The definition: every micro-batch of every stage placed. O(stages x microbatches x chunks).
PipelineTime simulate(const PipelineShape& shape);
/// The tasks of that schedule, to draw.
std::vector<Task> tasks_of(const PipelineShape& shape);
/// The same for stages that are alike but for the first and last, in closed form; equal to `simulate`.
PipelineTime closed_form(const PipelineShape& shape);

}  // namespace gambrel::sim

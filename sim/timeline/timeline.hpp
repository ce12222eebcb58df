// The schedule of one step: tasks on resources, pipelines of micro-batches, what is exposed and what overlaps.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "sim/plan/plan.hpp"

namespace gambrel::sim {

/// A task occupies one resource for `seconds` once all of `after` have ended. Resources: one compute and one network
/// stream for each stage, links between stages.
struct Task {
  std::string name;
  std::uint32_t stage = 0, stream = 0;   ///< together the resource
  double seconds = 0;                    ///< finite, not negative
  std::vector<std::uint32_t> after;      ///< indices of earlier tasks
};

struct Scheduled {
  std::vector<double> start;             ///< of each task
  double seconds = 0;                    ///< end of the last
  std::vector<std::uint32_t> critical;   ///< a longest chain of tasks, first to last; each starts as the one before ends
};

/// A resource that falls free takes the ready task of the lowest index (list scheduling, Graham 1966).
/// O(n log n) for n tasks and dependencies. No tasks: 0 s.
Scheduled schedule(std::span<const Task> tasks);

/// What one micro-batch costs on one stage, seconds; with `interleave` chunks, of one chunk. Only zero_bubble runs the
/// two halves of the backward pass apart; the others run them as one and send the gradients after both.
struct StageWork {
  double forward = 0, backward_inputs = 0, backward_weights = 0;
  double send = 0;                       ///< activations to the next stage; gradients go back in the same time
  bool operator==(const StageWork&) const = default;
};

/// stages, microbatches and chunks are at least 1. Chunks count for `interleaved` only (with 1 it is 1F1B); its
/// micro-batches come in groups of `stages` (a smaller last group would deadlock): a last group that is not full takes
/// the time of a full one, which counts as bubble.
struct PipelineShape {
  Schedule schedule = Schedule::one_forward_one_backward;
  int stages = 1, microbatches = 1, chunks = 1;
  std::vector<StageWork> work;           ///< [stage * chunks + chunk]; one entry: all alike
  bool overlap_sends = true;             ///< a send occupies its link, not the stage's arithmetic
};

/// Micro-batches (chunks / chunks) whose activations each stage keeps at once, at most: GPipe m, 1F1B min(p - stage, m),
/// ZB-H1 min(p, m), interleaved min(2 (p - 1 - stage) + (v - 1) p + 1, m v) / v. A list of `stages` in closed form.
struct PeakInFlight {
  Schedule schedule = Schedule::one_forward_one_backward;
  int stages = 0, microbatches = 0, chunks = 1;
  std::size_t size() const { return static_cast<std::size_t>(stages); }
  bool empty() const { return stages == 0; }
  double operator[](std::size_t stage) const;
};

struct PipelineTime {
  double seconds = 0;        ///< first forward to last backward
  double busy = 0;           ///< of the busiest stage: its own arithmetic, without sends
  double bubble = 0;         ///< seconds - busy: waiting, and sends that do not overlap
  double first_gradient = 0; ///< the last stage has all its gradients; the stages before it follow one by one
  double last_forward = 0;   ///< the last stage has done its last forward
  PeakInFlight peak_in_flight;
};

struct SimulatedPipeline : PipelineTime {
  std::vector<double> kept_at_most;  ///< per stage, counted: what `peak_in_flight` says in closed form
};

/// The definition: every micro-batch of every stage placed. O(stages x microbatches x chunks), 10 to 20 ns each.
/// Orders of a stage's work: GPipe (Huang 2019, arXiv 1811.06965), 1F1B and interleaved 1F1B (Narayanan 2021,
/// arXiv 2104.04473: 2 (p - 1 - stage) + (v - 1) p warm-up forwards), ZB-H1 (Qi 2024, arXiv 2401.10241: 1F1B's order of
/// forwards and input gradients, a stage's weight gradients late by as many micro-batches as its index).
/// A link carries one message at a time in each direction.
SimulatedPipeline simulate(const PipelineShape& shape);

/// The tasks of that schedule: stream 0 is the stage's arithmetic, 1 sends activations on, 2 gradients back. "F3.1" is the
/// forward of micro-batch 3 through chunk 1, "B" its backward, "W" its weight gradients, "send F3.1" what follows it.
/// schedule(tasks_of(shape)).seconds is simulate(shape).seconds.
std::vector<Task> tasks_of(const PipelineShape& shape);

/// Tasks to draw, with their starts. All of them, and the critical path; or of more than `most` those of the first and
/// last micro-batches alone, placed as in the whole (their `after` and the critical path are empty).
struct PlacedTasks {
  std::vector<Task> tasks;
  Scheduled when;
  std::string note;  ///< what was left out; empty: nothing
};
PlacedTasks placed_tasks(const PipelineShape& shape, std::size_t most = 200'000);

/// The same times as `simulate` (to rounding), for a search's inner loop. A formula, without allocating, for GPipe of any
/// stages; for stages that are alike and sends that overlap and are no longer than a pass (ZB-H1 of m <= p: F + c <= B);
/// for 1F1B whose sends do not overlap; and for 1F1B of a clearly heavier first or last stage. Otherwise it simulates
/// until the pipeline repeats itself, in buffers kept by the thread.
PipelineTime closed_form(const PipelineShape& shape);

/// No more than closed_form's seconds, in O(stages x chunks) whatever the stages: the busiest stage with the way to it and
/// back, or all stages as light as the lightest. Mostly within some percent.
double least_seconds(const PipelineShape& shape);

}  // namespace gambrel::sim

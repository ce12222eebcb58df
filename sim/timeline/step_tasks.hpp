// The schedule of an estimated step as tasks, to draw: each pass of a pipeline, or each operator where there is none.
#pragma once

#include "sim/estimate.hpp"

namespace gambrel::sim {

/// Streams of a stage in the tasks of `step_tasks`.
inline constexpr std::uint32_t compute_stream = 0, onward_stream = 1, back_stream = 2, network_stream = 3;

/// One step of each phase, phase after phase. With a pipeline a task is a micro-batch's pass through a stage, else one
/// operator of one layer. At most about `most` tasks; the note says what was left out.
PlacedTasks step_tasks(const Estimate& estimate, std::size_t most = 200'000);

}  // namespace gambrel::sim

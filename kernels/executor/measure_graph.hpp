// One graph run on this machine and timed, operator by operator.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "base/result.hpp"
#include "kernels/executor/executor.hpp"

namespace gambrel::kernels {

struct MeasureLimits {
  double flops = 2e11;  ///< contractions of one run: some minutes of reference kernels
  double bytes = 4e9;   ///< memory at one time
};

/// How the timed runs are done.
struct MeasureWith {
  const FastKernels* fast = nullptr;  ///< null: the reference kernels, timed once
  int runs = 40;                      ///< of fast kernels at most, and
  double seconds = 10;                ///< at least two of them, until so long has gone by
  /// Called by turns with them: what is to be measured in the same seconds. Returns the clock's speed then, in any unit.
  std::function<double()> beside = {};
};

/// Of an operator of the graph, over all its executions.
struct MeasuredOp {
  std::string name;
  std::string_view kind;
  double executions = 0, flops = 0,
         bytes = 0;  ///< flops: the nominal ones and, of a contraction, those of the vector unit
  double seconds = 0;  ///< undisturbed: the least of the timed runs, each at the fastest turn's clock, as calibrations take it
};

struct MeasuredGraph {
  std::vector<MeasuredOp> ops;
  double parameters = 0;
  int runs = 1;            ///< that were timed
  double peak_bytes = 0;   ///< what the timed executor held at the most: weights, activations, caches, in fp32
};

/// Runs the unsharded graph in fp32: once by reference kernels to count what is done, then to time the kernels (weights are drawn,
/// and packed for fast kernels, beforehand and not timed; they stay from run to run, as a served model's do). What is called beside
/// them sweeps caches, so that a run goes untimed after it. Bytes are elements touched, in the graph's formats. Errors: what Executor cannot run; a graph beyond the limits.
Result<MeasuredGraph> measure_graph(const models::ModelConfig& model, const models::Graph& graph,
                                    const models::Step& step, const MeasureLimits& limits = {},
                                    const MeasureWith& with = {});

}  // namespace gambrel::kernels

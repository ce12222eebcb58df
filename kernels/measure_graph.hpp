// One graph run on this machine and timed, operator by operator.
#pragma once

#include <string>
#include <vector>

#include "base/result.hpp"
#include "kernels/executor.hpp"

namespace gambrel::kernels {

struct MeasureLimits {
  double flops = 2e11;  ///< contractions of one run: some minutes of reference kernels
  double bytes = 4e9;   ///< memory at one time
};

/// Of an operator of the graph, over all its executions.
struct MeasuredOp {
  std::string name;
  std::string_view kind;
  double executions = 0, flops = 0,
         bytes = 0;  ///< flops: the nominal ones and, of a contraction, those of the vector unit
  double seconds = 0;
};

struct MeasuredGraph {
  std::vector<MeasuredOp> ops;
  double parameters = 0;
};

/// Runs the unsharded graph twice in fp32: once to count what is done, once to time the kernels (weights are drawn beforehand and
/// not timed). Bytes are elements touched in the graph's own formats. Errors: what Executor cannot run; a graph beyond the limits.
Result<MeasuredGraph> measure_graph(const models::ModelConfig& model, const models::Graph& graph,
                                    const models::Step& step, const MeasureLimits& limits = {});

}  // namespace gambrel::kernels

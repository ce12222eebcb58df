// Inside kernels/ only: what the executor cannot run, said before it starts.
#pragma once

#include "base/result.hpp"
#include "kernels/executor/executor.hpp"
#include "models/build.hpp"

namespace gambrel::kernels {

/// Empty: it can be run.
Diagnostics check_executable(const models::ModelConfig& model, const models::Sharding& sharding,
                             const models::Graph& graph, const models::Step& step);

}  // namespace gambrel::kernels

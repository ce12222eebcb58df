// Inside sim/ only: one step of training.
#pragma once

#include "base/result.hpp"
#include "sim/estimate.hpp"
#include "sim/network/network.hpp"
#include "sim/run.hpp"

namespace gambrel::sim {

/// Forward, backward and optimizer of all micro-batches on all chips, with the axes of the plan in this order. Error: a
/// global batch that data ranks and micro-batches do not divide.
Result<Estimate> predict_training(const Run& run, const Network* network, const std::vector<models::MeshAxis>& order);

}  // namespace gambrel::sim

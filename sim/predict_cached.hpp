// Inside sim/ only: estimates of runs that differ in numbers of the chip and sizes of the workload, as sweeps make them.
#pragma once

#include <array>
#include <map>

#include "sim/memory_fit.hpp"
#include "sim/predict.hpp"

namespace gambrel::sim {

/// What a step of a run keeps, by sequences, new and past tokens: it does not depend on the chip's numbers.
using DemandCache = std::map<std::array<double, 3>, Demand>;

/// As estimate(run); demands are looked up in `cache` and added to it. The cache belongs to one run's model, formats and plan.
Result<Estimate> estimate(const Run& run, DemandCache& cache);

}  // namespace gambrel::sim

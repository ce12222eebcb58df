// The kernels that gambrel measures: a table of cases for each place they run on.
#pragma once

#include <vector>

#include "kernels/timing/kernel_case.hpp"

namespace gambrel::kernels {

/// All cases for this CPU at these thread counts: peaks, streams, launch, then operators, each with its versions.
std::vector<KernelCase> cpu_suite(const std::vector<int>& threads);

}  // namespace gambrel::kernels

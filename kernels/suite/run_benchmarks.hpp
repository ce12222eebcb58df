// A suite under Google Benchmark: its loop, repetitions and random order; our clean samples as its times.
#pragma once

#include <functional>
#include <span>
#include <vector>

#include "kernels/timing/sampler.hpp"

namespace gambrel::kernels {

/// Each case is one registered benchmark; an iteration is one clean round of anchor and kernel, handed over as manual
/// time. Repetitions of a group's benchmarks run in random order, so that kernels share good and bad seconds.
/// `finished` hears of each case when Google Benchmark reports it. Throws std::bad_alloc if memory is short.
std::vector<Measurement> run_benchmarks(std::span<const KernelCase> cases, const Sampling& sampling,
                                        const std::function<void(const Measurement&)>& finished = {});

}  // namespace gambrel::kernels

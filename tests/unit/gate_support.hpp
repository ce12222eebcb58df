// Made-up measurements: the gate's rule is arithmetic on samples, and no test of it waits for a clock.
#pragma once

#include <random>
#include <string>
#include <vector>

#include "kernels/timing/measurement.hpp"

namespace gambrel::test {

/// A compute kernel at `efficiency` of its anchor, `noise` (relative, one sigma) on each round.
inline kernels::Measurement made_up(const std::string& name, double efficiency, unsigned seed, double noise = 0.005, int rounds = 40) {
  kernels::Measurement m{.name = name, .kernel = "gemm", .type = "f32", .version = "own", .flops = 1e8, .bytes = 1e6, .working_set = 1e6, .anchor = "fma_f32", .anchor_work = 2e8, .clock_work = 2e8, .calls_per_sample = 1, .sampled = rounds};
  std::mt19937 random(seed);
  std::normal_distribution<double> bell(1, noise);
  for (int i = 0; i < rounds; ++i) {
    const double anchor = 1e-3 * (1 + 0.1 * (i % 3));  // the clock wanders, and the ratio does not
    m.clean.push_back({0.5 * anchor / efficiency * bell(random), anchor, anchor});
  }
  return m;
}

}  // namespace gambrel::test

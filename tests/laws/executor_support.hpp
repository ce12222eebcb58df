// What the laws of the executor share: runs that must succeed, and how far two of them are apart.
#pragma once

#include <rapidcheck.h>

#include <algorithm>
#include <cmath>
#include <vector>

#include "kernels/executor/executor.hpp"

namespace gambrel::test {

inline kernels::Execution executed(kernels::Executor<double>& executor, const models::ModelConfig& model,
                                   const models::Step& step, const models::Sharding& sharding = {}) {
  const auto result = executor.run(models::build(model, {model.dtype, {}, {}}, step, sharding), step);
  if (!result) RC_FAIL(render(result.error()));
  return *result;
}

inline kernels::Execution executed(const models::ModelConfig& model, const models::Step& step) {
  kernels::Executor<double> executor(model);
  return executed(executor, model, step);
}

/// Largest difference over the largest value.
inline double distance(const std::vector<double>& a, const std::vector<double>& b) {
  RC_ASSERT(a.size() == b.size());
  double largest = 1e-300, difference = 0;
  for (std::size_t i = 0; i < a.size(); ++i) {
    RC_ASSERT(std::isfinite(a[i]));
    largest = std::max(largest, std::abs(a[i]));
    difference = std::max(difference, std::abs(a[i] - b[i]));
  }
  return difference / largest;
}

}  // namespace gambrel::test

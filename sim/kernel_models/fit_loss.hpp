// What both searches of fit.hpp minimise.
#pragma once

#include "sim/kernel_models/fit.hpp"

namespace gambrel::sim {

/// The loss of a problem over the unit cube of those constants that are searched continuously.
struct Loss {
  explicit Loss(const FitProblem& problem);

  const FitProblem& problem;
  std::vector<std::size_t> free;  ///< indices of the constants that are searched
  std::vector<double> values, seconds;

  /// Where the problem says that the search starts.
  std::vector<double> start() const;
  /// ln(predicted / measured) over a knee of 5 %; leaves the constants in `values`.
  const std::vector<double>& residuals(std::span<const double> unit);
  /// Mean soft-L1 loss of residuals, plus the pull; infinite where the model has no answer.
  double of(std::span<const double> residuals, std::span<const double> unit) const;
  /// Derivatives of the pull.
  double pull_slope(std::span<const double> unit, std::size_t i) const;
  double pull_curve() const { return 2 * problem.pull; }

 private:
  std::vector<double> usual_, residuals_;
};

}  // namespace gambrel::sim

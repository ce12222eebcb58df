#include "sim/kernel_models/fit_loss.hpp"

#include <algorithm>
#include <cmath>
#include <limits>

namespace gambrel::sim {
namespace {

/// The search's unit cube: 0 at a constant's lower bound, 1 at its upper one.
double to_unit(const Constant& c, double value) {
  return c.search == Search::logarithmic ? std::log(value / c.low) / std::log(c.high / c.low) : (value - c.low) / (c.high - c.low);
}

double from_unit(const Constant& c, double u) {
  u = std::clamp(u, 0.0, 1.0);
  return c.search == Search::logarithmic ? c.low * std::pow(c.high / c.low, u) : c.low + u * (c.high - c.low);
}

}  // namespace

Loss::Loss(const FitProblem& of_problem)
    : problem(of_problem), values(problem.start.begin(), problem.start.end()), seconds(problem.measured.size()), residuals_(problem.measured.size()) {
  for (std::size_t i = 0; i < problem.constants.size(); ++i) {
    const Constant& c = problem.constants[i];
    if (c.search == Search::fixed || c.search == Search::choice) continue;
    free.push_back(i);
    usual_.push_back(to_unit(c, c.usual));
  }
}

std::vector<double> Loss::start() const {
  std::vector<double> unit;
  for (const std::size_t i : free) unit.push_back(std::clamp(to_unit(problem.constants[i], problem.start[i]), 0.0, 1.0));
  return unit;
}

const std::vector<double>& Loss::residuals(std::span<const double> unit) {
  constexpr double knee = 0.05;
  for (std::size_t i = 0; i < free.size(); ++i) values[free[i]] = from_unit(problem.constants[free[i]], unit[i]);
  problem.predict(values, seconds);
  for (std::size_t i = 0; i < seconds.size(); ++i) residuals_[i] = std::log(seconds[i] / problem.measured[i]) / knee;
  return residuals_;
}

double Loss::of(std::span<const double> residuals, std::span<const double> unit) const {
  double sum = 0;
  for (const double z : residuals) sum += std::sqrt(1 + z * z) - 1;
  if (!std::isfinite(sum)) return std::numeric_limits<double>::infinity();
  sum /= static_cast<double>(residuals.size());
  for (std::size_t i = 0; i < free.size(); ++i) sum += problem.pull * (unit[i] - usual_[i]) * (unit[i] - usual_[i]);
  return sum;
}

double Loss::pull_slope(std::span<const double> unit, std::size_t i) const { return 2 * problem.pull * (unit[i] - usual_[i]); }

}  // namespace gambrel::sim

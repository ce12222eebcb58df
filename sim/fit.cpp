#include "sim/fit.hpp"

#include <nlopt.h>

#include <algorithm>
#include <cmath>

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

struct Loss {
  const FitProblem& problem;
  std::vector<std::size_t> free;  ///< indices of the constants that are searched
  std::vector<double> values, seconds;

  /// Soft-L1 with a knee at 5 %: outliers count in proportion, not squared.
  double at(const double* unit) {
    for (std::size_t i = 0; i < free.size(); ++i) values[free[i]] = from_unit(problem.constants[free[i]], unit[i]);
    problem.predict(values, seconds);
    double sum = 0;
    for (std::size_t i = 0; i < seconds.size(); ++i) {
      const double z = std::log(seconds[i] / problem.measured[i]) / 0.05;
      sum += std::sqrt(1 + z * z) - 1;
    }
    return std::isfinite(sum) ? sum / static_cast<double>(seconds.size()) + pulled(unit) : 1e9;
  }

  double pulled(const double* unit) const {
    double sum = 0;
    for (std::size_t i = 0; problem.pull > 0 && i < free.size(); ++i) {
      const Constant& c = problem.constants[free[i]];
      sum += problem.pull * std::pow(unit[i] - to_unit(c, c.usual), 2);
    }
    return sum;
  }
};

double objective(unsigned, const double* unit, double*, void* loss) { return static_cast<Loss*>(loss)->at(unit); }

}  // namespace

std::vector<double> fit_constants(const FitProblem& problem) {
  Loss loss{problem, {}, {problem.start.begin(), problem.start.end()}, std::vector<double>(problem.measured.size())};
  std::vector<double> unit;
  for (std::size_t i = 0; i < problem.constants.size(); ++i) {
    const Constant& c = problem.constants[i];
    if (c.search == Search::fixed) continue;
    loss.free.push_back(i);
    unit.push_back(std::clamp(to_unit(c, problem.start[i]), 0.0, 1.0));
  }
  for (int round = 0; round < 2; ++round) {
    nlopt_opt optimizer = nlopt_create(NLOPT_LN_SBPLX, static_cast<unsigned>(unit.size()));
    nlopt_set_lower_bounds1(optimizer, 0);
    nlopt_set_upper_bounds1(optimizer, 1);
    nlopt_set_min_objective(optimizer, objective, &loss);
    nlopt_set_initial_step1(optimizer, round == 0 ? 0.1 : 0.03);
    nlopt_set_ftol_rel(optimizer, 1e-5);
    nlopt_set_maxeval(optimizer, problem.evaluations / 2);
    double best = 0;
    nlopt_optimize(optimizer, unit.data(), &best);
    nlopt_destroy(optimizer);
  }
  loss.at(unit.data());
  return loss.values;
}

}  // namespace gambrel::sim

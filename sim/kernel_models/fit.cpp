#include "sim/kernel_models/fit.hpp"

#include <nlopt.h>

#include <cmath>

#include "sim/kernel_models/fit_loss.hpp"

namespace gambrel::sim {
namespace {

double objective(unsigned size, const double* unit, double*, void* data) {
  Loss& loss = *static_cast<Loss*>(data);
  const std::span<const double> at(unit, size);
  const double cost = loss.of(loss.residuals(at), at);
  return std::isfinite(cost) ? cost : 1e9;
}

}  // namespace

std::vector<double> fit_constants(const FitProblem& problem) {
  Loss loss(problem);
  std::vector<double> unit = loss.start();
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
  loss.residuals(unit);
  return loss.values;
}

}  // namespace gambrel::sim

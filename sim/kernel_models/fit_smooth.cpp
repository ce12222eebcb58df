// fit_smooth: Levenberg-Marquardt in the unit cube of the constants' ranges.
#include <algorithm>
#include <cmath>
#include <limits>
#include <random>

#include "sim/kernel_models/fit.hpp"
#include "sim/kernel_models/fit_loss.hpp"

namespace gambrel::sim {
namespace {

using Vector = std::vector<double>;

constexpr double infinity = std::numeric_limits<double>::infinity();

/// H x = g by Cholesky's decomposition of H (row-major, destroyed); nothing if H is not positive definite.
bool solve(Vector& h, Vector& x) {
  const std::size_t n = x.size();
  for (std::size_t j = 0; j < n; ++j) {
    for (std::size_t k = 0; k < j; ++k) h[j * n + j] -= h[j * n + k] * h[j * n + k];
    if (!(h[j * n + j] > 0)) return false;
    h[j * n + j] = std::sqrt(h[j * n + j]);
    for (std::size_t i = j + 1; i < n; ++i) {
      for (std::size_t k = 0; k < j; ++k) h[i * n + j] -= h[i * n + k] * h[j * n + k];
      h[i * n + j] /= h[j * n + j];
    }
  }
  for (std::size_t i = 0; i < n; ++i) {
    for (std::size_t k = 0; k < i; ++k) x[i] -= h[i * n + k] * x[k];
    x[i] /= h[i * n + i];
  }
  for (std::size_t i = n; i-- > 0;) {
    for (std::size_t k = i + 1; k < n; ++k) x[i] -= h[k * n + i] * x[k];
    x[i] /= h[i * n + i];
  }
  return true;
}

/// Gradient and Gauss-Newton matrix of the loss at a point.
struct Slope {
  Vector gradient, matrix;
};

class Descent {
 public:
  Descent(Loss& loss, Vector unit) : loss_(loss), unit_(std::move(unit)), residuals_(loss.residuals(unit_)), cost_(loss.of(residuals_, unit_)) {}

  /// At most that many steps; ends where a step gains less than a part in 10^5.
  void run(int steps) {
    constexpr double gain = 1e-5, most_damping = 1e8;
    int idle = 0;
    for (int i = 0; i < steps && idle < 3 && std::isfinite(cost_); ++i) {
      const double before = cost_;
      const Slope slope = slope_here();
      while (!step(slope) && damping_ < most_damping) damping_ *= 4;
      if (damping_ >= most_damping) return;
      damping_ = std::max(1e-6, damping_ / 5);
      idle = cost_ > before * (1 - gain) ? idle + 1 : 0;
    }
  }
  double cost() const { return cost_; }
  const Vector& unit() const { return unit_; }

 private:
  Slope slope_here() {
    constexpr double difference = 1e-4;
    const std::size_t n = unit_.size(), rows = residuals_.size();
    std::vector<Vector> columns;
    for (std::size_t j = 0; j < n; ++j) {
      Vector moved = unit_;
      const double by = moved[j] + difference <= 1 ? difference : -difference;
      moved[j] += by;
      columns.push_back(loss_.residuals(moved));
      for (std::size_t i = 0; i < rows; ++i) columns[j][i] = (columns[j][i] - residuals_[i]) / by;
    }
    Slope s{Vector(n), Vector(n * n)};
    for (std::size_t a = 0; a < n; ++a) {
      for (std::size_t i = 0; i < rows; ++i) {
        const double weighted = columns[a][i] / std::sqrt(1 + residuals_[i] * residuals_[i]) / static_cast<double>(rows);
        s.gradient[a] += weighted * residuals_[i];
        for (std::size_t b = 0; b <= a; ++b) s.matrix[a * n + b] += weighted * columns[b][i];
      }
      s.gradient[a] += loss_.pull_slope(unit_, a);
      s.matrix[a * n + a] += loss_.pull_curve();
    }
    return s;
  }

  /// Constants at a bound, that would go beyond it, stay. True if the loss became less.
  bool step(const Slope& s) {
    const std::size_t n = unit_.size();
    std::vector<std::size_t> moving;
    for (std::size_t i = 0; i < n; ++i)
      if (!(unit_[i] <= 0 && s.gradient[i] > 0) && !(unit_[i] >= 1 && s.gradient[i] < 0)) moving.push_back(i);
    Vector h(moving.size() * moving.size()), x;
    for (std::size_t a = 0; a < moving.size(); ++a) {
      x.push_back(-s.gradient[moving[a]]);
      for (std::size_t b = 0; b <= a; ++b) h[a * moving.size() + b] = s.matrix[moving[a] * n + moving[b]];
      h[a * moving.size() + a] += damping_ * (s.matrix[moving[a] * n + moving[a]] + 1e-6);
    }
    if (!solve(h, x)) return false;
    Vector next = unit_;
    for (std::size_t a = 0; a < moving.size(); ++a) next[moving[a]] = std::clamp(next[moving[a]] + x[a], 0.0, 1.0);
    Vector residuals = loss_.residuals(next);
    const double cost = loss_.of(residuals, next);
    if (!(cost < cost_)) return false;
    unit_ = std::move(next), residuals_ = std::move(residuals), cost_ = cost;
    return true;
  }

  Loss& loss_;
  Vector unit_, residuals_;
  double cost_, damping_ = 1e-2;
};

/// `unit` and points around it, the same ones everywhere.
std::vector<Vector> starts(const Vector& unit) {
  constexpr int others = 2;
  constexpr double reach = 0.25;
  std::mt19937 engine(1);
  std::vector<Vector> points{unit};
  for (int i = 0; i < others; ++i) {
    points.push_back(unit);
    for (double& u : points.back()) u = std::clamp(u + reach * (2 * static_cast<double>(engine()) / 4294967296.0 - 1), 0.02, 0.98);
  }
  return points;
}

/// The best choice, set in `values`, by searches of a few steps.
void choose(Loss& loss, const Vector& unit) {
  constexpr int steps = 20;
  const std::span<const Constant> constants = loss.problem.constants;
  for (std::size_t i = 0; i < constants.size(); ++i) {
    if (constants[i].search != Search::choice) continue;
    double best = infinity, chosen = loss.values[i];
    for (double value = constants[i].low; value <= constants[i].high; ++value) {
      loss.values[i] = value;
      Descent descent(loss, unit);
      descent.run(steps);
      if (descent.cost() < best) best = descent.cost(), chosen = value;
    }
    loss.values[i] = chosen;
  }
}

}  // namespace

std::vector<double> fit_smooth(const FitProblem& problem) {
  constexpr int steps = 60;
  Loss loss(problem);
  const Vector unit = loss.start();
  if (unit.empty()) return loss.values;
  choose(loss, unit);
  double best = infinity;
  Vector found = unit;
  for (const Vector& start : starts(unit)) {
    Descent descent(loss, start);
    descent.run(steps);
    if (descent.cost() < best) best = descent.cost(), found = descent.unit();
  }
  loss.residuals(found);
  return loss.values;
}

}  // namespace gambrel::sim

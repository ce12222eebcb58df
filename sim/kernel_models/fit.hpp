// Robust bounded fit of a model's constants to measured times, in log space.
#pragma once

#include <functional>
#include <span>
#include <string_view>
#include <vector>

namespace gambrel::sim {

/// How a constant is searched: as it is, in its logarithm, not at all (a kernel's tile, which the library chose), or by
/// trying each whole number of its range (which loops a library has; by fit_smooth only).
enum class Search { linear, logarithmic, fixed, choice };

/// One constant of a model: its usual value and what it may be.
struct Constant {
  std::string_view name;
  double usual, low, high;
  Search search;
  std::string_view unit, meaning;
};

struct FitProblem {
  std::span<const Constant> constants;
  /// Predicted seconds of every row under the given constants.
  std::function<void(std::span<const double> values, std::span<double> seconds)> predict;
  std::span<const double> measured;  ///< seconds
  std::span<const double> start;     ///< where the search starts; fixed constants keep it
  int evaluations = 4000;            ///< of the whole data set
  double pull = 0;                   ///< towards usual values: added loss of a constant that is its whole range away, see fit_constants
};

/// Minimises the sum of soft-L1 losses of ln(predicted / measured) with NLopt's Sbplx (Rowan 1990; bounded, without
/// derivatives, since tiles and waves step), restarted once from where it stopped. Deterministic. `pull` keeps constants that
/// the rows say nothing about where they usually are (a ridge penalty on the unit cube of their ranges); a mean error of 5 %
/// costs 0.41.
std::vector<double> fit_constants(const FitProblem& problem);

/// The same loss for models that are smooth in their constants, by steps of Levenberg and Marquardt on reweighted squares
/// (derivatives by differences), from `start` and from a few points around it; a choice is made by short searches first.
/// Some twenty times fewer evaluations than fit_constants. Deterministic; `evaluations` is not read.
std::vector<double> fit_smooth(const FitProblem& problem);

}  // namespace gambrel::sim

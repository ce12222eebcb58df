// Measured rows of one kernel and type -> fitted constants, and their errors on other rows.
#pragma once

#include <span>
#include <vector>

#include "sim/calibration/kernel_predictor.hpp"

namespace gambrel::sim {

/// Rows that share kernel and type.
struct MeasuredGroup {
  std::string type;
  std::vector<const KernelCall*> calls;
  std::vector<double> seconds;
};

/// Splits rows by the type whose constants each uses, in order of first appearance.
std::vector<MeasuredGroup> group_by_type(std::span<const KernelCall> calls, std::span<const double> seconds, const KernelPredictor& predictor);

/// The rows of `group` that a mask keeps.
MeasuredGroup select(const MeasuredGroup& group, const std::vector<bool>& keep);

/// Constants that fit the rows, from `start` on. `only`: names of those to search, the others keep their start; none
/// named: all that the model does not fix. `pull`: see FitProblem.
std::vector<double> fit_group(const MeasuredGroup& rows, const KernelPredictor& predictor, std::span<const double> start, std::span<const std::string> only = {}, double pull = 0);

/// Errors of given constants on rows, in all and by what bounds each row.
struct Judgement {
  Score all;
  std::vector<std::pair<std::string, Score>> regimes;
  std::vector<double> predicted;
  std::vector<std::string_view> bounds;
};
Judgement judge(const MeasuredGroup& rows, const KernelPredictor& predictor, std::span<const double> values);

/// k-fold cross-validation: each row predicted by constants that were fitted to the other folds.
Score cross_validate(const MeasuredGroup& rows, const KernelPredictor& predictor, std::span<const double> start, int folds,
                     std::span<const std::string> only = {});

}  // namespace gambrel::sim

// Published measurements of whole runs: sets of rows in configs/validation/, each a run and what was measured of it.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "base/catalog.hpp"
#include "sim/calibration/score.hpp"
#include "sim/estimate.hpp"
#include "sim/run.hpp"

namespace gambrel::sim {

/// How a published FLOP/s was counted. A training step is three forward passes; per token a pass is 2 FLOPs a weight
/// and 4 L s N H of full attention (Narayanan et al. 2021, arXiv 2104.04473 eq. 3: 72 B s L h^2 (1 + s/6h + V/12Lh)).
struct FlopCount {
  bool every_parameter = false;  ///< also those that are looked up, not multiplied ("6 P", Chowdhery et al. 2022)
  bool causal = false;           ///< attention without the masked half
  bool recomputed = false;       ///< hardware FLOPs: the layers' forward pass a second time, 96 B s L h^2 (1 + s/6h + V/16Lh)
};

/// FLOPs of all chips in one training step, one prefill, one decode step or one generation.
double counted_flops(const Run& run, const FlopCount& count);

struct SuiteRow {
  std::string name, source;
  std::string figure;               ///< how the figure is known: "read" in its source or "recalled"
  Position at;
  std::optional<Run> run;           ///< nothing if the run was refused; `problem` says why
  double measured = 0;              ///< seconds of a training step, a prefill, a decode step or a generation
  double flops = 0;                 ///< in the set's way of counting
  std::optional<double> predicted;  ///< seconds
  std::optional<double> baseline;   ///< seconds at the median FLOP/s of the set's other rows on that chip in that phase
  std::string provenance;           ///< of the operators that take most of the predicted time
  std::string bound;                ///< what bounds most of it
  bool fits = true;                 ///< in the memory, says the prediction
  bool fitted = false;              ///< the chip's sustained share was fitted to this row too
  Diagnostics problem;
};

/// Of the rows that were predicted; `worst` is the largest |p - m| / m.
struct SetScore {
  Score score;
  double worst = 0;
};

struct SuiteSet {
  std::string name, title, source, profile, notes;
  std::vector<SuiteRow> rows;
  SetScore model, baseline;         ///< baseline: of rows that have one
};

using Predictor = std::function<Result<Estimate>(const Run&)>;

/// Names of the suites that the files of configs/validation/ belong to, sorted.
std::vector<std::string> suite_names(const Catalog& catalog);

/// The sets of a suite in order of their files' names. A run is the set's profile (configs/profiles.yaml), under its
/// `defaults`, under the row's own keys. Errors: no such suite, a file that its schema refuses. A row whose run is
/// refused stays, without a measured time.
Result<std::vector<SuiteSet>> read_suite(const Catalog& catalog, std::string_view suite);
Result<SuiteSet> read_set(const Catalog& catalog, const Node& document, const Node& profiles);

/// Fills the rows' predictions and baselines and the set's scores.
void predict(SuiteSet& set, const Predictor& predictor);

/// The share of the measured products' rate at which the median of predicted / measured over the fitted rows of a chip is
/// 1 (see SustainedFit). `fitted` tells by a row's key, "SET ROW". Nothing if the chip has no fitted row that is predicted.
std::optional<SustainedFit> fit_sustained(std::vector<SuiteSet>& sets, const std::string& chip, const std::function<bool(const std::string&)>& fitted, const Predictor& predictor);

/// The same figures over several sets.
SetScore score_of(const std::vector<SuiteSet>& sets);
SetScore baseline_of(const std::vector<SuiteSet>& sets);
/// Of the rows that no constant was fitted to.
SetScore unseen_score_of(const std::vector<SuiteSet>& sets);

}  // namespace gambrel::sim

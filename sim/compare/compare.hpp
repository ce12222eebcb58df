// Variants of a run side by side: what each takes, and what it does to the numbers.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "base/catalog.hpp"
#include "kernels/numerical_error/numerical_error.hpp"
#include "sim/estimate.hpp"
#include "sim/run.hpp"

namespace gambrel::sim {

/// A run under a name: its document, `precision` and `sparsity` already laid over it, and further settings.
struct Variant {
  std::string name;
  Node run;
  std::vector<Setting> settings;
};

/// The fastest formats for groups of operators whose logits stay within an error.
struct FormatSearch {
  double budget = 0.02;              ///< relative error of the copy's logits
  std::vector<std::string> formats;  ///< recipes; empty: what the chip's units compute in at most 8 bits, and int4_wo
};

/// What is to be compared; the first variant is the baseline.
struct Comparison {
  std::string id;
  std::vector<Variant> variants;
  bool measure_error = true;
  kernels::ErrorOptions error;
  std::optional<FormatSearch> search;
};

/// One variant. Ratios are to the baseline, above 1 where the figure is larger.
struct VariantResult {
  std::string name;
  Estimate estimate;
  std::optional<kernels::ErrorReport> error;
  Seconds arithmetic{0}, movement{0}, network{0};  ///< sums over operators at peak rates: they overlap
  Bytes memory{0};                                 ///< of the fullest chip, all tiers
  double speedup = 1;                              ///< baseline's time over this one's, for the same tokens
  double memory_ratio = 1;
  std::optional<double> energy_ratio;              ///< of energies per token
  bool bound_moved = false;                        ///< another bound than the baseline's
  bool front = false;                              ///< no variant is at least as fast and as exact, and better in one of both
};

/// What a format search found.
struct FoundFormats {
  struct Choice {
    std::string group;    ///< "layers.*.mlp.down"
    std::string recipe;   ///< what it runs in
    double error = 0;     ///< relative error of the logits if it alone does
    Seconds saved{0};     ///< by it alone
  };
  double budget = 0, error = 0;   ///< allowed; measured on what was found
  std::vector<Choice> choices;    ///< in the order in which they were taken
  std::vector<Choice> considered; ///< every group in every format, alone
  int taken_back = 0;             ///< choices undone because together they were above the budget
  std::string precision;          ///< the section to write into a run file, as JSON
};

struct ComparisonResult {
  std::string id;
  std::vector<VariantResult> variants;
  std::optional<FoundFormats> found;  ///< the last variant is then its result
  std::vector<std::string> notes;
};

/// Estimates every variant and measures its error. Errors: those of read_run and estimate, of any variant; of the measurement only
/// where the user named a file of weights (else a note says why there is none).
Result<ComparisonResult> compare(const Catalog& catalog, const Comparison& comparison);

/// A variant's run, read.
Result<Run> read_variant(const Catalog& catalog, const Variant& variant);

/// The greedy search: from the baseline on, always the change of one group's format that saves most time for the error it adds
/// (errors of independent roundings add up in squares), while the budget lasts; then the choice is executed as a whole, and the
/// last changes are taken back until the measured error is within the budget. Errors: as compare; a baseline whose own error is above
/// the budget.
/// `precision` becomes the section found.
Result<FoundFormats> search_formats(const Catalog& catalog, const Variant& baseline, const FormatSearch& search, const kernels::ErrorOptions& options, Node& precision);

}  // namespace gambrel::sim

// A sweep file: a run file in which scalars may be {sweep: ...}, with what is wanted of the designs beside it.
#pragma once

#include <string>
#include <vector>

#include "base/node.hpp"
#include "base/result.hpp"
#include "sim/run.hpp"
#include "sim/sweep/design_point.hpp"
#include "sim/sweep/figures.hpp"
#include "sim/sweep/search.hpp"

namespace gambrel::sim {

/// One of the `workloads:` that a design is judged by: what it lays over the file's run.
struct WeightedWorkload {
  std::string name;
  double weight = 1;
  std::vector<Setting> settings;  ///< whole top-level keys: workload, precision, model, ...
};

/// An expression as it was written; `name` of a derived quantity.
struct ExpressionText {
  std::string name, text;
  Position at;
};

struct ObjectiveText {
  std::string name;
  bool maximise = false;
  Position at;
};

struct SweepFile {
  std::string name, file;           ///< to print; as it was opened, for commands
  Node run;                         ///< the run without its axes: first values where the run has keys, nothing where `set:` does
  std::vector<SweepAxis> axes;      ///< in the order of the file, zipped ones at the place of the first
  std::vector<std::vector<std::vector<Position>>> values_at;  ///< [axis][value][path]
  std::vector<Setting> settings;    ///< of the command line, those that are no axes: laid over `run` already
  std::vector<WeightedWorkload> workloads;  ///< empty: the run's own
  Aggregate aggregate = Aggregate::geomean;
  std::vector<ExpressionText> constraints, derived;
  std::vector<ObjectiveText> objectives;
  SearchOptions search;
  std::string keep;                 ///< "" : not said
};

/// Whether a run document is a sweep's: it has a {sweep: ...} or a key that only sweeps have.
bool is_sweep(const Node& document);

/// The run of a sweep's document alone: what `gambrel estimate SWEEP --set ...` reads, one --set for each axis.
Result<Node> run_of_sweep(Node document);

/// Takes a document apart. `settings` (of the command line) are laid over it first and may themselves be {sweep: ...}.
/// Errors, all with positions: keys no sweep or run has, a range that does not end or has no values, zipped axes of
/// different lengths or that are none, a relative value where nothing stands to multiply, a run in `workloads` that is not
/// there, more than 2^63 points.
Result<SweepFile> read_sweep(const Catalog& catalog, Node document, const std::vector<Setting>& settings);

/// The texts of {sweep: LIST} or {sweep: {from, to, factor | step | count}}, each as a person would write it; and its positions.
struct AxisValues {
  std::vector<std::string> texts;
  std::vector<Position> at;
};
Result<AxisValues> axis_values(const Node& sweep);

}  // namespace gambrel::sim

// Inside sim/sweep/ only: what the evaluators of one sweep share.
#pragma once

#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "base/catalog.hpp"
#include "sim/sweep/expression.hpp"
#include "sim/sweep/figures.hpp"
#include "sim/sweep/read_sweep.hpp"

namespace gambrel::sim {

/// Why points are impossible. A number is the hash of its text: the same in every thread, shard and resumed run.
class Messages {
 public:
  std::uint32_t number(const std::string& text);
  std::string text(std::uint32_t number) const;

 private:
  mutable std::mutex mutex_;
  std::map<std::uint32_t, std::string> texts_;
};

/// An input of an expression: its value for each combination of the axes it depends on, the first slowest.
struct InputTable {
  std::vector<std::size_t> axes;
  std::vector<double> values;
};

/// How much of a design an axis changes, the most first: the order in which a space enumerates its axes.
enum class AxisRole : std::uint8_t {
  anything,  ///< the run is read again
  chip,      ///< numbers of the chip
  workload,  ///< numbers of the workload
};

struct ChipTable;
struct SweepParts;
/// Tables of chips by the coordinates of the axes that are no chip axes; made once, for all threads.
class ChipTables {
 public:
  std::shared_ptr<const ChipTable> at(const SweepParts& parts, std::size_t workload, const std::vector<std::size_t>& chip_axes, std::span<const std::uint32_t> coordinates);

 private:
  std::mutex mutex_;
  std::map<std::vector<std::uint32_t>, std::shared_ptr<const ChipTable>> tables_;
};

struct SweepParts {
  SweepParts(const Catalog& with, SweepFile of) : catalog(with), file(std::move(of)) {}

  Catalog catalog;
  SweepFile file;
  std::optional<hw::Technology> technology;
  BoundNames bounds;
  std::vector<FigureColumn> columns;
  std::vector<Objective> objectives;
  std::vector<Expression> derived, constraints;  ///< over figures in base units, derived ones, inputs
  std::vector<InputTable> inputs;
  std::vector<double> weights;                   ///< of the workloads
  std::string config_hash;
  std::vector<AxisRole> roles;                   ///< of the axes
  std::vector<std::vector<double>> numbers;      ///< [axis][value * paths + path], of workload axes
  mutable ChipTables chips;
  mutable Messages messages;

  std::size_t workload_count() const { return weights.size(); }
  /// Of a workload and the axes' values: what read_run lays over the file's run.
  std::vector<Setting> settings_at(std::size_t workload, std::span<const std::uint32_t> coordinates) const;
  /// Index of an input's value.
  std::size_t input_index(const InputTable& input, std::span<const std::uint32_t> coordinates) const;
};

/// What each axis changes, judged at a design that can be read.
std::vector<AxisRole> axis_roles(const SweepParts& parts, std::span<const std::uint32_t> coordinates);

/// The message of an error that makes a design impossible.
std::string message_of(const Diagnostics& problems);

/// Figures of each workload -> the point's: derived quantities, constraints. One object a thread.
class Judge {
 public:
  explicit Judge(const SweepParts& parts);
  void judge(std::span<const Figures> figures, std::span<const std::uint32_t> coordinates, PointResult& result);
  void refuse(const std::string& why, PointResult& result) const;

 private:
  const SweepParts& parts_;
  std::vector<double> values_;  ///< figures, derived quantities, inputs
  std::uint32_t does_not_fit_;
};

/// Every point through read_run and estimate: the definition that fast evaluation is held to.
std::unique_ptr<PointEvaluator> reference_evaluator(std::shared_ptr<const SweepParts> parts);
/// The same figures, bit for bit, from patched chips and prepared operators.
std::unique_ptr<PointEvaluator> fast_evaluator(std::shared_ptr<const SweepParts> parts);

}  // namespace gambrel::sim

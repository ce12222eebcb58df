// The nouns of a sweep: axes and their values, a design point as coordinates, the figures that come out of it.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/diagnostic.hpp"
#include "base/result.hpp"

namespace gambrel::sim {

/// One swept key, or several that are zipped: they take their i-th values together.
struct SweepAxis {
  std::vector<std::string> paths;                ///< "chip.memory.HBM.bandwidth"
  std::vector<std::vector<std::string>> values;  ///< [value][path], as a person would write them: "2x", "6.7 TB/s"
  std::vector<Position> at;                      ///< of each path in the sweep file
  std::size_t size() const { return values.size(); }
};

/// A figure that a point has, with its unit in its name ("time_s", "energy_per_token_j"), and how a person reads it.
struct FigureColumn {
  std::string name;   ///< column of the store
  std::string label;  ///< "time per step"
  std::string unit;   ///< "s", "B", "USD", "" of a ratio
};

/// Which of a design's figures is to become small or large.
struct Objective {
  std::string name;         ///< of a figure or of a derived quantity
  std::size_t figure = 0;   ///< its index among the figures
  bool maximise = false;
};

/// Whether a point counts. Only `ok` points have figures; the others say why in the store.
enum class PointState : std::uint8_t {
  ok,          ///< evaluated, all constraints hold
  violates,    ///< evaluated, but a constraint does not hold (its index is in PointResult::reason)
  impossible,  ///< no such design: a configuration error, or it does not fit at all
};

struct PointResult {
  std::uint64_t index = 0;            ///< in the space's enumeration, first axis slowest
  PointState state = PointState::ok;
  std::uint32_t reason = 0;           ///< of `violates`: index of the first constraint that fails; of `impossible`: message number
  std::vector<double> figures;        ///< in the order of the columns; NaN where the design has no such figure
};

/// Coordinates of a point: for each axis the index of its value.
using Coordinates = std::vector<std::uint32_t>;

/// Computes design points; one object a thread. Equal coordinates give equal figures, bit for bit, whatever was
/// evaluated before.
class PointEvaluator {
 public:
  virtual ~PointEvaluator() = default;
  virtual void evaluate(std::span<const std::uint32_t> coordinates, PointResult& result) = 0;
};

/// A space of designs with the means to evaluate them: what searches and the engine know of a sweep.
class DesignSpace {
 public:
  virtual ~DesignSpace() = default;
  virtual const std::vector<SweepAxis>& axes() const = 0;
  virtual const std::vector<FigureColumn>& columns() const = 0;
  virtual const std::vector<Objective>& objectives() const = 0;
  virtual std::vector<std::string> constraints() const = 0;     ///< as they were written
  virtual std::string message(std::uint32_t number) const = 0;  ///< why points were `impossible`; thread-safe
  virtual std::unique_ptr<PointEvaluator> evaluator() const = 0;
  /// The canonical text of a design, which its 128-bit hash is taken of: equal designs, equal text, whatever sweep they
  /// occur in. Without the sweep file's own name.
  virtual std::string canonical(std::span<const std::uint32_t> coordinates) const = 0;
  /// The command that computes this point alone: `gambrel estimate FILE --set ... --set ...`.
  virtual std::string command(std::span<const std::uint32_t> coordinates) const = 0;

  /// Number of points; at most 2^63.
  std::uint64_t size() const;
  /// First axis slowest.
  Coordinates coordinates_of(std::uint64_t index) const;
  std::uint64_t index_of(std::span<const std::uint32_t> coordinates) const;
};

}  // namespace gambrel::sim

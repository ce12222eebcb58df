// The measurement store: every measurement with its samples and where it was taken, and which one is a baseline.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/sqlite.hpp"
#include "kernels/timing/context.hpp"

namespace gambrel::kernels {

/// What later measurements of a kernel on the same fingerprint are compared with.
struct Baseline {
  Measurement measurement;
  double spread = 0;  ///< standard deviation of fresh processes with identical code, relative, by
  Pace pace = Pace::anchor;
  std::string recorded;
};

/// A measurement of before, without its samples.
struct Past {
  std::int64_t id = 0;
  std::string date, verdict;
  double seconds = 0, efficiency = 0, clock_speed = 0;
  double speed(Pace pace) const { return pace == Pace::clock ? clock_speed : efficiency; }
};

/// An SQLite file; `measured` is its view for people. What is saved is on the disk when save() returns.
class MeasurementStore {
 public:
  static Result<MeasurementStore> open(const std::string& path, Database::Access access = Database::Access::create);

  /// All that follows was taken here and now; returns the run's number.
  Result<std::int64_t> begin_run(const Context& context, std::string_view purpose);
  /// A measurement with its samples, at once or not at all; returns its number. `verdict`: a gate's word, or "".
  Result<std::int64_t> save(std::int64_t run, const Context& context, const Measurement& measurement, std::string_view verdict = "");
  Result<void> set_baseline(const std::string& fingerprint, std::int64_t measurement, const std::string& name, double spread, Pace pace = Pace::anchor);

  /// Error: its samples are gone.
  Result<std::optional<Baseline>> baseline(const std::string& name, const std::string& fingerprint);
  /// The last `count` measurements that passed a gate or were recorded by it, and the last `count` that were recorded, the
  /// newest first.
  Result<std::vector<Past>> history(const std::string& name, const std::string& fingerprint, int count);
  Result<Measurement> measurement(std::int64_t id);

  /// Names of the kernels that have a baseline and were measured by runs with this purpose, in the order of first appearance.
  Result<std::vector<std::string>> gated(std::string_view purpose);
  /// Takes the baselines away that a kernel of such runs has; its measurements stay.
  Result<void> forget(std::string_view purpose, const std::string& name);
  /// The newest measurement of every name, in the order of their first appearance.
  Result<std::vector<Measurement>> newest();

 private:
  explicit MeasurementStore(Database database) : database_(std::move(database)) {}
  Database database_;
};

/// CSV as `gambrel calibrate --measurements` reads it: device, op, dtype, the sizes, measured_us (the median clean sample); then version,
/// library, selected, threads, flops, bytes, anchor, efficiency (by undisturbed times), clean samples. `device`: the chip's name, or what its file lists under `aliases`.
std::string to_csv(const std::vector<Measurement>& measurements, const std::string& device);

/// Measurements from such a file, or from one with at least `measured_us`: each row is one sample without an anchor;
/// rows with the same other cells are samples of one kernel. Columns that are no numbers become part of the name.
/// `device`: of the rows, if no column says it.
Result<std::vector<Measurement>> from_csv(const std::string& text, const std::string& file, const std::string& device = "");

}  // namespace gambrel::kernels

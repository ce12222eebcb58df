// The designs of a sweep file, each a run.
#pragma once

#include <memory>

#include "sim/sweep/read_sweep.hpp"

namespace gambrel::sim {

struct SweepParts;

class RunSpace final : public DesignSpace {
 public:
  /// Reads what the axes' values have in common, and one design that works. Errors, with positions: values that the
  /// schemas refuse, expressions with unknown names or mixed dimensions, and what is wrong if no design can be read.
  static Result<std::unique_ptr<RunSpace>> open(const Catalog& catalog, SweepFile file);

  const std::vector<SweepAxis>& axes() const override;
  const std::vector<FigureColumn>& columns() const override;
  const std::vector<Objective>& objectives() const override;
  std::vector<std::string> constraints() const override;
  std::string message(std::uint32_t number) const override;
  std::unique_ptr<PointEvaluator> evaluator() const override;
  std::string canonical(std::span<const std::uint32_t> coordinates) const override;
  std::string command(std::span<const std::uint32_t> coordinates) const override;

  /// Each point by read_run and estimate, nothing kept between points: what evaluator() must equal.
  std::unique_ptr<PointEvaluator> reference_evaluator() const;
  const SweepFile& file() const;
  const BoundNames& bounds() const;
  /// XXH3-128 of the sweep's run, its models and machines, calibrations and technology.
  const std::string& config_hash() const;
  const SweepParts& parts() const { return *parts_; }

 private:
  /// A line of the canonical text: fixed, or an axis' value.
  struct Line {
    std::string front;  ///< "workload.batch=32\n", or "workload.batch=" before a value
    std::size_t axis = no_axis, path = 0;
    std::vector<std::string> texts;  ///< by the axis' value, if not as written
  };
  static constexpr std::size_t no_axis = static_cast<std::size_t>(-1);

  explicit RunSpace(std::shared_ptr<SweepParts> parts) : parts_(std::move(parts)) {}
  Result<void> prepare_canonical();
  Result<void> hash_files(std::string_view key, std::string& all);

  std::shared_ptr<SweepParts> parts_;
  std::vector<Line> lines_;
};

}  // namespace gambrel::sim

// Which points are kept when not all are: the exact multi-objective front, or the best few. Memory bounded by what is kept.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.hpp"
#include "sim/sweep/design_point.hpp"

namespace gambrel::sim {

/// What a store keeps of the points that were evaluated.
struct Keep {
  enum class Kind { all, pareto, top };
  Kind kind = Kind::all;
  std::uint64_t count = 0;  ///< of top: how many

  bool operator==(const Keep&) const = default;
};

/// "all", "pareto" or "top:N". Error: anything else.
Result<Keep> parse_keep(std::string_view text);
std::string to_string(const Keep& keep);

/// A point's objectives, all to be minimised; empty if it has none to compare (not `ok`, or a figure is NaN).
std::vector<double> goals_of(const std::vector<Objective>& objectives, const PointResult& point);

/// A set of points chosen among all that were ever added, in whatever order they came. Of points with equal objectives
/// the one with the lowest index is kept, so that the choice depends on nothing but the points.
class Selection {
 public:
  virtual ~Selection() = default;
  /// Whether the point is now among the chosen. Points that are not `ok`, or whose objective is NaN, never are.
  virtual bool add(const PointResult& point) = 0;
  /// The chosen, by index.
  virtual std::vector<PointResult> members() const = 0;
  virtual std::size_t size() const = 0;
  virtual std::unique_ptr<Selection> fresh() const = 0;  ///< an empty one of the same kind
};

/// Points that no other is at least as good as in every objective and better in one. One objective: the best point.
class ParetoArchive final : public Selection {
 public:
  explicit ParetoArchive(std::vector<Objective> objectives) : objectives_(std::move(objectives)), goals_(objectives_.size()) {}
  bool add(const PointResult& point) override;
  std::vector<PointResult> members() const override;
  std::size_t size() const override { return slots_.size(); }
  std::unique_ptr<Selection> fresh() const override { return std::make_unique<ParetoArchive>(objectives_); }

 private:
  std::span<const double> row(std::size_t i) const { return {rows_.data() + i * goals_.size(), goals_.size()}; }
  std::uint64_t index_of(std::size_t i) const { return points_[slots_[i]].index; }
  std::vector<double>::iterator row_begin(std::size_t i) { return rows_.begin() + static_cast<std::ptrdiff_t>(i * goals_.size()); }
  bool covered(std::size_t i) const;            ///< whether member i is at least as good as goals_ everywhere
  bool beaten_before(std::size_t place);        ///< by a member before that place
  void remove_beaten_from(std::size_t place);   ///< members that goals_ beats
  std::uint32_t store(const PointResult& point);

  std::vector<Objective> objectives_;
  std::vector<double> goals_;        ///< of the point being added
  std::vector<double> rows_;         ///< goals of the members, one after the other, in lexicographic order
  std::vector<std::uint32_t> slots_; ///< where the members are among points_, in the same order: cheap to move up
  std::vector<PointResult> points_;  ///< and free ones
  std::vector<std::uint32_t> free_;  ///< slots
  std::size_t last_winner_ = 0;      ///< who beat the last point that was refused: likely to beat the next
};

/// The best by the first objective, at most `count`.
class TopList final : public Selection {
 public:
  TopList(std::vector<Objective> objectives, std::size_t count) : objectives_(std::move(objectives)), count_(count) {}
  bool add(const PointResult& point) override;
  std::vector<PointResult> members() const override;
  std::size_t size() const override { return ranked_.size(); }
  std::unique_ptr<Selection> fresh() const override { return std::make_unique<TopList>(objectives_, count_); }

 private:
  struct Ranked {
    double goal;
    PointResult point;
  };
  std::vector<Objective> objectives_;
  std::size_t count_;
  std::vector<Ranked> ranked_;
};

/// None for Keep::all.
std::unique_ptr<Selection> make_selection(const Keep& keep, const std::vector<Objective>& objectives);

/// The point of a front that gives up least everywhere: nearest to the ideal point, every objective scaled to 0..1 between
/// its best and its worst on the front (compromise solution, Yu 1973). Its place in `front`; none of an empty one.
std::optional<std::size_t> knee_point(const std::vector<Objective>& objectives, std::span<const PointResult> front);

}  // namespace gambrel::sim

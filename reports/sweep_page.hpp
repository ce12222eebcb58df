// The page of a sweep: its front, where designs lie between two objectives, what each axis does, the design to copy.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "sim/sweep/design_point.hpp"
#include "sim/sweep/sensitivity.hpp"

namespace gambrel::reports {

/// For each pair of values of two axes the best of the designs that were added, by one objective.
struct HeatMap {
  std::size_t across = 0, down = 0, objective = 0;  ///< indices of axes and of the objective
  std::vector<double> best;                         ///< [down value][across value]; NaN: no design
  std::vector<std::uint64_t> index;                 ///< of that design
};

/// What a page needs of the stored points, gathered one by one: memory does not grow with their number.
class SweepPage {
 public:
  SweepPage(const sim::DesignSpace& space, std::string title);

  /// Every stored point, in any order; those that are not `ok` are counted only.
  void add(const sim::PointResult& point);

  std::vector<std::pair<std::string, std::string>> facts;  ///< label and text, above the charts
  std::vector<sim::PointResult> front;                     ///< by index
  std::optional<std::size_t> knee;                         ///< its place in `front`
  std::optional<sim::Sensitivity> sensitivity;             ///< of the knee
  std::vector<std::string> bounds;                         ///< of each front point, what bounds it; empty: not known

  const sim::DesignSpace& space() const { return *space_; }
  const std::string& title() const { return title_; }
  const std::vector<HeatMap>& maps() const { return maps_; }
  /// Some of the points, evenly spread over the order in which they came.
  const std::vector<sim::PointResult>& sample() const { return sample_; }
  std::uint64_t added() const { return added_; }

 private:
  const sim::DesignSpace* space_;
  std::string title_;
  std::vector<HeatMap> maps_;
  std::vector<sim::PointResult> sample_;
  std::uint64_t added_ = 0, seen_ = 0, stride_ = 1;
};

/// One offline HTML file; pointing at a mark shows the design, choosing it shows the command that computes it alone.
std::string write_sweep_html(const SweepPage& page);

}  // namespace gambrel::reports

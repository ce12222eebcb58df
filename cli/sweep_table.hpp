// What `sweep` prints: the Pareto front, what was looked at, what a design hangs on.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <vector>

#include "sim/sweep/engine.hpp"
#include "sim/sweep/run_space.hpp"
#include "sim/sweep/sensitivity.hpp"

namespace gambrel::cli {

struct SweepResult {
  const sim::RunSpace& space;
  std::vector<sim::PointResult> front;   ///< by index
  std::optional<std::size_t> knee;       ///< its index in `front`
  sim::SweepSummary summary;
  std::string database;                  ///< "" : in memory
  std::optional<sim::Sensitivity> sensitivity;  ///< of the knee, or the only point
};

/// `format`: table, json, csv or markdown.
std::string sweep_text(const SweepResult& result, std::string_view format, bool colour);

/// What bounds most of a design's time.
std::string bound_of(const sim::RunSpace& space, const sim::PointResult& point);

/// Label and text: objectives, constraints, what was looked at.
std::vector<std::pair<std::string, std::string>> sweep_facts(const SweepResult& result);

/// What a dry run says. `seconds`: of one point on one thread, measured; 0 if none could be.
std::string dry_run_text(const sim::RunSpace& space, std::uint64_t points, double seconds, unsigned jobs, std::string_view format);

}  // namespace gambrel::cli

// What the tests of sweeps share: spaces from text, points by both evaluators.
#pragma once

#include "run_support.hpp"
#include "sim/sweep/run_space.hpp"

namespace gambrel::test {

inline Result<std::unique_ptr<sim::RunSpace>> try_space(const std::string& text, const std::vector<std::string>& set = {}) {
  return parse_yaml(text, "sweep.yaml")
      .and_then([&](Node document) { return sim::read_sweep(shipped(), std::move(document), settings(set)); })
      .and_then([](sim::SweepFile file) { return sim::RunSpace::open(shipped(), std::move(file)); });
}

inline std::unique_ptr<sim::RunSpace> space_of(const std::string& text, const std::vector<std::string>& set = {}) {
  auto space = try_space(text, set);
  REQUIRE_MESSAGE(space.has_value(), placed(space ? Diagnostics{} : space.error()));
  return std::move(*space);
}

inline std::string sweep_errors(const std::string& text, const std::vector<std::string>& set = {}) {
  const auto space = try_space(text, set);
  return space ? "accepted" : placed(space.error());
}

inline sim::PointResult point_of(sim::PointEvaluator& evaluator, const sim::RunSpace& space, std::uint64_t index) {
  sim::PointResult result{.index = index};
  evaluator.evaluate(space.coordinates_of(index), result);
  return result;
}

inline double figure_of(const sim::RunSpace& space, const sim::PointResult& point, std::string_view column) {
  for (std::size_t i = 0; i < space.columns().size(); ++i)
    if (space.columns()[i].name == column) return point.figures.at(i);
  FAIL("no column " << std::string(column));
  return 0;
}

}  // namespace gambrel::test

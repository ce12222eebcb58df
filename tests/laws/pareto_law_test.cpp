// Laws of fronts: nothing on them is beaten, nothing off them is missing, and the order of points does not matter.
#include <doctest/doctest.h>
#include <rapidcheck.h>

#include <algorithm>
#include <limits>

#include "sim/sweep/pareto.hpp"
#include "tests/unit/formula_space.hpp"

namespace gambrel::sim {
namespace {

struct Cloud {
  std::vector<Objective> objectives;
  std::vector<PointResult> points;
};

/// Coarse figures, so that equal and dominated points abound.
Cloud any_cloud() {
  Cloud cloud;
  const auto count = static_cast<std::size_t>(*rc::gen::inRange(1, 5));
  for (std::size_t o = 0; o < count; ++o) cloud.objectives.push_back({"goal", o, *rc::gen::arbitrary<bool>()});
  const int points = *rc::gen::inRange(0, 80);
  for (int i = 0; i < points; ++i) {
    PointResult point{.index = static_cast<std::uint64_t>(i)};
    for (std::size_t o = 0; o < count; ++o) point.figures.push_back(*rc::gen::inRange(-4, 6));
    if (*rc::gen::inRange(0, 12) == 0) point.figures[0] = std::numeric_limits<double>::quiet_NaN();
    if (*rc::gen::inRange(0, 12) == 0) point.state = PointState::violates;
    cloud.points.push_back(std::move(point));
  }
  return cloud;
}

void shuffle(std::vector<PointResult>& points) {
  for (std::size_t i = points.size(); i > 1; --i) std::swap(points[i - 1], points[static_cast<std::size_t>(*rc::gen::inRange<int>(0, static_cast<int>(i)))]);
}

std::vector<std::uint64_t> chosen(Selection& selection, const std::vector<PointResult>& points) {
  for (const PointResult& point : points) selection.add(point);
  return test::indices_of(selection.members());
}

}  // namespace

TEST_CASE("law: the archive is the front by definition, in any order") {
  CHECK(rc::check("archive == definition", [] {
    Cloud cloud = any_cloud();
    const auto expected = test::front_by_definition(cloud.objectives, cloud.points);
    for (int order = 0; order < 3; ++order) {
      ParetoArchive archive(cloud.objectives);
      RC_ASSERT(chosen(archive, cloud.points) == expected);
      shuffle(cloud.points);
    }
  }));
}

TEST_CASE("law: the front of parts' fronts is the front of the whole; adding a front to itself changes nothing") {
  CHECK(rc::check("union of shards", [] {
    Cloud cloud = any_cloud();
    const auto expected = test::front_by_definition(cloud.objectives, cloud.points);
    shuffle(cloud.points);
    const int shards = *rc::gen::inRange(1, 5);
    ParetoArchive whole(cloud.objectives);
    for (int s = 0; s < shards; ++s) {
      ParetoArchive part(cloud.objectives);
      for (std::size_t i = static_cast<std::size_t>(s); i < cloud.points.size(); i += static_cast<std::size_t>(shards)) part.add(cloud.points[i]);
      for (const PointResult& member : part.members()) whole.add(member);
    }
    RC_ASSERT(test::indices_of(whole.members()) == expected);
    for (const PointResult& member : whole.members()) RC_ASSERT(!whole.add(member));
  }));
}

TEST_CASE("law: a point that is refused is beaten, or equal and later; a point that is taken is a member") {
  CHECK(rc::check("refusal has a reason", [] {
    const Cloud cloud = any_cloud();
    ParetoArchive archive(cloud.objectives);
    for (const PointResult& point : cloud.points) {
      const auto members = archive.members();
      const bool taken = archive.add(point);
      const auto goals = goals_of(cloud.objectives, point);
      const bool covered = std::ranges::any_of(members, [&](const PointResult& m) {
        const auto other = goals_of(cloud.objectives, m);
        for (std::size_t o = 0; o < goals.size(); ++o)
          if (other[o] > goals[o]) return false;
        return true;
      });
      RC_ASSERT(taken == (!goals.empty() && !covered));  // indices rise, so an equal one before wins
    }
  }));
}

TEST_CASE("law: the best few are the first of all sorted by goal and index, in any order and from parts") {
  CHECK(rc::check("top == sorted", [] {
    Cloud cloud = any_cloud();
    for (PointResult& point : cloud.points) point.figures.push_back(static_cast<double>(point.index));  // all different designs
    const auto count = static_cast<std::size_t>(*rc::gen::inRange(1, 10));
    std::vector<std::pair<double, std::uint64_t>> sorted;
    for (const PointResult& point : cloud.points)
      if (const auto goals = goals_of({cloud.objectives[0]}, point); !goals.empty()) sorted.emplace_back(goals[0], point.index);
    std::ranges::sort(sorted);
    sorted.resize(std::min(count, sorted.size()));
    std::vector<std::uint64_t> expected;
    for (const auto& [goal, index] : sorted) expected.push_back(index);
    std::ranges::sort(expected);
    shuffle(cloud.points);
    TopList top(cloud.objectives, count), half(cloud.objectives, count);
    RC_ASSERT(chosen(top, cloud.points) == expected);
    for (std::size_t i = 0; i < cloud.points.size(); i += 2) half.add(cloud.points[i]);
    TopList joined(cloud.objectives, count);
    for (const PointResult& member : half.members()) joined.add(member);
    for (std::size_t i = 1; i < cloud.points.size(); i += 2) joined.add(cloud.points[i]);
    RC_ASSERT(test::indices_of(joined.members()) == expected);
  }));
}

}  // namespace gambrel::sim

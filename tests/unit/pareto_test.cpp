// Fronts, the best few and knees of hand-made points.
#include "sim/sweep/pareto.hpp"

#include <doctest/doctest.h>

#include <cmath>
#include <limits>

using namespace gambrel;
using namespace gambrel::sim;

namespace {

const std::vector<Objective> two{{"time_s", 0, false}, {"rate", 1, true}};

PointResult at(std::uint64_t index, std::vector<double> figures, PointState state = PointState::ok) { return {index, state, 0, std::move(figures)}; }

std::vector<std::uint64_t> chosen(const Selection& selection) {
  std::vector<std::uint64_t> indices;
  for (const PointResult& p : selection.members()) indices.push_back(p.index);
  return indices;
}

using Indices = std::vector<std::uint64_t>;

}  // namespace

TEST_CASE("pareto: small time and high rate win; in between nothing is lost") {
  ParetoArchive archive(two);
  CHECK(archive.add(at(0, {3, 3})));
  CHECK_FALSE(archive.add(at(1, {4, 3})));  // slower at the same rate
  CHECK_FALSE(archive.add(at(2, {3, 2})));
  CHECK(archive.add(at(3, {1, 1})));
  CHECK(archive.add(at(4, {2, 2})));
  CHECK(chosen(archive) == Indices{0, 3, 4});
  CHECK(archive.add(at(5, {2, 9})));  // beats 0 and 4
  CHECK(chosen(archive) == Indices{3, 5});
}

TEST_CASE("pareto: of equal points the lowest index stays, whichever came first") {
  ParetoArchive archive(two);
  CHECK(archive.add(at(7, {1, 1})));
  CHECK_FALSE(archive.add(at(8, {1, 1})));
  CHECK(archive.add(at(2, {1, 1})));
  CHECK(chosen(archive) == Indices{2});
  CHECK(archive.add(at(1, {1, 1})));
  CHECK_FALSE(archive.add(at(2, {1, 1})));
  CHECK(chosen(archive) == Indices{1});
}

TEST_CASE("pareto: points that violate, cannot be or have no figure are no candidates") {
  ParetoArchive archive(two);
  CHECK_FALSE(archive.add(at(0, {1, 1}, PointState::violates)));
  CHECK_FALSE(archive.add(at(1, {1, 1}, PointState::impossible)));
  CHECK_FALSE(archive.add(at(2, {std::nan(""), 1})));
  CHECK(archive.size() == 0);
  CHECK(goals_of(two, at(2, {1, std::nan("")})).empty());
  CHECK(archive.add(at(3, {std::numeric_limits<double>::infinity(), 1})));
}

TEST_CASE("pareto: one objective has one best point, three have what no other covers") {
  ParetoArchive one({{"time_s", 0, false}});
  for (std::uint64_t i = 0; i < 20; ++i) one.add(at(i, {std::abs(static_cast<double>(i) - 11.2)}));
  CHECK(chosen(one) == Indices{11});

  ParetoArchive three({{"a", 0, false}, {"b", 1, false}, {"c", 2, false}});
  CHECK(three.add(at(0, {1, 2, 3})));
  CHECK(three.add(at(1, {2, 3, 1})));
  CHECK(three.add(at(2, {3, 1, 2})));
  CHECK_FALSE(three.add(at(3, {3, 2, 3})));
  CHECK(three.add(at(4, {2, 1, 2})));  // beats 2
  CHECK(chosen(three) == Indices{0, 1, 4});
}

TEST_CASE("pareto: top keeps the best by the first objective, equal designs once") {
  TopList top(two, 3);
  for (std::uint64_t i = 10; i-- > 0;) top.add(at(i, {std::abs(static_cast<double>(i) - 4.25), 0}));
  CHECK(chosen(top) == Indices{3, 4, 5});
  CHECK_FALSE(top.add(at(12, {0.25, 0})));  // the design of 4 over again
  CHECK(top.add(at(1, {0.25, 0})));         // and under a lower index
  CHECK(chosen(top) == Indices{1, 3, 5});
  CHECK(top.add(at(13, {0.25, 7})));
  CHECK(chosen(top) == Indices{1, 5, 13});
}

TEST_CASE("pareto: the knee gives up least") {
  const std::vector<PointResult> front{at(0, {1, 0}), at(1, {2, 90}), at(2, {100, 100})};
  CHECK(knee_point(two, front) == 1);
  CHECK(knee_point(two, {}) == std::nullopt);
  CHECK(knee_point(two, std::vector<PointResult>{at(5, {1, 1})}) == 0);
}

TEST_CASE("pareto: what to keep as text") {
  CHECK(parse_keep("all").value() == Keep{});
  CHECK(parse_keep("pareto").value().kind == Keep::Kind::pareto);
  CHECK(parse_keep("top:25").value().count == 25);
  for (const char* text : {"all", "pareto", "top:7"}) CHECK(to_string(parse_keep(text).value()) == text);
  for (const char* text : {"", "top", "top:", "top:0", "top:-1", "top:3x", "best", "Pareto"}) {
    CAPTURE(text);
    const auto keep = parse_keep(text);
    REQUIRE_FALSE(keep.has_value());
    CHECK(keep.error()[0].fault == Fault::usage);
    CHECK_FALSE(keep.error()[0].hint.empty());
  }
}

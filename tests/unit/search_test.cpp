// Searches on a formula: none names a point twice, all are repeatable, each comes near the exhaustive front.
#include "sim/sweep/search.hpp"

#include <algorithm>
#include <array>
#include <map>
#include <set>

#include "sim/sweep/search_sequence.hpp"
#include "tests/unit/formula_space.hpp"

using namespace gambrel;
using namespace gambrel::sim;
using namespace gambrel::test;

namespace {

const std::vector<std::string> kinds{"exhaustive", "random", "latin_hypercube", "sobol", "coordinate_descent", "nsga2"};

/// Runs a search to its end; `most` at a time.
std::vector<std::uint64_t> named_by(const DesignSpace& space, const SearchOptions& options, std::size_t most = 50) {
  auto search = make_search(space, options);
  REQUIRE_MESSAGE(search.has_value(), render(search.error()));
  const auto evaluator = space.evaluator();
  std::vector<std::uint64_t> all;
  while (!(*search)->done()) {
    const auto indices = (*search)->next(most);
    REQUIRE_FALSE(indices.empty());
    REQUIRE(indices.size() <= most);
    std::vector<PointResult> results;
    for (const std::uint64_t index : indices) {
      REQUIRE(index < space.size());
      PointResult result;
      evaluator->evaluate(space.coordinates_of(index), result);
      result.index = index;
      results.push_back(std::move(result));
    }
    (*search)->report(results);
    all.insert(all.end(), indices.begin(), indices.end());
  }
  CHECK((*search)->next(10).empty());
  return all;
}

bool built(const std::string& kind) { return make_search(FormulaSpace({2, 2}), {.kind = kind}).has_value(); }

/// How much of the true front's hypervolume (two objectives, both to be minimised, from the worst corner) a set covers.
double hypervolume_share(const std::vector<PointResult>& all, const std::vector<std::uint64_t>& named, const std::vector<Objective>& objectives) {
  double worst[2] = {0, 0};
  for (const PointResult& p : all)
    if (const auto g = goals_of(objectives, p); !g.empty())
      for (int o = 0; o < 2; ++o) worst[o] = std::max(worst[o], g[static_cast<std::size_t>(o)]);
  const auto volume = [&](const std::vector<std::uint64_t>& indices) {
    ParetoArchive archive(objectives);
    for (const std::uint64_t index : indices) archive.add(all[index]);
    std::vector<std::vector<double>> front;
    for (const PointResult& p : archive.members()) front.push_back(goals_of(objectives, p));
    std::ranges::sort(front);
    double sum = 0, left = worst[1];
    for (const auto& g : front) {
      sum += (worst[0] - g[0]) * (left - g[1]);
      left = g[1];
    }
    return sum;
  };
  return volume(named) / volume(indices_of(all));
}

}  // namespace

TEST_CASE("search: no kind names a point twice, and each is repeatable whatever it is asked for at a time") {
  const FormulaSpace space({9, 8, 7, 6});
  for (const std::string& kind : kinds) {
    if (!built(kind)) continue;
    CAPTURE(kind);
    const SearchOptions options{.kind = kind, .points = 500, .seed = 4};
    const auto named = named_by(space, options);
    CHECK(std::set(named.begin(), named.end()).size() == named.size());
    CHECK(named.size() == (kind == "exhaustive" ? space.size() : kind == "latin_hypercube" ? named.size() : 500));
    CHECK(named_by(space, options, 1) == named);
    CHECK(named_by(space, options, 100'000) == named);
    if (kind != "exhaustive") CHECK(named_by(space, {.kind = kind, .points = 500, .seed = 5}) != named);
  }
}

TEST_CASE("search: asked for as many points as there are, every kind but descent names all") {
  const FormulaSpace space({7, 6, 5});
  for (const std::string& kind : kinds) {
    if (!built(kind)) continue;
    CAPTURE(kind);
    for (const std::uint64_t points : {space.size(), 10 * space.size()}) {
      const auto named = named_by(space, {.kind = kind, .points = points});
      if (kind == "coordinate_descent") CHECK(named.size() > space.size() / 2);
      else CHECK(named.size() == space.size());
    }
  }
}

TEST_CASE("search: each kind comes near the exhaustive front") {
  FormulaSpace space({16, 15, 14});
  const auto all = all_points(space);
  const std::map<std::string, double> at_least{{"exhaustive", 1.0}, {"random", 0.9}, {"latin_hypercube", 0.9}, {"sobol", 0.9}, {"coordinate_descent", 0.97}, {"nsga2", 0.97}};
  for (const std::string& kind : kinds) {
    if (!built(kind)) continue;
    CAPTURE(kind);
    const auto named = named_by(space, {.kind = kind, .points = 600, .seed = 2});
    CHECK(hypervolume_share(all, named, space.objectives()) >= at_least.at(kind));
  }
}

TEST_CASE("search: descent and NSGA-II find the best of one objective") {
  struct One final : FormulaSpace {
    One() : FormulaSpace({20, 20, 20}) { objectives_.resize(1); }
  } const space;
  const auto all = all_points(space);
  const std::uint64_t best = front_by_definition(space.objectives(), all).front();
  for (const std::string kind : {"coordinate_descent", "nsga2"}) {
    if (!built(kind)) continue;
    CAPTURE(kind);
    const auto named = named_by(space, {.kind = kind, .points = 1000});
    CHECK(std::ranges::find(named, best) != named.end());
  }
}

TEST_CASE("search: points where nothing is possible end every search") {
  struct None final : FormulaSpace {
    None() : FormulaSpace({6, 5}) { objectives_[0].figure = 2; columns_[2].name = "nothing"; }
    std::unique_ptr<PointEvaluator> evaluator() const override {
      struct Impossible final : PointEvaluator {
        void evaluate(std::span<const std::uint32_t>, PointResult& result) override { result.state = PointState::impossible; }
      };
      return std::make_unique<Impossible>();
    }
  } const space;
  for (const std::string& kind : kinds)
    if (built(kind)) CHECK(named_by(space, {.kind = kind, .points = 20}).size() <= 30);
}

TEST_CASE("search: a hypercube has a point in every stratum of every axis; Sobol and random spread") {
  const FormulaSpace space({50, 50, 50});
  const auto lhs = named_by(space, {.kind = "latin_hypercube", .points = 50});
  REQUIRE(lhs.size() == 50);
  for (std::size_t axis = 0; axis < 3; ++axis) {
    std::set<std::uint32_t> values;
    for (const std::uint64_t index : lhs) values.insert(space.coordinates_of(index)[axis]);
    CHECK(values.size() == 50);
  }
  for (const char* kind : {"sobol", "random"}) {
    std::array<int, 8> octants{};
    for (const std::uint64_t index : named_by(space, {.kind = kind, .points = 800})) {
      const Coordinates c = space.coordinates_of(index);
      ++octants[(c[0] < 25 ? 0u : 4u) + (c[1] < 25 ? 0u : 2u) + (c[2] < 25 ? 0u : 1u)];
    }
    for (const int count : octants) CHECK(std::abs(count - 100) < (kind == std::string("sobol") ? 12 : 45));
  }
}

TEST_CASE("search: a part of the exhaustive one, and the largest space") {
  const FormulaSpace space({10, 10});
  CHECK(named_by(space, {.first = 20, .last = 23}) == std::vector<std::uint64_t>{20, 21, 22});
  struct Vast final : FormulaSpace {
    Vast() : FormulaSpace(std::vector<std::uint32_t>(63, 2)) {}
  } const vast;
  const auto sequence = make_sequence(vast, {.kind = "random", .points = 1'000'000'000'000, .seed = 1});
  REQUIRE(sequence.has_value());
  CHECK((*sequence)->size() == 1'000'000'000'000);
  CHECK((*sequence)->at(999'999'999'999) < vast.size());
  CHECK((*sequence)->at(1) != (*sequence)->at(2));
  CHECK(make_sequence(vast, {.kind = "sobol", .points = 1'000'000'000}).error()[0].hint.find("random") != std::string::npos);
}

TEST_CASE("search: unknown kinds") {
  const auto refused = make_search(FormulaSpace({2}), {.kind = "nsga3"});
  REQUIRE_FALSE(refused.has_value());
  CHECK(refused.error()[0].hint == "did you mean 'nsga2'?");
  CHECK(make_search(FormulaSpace({2}), {.kind = "gradient"}).error()[0].hint.find("exhaustive, random") != std::string::npos);
  CHECK(search_learns("coordinate_descent"));
  CHECK_FALSE(search_learns("sobol"));
}

// The engine on formulas: equal tables whatever the threads, shards, interruptions and order; nothing computed twice.
#include "sim/sweep/engine.hpp"

#include "tests/unit/formula_space.hpp"

using namespace gambrel;
using namespace gambrel::sim;
using namespace gambrel::test;

namespace {

std::string undisturbed(const DesignSpace& space, const std::string& keep, const SearchOptions& search = {}) {
  ResultStore store = open_store(in_memory, space, keep, search);
  const SweepSummary summary = run(space, store, {.search = search, .jobs = 1});
  CHECK(summary.done == summary.total);
  CHECK(summary.counts.has_value());
  return hash_of(store);
}

}  // namespace

TEST_CASE("engine: every point of a space, once, with its state") {
  const FormulaSpace space({9, 8, 7});
  ResultStore store = open_store(in_memory, space);
  const SweepSummary summary = run(space, store, {.jobs = 2});
  CHECK(summary.total == 504);
  CHECK(summary.computed == 504);
  CHECK(space.evaluations() == 504);
  StateCounts counts;
  std::vector<PointResult> stored;
  REQUIRE(store.each([&](const StoredPoint& p) { stored.push_back(p.point); }).has_value());
  const auto expected = all_points(space);
  REQUIRE(stored.size() == 504);
  for (std::size_t i = 0; i < 504; ++i) {
    counts.count(expected[i].state);
    CHECK(stored[i].state == expected[i].state);
    if (expected[i].state != PointState::impossible) CHECK(stored[i].figures[1] == expected[i].figures[1]);
  }
  CHECK(summary.counts == counts);
  CHECK(counts.impossible > 0);
  CHECK(indices_of(store.front().value()) == front_by_definition(space.objectives(), expected));
  CHECK(summary.front == store.front()->size());
}

TEST_CASE("engine: the same table for any number of threads and shards, whatever is kept") {
  const FormulaSpace space({12, 11, 10});
  for (const std::string keep : {"all", "pareto", "top:20"}) {
    CAPTURE(keep);
    const std::string expected = undisturbed(space, keep);
    for (const unsigned jobs : {2u, 4u, 8u}) {
      ResultStore store = open_store(in_memory, space, keep);
      run(space, store, {.jobs = jobs});
      CHECK(hash_of(store) == expected);
    }
    for (const unsigned shards : {2u, 3u}) {
      ResultStore store = open_store(in_memory, space, keep);
      for (unsigned shard = shards; shard > 0; --shard) {
        const SweepSummary summary = run(space, store, {.jobs = 2, .shard = shard, .shards = shards});
        CHECK(summary.done == summary.total);
      }
      CHECK(hash_of(store) == expected);
    }
  }
}

TEST_CASE("engine: a stopped sweep goes on where it was, no finished point computed twice") {
  for (const std::string keep : {"all", "pareto", "top:5"}) {
    CAPTURE(keep);
    const FastFolder folder;
    const FormulaSpace space({12, 11, 10});
    const std::string expected = undisturbed(FormulaSpace({12, 11, 10}), keep);
    std::uint64_t computed = 0;
    int sessions = 0;
    for (bool finished = false; !finished; ++sessions) {
      std::atomic<bool> stop = false;
      const std::uint64_t until = space.evaluations() + 300;
      space.on_evaluation = [&](std::uint64_t count) {
        if (count >= until) stop = true;
      };
      ResultStore store = open_store(folder.path("a.sqlite"), space, keep);
      const SweepSummary summary = run(space, store, {.jobs = 2, .stop = &stop});
      finished = !summary.interrupted;
      computed += summary.computed;
    }
    space.on_evaluation = nullptr;
    CHECK(sessions > 3);
    CHECK(computed == space.size());
    CHECK(space.evaluations() == space.size());
    ResultStore store = open_store(folder.path("a.sqlite"), space, keep);
    CHECK(hash_of(store) == expected);
    CHECK(run(space, store).computed == 0);
    CHECK(space.evaluations() == space.size());
  }
}

TEST_CASE("engine: searches that learn are answered from the store") {
  for (const char* kind : {"coordinate_descent", "nsga2"})
    for (const std::string keep : {"all", "pareto"}) {
      const FormulaSpace space({14, 13, 12});
      const SearchOptions search{.kind = kind, .points = 400, .seed = 3};
      if (!make_search(space, search)) continue;  // built without pagmo
      CAPTURE(kind);
      const std::string expected = undisturbed(FormulaSpace({14, 13, 12}), keep, search);
      const FastFolder folder;
      int sessions = 0;
      for (bool finished = false; !finished && sessions < 50; ++sessions) {
        std::atomic<bool> stop = false;
        const std::uint64_t until = space.evaluations() + 90;
        space.on_evaluation = [&](std::uint64_t count) {
          if (count >= until) stop = true;
        };
        ResultStore store = open_store(folder.path("a.sqlite"), space, keep, search);
        finished = !run(space, store, {.search = search, .jobs = 2, .stop = &stop}).interrupted;
      }
      CHECK(sessions > 2);
      ResultStore store = open_store(folder.path("a.sqlite"), space, keep, search);
      CHECK(hash_of(store) == expected);
      CHECK(run(space, store, {.search = search}).computed == 0);
    }
}

TEST_CASE("engine: samples are the same for any number of threads and shards") {
  const FormulaSpace space({14, 13, 12});
  for (const char* kind : {"random", "latin_hypercube", "sobol"}) {
    CAPTURE(kind);
    const SearchOptions search{.kind = kind, .points = 300, .seed = 9};
    const std::string expected = undisturbed(space, "all", search);
    ResultStore store = open_store(in_memory, space, "all", search);
    for (unsigned shard = 1; shard <= 3; ++shard) run(space, store, {.search = search, .jobs = 3, .shard = shard, .shards = 3});
    CHECK(hash_of(store) == expected);
    CHECK(undisturbed(space, "all", {.kind = kind, .points = 300, .seed = 10}) != expected);
  }
}

TEST_CASE("engine: shards are equal parts of the whole") {
  for (const std::uint64_t size : {std::uint64_t{0}, std::uint64_t{1}, std::uint64_t{10}, std::uint64_t{1} << 63}) {
    std::uint64_t at = 0;
    for (unsigned shard = 1; shard <= 7; ++shard) {
      const auto [first, last] = shard_of(size, shard, 7);
      CHECK(first == at);
      CHECK(last - first - size / 7 <= 1);
      at = last;
    }
    CHECK(at == size);
  }
}

TEST_CASE("engine: what cannot be run is said before anything is") {
  struct NoGoal final : FormulaSpace {
    NoGoal() : FormulaSpace({3, 3}) { objectives_.clear(); }
  } const aimless;
  const FormulaSpace space({3, 3});
  const auto refused = [](const DesignSpace& of, const std::string& keep, const SweepOptions& options, const std::string& words) {
    ResultStore store = open_store(in_memory, of, keep, options.search);
    const auto result = run_sweep(of, store, options);
    REQUIRE_FALSE(result.has_value());
    CHECK_MESSAGE(result.error()[0].message.find(words) != std::string::npos, result.error()[0].message);
    CHECK_FALSE(result.error()[0].hint.empty());
  };
  refused(space, "all", {.shard = 4, .shards = 3}, "no shard 4 of 3");
  refused(space, "all", {.search = {.kind = "coordinate_descent"}, .shard = 1, .shards = 3}, "learns from results");
  refused(space, "all", {.search = {.kind = "exhaustiv"}}, "there is no search 'exhaustiv'");
  refused(aimless, "pareto", {}, "--keep pareto needs an objective");
  refused(aimless, "all", {.search = {.kind = "coordinate_descent"}}, "needs an objective");
  ResultStore store = open_store(in_memory, aimless);
  CHECK(run(aimless, store).front == 0);
}

TEST_CASE("engine: a sweep without axes is one point") {
  struct Single final : FormulaSpace {
    Single() : FormulaSpace({1}) {}
  } const space;
  ResultStore store = open_store(in_memory, space, "pareto");
  CHECK(run(space, store).total == 1);
  CHECK(store.front()->size() == 1);
}

TEST_CASE("engine: progress rises to the total") {
  const FormulaSpace space({20, 30}, 1e-4);
  ResultStore store = open_store(in_memory, space);
  std::vector<SweepProgress> seen;
  run(space, store, {.jobs = 2, .progress = [&](const SweepProgress& p) { seen.push_back(p); }});
  REQUIRE_FALSE(seen.empty());
  CHECK(seen.back().done == 600);
  for (std::size_t i = 1; i < seen.size(); ++i) CHECK(seen[i].done >= seen[i - 1].done);
}

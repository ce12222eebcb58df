// The result file: its views, what it refuses, what several writers and equal designs do to it, merging.
#include "sim/sweep/store.hpp"

#include <filesystem>

#include "sim/sweep/sbatch.hpp"
#include "sim/sweep/store_merge.hpp"
#include "tests/unit/formula_space.hpp"

using namespace gambrel;
using namespace gambrel::sim;
using namespace gambrel::test;

namespace {

/// The rows of a query, cells joined by "|".
std::vector<std::string> rows(ResultStore& store, const std::string& sql) {
  auto query = store.database().prepare(sql);
  REQUIRE_MESSAGE(query.has_value(), render(query.error()));
  std::vector<std::string> found;
  while (query->step().value()) {
    std::string& row = found.emplace_back();
    for (int c = 0; c < query->columns(); ++c) row += (c > 0 ? "|" : "") + (query->is_null(c) ? "NULL" : std::string(query->text(c)));
  }
  return found;
}

Diagnostic refusal(const std::string& path, const DesignSpace& space, const std::string& keep = "all", const SearchOptions& search = {}) {
  const auto store = ResultStore::open(path, describe(space, search, parse_keep(keep).value()), {});
  REQUIRE_FALSE(store.has_value());
  return store.error()[0];
}

bool has(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

StoredPoint stored(std::uint64_t index, const std::string& design, double time) { return {point_key(design), {index, PointState::ok, 0, {time, 1, 1}}, ""}; }

Batch batch_of(std::uint64_t first, std::vector<StoredPoint> points) {
  return {first, std::vector<PointState>(points.size(), PointState::ok), std::move(points)};
}

}  // namespace

TEST_CASE("store: views show designs as they were written, units in the names") {
  const FormulaSpace space({2, 3});
  ResultStore store = open_store(in_memory, space);
  run(space, store);
  auto view = store.database().prepare("SELECT * FROM designs");
  REQUIRE(view.has_value());
  std::string names;
  for (int c = 0; c < view->columns(); ++c) names += view->column_name(c) + " ";
  CHECK(names == "point chip.key0 chip.key1 state reason time_s cost_usd share ");
  CHECK(rows(store, "SELECT point, \"chip.key0\", \"chip.key1\" FROM designs ORDER BY point") == std::vector<std::string>{"0|1x|1x", "1|1x|2x", "2|1x|3x", "3|2x|1x", "4|2x|2x", "5|2x|3x"});
  CHECK(rows(store, "SELECT DISTINCT command FROM pareto LIMIT 1")[0].starts_with("gambrel estimate it.yaml --set "));
  CHECK(rows(store, "SELECT count(*) FROM pareto WHERE knee = 1") == std::vector<std::string>{"1"});
  CHECK(rows(store, "SELECT ended, computed FROM sessions") == std::vector<std::string>{"finished|6"});
  CHECK(rows(store, "SELECT sweep, config_hash, length(host) > 0, started > '2020' FROM sessions") == std::vector<std::string>{"it|abc|1|1"});
  CHECK(store.command_of(store.front()->front().index).value().starts_with("gambrel estimate"));
  CHECK(store.command_of(999).value().empty());
}

TEST_CASE("store: why points do not count") {
  const FormulaSpace space({8, 9});
  ResultStore store = open_store(in_memory, space);
  run(space, store);
  CHECK(rows(store, "SELECT DISTINCT reason FROM designs WHERE state = 'violates'") == std::vector<std::string>{"power < 700 W"});
  const auto reasons = rows(store, "SELECT DISTINCT reason FROM designs WHERE state = 'impossible' ORDER BY reason");
  REQUIRE_FALSE(reasons.empty());
  for (const std::string& reason : reasons) CHECK(has(reason, "no machine has"));
  CHECK(rows(store, "SELECT count(*) FROM designs WHERE state = 'impossible' AND time_s IS NOT NULL") == std::vector<std::string>{"0"});
  CHECK(rows(store, "SELECT count(*) FROM designs WHERE state = 'ok' AND reason IS NOT NULL") == std::vector<std::string>{"0"});
  CHECK(rows(store, "SELECT count(*) FROM points WHERE typeof(f2) = 'null' AND state = 0")[0] != "0");  // NaN
}

TEST_CASE("store: names and values with quotes are text") {
  struct Odd final : FormulaSpace {
    Odd() : FormulaSpace({2}) {
      axes_[0].paths = {"it's \"odd\""};
      axes_[0].values = {{"'); DROP TABLE points; --"}, {"\""}};
      columns_[2].name = "state";
    }
  } const space;
  ResultStore store = open_store(in_memory, space);
  run(space, store);
  CHECK(rows(store, "SELECT \"it's \"\"odd\"\"\" FROM designs") == std::vector<std::string>{"'); DROP TABLE points; --", "\""});
  CHECK(store.sweep().axes[0].values == space.axes()[0].values);
}

TEST_CASE("store: the description comes back as it was") {
  const FastFolder folder;
  const FormulaSpace space({4, 1, 3});
  const std::string path = folder.path("a.sqlite");
  const SweepDescription made = open_store(path, space, "top:9").sweep();
  CHECK(difference(made, describe(space, {}, parse_keep("top:9").value())).empty());
  CHECK(ResultStore::open_existing(path)->sweep().keep == Keep{Keep::Kind::top, 9});
  CHECK(made.columns[1].label == "cost");
  CHECK(made.objectives[0].figure == 0);
}

TEST_CASE("store: another sweep is refused, and what differs is said") {
  const FastFolder folder;
  const std::string path = folder.path("a.sqlite");
  FormulaSpace space({4, 3});
  open_store(path, space);
  const auto check = [&](const Diagnostic& d, const std::string& words) {
    CHECK(d.fault == Fault::input);
    CHECK_MESSAGE(has(d.message, "holds a different sweep: "), d.message);
    CHECK_MESSAGE(has(d.message, words), d.message);
    CHECK(has(d.hint, "--db"));
  };
  check(refusal(path, FormulaSpace({4, 4})), "its axes are chip.key0 (4), chip.key1 (3); here chip.key0 (4), chip.key1 (4)");
  check(refusal(path, space, "pareto"), "its rows are --keep all; here pareto");
  check(refusal(path, space, "all", {.kind = "random", .points = 5}), "its search is exhaustive; here random, 5 points, seed 1");
  struct Goal final : FormulaSpace {
    Goal() : FormulaSpace({4, 3}) { objectives_[1].maximise = true; }
  };
  check(refusal(path, Goal()), "maximise cost_usd");
  struct Value final : FormulaSpace {
    Value() : FormulaSpace({4, 3}) { axes_[1].values[2] = {"7x"}; }
  };
  check(refusal(path, Value()), "value 3 of its axis chip.key1 is 3x, here 7x");
  space.base = "another model";
  check(refusal(path, space), "model, machine or workload");
}

TEST_CASE("store: files that are none, or of another version") {
  const Scratch folder;
  const FormulaSpace space({2});
  CHECK(refusal(folder.write("a.sqlite", std::string(5000, 'x')), space).fault == Fault::environment);
  CHECK(has(refusal(folder.path("no/such/folder.sqlite"), space).message, "folder.sqlite"));
  const std::string other = folder.path("b.sqlite");
  REQUIRE(Database::open(other)->execute("CREATE TABLE t(x)").has_value());
  CHECK(has(refusal(other, space).message, "is no sweep's result file"));
  const std::string newer = folder.path("c.sqlite");
  open_store(newer, space);
  REQUIRE(Database::open(newer)->execute("PRAGMA user_version = 99").has_value());
  CHECK(has(refusal(newer, space).message, "version 99"));
  CHECK_FALSE(ResultStore::open_existing(folder.path("none.sqlite")).has_value());
  CHECK_FALSE(std::filesystem::exists(folder.path("none.sqlite")));
}

TEST_CASE("store: a design that occurs twice has one row, under its lower index, whichever came first") {
  const FormulaSpace space({10});
  for (const bool late : {false, true}) {
    ResultStore store = open_store(in_memory, space);
    const Batch low = batch_of(2, {stored(2, "same", 5)}), high = batch_of(7, {stored(7, "same", 5)});
    REQUIRE(store.commit(std::vector{late ? high : low}).has_value());
    REQUIRE(store.commit(std::vector{late ? low : high}).has_value());
    REQUIRE(store.commit(std::vector{low, high}).has_value());
    CHECK(rows(store, "SELECT idx FROM points") == std::vector<std::string>{"2"});
    CHECK(store.find(point_key("same")).value()->index == 2);
    CHECK(store.find(point_key("other")).value() == std::nullopt);
  }
}

TEST_CASE("store: two writers of one file see each other's work") {
  for (const std::string keep : {"all", "pareto"}) {
    const FastFolder folder;
    const FormulaSpace space({100});
    ResultStore a = open_store(folder.path("a.sqlite"), space, keep), b = open_store(folder.path("a.sqlite"), space, keep);
    REQUIRE(a.commit(std::vector{batch_of(0, {stored(0, "0", 5), stored(1, "1", 4)})}).has_value());
    CHECK(b.commit(std::vector{batch_of(1, {stored(1, "1", 4), stored(2, "2", 3)})}).value());
    CHECK(a.commit(std::vector{batch_of(2, {stored(2, "2", 3), stored(3, "3", 9)})}).value());
    CHECK(a.finished().all() == std::vector<FinishedRange>{{0, 4, StateCounts{4, 0, 0}}});
    CHECK(rows(a, "SELECT idx FROM points ORDER BY idx") == (keep == "all" ? std::vector<std::string>{"0", "1", "2", "3"} : std::vector<std::string>{"2"}));
    CHECK(rows(a, "SELECT first, last, ok FROM finished") == std::vector<std::string>{"0|4|4"});
  }
}

TEST_CASE("store: finished ranges unite, count, and know their gaps") {
  FinishedRanges ranges;
  ranges.add({10, 20, StateCounts{10, 0, 0}});
  ranges.add({30, 40, StateCounts{5, 5, 0}});
  CHECK(ranges.missing(0, 50) == std::vector<FinishedRange>{{0, 10, {}}, {20, 30, {}}, {40, 50, {}}});
  CHECK(ranges.missing(12, 18).empty());
  CHECK(ranges.missing(15, 35) == std::vector<FinishedRange>{{20, 30, {}}});
  CHECK(ranges.covered(15, 35) == 10);
  CHECK(ranges.next_missing(0, 5)->last == 5);
  CHECK_FALSE(ranges.next_missing(30, 40).has_value());
  ranges.take_changes();
  ranges.add({20, 30, StateCounts{0, 0, 10}});
  CHECK(ranges.all() == std::vector<FinishedRange>{{10, 40, StateCounts{15, 5, 10}}});
  CHECK(ranges.take_changes() == std::set<std::uint64_t>{10, 30});
  CHECK(ranges.counts()->total() == 30);
  ranges.add({7, 7, StateCounts{}});
  CHECK(ranges.all().size() == 1);
}

TEST_CASE("store: ranges of files that overlap") {
  FinishedRanges ranges;
  ranges.unite({0, 10, StateCounts{10, 0, 0}});
  ranges.unite({2, 5, StateCounts{1, 1, 1}});  // inside: nothing new
  CHECK(ranges.counts() == StateCounts{10, 0, 0});
  ranges.unite({0, 20, StateCounts{12, 8, 0}});  // around: its counts are the whole's
  CHECK(ranges.all() == std::vector<FinishedRange>{{0, 20, StateCounts{12, 8, 0}}});
  ranges.unite({30, 40, StateCounts{10, 0, 0}});
  ranges.unite({15, 35, StateCounts{20, 0, 0}});  // in part: the positions are known, the counts are not
  CHECK(ranges.all() == std::vector<FinishedRange>{{0, 40, {}}});
}

TEST_CASE("merge: shards in files of their own become the whole") {
  for (const std::string keep : {"all", "pareto", "top:15"}) {
    CAPTURE(keep);
    const FastFolder folder;
    const FormulaSpace space({11, 10, 9});
    ResultStore whole = open_store(in_memory, space, keep);
    run(space, whole);
    std::vector<std::string> files;
    for (unsigned shard : {3u, 1u, 2u}) {
      files.push_back(folder.path(fmt::format("{}.sqlite", shard)));
      ResultStore store = open_store(files.back(), space, keep);
      run(space, store, {.shard = shard, .shards = 3});
    }
    const std::string out = folder.path("out.sqlite");
    const auto merged = merge_stores(out, files, {.command = "gambrel merge"});
    REQUIRE_MESSAGE(merged.has_value(), render(merged.error()));
    CHECK(merged->finished == space.size());
    CHECK(merged->counts == whole.finished().counts());
    auto store = ResultStore::open_existing(out);
    REQUIRE(store.has_value());
    CHECK(hash_of(*store) == hash_of(whole));
    CHECK(rows(*store, "SELECT * FROM pareto") == rows(whole, "SELECT * FROM pareto"));
    files.push_back(out);
    CHECK(merge_stores(out, files, {})->stored == merged->stored);  // again, and with itself
    store = ResultStore::open_existing(out);
    CHECK(hash_of(*store) == hash_of(whole));
  }
}

TEST_CASE("merge: different sweeps, searches that learn and nothing are refused before anything is written") {
  const FastFolder folder;
  const std::string a = folder.path("a.sqlite"), b = folder.path("b.sqlite"), c = folder.path("c.sqlite"), out = folder.path("out.sqlite");
  open_store(a, FormulaSpace({3}));
  open_store(b, FormulaSpace({4}));
  open_store(c, FormulaSpace({3}), "all", {.kind = "coordinate_descent"});
  CHECK(has(merge_stores(out, {a, b}, {}).error()[0].message, "hold different sweeps: its axes are"));
  CHECK(has(merge_stores(out, {c}, {}).error()[0].message, "learns"));
  CHECK(merge_stores(a, {a}, {}).error()[0].fault == Fault::usage);
  CHECK(merge_stores(out, {a, folder.path("none.sqlite")}, {}).error()[0].fault == Fault::environment);
  CHECK_FALSE(std::filesystem::exists(out));
}

TEST_CASE("sbatch: one task a shard, every word quoted") {
  const std::string script = sbatch_script({.shards = 8, .sweep = "it's.yaml", .database = "runs/out.sqlite", .options = "--keep pareto"});
  CHECK(script.starts_with("#!/bin/bash\n#SBATCH"));
  CHECK(has(script, "--array=1-8\n"));
  CHECK(has(script, R"(gambrel sweep 'it'\''s.yaml' --db 'runs/out'."$SLURM_ARRAY_TASK_ID"'.sqlite')"));
  CHECK(has(script, "--shard \"$SLURM_ARRAY_TASK_ID/8\" --jobs \"${SLURM_CPUS_PER_TASK:-$(nproc)}\" --keep pareto\n"));
  CHECK(has(script, "gambrel merge"));
  const Scratch folder;
  CHECK(std::system(("bash -n " + folder.write("job.sh", script)).c_str()) == 0);
}

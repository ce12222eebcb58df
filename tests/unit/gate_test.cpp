// The gate's rule on made-up measurements: what fails, what is recorded, what is asked for again.
#include "kernels/timing/gate.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <map>
#include <string>
#include <vector>

#include "tests/unit/gate_support.hpp"

using namespace gambrel;
using namespace gambrel::kernels;
using gambrel::test::made_up;

namespace {

/// A machine on which each kernel has an efficiency; every process draws its own noise.
struct Machine {
  std::map<std::string, double> efficiency;
  double noise = 0.005;
  double between = 0;  ///< how much processes differ, alternately up and down
  int rounds = 40;
  int processes = 0;
  std::vector<std::vector<std::string>> asked;

  Measure measure() {
    return [this](const std::vector<std::string>& names) -> Result<std::vector<Measurement>> {
      asked.push_back(names);
      ++processes;
      std::vector<Measurement> all;
      for (const auto& [name, value] : efficiency)
        if (names.empty() || std::ranges::count(names, name))
          all.push_back(made_up(name, value * (1 + (processes % 2 ? between : -between)), static_cast<unsigned>(processes), noise, rounds));
      return all;
    };
  }
};

MeasurementStore store() {
  auto opened = MeasurementStore::open(":memory:");
  REQUIRE(opened);
  return std::move(*opened);
}

/// What is made up needs no pauses.
GateOptions at_once(GateOptions options = {}) {
  options.pause_s = 0;
  return options;
}

GateReport gate(Machine& machine, MeasurementStore& store, const GateOptions& options = {}) {
  std::vector<std::string> names;
  for (const auto& [name, value] : machine.efficiency) names.push_back(name);
  machine.asked.clear();
  auto report = run_gate(names, machine.measure(), store, at_once(options));
  REQUIRE(report);
  return std::move(*report);
}

const Verdict& verdict(const GateReport& report, const std::string& name) {
  const auto found = std::ranges::find(report.verdicts, name, [](const Verdict& v) { return v.measurement.name; });
  REQUIRE(found != report.verdicts.end());
  return *found;
}

}  // namespace

TEST_CASE("gate: the first run records, the second compares, and nothing is slower") {
  Machine machine{.efficiency = {{"a", 0.9}, {"b", 0.4}}};
  MeasurementStore db = store();
  const GateReport first = gate(machine, db);
  CHECK(first.exit_code() == 0);
  CHECK(verdict(first, "a").outcome == Outcome::recorded);
  CHECK(verdict(first, "a").measurement.clean.size() == 200);  // five processes
  CHECK(machine.asked.size() == 5);
  const GateReport second = gate(machine, db);
  CHECK(second.exit_code() == 0);
  CHECK(verdict(second, "a").outcome == Outcome::passed);
  CHECK(verdict(second, "b").baseline == doctest::Approx(0.4).epsilon(0.01));
  CHECK(verdict(second, "b").history.size() == 2);
  CHECK(machine.asked.size() == 1);
}

TEST_CASE("gate: a slower kernel fails by name, after two more processes, and the other one passes") {
  Machine machine{.efficiency = {{"a", 0.9}, {"b", 0.4}}};
  MeasurementStore db = store();
  gate(machine, db);
  machine.efficiency["b"] = 0.4 / 1.1;
  const GateReport report = gate(machine, db);
  CHECK(report.exit_code() == 1);
  CHECK(verdict(report, "a").outcome == Outcome::passed);
  const Verdict& slow = verdict(report, "b");
  CHECK(slow.outcome == Outcome::regressed);
  CHECK(slow.processes == 3);
  CHECK(slow.reason.find("slower than the baseline") != std::string::npos);
  const std::vector<std::string> both{"a", "b"};  // in the company that it had
  CHECK(machine.asked == std::vector{both, both, both});
}

TEST_CASE("gate: a memory kernel has to be slower by its anchor and by the clock") {
  // `wander` moves the anchor alone, `crowd` the caches that kernel and anchor share.
  const auto process = [](unsigned seed, double wander, double crowd, double slowdown) {
    Measurement m = made_up("m", 0.3, seed, 0.002);
    m.memory = true, m.bytes = 1e8;
    for (Round& round : m.clean) round.anchor_seconds *= wander * crowd, round.seconds *= crowd * slowdown;
    return m;
  };
  unsigned seed = 0;
  double wander = 1, crowd = 1, slowdown = 1;
  const Measure measure = [&](const auto&) -> Result<std::vector<Measurement>> { return std::vector{process(++seed, wander, crowd, slowdown)}; };
  MeasurementStore db = store();
  CHECK(run_gate({"m"}, measure, db, at_once())->verdicts.front().outcome == Outcome::recorded);
  wander = 0.8;  // 25 % less of its anchor, as fast as ever
  CHECK(run_gate({"m"}, measure, db, at_once())->exit_code() == 0);
  wander = 1, crowd = 1.3;  // 30 % less by the clock, and so has the anchor
  CHECK(run_gate({"m"}, measure, db, at_once())->exit_code() == 0);
  crowd = 1, slowdown = 1.12;
  const auto slow = run_gate({"m"}, measure, db, at_once());
  CHECK(slow->exit_code() == 1);
  CHECK(slow->verdicts.front().against_baseline.slowdown == doctest::Approx(0.12).epsilon(0.05));
}

TEST_CASE("gate: what varies from run to run widens the limit no further than twice") {
  Machine machine{.efficiency = {{"a", 0.9}}, .noise = 0.001};
  MeasurementStore db = store();
  gate(machine, db);
  for (int run = 0; run < 8; ++run) {
    machine.efficiency["a"] = run % 2 ? 0.9 : 0.93;
    gate(machine, db);
  }
  machine.efficiency["a"] = 0.9 / 1.08;
  const GateReport report = gate(machine, db);
  CHECK(verdict(report, "a").outcome == Outcome::regressed);
  CHECK(verdict(report, "a").against_baseline.limit == doctest::Approx(0.06));
}

TEST_CASE("gate: what cannot be measured again is neither confirmed nor acquitted") {
  Machine machine{.efficiency = {{"a", 0.9}}};
  MeasurementStore db = store();
  gate(machine, db);
  machine.efficiency["a"] = 0.6;
  int process = 0, undisturbed = 1;  // how many of the next processes are
  const Measure disturbed = [&](const std::vector<std::string>& names) {
    machine.rounds = process++ < undisturbed ? 40 : 3;
    return machine.measure()(names);
  };
  const auto unsure = run_gate({"a"}, disturbed, db, at_once());
  CHECK(unsure->exit_code() == 5);
  CHECK(unsure->verdicts.front().reason.find("no fresh process could be measured to confirm it") != std::string::npos);
  CHECK(process == 4);  // two more were tried
  process = 0, undisturbed = 0;
  const Measure late = [&](const std::vector<std::string>& names) {
    machine.rounds = process++ % 2 == 0 ? 40 : 3;  // every second one
    return machine.measure()(names);
  };
  CHECK(run_gate({"a"}, late, db, at_once())->exit_code() == 1);
}

TEST_CASE("gate: one slow process is not enough") {
  Machine machine{.efficiency = {{"a", 0.9}}};
  MeasurementStore db = store();
  gate(machine, db);
  machine.between = 0.06;  // the next process is the slow one, the one after it is not
  machine.processes = 5;
  const GateReport report = gate(machine, db);
  CHECK(report.exit_code() == 0);
  CHECK(verdict(report, "a").processes == 2);
}

TEST_CASE("gate: too few clean samples are measured again, and then said so") {
  Machine machine{.efficiency = {{"a", 0.9}}, .rounds = 14};
  MeasurementStore db = store();
  const GateReport report = gate(machine, db);
  CHECK(machine.asked.size() == 3);
  CHECK(verdict(report, "a").outcome == Outcome::unmeasured);
  CHECK(report.exit_code() == 5);
  CHECK(gate(machine, db, {.allow_unmeasured = true}).exit_code() == 0);
  machine.rounds = 40;
  CHECK(verdict(gate(machine, db), "a").outcome == Outcome::recorded);  // nothing was recorded before
}

TEST_CASE("gate: a baseline needs all its processes: one that is disturbed is repeated, one that is missing is said") {
  Machine machine{.efficiency = {{"a", 0.9}}};
  MeasurementStore db = store();
  int process = 0;
  const Measure once_disturbed = [&](const std::vector<std::string>& names) {
    machine.rounds = ++process == 3 ? 4 : 40;
    return machine.measure()(names);
  };
  const auto repeated = run_gate({"a"}, once_disturbed, db, at_once());
  CHECK(repeated->verdicts.front().outcome == Outcome::recorded);
  CHECK(repeated->verdicts.front().measurement.clean.size() == 200);
  CHECK(process == 6);
  MeasurementStore other = store();
  process = 0;
  const Measure lost = [&](const std::vector<std::string>& names) -> Result<std::vector<Measurement>> {
    machine.rounds = 40;
    if (++process > 2) return std::vector<Measurement>{};
    return machine.measure()(names);
  };
  const auto unmeasured = run_gate({"a"}, lost, other, at_once());
  CHECK(unmeasured->exit_code() == 5);
  CHECK(unmeasured->verdicts.front().reason == "2 of 5 fresh processes measured it");
}

TEST_CASE("gate: no baseline is made of processes that disagree") {
  Machine machine{.efficiency = {{"a", 0.9}}, .between = 0.05};
  MeasurementStore db = store();
  const GateReport report = gate(machine, db);
  CHECK(verdict(report, "a").outcome == Outcome::noisy);
  CHECK(report.exit_code() == 5);
}

TEST_CASE("gate: a minimum holds with and without a baseline") {
  Machine machine{.efficiency = {{"gemm/a", 0.78}, {"gemv/b", 0.3}}, .noise = 0.001};
  MeasurementStore db = store();
  const GateOptions options{.minimum = {{"^gemm", 0.5}, {"^gemm/a", 0.8}}};
  const GateReport first = gate(machine, db, options);
  CHECK(verdict(first, "gemm/a").outcome == Outcome::below_minimum);
  CHECK(verdict(first, "gemv/b").outcome == Outcome::recorded);
  CHECK(first.exit_code() == 1);
  machine.efficiency["gemm/a"] = 0.81;
  CHECK(gate(machine, db, options).exit_code() == 0);
  machine.efficiency["gemm/a"] = 0.795;  // within 3 % of the baseline, and below the minimum
  const GateReport third = gate(machine, db, options);
  CHECK(verdict(third, "gemm/a").outcome == Outcome::below_minimum);
  CHECK(verdict(third, "gemm/a").reason.find("below the minimum of 80.0 %") != std::string::npos);
  std::vector<std::string> names{"gemm/a"};
  CHECK_FALSE(run_gate(names, machine.measure(), db, {.minimum = {{"(", 0.8}}}));
}

TEST_CASE("gate: two percent a change do not pass for ever, even if someone accepts each") {
  Machine machine{.efficiency = {{"a", 0.9}}, .noise = 0.001};
  MeasurementStore db = store();
  gate(machine, db);
  for (int change = 0; change < 2; ++change) {
    machine.efficiency["a"] *= 0.98;
    CHECK(gate(machine, db, {.update_baseline = true}).exit_code() == 0);
  }
  machine.efficiency["a"] *= 0.98;
  const GateReport report = gate(machine, db);
  CHECK(verdict(report, "a").outcome == Outcome::drifted);
  CHECK(verdict(report, "a").reason.find("best of the last 10") != std::string::npos);
}

TEST_CASE("gate: baselines are remembered longer than passes, until their sum is accepted") {
  Machine machine{.efficiency = {{"a", 0.9}}, .noise = 0.001};
  MeasurementStore db = store();
  gate(machine, db);
  for (int change = 0; change < 2; ++change) {
    for (int pass = 0; pass < 12; ++pass) gate(machine, db);
    machine.efficiency["a"] /= 1.02;
    gate(machine, db, {.update_baseline = true});
  }
  for (int pass = 0; pass < 12; ++pass) CHECK(gate(machine, db).exit_code() == 0);
  machine.efficiency["a"] /= 1.02;
  CHECK(verdict(gate(machine, db), "a").outcome == Outcome::drifted);
  const GateReport accepted = gate(machine, db, {.update_baseline = true});
  CHECK(verdict(accepted, "a").reason.find("though 6.") != std::string::npos);
  CHECK(gate(machine, db).exit_code() == 0);
}

TEST_CASE("gate: a large step that was accepted is forgotten; an unlucky best of one pass is no standard") {
  Machine machine{.efficiency = {{"a", 0.9}}, .noise = 0.001};
  MeasurementStore db = store();
  gate(machine, db);
  machine.efficiency["a"] = 0.8;
  CHECK(gate(machine, db).exit_code() == 1);
  CHECK(gate(machine, db, {.update_baseline = true}).exit_code() == 0);
  CHECK(gate(machine, db).exit_code() == 0);
  machine.efficiency["a"] = 0.86;  // one lucky pass
  CHECK(verdict(gate(machine, db), "a").outcome == Outcome::improved);
  machine.efficiency["a"] = 0.8;
  CHECK(gate(machine, db).exit_code() == 0);
  machine.efficiency["a"] = 0.86;  // several are a level
  for (int pass = 0; pass < 6; ++pass) gate(machine, db);
  machine.efficiency["a"] = 0.8;
  CHECK(verdict(gate(machine, db), "a").outcome == Outcome::drifted);
}

TEST_CASE("gate: a baseline belongs to what was measured, not to its name alone") {
  Machine machine{.efficiency = {{"a", 0.9}}};
  MeasurementStore db = store();
  gate(machine, db);
  machine.efficiency["a"] = 0.5;
  const Measure with_other_library = [&](const std::vector<std::string>& names) {
    auto all = machine.measure()(names);
    for (Measurement& m : *all) m.library = "another 2.0";
    return all;
  };
  const auto report = run_gate({"a"}, with_other_library, db, at_once());
  REQUIRE(report);
  CHECK(report->verdicts.front().outcome == Outcome::recorded);
}

TEST_CASE("gate: a kernel that is no longer there is named, until that is accepted") {
  Machine machine{.efficiency = {{"a", 0.9}, {"b", 0.4}}}, fewer{.efficiency = {{"a", 0.9}}}, other{.efficiency = {{"c", 0.9}}};
  MeasurementStore db = store();
  CHECK(gate(machine, db, {.source = "suite"}).missing.empty());
  CHECK(gate(other, db, {.source = "command"}).missing.empty());
  const GateReport report = gate(fewer, db, {.source = "suite"});
  CHECK(report.missing == std::vector<std::string>{"b"});
  CHECK(report.exit_code() == 0);
  CHECK(gate(fewer, db, {.update_baseline = true, .source = "suite"}).missing == std::vector<std::string>{"b"});
  CHECK(gate(fewer, db, {.source = "suite"}).missing.empty());
  CHECK(verdict(gate(machine, db, {.source = "suite"}), "b").outcome == Outcome::recorded);
  CHECK(gate(fewer, db, {.source = "suite"}).missing.size() == 1);
}

TEST_CASE("gate: a benchmark that failed is unmeasured and says why; a context of one's own decides") {
  Machine machine{.efficiency = {{"a", 0.9}}};
  MeasurementStore db = store();
  const Measure failing = [&](const std::vector<std::string>& names) {
    auto all = machine.measure()(names);
    for (Measurement& m : *all) m.problem = "the benchmark failed: boom", m.clean.clear();
    return all;
  };
  const auto failed = run_gate({"a"}, failing, db, {});
  REQUIRE(failed);
  CHECK(failed->exit_code() == 5);
  CHECK(failed->verdicts.front().reason == "the benchmark failed: boom");
  const Context gcc{{"compiler", "gcc"}}, clang{{"compiler", "clang"}};
  CHECK(verdict(gate(machine, db, {.context = gcc}), "a").outcome == Outcome::recorded);
  CHECK(verdict(gate(machine, db, {.context = gcc}), "a").outcome == Outcome::passed);
  CHECK(verdict(gate(machine, db, {.context = clang}), "a").outcome == Outcome::recorded);
}

TEST_CASE("gate: an error of the measuring process is the gate's") {
  MeasurementStore db = store();
  const Measure broken = [](const auto&) -> Result<std::vector<Measurement>> { return fail(Diagnostic{{}, "no such program", "", Fault::environment}); };
  CHECK_FALSE(run_gate({"a"}, broken, db, {}));
  CHECK_FALSE(run_comparison(broken, broken, {}));
}

TEST_CASE("gate: cases are chosen by expression, told apart by name") {
  Gate gate;
  gate.add("saxpy", 2, 12, Anchor::triad, [] {}).add("poly", 9, 4, Anchor::fma_f32, [] {});
  CHECK(gate.matching("")->size() == 2);
  CHECK(gate.matching("^pol")->size() == 1);
  CHECK(gate.matching("^pol")->front().anchor == Anchor::fma_f32);
  const auto none = gate.matching("polx");
  REQUIRE_FALSE(none);
  CHECK(none.error().front().fault == Fault::usage);
  CHECK(none.error().front().hint == "did you mean 'poly'?");
  CHECK_FALSE(gate.matching("("));
  gate.add("poly", 9, 4, Anchor::fma_f32, [] {});
  CHECK_FALSE(gate.matching(""));
}

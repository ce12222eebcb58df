// The gate's rule on made-up measurements: what fails, what is recorded, what is asked for again.
#include "kernels/timing/gate.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <map>

#include "kernels/timing/statistics.hpp"
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

GateReport gate(Machine& machine, MeasurementStore& store, const GateOptions& options = {}) {
  std::vector<std::string> names;
  for (const auto& [name, value] : machine.efficiency) names.push_back(name);
  machine.asked.clear();
  auto report = run_gate(names, machine.measure(), store, options);
  REQUIRE(report);
  return std::move(*report);
}

const Verdict& verdict(const GateReport& report, const std::string& name) {
  const auto found = std::ranges::find(report.verdicts, name, [](const Verdict& v) { return v.measurement.name; });
  REQUIRE(found != report.verdicts.end());
  return *found;
}

}  // namespace

TEST_CASE("statistics: middles and spreads") {
  const std::vector<double> odd{3, 1, 2}, even{4, 1, 2, 3};
  CHECK(median(odd) == 2);
  CHECK(median(even) == 2.5);
  CHECK(median({}) == 0);
  CHECK(quantile(even, 0) == 1);
  CHECK(quantile(even, 1) == 4);
  CHECK(relative_spread(std::vector<double>{1, 2, 3, 4, 5}) == doctest::Approx(1.0 / 3));
}

TEST_CASE("statistics: Mann-Whitney as published") {
  // R 4.2: wilcox.test(c(1.1,2.2,3.3,4.4,5.5,6.6,7.7,8.8), c(0.5,1.5,2.5,3.5,1.0,2.0,3.0,0.1), alternative = "greater",
  // exact = FALSE)$p.value, from U = 53 of 64: z = (53 - 0.5 - 32) / sqrt(64 * 17 / 12).
  const std::vector<double> a{1.1, 2.2, 3.3, 4.4, 5.5, 6.6, 7.7, 8.8}, b{0.5, 1.5, 2.5, 3.5, 1.0, 2.0, 3.0, 0.1};
  int u = 0;
  for (const double x : a)
    for (const double y : b) u += x > y;
  const double z = (u - 0.5 - 32) / std::sqrt(64.0 * 17 / 12);
  CHECK(smaller_by_chance(a, b) == doctest::Approx(std::erfc(z / std::sqrt(2.0)) / 2));
  CHECK(smaller_by_chance(a, b) < 0.05);
  CHECK(smaller_by_chance(b, a) > 0.95);
  CHECK(smaller_by_chance(a, a) > 0.4);
  const std::vector<double> equal(20, 1.0);
  CHECK(smaller_by_chance(equal, equal) == 1);
  CHECK(smaller_by_chance({}, a) == 1);
}

TEST_CASE("statistics: sign test and Clopper-Pearson") {
  const std::vector<double> ten{1, 1, 1, 1, 1, 1, 1, 1, 1, 3};
  CHECK(below_by_chance(ten, 2) == doctest::Approx(11.0 / 1024));
  CHECK(below_by_chance(ten, 0.5) == 1);
  // Exact limits of 0 of 100: 0 and 1 - (0.025)^(1/100).
  CHECK(share_interval(0, 100).first == 0);
  CHECK(share_interval(0, 100).second == doctest::Approx(1 - std::pow(0.025, 0.01)));
  CHECK(share_interval(100, 100).first == doctest::Approx(std::pow(0.025, 0.01)));
  CHECK(share_interval(5, 10).first == doctest::Approx(0.187086).epsilon(1e-5));
  CHECK(share_interval(5, 10).second == doctest::Approx(0.812914).epsilon(1e-5));
  CHECK(share_interval(0, 0).second == 1);
}

TEST_CASE("judge: limits by kind, and at least three spreads") {
  const Limits limits;
  CHECK(limit_of(limits, false, 0) == 0.03);
  CHECK(limit_of(limits, true, 0) == 0.10);
  CHECK(limit_of(limits, false, 0.02) == doctest::Approx(0.06));
}

TEST_CASE("judge: effect without significance does not fail, nor significance without effect") {
  const Limits limits;
  const Standard standard{.baseline = efficiencies_of(made_up("k", 0.8, 1, 0.3))};
  CHECK(judge(made_up("k", 0.77, 2, 0.3), standard, limits).outcome == Outcome::passed);  // 4 %, lost in 30 % of noise
  const Standard quiet{.baseline = efficiencies_of(made_up("k", 0.8, 1, 0.001))};
  const Finding small = judge(made_up("k", 0.784, 2, 0.001), quiet, limits);  // 2 %
  CHECK(small.outcome == Outcome::passed);
  CHECK(small.against_baseline.chance < 1e-6);
  const Finding large = judge(made_up("k", 0.72, 2, 0.001), quiet, limits);
  CHECK(large.outcome == Outcome::regressed);
  CHECK(large.against_baseline.slowdown == doctest::Approx(0.8 / 0.72 - 1).epsilon(0.01));
  CHECK(judge(made_up("k", 0.9, 2, 0.001), quiet, limits).outcome == Outcome::improved);
  CHECK(judge(made_up("k", 0.5, 2, 0.001, 14), quiet, limits).outcome == Outcome::unmeasured);
}

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
  CHECK(machine.asked == std::vector<std::vector<std::string>>{{"a", "b"}, {"b"}, {"b"}});
}

TEST_CASE("gate: a kernel is compared by the steadier pace") {
  // A memory kernel whose anchor wanders by 20 % between processes, while kernel and clock agree.
  const auto process = [](unsigned seed, double wander, double slowdown) {
    Measurement m = made_up("m", 0.3, seed, 0.002);
    m.memory = true, m.bytes = 1e8;
    for (Round& round : m.clean) round.anchor_seconds *= wander, round.seconds *= slowdown;
    return m;
  };
  unsigned seed = 0;
  double slowdown = 1;
  const Measure measure = [&](const auto&) -> Result<std::vector<Measurement>> { ++seed; return std::vector{process(seed, seed % 2 ? 1.2 : 1.0, slowdown)}; };
  CHECK(steadier_pace(std::vector{process(1, 1.2, 1), process(2, 1, 1)}) == Pace::clock);
  MeasurementStore db = store();
  CHECK(run_gate({"m"}, measure, db, {})->verdicts.front().outcome == Outcome::recorded);
  for (int run = 0; run < 4; ++run) CHECK(run_gate({"m"}, measure, db, {})->exit_code() == 0);
  slowdown = 1.12;
  CHECK(run_gate({"m"}, measure, db, {})->exit_code() == 1);
  Measurement none = process(1, 1, 1);
  none.clock_work = 0;
  CHECK(steadier_pace(std::vector{none, none}) == Pace::anchor);
}

TEST_CASE("judge: noise from run to run is no drift") {
  CHECK(noise_of(std::vector<double>{1, 2, 3}) == 0);
  CHECK(noise_of(std::vector<double>{1, 1, 1, 1}) == 0);
  std::vector<double> drifting, noisy;
  for (int i = 0; i < 10; ++i) drifting.push_back(1 - 0.02 * i), noisy.push_back(i % 2 ? 1.1 : 0.9);
  CHECK(noise_of(drifting) < 0.025);
  CHECK(noise_of(noisy) > 0.19);
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

TEST_CASE("gate: no baseline is made of processes that disagree") {
  Machine machine{.efficiency = {{"a", 0.9}}, .between = 0.05};
  MeasurementStore db = store();
  const GateReport report = gate(machine, db);
  CHECK(verdict(report, "a").outcome == Outcome::noisy);
  CHECK(report.exit_code() == 5);
}

TEST_CASE("gate: a minimum holds with and without a baseline") {
  Machine machine{.efficiency = {{"gemm/a", 0.78}, {"gemv/b", 0.3}}};
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
  const auto report = run_gate({"a"}, with_other_library, db, {});
  REQUIRE(report);
  CHECK(report->verdicts.front().outcome == Outcome::recorded);
}

TEST_CASE("gate: an error of the measuring process is the gate's") {
  MeasurementStore db = store();
  const Measure broken = [](const auto&) -> Result<std::vector<Measurement>> { return fail(Diagnostic{{}, "no such program", "", Fault::environment}); };
  CHECK_FALSE(run_gate({"a"}, broken, db, {}));
  CHECK_FALSE(run_comparison(broken, broken, {}));
}

TEST_CASE("comparison: two builds by turns") {
  Machine old_build{.efficiency = {{"a", 0.9}, {"b", 0.4}, {"gone", 0.3}}}, same = old_build, slow{.efficiency = {{"a", 0.9 / 1.1}, {"b", 0.4}, {"new", 0.1}}};
  const auto equal = run_comparison(old_build.measure(), same.measure(), {});
  REQUIRE(equal);
  CHECK(equal->exit_code() == 0);
  CHECK(same.processes == 5);
  const auto slower = run_comparison(old_build.measure(), slow.measure(), {});
  REQUIRE(slower);
  CHECK(slower->exit_code() == 1);
  CHECK(verdict(*slower, "a").outcome == Outcome::regressed);
  CHECK(verdict(*slower, "b").outcome == Outcome::passed);
  CHECK(verdict(*slower, "new").reason == "only in the new build");
  CHECK(verdict(*slower, "gone").reason == "only in the old build");
  CHECK(slow.processes == 7);  // confirmed twice
  CHECK(slow.asked.back() == std::vector<std::string>{"a"});
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
  CHECK_FALSE(gate.matching("("));
  gate.add("poly", 9, 4, Anchor::fma_f32, [] {});
  CHECK_FALSE(gate.matching(""));
}

TEST_CASE("process: output, exit code, and what cannot be started") {
  const auto echo = run({{"/bin/sh", "-c", "printf '%s' \"$GAMBREL_TEST_WORD\"; exit 7"}, {{"GAMBREL_TEST_WORD", "a b"}}});
  REQUIRE(echo);
  CHECK(echo->out == "a b");
  CHECK(echo->code == 7);
  CHECK(echo->wall > 0);
  CHECK(run(shell("kill -9 $$"))->code == 137);
  const auto none = run({{"/no/such/program"}, {}});
  REQUIRE_FALSE(none);
  CHECK(none.error().front().fault == Fault::environment);
  CHECK(this_command()->arguments.front().find("tests") != std::string::npos);
}

TEST_CASE("context: clocks, dates and hosts do not decide; library and code path do") {
  Context context = this_context();
  const Measurement m = made_up("a", 0.9, 1);
  const std::string key = fingerprint(context, m);
  CHECK(key.size() == 32);
  CHECK(key == fingerprint(this_context(), m));
  for (Fact& fact : context) {
    CHECK(fact.name.find("MHz") == std::string::npos);
    const std::string was = fact.value;
    fact.value += "x";
    CHECK_MESSAGE((fingerprint(context, m) == key) == !fact.decides, fact.name);
    fact.value = was;
  }
  for (auto member : {&Measurement::library, &Measurement::selected, &Measurement::type}) {
    Measurement other = m;
    other.*member += "x";
    CHECK(fingerprint(context, other) != key);
  }
  setenv("OPENBLAS_CORETYPE", "Haswell", 1);
  CHECK(fingerprint(this_context(), m) != key);
  unsetenv("OPENBLAS_CORETYPE");
}

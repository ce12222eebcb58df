// Two builds by turns on made-up measurements: what is slower, what only one has, what varies too much to tell.
#include <doctest/doctest.h>

#include <algorithm>
#include <functional>
#include <map>

#include "kernels/timing/gate.hpp"
#include "tests/unit/gate_support.hpp"

using namespace gambrel;
using namespace gambrel::kernels;
using gambrel::test::made_up;

namespace {

/// A build in which each kernel has an efficiency; `change` is what a process, counted from 0, makes of a measurement.
struct Build {
  std::map<std::string, double> efficiency;
  std::function<void(Measurement&, int process)> change = [](Measurement&, int) {};
  unsigned seed = 0;
  int rounds = 40;
  int processes = 0;

  Measure measure() {
    return [this](const std::vector<std::string>&) -> Result<std::vector<Measurement>> {
      std::vector<Measurement> all;
      for (const auto& [name, value] : efficiency) {
        Measurement m = made_up(name, value, seed + static_cast<unsigned>(processes), 0.005, rounds);
        change(m, processes);
        if (!m.name.empty()) all.push_back(std::move(m));
      }
      ++processes;
      return all;
    };
  }
};

GateReport compared(Build& before, Build& now, const GateOptions& options = {}, int rounds = 5) {
  before.seed = 100, now.seed = 200;
  before.processes = now.processes = 0;
  auto report = run_comparison(before.measure(), now.measure(), options, rounds);
  REQUIRE(report);
  return std::move(*report);
}

const Verdict& verdict(const GateReport& report, const std::string& name) {
  const auto found = std::ranges::find(report.verdicts, name, [](const Verdict& v) { return v.measurement.name; });
  REQUIRE(found != report.verdicts.end());
  return *found;
}

void slow_down(Measurement& m, double factor) {
  for (Round& round : m.clean) round.seconds *= factor;
}

}  // namespace

TEST_CASE("comparison: two builds by turns") {
  Build old_build{.efficiency = {{"a", 0.9}, {"b", 0.4}}}, same = old_build, slow{.efficiency = {{"a", 0.9 / 1.1}, {"b", 0.4}}};
  const GateReport equal = compared(old_build, same);
  CHECK(equal.exit_code() == 0);
  CHECK(same.processes == 5);
  const GateReport slower = compared(old_build, slow);
  CHECK(slower.exit_code() == 1);
  CHECK(verdict(slower, "a").outcome == Outcome::regressed);
  CHECK(verdict(slower, "a").reason.find("slower than the old build (limit 3.0 %), by turns in 7 processes each") != std::string::npos);
  CHECK(verdict(slower, "b").outcome == Outcome::passed);
  CHECK(slow.processes == 7);  // confirmed twice
  CHECK(verdict(compared(slow, old_build), "a").outcome == Outcome::improved);
}

TEST_CASE("comparison: kernels of one side only are not measurable, and never green") {
  Build old_build{.efficiency = {{"a", 0.9}, {"gone", 0.3}}}, now{.efficiency = {{"a", 0.9}, {"new", 0.1}}};
  const GateReport report = compared(old_build, now);
  CHECK(report.exit_code() == 5);
  CHECK(verdict(report, "new").outcome == Outcome::unmeasured);
  CHECK(verdict(report, "new").reason.starts_with("only in the new build"));
  CHECK(verdict(report, "gone").reason.starts_with("only in the old build"));
  CHECK(verdict(report, "a").outcome == Outcome::passed);
  CHECK(compared(old_build, now, {.allow_unmeasured = true}).exit_code() == 0);
}

TEST_CASE("comparison: a side that loses a kernel in a confirming turn neither crashes nor acquits") {
  Build old_build{.efficiency = {{"a", 0.9}}}, slow{.efficiency = {{"a", 0.8}}};
  old_build.change = [](Measurement& m, int process) {
    if (process >= 5) m.name.clear();
  };
  const GateReport report = compared(old_build, slow);
  CHECK(verdict(report, "a").outcome == Outcome::unmeasured);
  CHECK(verdict(report, "a").reason.find("later turns did not measure both again") != std::string::npos);
  CHECK(report.exit_code() == 5);
  // A turn that was lost on the way is replaced by another one.
  old_build.change = [](Measurement& m, int process) {
    if (process == 5) m.name.clear();
  };
  CHECK(verdict(compared(old_build, slow), "a").outcome == Outcome::regressed);
  old_build.change = [](Measurement& m, int process) {
    if (process == 6) m.clean.resize(3);
  };
  CHECK(verdict(compared(old_build, slow), "a").outcome == Outcome::regressed);
  CHECK(old_build.processes == 8);
}

TEST_CASE("comparison: slower in the first turns only is not slower") {
  Build old_build{.efficiency = {{"a", 0.9}}}, slow{.efficiency = {{"a", 0.9}}};
  slow.change = [](Measurement& m, int process) {
    if (process < 5) slow_down(m, 1.1);
  };
  const GateReport report = compared(old_build, slow);
  CHECK(verdict(report, "a").outcome == Outcome::passed);
  CHECK(verdict(report, "a").reason == "slower in the first turns, not in the last");
  CHECK(slow.processes == 7);
}

TEST_CASE("comparison: what varies widely is found if it is slow enough, and else noisy, but not green") {
  const auto wide = [](Measurement& m, int process) {
    constexpr double levels[]{1, 1.09, 0.92, 1.08, 0.93, 1};
    slow_down(m, levels[process % 6]);
  };
  Build old_build{.efficiency = {{"a", 0.9}}, .change = wide}, same{.efficiency = {{"a", 0.9}}, .change = wide}, slow{.efficiency = {{"a", 0.5}}, .change = wide};
  const GateReport report = compared(old_build, same);
  CHECK(verdict(report, "a").outcome == Outcome::noisy);
  CHECK(verdict(report, "a").reason.find("differ so much") != std::string::npos);
  CHECK(report.exit_code() == 5);
  CHECK(verdict(compared(old_build, slow), "a").outcome == Outcome::regressed);
  // Of more turns the middles are known better.
  CHECK(verdict(compared(old_build, same, {}, 60), "a").outcome == Outcome::passed);
  slow.efficiency["a"] = 0.9 / 1.09;
  CHECK(verdict(compared(old_build, slow, {}, 60), "a").against_baseline.limit < 0.06);
}

TEST_CASE("comparison: commands that give one time a run are judged by all turns") {
  Build old_build{.efficiency = {{"a", 0.9}}, .rounds = 1}, same = old_build, slow{.efficiency = {{"a", 0.9 / 1.2}}, .rounds = 1};
  CHECK(verdict(compared(old_build, same, {}, 16), "a").outcome == Outcome::passed);
  CHECK(verdict(compared(old_build, slow, {}, 16), "a").outcome == Outcome::regressed);
  CHECK(verdict(compared(old_build, same, {}, 5), "a").outcome == Outcome::unmeasured);
  // A few disturbed ones are made up for, on either side.
  old_build.change = [](Measurement& m, int process) {
    if (process % 8 == 3) m = {.name = m.name, .sampled = 1};
  };
  CHECK(verdict(compared(old_build, same, {}, 20), "a").outcome == Outcome::passed);
  old_build.change = [](Measurement&, int) {};
  slow.change = [](Measurement& m, int process) {
    if (process < 4) m.clean.clear();
  };
  CHECK(verdict(compared(old_build, slow, {}, 16), "a").outcome == Outcome::regressed);
}

TEST_CASE("comparison: a benchmark that fails in one build is told, not left out") {
  Build old_build{.efficiency = {{"a", 0.9}}}, failing = old_build;
  failing.change = [](Measurement& m, int process) {
    if (process == 2) m.problem = "the benchmark failed: boom", m.clean.clear();
  };
  const GateReport report = compared(old_build, failing);
  CHECK(report.exit_code() == 5);
  CHECK(verdict(report, "a").reason == "new build: the benchmark failed: boom");
}

TEST_CASE("comparison: a minimum holds without a baseline too") {
  Build old_build{.efficiency = {{"gemm/a", 0.78}, {"b", 0.3}}}, same = old_build;
  const GateReport report = compared(old_build, same, {.minimum = {{"^gemm", 0.8}}});
  CHECK(report.exit_code() == 1);
  CHECK(verdict(report, "gemm/a").outcome == Outcome::below_minimum);
  CHECK(verdict(report, "gemm/a").minimum == 0.8);
  CHECK(verdict(report, "gemm/a").reason.ends_with(" % of fma_f32, below the minimum of 80.0 %"));
  CHECK(verdict(report, "b").outcome == Outcome::passed);
  CHECK(compared(old_build, same, {.minimum = {{"^gemm", 0.7}}}).exit_code() == 0);
  const auto typo = run_comparison(old_build.measure(), same.measure(), {.minimum = {{"^gemn", 0.8}}});
  REQUIRE_FALSE(typo);
  CHECK(render(typo.error()).find("did you mean 'gemm'?") != std::string::npos);
  std::string said;  // behind a filter it may be there
  const auto say = [&](const std::string& line) { said += line + "\n"; };
  CHECK(compared(old_build, same, {.filter = "a", .minimum = {{"^gemn", 0.8}, {"^gemm", 0.1}}, .progress = say}).exit_code() == 0);
  CHECK_MESSAGE(said.find("the minimum for '^gemn' fits no kernel that is measured; names with 'a' are measured\n") != std::string::npos, said);
  CHECK(said.find("'^gemm'") == std::string::npos);
}

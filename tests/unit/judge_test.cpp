// One kernel's samples against its standard: limits, noise, spread, and by which pace.
#include <doctest/doctest.h>

#include <cmath>
#include <random>
#include <vector>

#include "kernels/timing/gate.hpp"
#include "tests/unit/gate_support.hpp"

using namespace gambrel::kernels;
using gambrel::test::made_up;

TEST_CASE("judge: limits by kind, at least three spreads, at most twice as wide") {
  const Limits limits;
  CHECK(limit_of(limits, false, 0) == 0.03);
  CHECK(limit_of(limits, true, 0) == 0.10);
  CHECK(limit_of(limits, false, 0.015) == doctest::Approx(0.045));
  CHECK(limit_of(limits, false, 0.05) == doctest::Approx(0.06));
  CHECK_FALSE(is_noisy(limits, false, 0.0199));
  CHECK(is_noisy(limits, false, 0.0201));
  CHECK_FALSE(is_noisy(limits, true, 0.066));
  CHECK(is_noisy(limits, true, 0.067));
}

TEST_CASE("judge: effect without significance does not fail, nor significance without effect") {
  const Limits limits;
  const Standard standard{.baseline = made_up("k", 0.8, 1, 0.3), .best = {}};
  CHECK(judge(made_up("k", 0.77, 2, 0.3), standard, limits).outcome == Outcome::passed);  // 4 %, lost in 30 % of noise
  const Standard quiet{.baseline = made_up("k", 0.8, 1, 0.001), .best = {}};
  const Finding small = judge(made_up("k", 0.784, 2, 0.001), quiet, limits);  // 2 %
  CHECK(small.outcome == Outcome::passed);
  CHECK(small.against_baseline.chance < 1e-6);
  const Finding large = judge(made_up("k", 0.72, 2, 0.001), quiet, limits);
  CHECK(large.outcome == Outcome::regressed);
  CHECK(large.against_baseline.slowdown == doctest::Approx(0.8 / 0.72 - 1).epsilon(0.01));
  CHECK(judge(made_up("k", 0.9, 2, 0.001), quiet, limits).outcome == Outcome::improved);
  CHECK(judge(made_up("k", 0.5, 2, 0.001, 14), quiet, limits).outcome == Outcome::unmeasured);
}

namespace {

/// A neighbour takes a part of two samples in three, of kernel and anchor independently.
Measurement in_bursts(Measurement m, unsigned seed) {
  std::mt19937 random(seed);
  std::uniform_real_distribution<double> share(0, 1);
  for (Round& round : m.clean) {
    if (share(random) < 0.67) round.seconds *= 1 + 0.4 * share(random);
    if (share(random) < 0.67) round.anchor_seconds *= 1 + 0.4 * share(random);
    round.clock_seconds = round.anchor_seconds;
  }
  return m;
}

}  // namespace

TEST_CASE("judge: bursts in most samples hide no slowdown and make none") {
  const auto process = [](double efficiency, unsigned seed) { return in_bursts(made_up("k", efficiency, seed, 0.002, 160), seed); };
  std::vector<Measurement> before;
  for (unsigned seed = 0; seed < 5; ++seed) before.push_back(process(0.8, seed));
  CHECK(spread_of(before, Pace::anchor) < 0.006);
  const Standard standard{.baseline = pooled(before), .spread = spread_of(before, Pace::anchor), .best = {}};
  for (unsigned seed = 10; seed < 30; ++seed) {
    CHECK(judge(process(0.8, seed), standard, {}).outcome == Outcome::passed);
    CHECK(judge(process(0.8 / 1.1, seed), standard, {}).outcome == Outcome::regressed);
  }
}

TEST_CASE("judge: the steadier pace is the one by which processes agree") {
  const auto process = [](unsigned seed, double wander) {
    Measurement m = made_up("m", 0.3, seed, 0.002);
    for (Round& round : m.clean) round.anchor_seconds *= wander;
    return m;
  };
  CHECK(steadier_pace(std::vector{process(1, 1.2), process(2, 1)}) == Pace::clock);
  Measurement none = process(1, 1);
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

TEST_CASE("judge: a process without samples says nothing, not even which anchor the others have") {
  const std::vector<Measurement> processes{{.name = "a", .sampled = 7}, made_up("a", 0.9, 1, 0.001), made_up("a", 0.9, 2, 0.001)};
  CHECK(spread_of(processes, Pace::anchor) < 0.002);
  const Measurement all = pooled(processes);
  CHECK(all.anchor == "fma_f32");
  CHECK(all.sampled == 87);
  CHECK(all.clean.size() == 80);
  for (const Pace pace : {Pace::anchor, Pace::clock}) CHECK(speed_of(all, pace) == doctest::Approx(speed_of(processes[1], pace)).epsilon(0.01));
}

TEST_CASE("judge: one process that met a burst does not widen the spread, two do") {
  std::vector<Measurement> processes;
  for (unsigned seed = 0; seed < 5; ++seed) processes.push_back(made_up("a", seed == 2 ? 0.8 : 0.9, seed, 0.001));
  CHECK(spread_of(processes, Pace::anchor) < 0.001);
  processes[4] = made_up("a", 0.8, 9, 0.001);
  CHECK(spread_of(processes, Pace::anchor) > 0.06);
}

TEST_CASE("judge: in bursts too a kernel below its minimum is found") {
  const Standard standard{.baseline = {}, .best = {}, .minimum = 0.8};
  for (unsigned seed = 0; seed < 10; ++seed) {
    CHECK(judge(in_bursts(made_up("k", 0.75, seed, 0.002, 160), seed), standard, {}).outcome == Outcome::below_minimum);
    CHECK(judge(in_bursts(made_up("k", 0.82, seed, 0.002, 160), seed), standard, {}).outcome == Outcome::passed);
  }
}

TEST_CASE("judge: times of a file are judged by their middle, however many there are") {
  Measurement many = made_up("k", 0.8, 1, 0.02, 20), one = made_up("k", 0.8, 2, 0.001, 1);
  for (Measurement* m : {&many, &one}) {
    m->calls_per_sample = 0, m->clock_work = 0, m->anchor_work = 0;
    for (Round& round : m->clean) round = {.seconds = 1e-3 * round.seconds / round.anchor_seconds};
  }
  CHECK(std::abs(speed_of(many, Pace::anchor) / speed_of(one, Pace::anchor) - 1) < 0.01);
  CHECK(judge(one, {.baseline = many, .best = {}}, {.least = 1}).outcome == Outcome::passed);
}

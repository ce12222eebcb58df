// Laws of the gate: it hardly ever fails on equal code, a slower kernel is never judged better, luck is what it says it is.
#include <doctest/doctest.h>
#include <rapidcheck.h>

#include <algorithm>
#include <cmath>

#include "kernels/timing/gate.hpp"
#include "kernels/timing/statistics.hpp"
#include "tests/unit/gate_support.hpp"

using namespace gambrel;
using namespace gambrel::kernels;
using gambrel::test::made_up;

namespace {

unsigned any_seed() { return *rc::gen::inRange(0u, 1u << 30); }

/// A share between `low` and `high`, in thousandths of the way.
double between(double low, double high) { return low + (high - low) * *rc::gen::inRange(0, 1001) / 1000; }

/// Every time multiplied, the anchor's left.
Measurement slowed(Measurement m, double factor) {
  for (Round& round : m.clean) round.seconds *= factor;
  return m;
}

}  // namespace

TEST_CASE("the rank test calls equal distributions different as rarely as its level says") {
  int below = 0;
  constexpr int tries = 2000;
  for (unsigned seed = 0; seed < tries; ++seed)
    below += smaller_by_chance(calm_speeds_of(made_up("k", 0.8, 2 * seed, 0.01, 20), Pace::anchor), calm_speeds_of(made_up("k", 0.8, 2 * seed + 1, 0.01, 20), Pace::anchor)) < 0.05;
  const auto [low, high] = share_interval(below, tries, 0.999);
  CHECK_MESSAGE(low <= 0.05, below);
  CHECK_MESSAGE(high >= 0.05, below);
}

TEST_CASE("identical code never fails while processes differ by less than the limit") {
  CHECK(rc::check("A/A", [] {
    const double efficiency = between(0.1, 1.2), noise = between(0, 0.05);
    const Standard standard{.baseline = made_up("k", efficiency, any_seed(), noise, 120), .best = {}};
    const double moved = between(0.99, 1.01);
    const Finding finding = judge(made_up("k", efficiency * moved, any_seed(), noise), standard, Limits{.compute = 0.05});
    RC_ASSERT(!is_failure(finding.outcome));
  }));
}

TEST_CASE("a slower kernel is never judged better") {
  CHECK(rc::check("monotone", [] {
    const Standard standard{.baseline = made_up("k", 0.8, any_seed(), between(0, 0.05)), .spread = between(0, 0.03), .best = made_up("k", 0.82, any_seed()), .minimum = between(0, 0.9)};
    const Measurement now = made_up("k", between(0.5, 1.0), any_seed(), between(0, 0.05));
    const double less = between(1, 1.3), more = less * between(1, 1.3);
    const Finding one = judge(slowed(now, less), standard, {}), two = judge(slowed(now, more), standard, {});
    RC_ASSERT(two.against_baseline.slowdown >= one.against_baseline.slowdown);
    RC_ASSERT(two.against_baseline.chance <= one.against_baseline.chance + 1e-9);  // ties may part by rounding
    RC_ASSERT(is_failure(two.outcome) || !is_failure(one.outcome));
  }));
}

TEST_CASE("the clock does not matter: anchor and kernel slowed alike judge alike") {
  CHECK(rc::check("efficiency is a ratio", [] {
    const Measurement m = made_up("k", between(0.1, 1), any_seed(), 0);
    Measurement throttled = m;
    for (Round& round : throttled.clean) {
      const double factor = between(1, 3);
      round.seconds *= factor, round.anchor_seconds *= factor, round.clock_seconds *= factor;
    }
    for (const Pace pace : {Pace::anchor, Pace::clock}) RC_ASSERT(std::abs(speed_of(throttled, pace) / speed_of(m, pace) - 1) < 1e-12);
  }));
}

TEST_CASE("chances of both directions add up to one, and order within a side does not matter") {
  CHECK(rc::check("Mann-Whitney", [] {
    const auto draw = [] { return *rc::gen::container<std::vector<double>>(static_cast<std::size_t>(*rc::gen::inRange(1, 40)), rc::gen::map(rc::gen::inRange(0, 20), [](int i) { return 1.0 + i; })); };
    std::vector<double> a = draw(), b = draw();
    const double forward = smaller_by_chance(a, b), backward = smaller_by_chance(b, a);
    RC_ASSERT(forward >= 0 && forward <= 1 && backward >= 0 && backward <= 1);
    if (forward < 1 || backward < 1) RC_ASSERT(forward + backward >= 1 - 1e-9);  // the continuity correction counts U itself on both sides
    std::ranges::sort(a);
    std::ranges::reverse(b);
    RC_ASSERT(std::abs(smaller_by_chance(a, b) - forward) < 1e-12);
  }));
}

TEST_CASE("an interval holds its share, and narrows with more runs") {
  CHECK(rc::check("Clopper-Pearson", [] {
    const int tried = *rc::gen::inRange(1, 300), found = *rc::gen::inRange(0, tried + 1);
    const auto [low, high] = share_interval(found, tried);
    const double share = static_cast<double>(found) / tried;
    RC_ASSERT(low <= share && share <= high && low >= 0 && high <= 1);
    const auto [low10, high10] = share_interval(10 * found, 10 * tried);
    RC_ASSERT(high10 - low10 <= high - low + 1e-12);
  }));
}

TEST_CASE("the speed of several processes is the middle one's, and their order does not matter") {
  CHECK(rc::check("speed of processes", [] {
    std::vector<Measurement> processes;
    for (int i = 0; i < 5; ++i) processes.push_back(made_up("k", between(0.5, 1), any_seed(), between(0, 0.05), *rc::gen::inRange(1, 60)));
    std::vector<double> speeds;
    for (const Measurement& one : processes) speeds.push_back(speed_of(one, Pace::anchor));
    const double together = speed_of(pooled(processes), Pace::anchor);
    RC_ASSERT(std::abs(together / median(speeds) - 1) < 1e-12);
    std::ranges::reverse(processes);
    RC_ASSERT(std::abs(speed_of(pooled(processes), Pace::anchor) / together - 1) < 1e-12);
  }));
}

TEST_CASE("pooled processes keep their efficiencies, whatever work their anchors did") {
  CHECK(rc::check("pooled", [] {
    Measurement one = made_up("k", 0.8, any_seed()), two = made_up("k", 0.8, any_seed());
    const double scale = between(0.5, 2);
    two.anchor_work *= scale, two.clock_work *= scale;
    for (Round& round : two.clean) round.anchor_seconds *= scale, round.clock_seconds *= scale;
    auto all = calm_speeds_of(one, Pace::anchor);
    for (const double efficiency : calm_speeds_of(two, Pace::anchor)) all.push_back(efficiency);
    const auto together = calm_speeds_of(pooled(std::vector{one, two}), Pace::anchor);
    RC_ASSERT(together.size() == all.size());
    for (std::size_t i = 0; i < all.size(); ++i) RC_ASSERT(std::abs(together[i] / all[i] - 1) < 1e-12);
  }));
}

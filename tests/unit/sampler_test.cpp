// The sampler on made-up clocks, and on calls that take no time worth measuring.
#include "kernels/timing/sampler.hpp"

#include <doctest/doctest.h>

#include <atomic>
#include <cstdlib>

#include "base/load.hpp"
#include "kernels/timing/team.hpp"
#include "tests/unit/gate_support.hpp"

using namespace gambrel;
using namespace gambrel::kernels;

namespace {

/// A call that takes that long, by a clock of its own; every `disturbed`-th lap is preempted.
struct Fake {
  double seconds;
  int disturbed = 0;
  std::shared_ptr<int> laps = std::make_shared<int>(0), calls = std::make_shared<int>(0);

  Timed timed() const {
    return [*this](int count) {
      *calls += count;
      const bool bad = disturbed > 0 && ++*laps % disturbed == 0;
      const double wall = seconds * count;
      return Lap{bad ? 5 * wall : wall, wall, bad ? 1 : 0};
    };
  }
};

class Nothing final : public Call {
 public:
  explicit Nothing(std::atomic<int>& count) : count_(count) {}
  void run() override { ++count_; }
  std::string selected() const override { return "nop"; }

 private:
  std::atomic<int>& count_;
};

class Device final : public Call {
 public:
  void run() override {}
  double device_seconds() const override { return 2e-3; }
};

KernelCase nothing(std::atomic<int>& count, const std::string& version, int threads = 1) {
  return {.kernel = "nothing", .type = "f32", .version = version, .sizes = {{"n", 8}}, .threads = threads, .flops = 1, .bytes = 4, .prepare = [&count] { return std::make_unique<Nothing>(count); }};
}

/// Short enough for a test; the figures mean nothing.
const Sampling quick{.least_s = 1e-5, .rounds = 4, .most_rounds = 4, .attempts = 8, .warm_s = 0};

}  // namespace

TEST_CASE("sampler: a lap is clean if nobody took the CPU") {
  CHECK(is_clean({1e-3, 1e-3, 0}));
  CHECK(is_clean({1e-3, 0.971e-3, 0}));
  CHECK_FALSE(is_clean({1e-3, 0.96e-3, 0}));
  CHECK_FALSE(is_clean({1e-3, 1e-3, 1}));
  CHECK_FALSE(is_clean({0, 0, 0}));
  // Of several threads the CPU time is no measure, for each may wait for the others.
  CHECK(is_clean({1e-3, 0.5e-3, 0, false}));
  CHECK_FALSE(is_clean({1e-3, 2e-3, 1, false}));
}

TEST_CASE("sampler: calls of a sample are found by doubling, disturbed laps or not") {
  CHECK(calls_for(Fake{1e-6}.timed(), 0.5e-3) == 512);
  CHECK(calls_for(Fake{0.4e-3}.timed(), 0.5e-3) == 2);
  CHECK(calls_for(Fake{0.5e-3}.timed(), 0.5e-3) == 1);
  CHECK(calls_for(Fake{1}.timed(), 0.5e-3) == 1);
  CHECK(calls_for(Fake{1e-6, 2}.timed(), 0.5e-3) == 512);
  CHECK(calls_for(Fake{0}.timed(), 0.5e-3) == 1 << 24);  // no clock is that slow
}

TEST_CASE("sampler: a pair gives times of one call, and nothing from a disturbed round") {
  Pair pair(Fake{1e-6}.timed(), Fake{0.25e-3}.timed(), {.warm_s = 0});
  const auto round = pair.next();
  REQUIRE(round);
  CHECK(round->seconds == doctest::Approx(1e-6));
  CHECK(round->anchor_seconds == doctest::Approx(0.25e-3));
  CHECK(round->clock_seconds == round->anchor_seconds);
  Pair timed(Fake{1e-6}.timed(), Fake{0.25e-3}.timed(), {.warm_s = 0}, Fake{0.1e-3}.timed());
  CHECK(timed.next()->clock_seconds == doctest::Approx(0.1e-3));
  Pair bad(Fake{1e-6, 1}.timed(), Fake{0.25e-3}.timed(), {.warm_s = 0});
  CHECK_FALSE(bad.next());
  Pair bad_anchor(Fake{1e-6}.timed(), Fake{0.25e-3, 1}.timed(), {.warm_s = 0});
  CHECK_FALSE(bad_anchor.next());
}

TEST_CASE("sampler: an efficiency is the kernel's rate over the anchor's") {
  const Measurement m = test::made_up("x", 0.8, 1, 0);
  CHECK(efficiency_of(m) == doctest::Approx(0.8));
  Measurement memory = m;
  memory.memory = true;  // 1e6 B against an anchor of 2e8 B a run
  CHECK(efficiency_of(memory) == doctest::Approx(0.8 / 100));
  Measurement launch = m;
  launch.flops = 0;  // no work to compare: times
  CHECK(calm_speeds_of(launch, Pace::anchor).front() == doctest::Approx(1e9 / 2e8 * m.clean.front().anchor_seconds / m.clean.front().seconds));
  Measurement other = launch;  // another process, whose anchor does three times the work a run
  other.anchor_work *= 3;
  for (Round& round : other.clean) round.anchor_seconds *= 3;
  CHECK(efficiency_of(other) == doctest::Approx(efficiency_of(launch)));
}

TEST_CASE("sampler: measurements go through their file form unchanged") {
  Measurement m = test::made_up("a/b", 0.8, 1);
  m.sizes = {{"m", 3}, {"n", 4}};
  m.selected = "jit \"x\"";
  m.memory = true;
  const auto document = parse_json(to_json(to_node(std::vector{m, test::made_up("c", 0.5, 2)})), "m.json");
  REQUIRE(document);
  const auto back = read_measurements(*document);
  REQUIRE(back);
  REQUIRE(back->size() == 2);
  CHECK(back->front().name == "a/b");
  CHECK(back->front().selected == m.selected);
  CHECK(back->front().sizes == m.sizes);
  CHECK(back->front().memory);
  CHECK(calm_speeds_of(back->front(), Pace::anchor) == calm_speeds_of(m, Pace::anchor));

  Node wrong = to_node(std::vector{m});
  wrong.set("schema_version", Node::of(2.0));
  CHECK_FALSE(read_measurements(wrong));
  CHECK_FALSE(read_measurements(Node::mapping()));
}

TEST_CASE("sampler: real cases are prepared, warmed up and called in turn") {
  std::atomic<int> one = 0, two = 0, both = 0;
  std::vector<std::string> told;
  const std::vector<KernelCase> cases{nothing(one, "one"), nothing(two, "two"), nothing(both, "both", 2)};
  const auto measured = sample(cases, quick, [&](const Measurement& m) { told.push_back(m.name); });
  REQUIRE(measured.size() == 3);
  CHECK(told.size() == 3);
  CHECK(measured[0].name == "nothing/f32/one/n8/1t");
  CHECK(measured[0].selected == "nop");
  CHECK(measured[2].threads == 2);
  for (const Measurement& m : measured) {
    CHECK(m.sampled <= quick.attempts);
    CHECK(std::ssize(m.clean) <= quick.rounds);
    CHECK(m.anchor_work > 0);
    for (const Round& round : m.clean) CHECK(round.seconds > 0);
  }
  CHECK(one > 0);
  CHECK(two > 0);
}

TEST_CASE("sampler: a device's own events count, and its own reference") {
  KernelCase device{.kernel = "kernel", .type = "f32", .version = "device", .flops = 100, .prepare = [] { return std::make_unique<Device>(); }};
  device.prepare_anchor = device.prepare;
  device.anchor_work = 200;
  const auto measured = sample(std::vector{device}, quick);
  REQUIRE(measured.front().clean.size() == 4);
  CHECK(median_seconds(measured.front()) == doctest::Approx(2e-3));
  CHECK(efficiency_of(measured.front()) == doctest::Approx(0.5));
}

TEST_CASE("sampler: rounds go on until enough of them are undisturbed, to a limit") {
  const Sampling sampling{.rounds = 40, .most_rounds = 60, .attempts = 100};
  const auto finished = [&](Measurement m, int sampled = 0) {
    m.sampled = sampled;
    return Prepared{m, Pair(Fake{1e-6}.timed(), Fake{1e-6}.timed(), {.warm_s = 0})}.finished(sampling);
  };
  const auto disturbed = [](Measurement m, double Round::*time) {  // each longer than the one before
    for (std::size_t i = 0; i < m.clean.size(); ++i) m.clean[i].*time *= 1 + 0.02 * static_cast<double>(i);
    return m;
  };
  const Measurement few = test::made_up("k", 0.8, 1, 0, 39), calm = test::made_up("k", 0.8, 1, 0, 40), many = test::made_up("k", 0.8, 1, 0, 60);
  CHECK_FALSE(finished(few));
  CHECK(finished(calm));
  CHECK_FALSE(finished(disturbed(calm, &Round::seconds)));
  CHECK_FALSE(finished(disturbed(calm, &Round::anchor_seconds)));
  CHECK(finished(disturbed(many, &Round::seconds)));
  CHECK(finished(few, 100));  // it will not become better
  Measurement slow = disturbed(test::made_up("k", 0.8, 1, 0, 41), &Round::seconds);
  CHECK_FALSE(finished(slow));
  slow.calls_per_sample = 1.1 / slow.clean.back().seconds;  // a second for the one beyond 40
  CHECK(finished(slow));
}

TEST_CASE("sampler: an injected slowdown is read from the environment, by name") {
  setenv("GAMBREL_SLOWDOWN", "^gemm/f32=1.10;gemv=1.5;[=2;x", 1);
  CHECK(injected_slowdown("gemm/f32/a") == doctest::Approx(1.10));
  CHECK(injected_slowdown("a/gemm/f32") == 1);
  CHECK(injected_slowdown("gemv/f32") == doctest::Approx(1.5));
  unsetenv("GAMBREL_SLOWDOWN");
  CHECK(injected_slowdown("gemm/f32/a") == 1);
}

TEST_CASE("sampler: a team's threads all work, again and again") {
  Team team(3);
  std::atomic<int> sum = 0;
  for (int round = 0; round < 100; ++round) team.run([&](int thread) { sum += thread + 1; });
  CHECK(sum == 600);
}

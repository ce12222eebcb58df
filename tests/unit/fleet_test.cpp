// Beyond one building: figures that were published, and the edges of the formulas.
#include <doctest/doctest.h>

#include <cmath>

#include "run_support.hpp"
#include "sim/plan/fleet.hpp"

using namespace gambrel;
using namespace gambrel::sim;

namespace {

constexpr double minute = 60, hour = 3600, day = 86400, km = 1000;

/// 70 B parameters in bf16 that two sites train, ten seconds of backward pass in a step of fifteen.
SiteTraining seventy_billion(SiteSync sync = SiteSync::overlapped) { return {.sync = sync, .step = 15, .backward = 10, .bytes = 140e9}; }

Result<Reliability> reliability(const std::string& yaml) {
  auto node = parse_yaml(yaml, "run.yaml");
  REQUIRE(node.has_value());
  return read_reliability(*node);
}

std::string errors(const std::string& yaml) {
  const auto read = reliability(yaml);
  return read ? "accepted" : test::placed(read.error());
}

}  // namespace

TEST_CASE("light takes 4.9 us for each kilometre of fibre") {
  CHECK(Sites{.distance = 1 * km}.one_way() == doctest::Approx(4.9e-6).epsilon(0.001));
  CHECK(Sites{.distance = 1 * km, .latency = 1e-3}.one_way() == doctest::Approx(1.0049e-3).epsilon(0.0001));
}

TEST_CASE("an exchange between sites is a ring all-reduce") {
  CHECK(site_exchange_seconds(140e9, {.count = 1}) == 0);
  CHECK(site_exchange_seconds(140e9, {.count = 2, .bandwidth = 14e9}) == doctest::Approx(10));
  CHECK(site_exchange_seconds(140e9, {.count = 4, .bandwidth = 14e9}) == doctest::Approx(15));  // 2 x 3/4
  CHECK(site_exchange_seconds(0, {.count = 4, .bandwidth = 14e9, .latency = 0.01}) == doctest::Approx(6 * 0.01));
  CHECK(std::isinf(site_exchange_seconds(1, {.count = 2})));
}

TEST_CASE("two sites, 70 B parameters in bf16, 10 s of backward: 14 GB/s, 112 Gb/s, just hides the exchange") {
  const double golden = golden_bandwidth(seventy_billion(), {.count = 2});
  CHECK(golden == doctest::Approx(14e9));
  CHECK(site_step_seconds(seventy_billion(), {.count = 2, .bandwidth = golden}) == doctest::Approx(15));
  CHECK(site_step_seconds(seventy_billion(), {.count = 2, .bandwidth = golden / 2}) == doctest::Approx(25));
}

TEST_CASE("an exchange that nothing hides costs all its time; a loss can be accepted") {
  const SiteTraining training = seventy_billion(SiteSync::synchronous);
  CHECK(site_step_seconds(training, {.count = 2, .bandwidth = 14e9}) == doctest::Approx(25));
  CHECK(std::isinf(golden_bandwidth(training, {.count = 2})));
  CHECK(golden_bandwidth(training, {.count = 2}, 0.1) == doctest::Approx(140e9 / 1.5));
}

TEST_CASE("local steps: one exchange for H of them; fragments in turn need as little at once") {
  SiteTraining diloco = seventy_billion(SiteSync::local);
  diloco.local_steps = 100;
  CHECK(site_step_seconds(diloco, {.count = 2, .bandwidth = 1e9}) == doctest::Approx(15 + 1.4));  // 140 s every 100 steps
  CHECK(golden_local_steps(diloco, {.count = 2, .bandwidth = 1e9}, 0.01) == doctest::Approx(140 / 0.15));
  SiteTraining streaming = diloco;
  streaming.fragments = 10, streaming.overlapped_steps = 1;
  CHECK(site_step_seconds(streaming, {.count = 2, .bandwidth = 1e9}) == doctest::Approx(15));  // 14 s beside 15
  CHECK(golden_bandwidth(streaming, {.count = 2}) == doctest::Approx(14e9 / 15));
  CHECK(golden_local_steps(streaming, {.count = 2, .bandwidth = 1e9}) == doctest::Approx(140 / 15.0));
}

TEST_CASE("distance: the longest at which the exchange is still hidden; beyond light's reach no bandwidth helps") {
  const double far = golden_distance(seventy_billion(), {.count = 2, .bandwidth = 14.01e9});
  CHECK(site_step_seconds(seventy_billion(), {.count = 2, .bandwidth = 14.01e9, .distance = far}) == doctest::Approx(15));
  CHECK(golden_distance(seventy_billion(), {.count = 2, .bandwidth = 13e9}) < 0);
  CHECK(std::isinf(golden_bandwidth(seventy_billion(), {.count = 2, .distance = 2e9})));
  CHECK(std::isinf(golden_distance(seventy_billion(), {.count = 1})));
}

TEST_CASE("Llama 3's run: an interruption every three hours, a checkpoint every 19 minutes") {
  // Grattafiori 2024 (arXiv 2407.21783), 3.3.4: 419 unexpected interruptions in 54 days on 16,384 chips.
  const double per_chip = 54 * day * 16384 / 419;
  CHECK(per_chip / hour == doctest::Approx(50'676).epsilon(0.001));
  const Goodput sync = goodput({.mtbf_per_chip = per_chip, .checkpoint_stall = 60, .checkpoint_write = 60}, 16384);
  CHECK(sync.mtbf / hour == doctest::Approx(3.09).epsilon(0.002));
  CHECK(sync.failures_per_day == doctest::Approx(419 / 54.0));
  CHECK(young_interval(60, sync.mtbf) / minute == doctest::Approx(19.3).epsilon(0.005));
  CHECK(sync.interval / minute == doctest::Approx(19).epsilon(0.03));
  CHECK(1 - sync.productive == doctest::Approx(0.10).epsilon(0.03));
  const Goodput async = goodput({.mtbf_per_chip = per_chip, .checkpoint_stall = 5, .checkpoint_write = 5}, 16384);
  CHECK(1 - async.productive == doctest::Approx(0.03).epsilon(0.03));
}

TEST_CASE("the best interval is Daly's, which is Young's where checkpoints are cheap") {
  CHECK(daly_interval(60, 11124) == doctest::Approx(1155.4 * (1 + std::sqrt(60 / 22248.0) / 3 + 60 / 22248.0 / 9) - 60).epsilon(1e-4));
  CHECK(daly_interval(300, 100) == 100);
  CHECK(best_interval({.checkpoint_stall = 60, .checkpoint_write = 60}, 11124) == doctest::Approx(daly_interval(60, 11124)).epsilon(1e-3));
  CHECK(best_interval({.checkpoint_stall = 1e-3, .checkpoint_write = 1e-3}, 1e6) == doctest::Approx(young_interval(1e-3, 1e6)).epsilon(1e-3));
  CHECK(best_interval({.checkpoint_stall = 0, .checkpoint_write = 30}, 11124) == 30);  // one write after the other
}

TEST_CASE("goodput at the edges") {
  CHECK(goodput({}, 1e6).productive == 1);
  CHECK(goodput({.checkpoint_stall = 10, .checkpoint_write = 10, .checkpoint_interval = 90}, 8).productive == doctest::Approx(0.9));
  CHECK(goodput({.mtbf_per_chip = 1e9, .restart = 100}, 1).productive == doctest::Approx(1));
  const Goodput hopeless = goodput({.mtbf_per_chip = 1000, .checkpoint_stall = 60, .checkpoint_write = 60, .restart = 600}, 1e5);
  CHECK(hopeless.productive >= 0);
  CHECK(hopeless.productive < 1e-6);
  CHECK(hopeless.productive + hopeless.checkpoints + hopeless.failures == doctest::Approx(1));
}

TEST_CASE("a run's reliability section") {
  const auto r = reliability("{mtbf_per_chip: 50000 h, checkpoint: {write: 30 s, asynchronous: true, stall: 2 s}, restart: 5 min}");
  REQUIRE(r.has_value());
  CHECK(r->mtbf_per_chip == 50'000 * hour);
  CHECK(r->checkpoint_write == 30);
  CHECK(r->checkpoint_stall == 2);
  CHECK(r->checkpoint_interval == 0);
  CHECK(r->restart == 300);
  CHECK(reliability("{mtbf_per_chip: 1 h, checkpoint: {write: 30 s}}")->checkpoint_stall == 30);
  CHECK(reliability("{mtbf_per_chip: 1 h, checkpoint: {write: 30 s, asynchronous: true}}")->checkpoint_stall == 0);
  CHECK(reliability("{mtbf_per_chip: 1 h}")->checkpoint_write == 0);
}

TEST_CASE("reliability: what contradicts itself is refused where it stands") {
  CHECK(errors("mtbf_per_chip: 1 h\ncheckpoint: {write: 30 s, stall: 2 s}\n").starts_with("run.yaml:2:34: a write that is not asynchronous"));
  CHECK(errors("mtbf_per_chip: 1 h\ncheckpoint: {write: 30 s, asynchronous: true, stall: 40 s}\n").starts_with("run.yaml:2:54: the stall is longer"));
  CHECK(errors("mtbf_per_chip: 1 h\ncheckpoint:\n  write: 30 s\n  asynchronous: true\n  interval: 20 s\n").starts_with("run.yaml:5:13: the interval is shorter"));
}

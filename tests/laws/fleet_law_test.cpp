// Laws of sites and of failures.
#include <doctest/doctest.h>
#include <rapidcheck.h>

#include <cmath>

#include "random_draws.hpp"
#include "sim/plan/fleet.hpp"

namespace gambrel::sim {
namespace {

Sites any_sites() {
  return {.count = one_of_range(2, 12), .bandwidth = magnitude(1e8, 1e13), .distance = magnitude(1, 2e7), .latency = magnitude(1e-7, 1e-2)};
}

SiteTraining any_training() {
  SiteTraining t{.sync = *rc::gen::element(SiteSync::synchronous, SiteSync::overlapped, SiteSync::local), .step = magnitude(0.1, 100), .bytes = magnitude(1e6, 1e13)};
  t.backward = t.step * one_of_range(0, 100) / 100;
  t.local_steps = one_of_range(1, 500);
  t.fragments = one_of_range(1, 20);
  t.overlapped_steps = t.local_steps / t.fragments * one_of_range(0, 100) / 100;
  return t;
}

Reliability any_reliability() {
  Reliability r{.mtbf_per_chip = magnitude(1e3, 1e10), .checkpoint_stall = magnitude(1e-3, 1e3), .restart = magnitude(1, 1e4)};
  r.checkpoint_write = r.checkpoint_stall * magnitude(1, 100);
  return r;
}

bool same(double a, double b) { return std::abs(a - b) <= 1e-6 * std::max(std::abs(a), std::abs(b)); }

TEST_CASE("law: a step over sites takes at least a step; more bandwidth, less distance and fewer sites are never slower") {
  CHECK(rc::check("monotone", [] {
    const SiteTraining t = any_training();
    const Sites sites = any_sites();
    const double seconds = site_step_seconds(t, sites);
    RC_ASSERT(seconds >= t.step);
    Sites better = sites;
    better.bandwidth *= magnitude(1, 10), better.distance /= magnitude(1, 10), better.count -= 1;
    RC_ASSERT(site_step_seconds(t, better) <= seconds);
  }));
}

TEST_CASE("law: at the golden bandwidth, distance and number of local steps a step loses what was allowed, beyond it more") {
  CHECK(rc::check("inverses", [] {
    SiteTraining t = any_training();
    Sites sites = any_sites();
    const double loss = *rc::gen::arbitrary<bool>() ? 0 : magnitude(1e-3, 1);
    const double bandwidth = golden_bandwidth(t, sites, loss), distance = golden_distance(t, sites, loss);
    Sites at = sites;
    if (at.bandwidth = bandwidth; std::isfinite(bandwidth)) {
      RC_ASSERT(same(site_step_seconds(t, at), (1 + loss) * t.step));
      at.bandwidth /= 1.1;
      RC_ASSERT(site_step_seconds(t, at) > (1 + loss) * t.step);
    }
    RC_ASSERT((sites.bandwidth >= bandwidth) == (distance >= sites.distance));
    if (at = sites, at.distance = distance; distance >= 0) RC_ASSERT(same(site_step_seconds(t, at), (1 + loss) * t.step));
  }));
  CHECK(rc::check("local steps", [] {
    SiteTraining t = any_training();
    t.sync = SiteSync::local;
    const Sites sites = any_sites();
    const double loss = magnitude(1e-3, 1);
    t.local_steps = golden_local_steps(t, sites, loss);
    if (t.overlapped_steps > 0) t.overlapped_steps = t.local_steps / t.fragments;
    RC_ASSERT(site_step_seconds(t, sites) <= (1 + loss) * t.step * (1 + 1e-9));
    if (t.local_steps > 1) RC_ASSERT(same(site_step_seconds(t, sites), (1 + loss) * t.step));
  }));
}

TEST_CASE("law: goodput is a share, its parts sum to one, and nothing that gets better lowers it") {
  CHECK(rc::check("share and monotone", [] {
    const Reliability r = any_reliability();
    const double chips = whole_magnitude(1, 1e6);
    const Goodput g = goodput(r, chips);
    RC_ASSERT(g.productive >= 0 && g.productive <= 1 && g.checkpoints >= 0 && g.failures >= 0);
    RC_ASSERT(std::abs(g.productive + g.checkpoints + g.failures - 1) < 1e-9);
    const double slack = 1e-9;
    RC_ASSERT(goodput(r, chips * 2).productive <= g.productive + slack);
    Reliability better = r;
    **rc::gen::element(&better.restart, &better.checkpoint_write) /= magnitude(1, 10);
    better.checkpoint_write = std::max(better.checkpoint_write, better.checkpoint_stall);
    better.mtbf_per_chip *= magnitude(1, 10);
    RC_ASSERT(goodput(better, chips).productive >= g.productive - slack);
  }));
}

TEST_CASE("law: no other interval is better than the best one; Daly's is nearly as good where failures are rare") {
  CHECK(rc::check("minimum", [] {
    Reliability r = any_reliability();
    const double chips = whole_magnitude(1, 1e4);
    const Goodput best = goodput(r, chips);
    const double shortest = r.checkpoint_write - r.checkpoint_stall;
    r.checkpoint_interval = std::max(shortest, best.interval * magnitude(0.01, 100));
    RC_ASSERT(goodput(r, chips).productive <= best.productive * (1 + 1e-9));
    r.checkpoint_interval = std::max(shortest, daly_interval(r.checkpoint_stall, best.mtbf));
    if (r.checkpoint_stall < 0.1 * best.mtbf) RC_ASSERT(goodput(r, chips).productive >= best.productive * (1 - 1e-3));
  }));
}

TEST_CASE("law: the first orders of what is lost are stall / interval + (interval / 2 + restart) / mtbf") {
  CHECK(rc::check("first order", [] {
    const double mtbf = magnitude(1e5, 1e7), stall = mtbf * magnitude(1e-7, 1e-5), restart = mtbf * magnitude(1e-7, 1e-4);
    const Goodput g = goodput({.mtbf_per_chip = mtbf, .checkpoint_stall = stall, .checkpoint_write = stall, .restart = restart}, 1);
    const double lost = stall / g.interval + (g.interval / 2 + restart) / mtbf;
    RC_ASSERT(std::abs(1 - g.productive - lost) < 0.02 * lost);
  }));
}

}  // namespace
}  // namespace gambrel::sim

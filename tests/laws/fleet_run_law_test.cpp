// Laws of runs over several sites and on pools: the figures of the whole follow from those of its parts.
#include <doctest/doctest.h>
#include <rapidcheck.h>

#include <cmath>

#include "tests/laws/random_draws.hpp"
#include "tests/unit/run_support.hpp"

namespace gambrel::sim {
namespace {

bool same(double a, double b) { return std::abs(a - b) <= 1e-9 * std::max(std::abs(a), std::abs(b)); }

/// One-billion-parameter training on both metros; the network between them is set anew for each draw.
Run metros() {
  static const Run run = test::run_of("model: llama-3.2-1b\nsystem: two-metros\nworkload: {phase: train, global_batch: 1024, sequence: 2048}\n"
                                      "plan: {tensor: 8, data: 512, sites: {level: metro, sync: overlapped}}\ncost_model: roofline\n");
  return run;
}

void join(Run& run, double bandwidth, double latency) {
  hw::NetworkLevel& metro = run.system.pools.front().network.back();
  metro.bandwidth = BytesPerSecond{bandwidth};
  metro.latency = Seconds{latency};
}

SitePlan any_sites(SitePlan sites) {
  sites.sync = *rc::gen::element(SiteSync::synchronous, SiteSync::overlapped, SiteSync::local);
  if (sites.sync != SiteSync::local) return sites;
  sites.local_steps = one_of_range(1, 200);
  sites.fragments = one_of_range(1, static_cast<int>(std::min(8.0, sites.local_steps)));
  sites.overlapped_steps = std::floor(sites.local_steps / sites.fragments * one_of_range(0, 10) / 10);
  return sites;
}

double seconds(const Run& run) { return test::estimate_of(run).total.time.value; }

TEST_CASE("law: a step over sites is never faster than one site's, nor slower with more bandwidth or less distance") {
  CHECK(rc::check("sites monotone", [] {
    Run run = metros();
    run.sites = any_sites(*run.sites);
    const double bandwidth = magnitude(1e8, 1e14), latency = magnitude(1e-6, 1);
    join(run, bandwidth, latency);
    const Estimate e = test::estimate_of(run);
    RC_ASSERT(e.total.time >= e.sites->step);
    RC_ASSERT(same(e.total.time.value, (e.sites->step + e.sites->exposed).value));
    join(run, bandwidth * magnitude(1, 10), latency / magnitude(1, 10));
    RC_ASSERT(seconds(run) <= e.total.time.value * (1 + 1e-12));
  }));
}

TEST_CASE("law: at the golden bandwidth nothing is exposed, below it something is") {
  CHECK(rc::check("golden", [] {
    Run run = metros();
    run.sites = any_sites(*run.sites);
    const double latency = magnitude(1e-7, 1e-3);
    join(run, 1e12, latency);
    const Estimate e = test::estimate_of(run);
    const double golden = e.sites->golden_bandwidth.value;
    if (!std::isfinite(golden)) return;
    join(run, golden, latency);
    RC_ASSERT(same(seconds(run), e.sites->step.value));
    join(run, golden / 1.1, latency);
    RC_ASSERT(seconds(run) > e.sites->step.value);
  }));
}

TEST_CASE("law: pools: the slowest of prefill, decode and the network sets the rate, and balanced parts are even") {
  CHECK(rc::check("rates", [] {
    const int batch = static_cast<int>(whole_magnitude(1, 256)), prefill = static_cast<int>(whole_magnitude(1, 16)), input = static_cast<int>(whole_magnitude(16, 4096)), output = static_cast<int>(one_of_range(2, 40));
    const double bandwidth = magnitude(1e7, 1e12);
    const std::string plan = *rc::gen::element<std::string>("{prefill: {tensor: 8}, decode: {tensor: 4}}", "{prefill: {tensor: 2}, decode: {tensor: 8}}", "{prefill: {}, decode: {}}");
    Run run = test::run_of(fmt::format("model: llama-3.2-1b\nsystem: example-disaggregated\ncost_model: roofline\nplan: {}\n"
                                       "workload: {{phase: generate, batch: {}, prefill_batch: {}, input: {}, output: {}}}\n", plan, batch, prefill, input, output),
                           {fmt::format("system.network.infiniband.bandwidth={:.17g} B/s", bandwidth)});
    const Estimate e = test::estimate_of(run);
    const Pools& p = *e.pools;
    const auto& [first, second] = p.pools;
    RC_ASSERT(p.request_rate <= first.request_rate && p.request_rate <= second.request_rate && p.request_rate <= p.network_rate);
    RC_ASSERT(p.request_rate == std::min({first.request_rate, second.request_rate, p.network_rate}));
    for (const PoolFigures& pool : p.pools) RC_ASSERT(same(pool.request_rate, pool.replicas * pool.batch / pool.time.value) && pool.utilisation <= 1);
    RC_ASSERT(p.ttft_streamed >= first.time && p.ttft_streamed <= e.serving->ttft * (1 + 1e-12));
    const double a = first.balanced_parts * first.request_rate / first.parts, b = second.balanced_parts * second.request_rate / second.parts;
    RC_ASSERT(std::abs(a / b - 1) < 0.06);
    const StepTimeline& t = e.timeline;
    RC_ASSERT(same((t.compute + t.exposed_network + t.bubble + t.overhead).value, e.total.time.value));
  }));
}

}  // namespace
}  // namespace gambrel::sim

// Training over several sites, and what failures cost a run: keys, figures, and what is said where a plan cannot be shared.
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>

#include "reports/json.hpp"
#include "tests/unit/run_support.hpp"

using namespace gambrel;
using namespace gambrel::test;

namespace {

constexpr double parameters = 1235814400;  // of the model below, the tied table once

/// Two metros of 2,048 chips; `sites` is the inside of the section, or nothing.
std::string run_text(const std::string& sites, const std::string& more = "", int data = 512, int batch = 1024, const std::string& rest = "") {
  const std::string section = sites.empty() ? "" : ", sites: {level: metro, " + sites + "}";
  return fmt::format("model: llama-3.2-1b\nsystem: two-metros\nworkload: {{phase: train, global_batch: {}, micro_batch: 1, sequence: 2048, tokens: 1e12}}\n"
                     "plan: {{tensor: 8, data: {}{}{}}}\n{}", batch, data, more, section, rest);
}

sim::Estimate with(const std::string& sites, const std::vector<std::string>& set = {}) { return estimate_of(run_text(sites), set); }

const sim::SiteFigures& sites_of(const sim::Estimate& e) {
  REQUIRE(e.sites.has_value());
  return *e.sites;
}

std::string metro_bandwidth(double bandwidth) { return fmt::format("system.network.metro.bandwidth={:.17g} B/s", bandwidth); }

double node_number(const Node& node, std::string_view key) {
  REQUIRE_MESSAGE(node.find(key), std::string(key));
  return node.find(key)->number;
}

}  // namespace

TEST_CASE("sites: each is a run of its own, and what they exchange comes on top") {
  const sim::Estimate two = with("sync: synchronous"), one = estimate_of(run_text("", "", 256, 512));
  const sim::SiteFigures& s = sites_of(two);
  CHECK(s.count == 2);
  CHECK(s.chips == 2048);
  CHECK(s.step.value == doctest::Approx(one.total.time.value).epsilon(1e-12));
  CHECK(s.bytes.value == doctest::Approx(4 * parameters));  // fp32
  CHECK(s.exchange.value == doctest::Approx(4 * parameters / 1e12 + 2 * 5e-3));
  CHECK(s.exposed.value == doctest::Approx(s.exchange.value));
  CHECK(two.total.time.value == doctest::Approx((s.step + s.exchange).value));
  CHECK(two.total.flops.value == doctest::Approx(2 * one.total.flops.value));
  CHECK(two.memory.tiers[0].optimizer == one.memory.tiers[0].optimizer);
  CHECK(with("sync: synchronous, type: bf16").sites->exchange.value == doctest::Approx(2 * parameters / 1e12 + 2 * 5e-3));
}

TEST_CASE("sites: ZeRO shares within a site, not among sites") {
  const auto optimizer = [](const std::string& sites) { return estimate_of(run_text(sites, ", zero: 1")).memory.tiers[0].optimizer.value; };
  CHECK(optimizer("sync: synchronous") == doctest::Approx(2 * optimizer("")));
}

TEST_CASE("sites: the step's parts still add up, and the exchange is listed") {
  for (const std::string sync : {"synchronous", "overlapped", "local, local_steps: 10"}) {
    CAPTURE(sync);
    const sim::Estimate e = with("sync: " + sync, {metro_bandwidth(50e9)});
    const sim::StepTimeline& t = e.timeline;
    CHECK((t.compute + t.exposed_network + t.bubble + t.overhead).value == doctest::Approx(e.total.time.value));
    const auto use = std::ranges::find(e.network, "metro", &sim::NetworkUse::level);
    REQUIRE(use != e.network.end());
    CHECK(use->ranks == 2);
    CHECK(use->time == e.sites->exchange);
    CHECK(use->bytes.value * 2048 == doctest::Approx(4 * parameters));
    CHECK(use->count == doctest::Approx(e.sites->exchanges_per_step));
  }
}

TEST_CASE("sites: without the key, data across metros is one hierarchical collective") {
  const sim::Estimate e = estimate_of(run_text(""));
  CHECK_FALSE(e.sites.has_value());
  CHECK(std::ranges::any_of(e.network, [](const sim::NetworkUse& use) { return use.axis == "data" && use.ranks == 512; }));
}

TEST_CASE("sites: bandwidth and distance move a synchronous step as the exchange does") {
  const double base = with("sync: synchronous").total.time.value;
  CHECK(with("sync: synchronous", {"system.network.metro.bandwidth=500 GB/s"}).total.time.value - base == doctest::Approx(4 * parameters / 1e12));
  CHECK(with("sync: synchronous", {"system.network.metro.latency=25 ms"}).total.time.value - base == doctest::Approx(2 * 20e-3));
  CHECK(with("sync: synchronous", {"system.network.metro.efficiency=0.5"}).total.time.value - base == doctest::Approx(4 * parameters / 1e12));
}

TEST_CASE("sites: at the golden bandwidth the exchange is just hidden") {
  const auto over = [](const std::string& setting) { return with("sync: overlapped", {"system.network.metro.latency=0.1 ms", setting}); };
  const double golden = over("system.network.metro.efficiency=1").sites->golden_bandwidth.value;
  REQUIRE(std::isfinite(golden));
  const sim::Estimate at = over(metro_bandwidth(golden)), below = over(metro_bandwidth(golden / 1.01)), above = over(metro_bandwidth(golden * 100));
  CHECK(at.sites->exposed.value == doctest::Approx(0).epsilon(1e-9));
  CHECK(at.total.time.value == doctest::Approx(above.total.time.value).epsilon(1e-9));
  CHECK(below.sites->exposed.value > 1e-3 * below.sites->exchange.value);
  CHECK(below.total.time > at.total.time);
  CHECK(at.sites->golden_bandwidth.value == doctest::Approx(golden));  // does not depend on the bandwidth there is
  CHECK(over("system.network.metro.efficiency=0.5").sites->golden_bandwidth.value == doctest::Approx(2 * golden));
}

TEST_CASE("sites: as far apart as light allows at the bandwidth there is; local steps that are enough") {
  const std::string wide = metro_bandwidth(1e15);
  const double far = with("sync: overlapped", {wide}).sites->golden_distance;
  REQUIRE(far > 0);
  const auto over = [&](double metres) { return with("sync: overlapped", {wide, fmt::format("system.network.metro.latency={:.17g} s", metres / sim::metres_per_second_in_fibre)}); };
  CHECK(over(far).sites->exposed.value == doctest::Approx(0).epsilon(1e-9));
  CHECK(over(1.1 * far).sites->exposed.value > 0);
  CHECK(with("sync: synchronous").sites->golden_distance < 0);
  const double steps = with("sync: local", {metro_bandwidth(1e9)}).sites->near_local_steps;
  REQUIRE(steps > 2);
  const auto local = [](double n) { return *with(fmt::format("sync: local, local_steps: {}", n), {metro_bandwidth(1e9)}).sites; };
  CHECK(local(steps).exposed.value <= 0.05 * local(steps).step.value);
  CHECK(local(steps - 1).exposed.value > 0.05 * local(steps).step.value);
}

TEST_CASE("sites: nothing hides a synchronous exchange, but it may be short; light can be too slow for any bandwidth") {
  const sim::SiteFigures s = *with("sync: synchronous", {"system.network.metro.latency=1 us"}).sites;
  CHECK(std::isinf(s.golden_bandwidth.value));
  const sim::Estimate near = with("sync: synchronous", {"system.network.metro.latency=1 us", metro_bandwidth(s.near_bandwidth.value)});
  CHECK(near.total.time.value == doctest::Approx(1.05 * s.step.value));
  CHECK(std::isinf(with("sync: overlapped", {"system.network.metro.latency=10 s"}).sites->golden_bandwidth.value));
}

TEST_CASE("sites: local steps share one exchange, fragments travel one by one, beside later steps if they may") {
  const std::vector<std::string> slow{metro_bandwidth(1e9)};
  const sim::SiteFigures plain = *with("sync: local", slow).sites;
  CHECK(plain.local_steps == 100);
  CHECK(plain.exposed.value == doctest::Approx(plain.exchange.value / 100));
  const sim::SiteFigures ten = *with("sync: local, local_steps: 10", slow).sites;
  CHECK(ten.exchange == plain.exchange);
  CHECK(ten.exposed.value == doctest::Approx(plain.exchange.value / 10));
  const sim::SiteFigures parts = *with("sync: local, fragments: 4", slow).sites;
  CHECK(parts.bytes.value == doctest::Approx(plain.bytes.value / 4));
  CHECK(parts.exchanges_per_step == doctest::Approx(0.04));
  const sim::SiteFigures streaming = *with("sync: local, fragments: 4, overlapped_steps: 25", slow).sites;
  CHECK(streaming.exposed.value == doctest::Approx(0.04 * std::max(0.0, (streaming.exchange - streaming.step * 25).value)));
  const double golden = streaming.golden_bandwidth.value;
  CHECK(with("sync: local, fragments: 4, overlapped_steps: 25", {metro_bandwidth(golden)}).sites->exposed.value == doctest::Approx(0).epsilon(1e-9));
}

TEST_CASE("sites: more than two, at an inner level") {
  const std::string text = run_text("", ", sites: {level: building, sync: synchronous}", 256, 512);
  const sim::SiteFigures s = *estimate_of(text).sites;
  CHECK(s.count == 4);
  CHECK(s.chips == 512);
  CHECK(s.exchange.value == doctest::Approx(2 * 0.75 * 4 * parameters / (12.5e9 * 512) + 6 * 20e-6));
}

TEST_CASE("sites: what cannot be shared is refused where it is written") {
  CHECK(run_errors(run_text("sync: synchronous", "", 128)) ==
        "run.yaml:4:45: level 'metro' joins 2 members of 2048 chips, and the data axis does not span it: the plan has 1024 chips | chips: 4096 would span it\n");
  CHECK(run_errors(run_text("sync: synchronous, local_steps: 5")) == "run.yaml:4:84: 'local_steps' means nothing with sync: synchronous | sync: local, or leave it out\n");
  CHECK(run_errors(run_text("sync: local, local_steps: 4, fragments: 8")).find("8 fragments in 4 local steps: more than one exchange a step | at most 4") != std::string::npos);
  CHECK(run_errors(run_text("sync: local, fragments: 10, overlapped_steps: 11")).find("the next one leaves after 10 | at most 10") != std::string::npos);
  CHECK(run_errors(run_text("", ", sites: {level: metro}")).find("missing key 'sync'") != std::string::npos);
  CHECK(run_errors(run_text("", ", sites: {level: continent, sync: local}")).find("two-metros has no network level 'continent' | it has nvlink, infiniband, building, metro") != std::string::npos);
  CHECK(run_errors(run_text("", ", sites: {level: building, sync: local}")).find("but the plan's 4096 chips span a level outside it | name the outermost level") != std::string::npos);
  CHECK(run_errors(run_text("", ", sites: {level: building, sync: local}", 160)).find("1280 chips are no whole number of them | chips: 1024 would be") != std::string::npos);
  const std::string pipelined = "model: llama-3.2-1b\nsystem: two-metros\nworkload: {phase: train, global_batch: 512, sequence: 2048}\n"
                                "plan: {tensor: 8, data: 256, pipeline: 2, place: {data: [infiniband, building]}, sites: {level: metro, sync: local}}\n";
  CHECK(run_errors(pipelined).find("level 'metro' has 2 sites, which data 256 cannot be shared among | data a multiple of 2, and no other axis across the level") != std::string::npos);
  CHECK(run_errors("model: llama-3.2-1b\nsystem: two-metros\nworkload: {phase: decode, batch: 4096, context: 128}\nplan: {tensor: 8, data: 512, sites: {level: metro, sync: local}}\n")
            .find("sites share a training run, and this is none") != std::string::npos);
}

TEST_CASE("sites: the pipeline lies within a site wherever data can lie outside it") {
  const std::string text = "model: llama-3.2-1b\nsystem: two-metros\nworkload: {phase: train, global_batch: 1024, sequence: 2048}\n"
                           "plan: {tensor: 8, data: 256, pipeline: 2, sites: {level: metro, sync: synchronous}}\n";
  const sim::Run run = run_of(text);
  const auto orders = sim::orders_of(run);
  REQUIRE_FALSE(orders.empty());
  for (const auto& order : orders) CHECK(sim::placed(run.plan, order).of(models::MeshAxis::data).stride == 16);
  CHECK(sim::plan_of_site(run).data == 128);
  const sim::Estimate e = estimate_of(run);
  for (const sim::StageTail& tail : e.phases[0].tails) CHECK(tail.reduction >= e.sites->exposed.value);
}

TEST_CASE("failures: goodput, checkpoints and duration of a run") {
  const std::string section = "reliability: {mtbf_per_chip: 50000 h, checkpoint: {write: 60 s}, restart: 5 min}\n";
  const sim::Estimate sure = estimate_of(run_text("")), e = estimate_of(run_text("", "", 512, 1024, section));
  const sim::Goodput g = sim::goodput({.mtbf_per_chip = 50000 * 3600.0, .checkpoint_stall = 60, .checkpoint_write = 60, .restart = 300}, 4096);
  CHECK_FALSE(sure.training->failures.has_value());
  CHECK(sure.training->goodput == 1);
  REQUIRE(e.training->failures.has_value());
  CHECK(e.training->goodput == doctest::Approx(g.productive));
  CHECK(e.training->failures->interval == doctest::Approx(g.interval));
  CHECK(e.training->failures->failures_per_day == doctest::Approx(4096 / 50000.0 * 24));
  CHECK(e.total.time == sure.total.time);
  CHECK(e.training->days == doctest::Approx(sure.training->days / g.productive));
}

TEST_CASE("failures: a section that is wrong, or of no training") {
  CHECK(run_errors("model: llama-3.2-1b\nsystem: h100-sxm\nworkload: {phase: decode, batch: 1, context: 128}\nreliability: {mtbf_per_chip: 50000 h}\n") ==
        "run.yaml:4:14: reliability is of a training run, and this is none | workload: {phase: train, ...}, or leave reliability: out\n");
  CHECK(run_errors(run_text("", "", 512, 1024, "reliability: {mtbf_per_chip: 1 h, checkpoint: {write: 5 s, stall: 6 s}}\n")).find("not asynchronous") != std::string::npos);
}

TEST_CASE("sites and failures in a report") {
  const std::string section = "reliability: {mtbf_per_chip: 50000 h, checkpoint: {write: 60 s}}\n";
  const sim::Estimate e = estimate_of(run_text("sync: overlapped", "", 512, 1024, section), {"system.network.metro.latency=0.1 ms"});
  const Node node = reports::estimate_node(e);
  const Node& sites = *node.find("sites");
  CHECK(node_number(sites, "count") == 2);
  CHECK(sites.text_or("level", "") == "metro");
  CHECK(sites.text_or("sync", "") == "overlapped");
  CHECK(node_number(sites, "exchange_s") == e.sites->exchange.value);
  CHECK(node_number(sites, "exposed_s") == e.sites->exposed.value);
  CHECK(node_number(sites, "golden_bandwidth") == e.sites->golden_bandwidth.value);
  CHECK(node_number(sites, "local_steps") == 1);
  CHECK(node_number(*node.find("training"), "goodput") == e.training->goodput);
  CHECK(node_number(*node.find("training"), "checkpoint_interval_s") == e.training->failures->interval);
  CHECK(node_number(*node.find("training"), "failures_per_day") == e.training->failures->failures_per_day);
  const Node synchronous = reports::estimate_node(with("sync: synchronous"));
  CHECK(synchronous.find("sites")->find("golden_bandwidth")->is_null());
  CHECK(synchronous.find("sites")->find("golden_distance_m")->is_null());
  CHECK(synchronous.find("sites")->find("near_golden_local_steps")->is_null());
  CHECK(synchronous.find("training")->find("failures_per_day")->is_null());
  const std::string text = reports::write_estimate(e, reports::TextFormat::table, false);
  CHECK(text.find("2 of 2048 chips by metro, overlapped") != std::string::npos);
  CHECK(text.find("a day, a checkpoint every") != std::string::npos);
}

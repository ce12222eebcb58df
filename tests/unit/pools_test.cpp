// Prefill and decode on pools of their own: two runs joined, the rate of requests, the cache between them.
#include <doctest/doctest.h>

#include <algorithm>

#include "reports/json.hpp"
#include "tests/unit/run_support.hpp"

using namespace gambrel;
using namespace gambrel::test;

namespace {

const std::string head = "model: llama-3.2-1b\nsystem: example-disaggregated\n";
const std::string plans = "plan: {prefill: {tensor: 8}, decode: {tensor: 4}}\n";

std::string run_text(const std::string& batches = "batch: 32, prefill_batch: 4", const std::string& plan = plans) {
  return head + "workload: {phase: generate, " + batches + ", input: 1024, output: 65}\n" + plan;
}

sim::Estimate on_one(const std::string& system, const std::string& workload, int tensor) {
  return estimate_of(fmt::format("model: llama-3.2-1b\nsystem: {}\nworkload: {}\nplan: {{tensor: {}}}\n", system, workload, tensor));
}

const std::vector<std::string> two_decode_parts{"system.pools.decode.count=2", "system.network.infiniband.size=3"};

}  // namespace

TEST_CASE("pools: prefill and decode take what they take on such chips alone") {
  const sim::Estimate e = estimate_of(run_text());
  REQUIRE(e.pools.has_value());
  const auto& [prefill, decode] = e.pools->pools;
  CHECK(prefill.time.value == doctest::Approx(on_one("dgx-h100", "{phase: prefill, batch: 4, new_tokens: 1024}", 8).total.time.value));
  const double first = on_one("dgx-h200", "{phase: decode, batch: 32, context: 1025}", 4).total.time.value, last = on_one("dgx-h200", "{phase: decode, batch: 32, context: 1088}", 4).total.time.value;
  CHECK(decode.time.value == doctest::Approx(64 * (first + last) / 2).epsilon(1e-3));
  CHECK(prefill.chip == "h100-sxm");
  CHECK(decode.chip == "h200-sxm");
  CHECK(prefill.replicas == 1);
  CHECK(decode.replicas == 2);
  CHECK(prefill.batch == 4);
  CHECK(decode.batch == 32);
}

TEST_CASE("pools: requests come as fast as the slower pool takes them") {
  const sim::Estimate e = estimate_of(run_text());
  const auto& [prefill, decode] = e.pools->pools;
  CHECK(prefill.request_rate == doctest::Approx(4 / prefill.time.value));
  CHECK(decode.request_rate == doctest::Approx(2 * 32 / decode.time.value));
  const double rate = std::min(prefill.request_rate, decode.request_rate);
  CHECK(e.serving->request_rate == doctest::Approx(rate));
  CHECK(e.serving->output_tokens_per_second == doctest::Approx(65 * rate));
  CHECK(prefill.utilisation == doctest::Approx(rate / prefill.request_rate));
  CHECK(decode.utilisation == doctest::Approx(rate / decode.request_rate));
  CHECK(e.pools->bottleneck == (prefill.request_rate < decode.request_rate ? "prefill" : "decode"));
  CHECK(std::max(prefill.utilisation, decode.utilisation) == 1);
}

TEST_CASE("pools: a prompt's cache travels, after the prefill or beside it layer by layer") {
  const sim::Estimate e = estimate_of(run_text());
  const sim::Pools& p = *e.pools;
  CHECK(p.cache.value == 16 * 2 * 8 * 64 * 2 * 1024);
  // Decode's four chips receive: 12.5 us and 0.8 of 50 GB/s are usual where a level states nothing, a launch takes 6 us.
  CHECK(p.transfer.value == doctest::Approx(12.5e-6 + 6e-6 + 4 * p.cache.value / 4 / (0.8 * 50e9)));
  CHECK(e.serving->ttft.value == doctest::Approx((p.pools[0].time + p.transfer).value));
  CHECK(p.ttft_streamed.value == doctest::Approx((p.pools[0].time + std::max(p.transfer / 16, p.transfer - p.pools[0].time * 15 / 16)).value));
  CHECK(p.ttft_streamed < e.serving->ttft);
  CHECK(e.serving->tpot.value == doctest::Approx(p.pools[1].time.value / 64));
  CHECK(e.serving->latency.value == doctest::Approx((e.serving->ttft + p.pools[1].time).value));
}

TEST_CASE("pools: a slow network between them is the bottleneck") {
  const sim::Estimate e = estimate_of(run_text(), {"system.network.infiniband.bandwidth=0.1 GB/s"});
  CHECK(e.pools->bottleneck == "network");
  CHECK(e.serving->request_rate == doctest::Approx(e.pools->network_rate));
  CHECK(e.pools->pools[0].utilisation < 1);
  CHECK(e.pools->pools[1].utilisation < 1);
}

TEST_CASE("pools: parts that balance each other") {
  const auto [prefill, decode] = estimate_of(run_text()).pools->pools;
  const double a = prefill.balanced_parts * prefill.request_rate, b = decode.balanced_parts * decode.request_rate;
  CHECK(std::abs(b / a - 1) < 0.05);
  const auto more = estimate_of(run_text(), two_decode_parts).pools->pools;
  CHECK(more[1].parts == 2);
  CHECK(more[1].chips == 16);
  CHECK(more[1].replicas == 4);
  CHECK(more[1].request_rate == doctest::Approx(2 * decode.request_rate));
  CHECK(more[1].balanced_parts == decode.balanced_parts);  // of parts, however many there are
}

TEST_CASE("pools: totals are of a decode batch and the prefills it needs") {
  const sim::Estimate e = estimate_of(run_text());
  const auto& [prefill, decode] = e.pools->pools;
  REQUIRE(e.phases.size() == 2);
  CHECK(e.phases[0].name == "prefill");
  CHECK(e.phases[1].name == "decode");
  CHECK(e.phases[0].total.time.value == doctest::Approx(8 * prefill.time.value));
  CHECK(e.total.time.value == doctest::Approx(8 * (prefill.time + e.pools->transfer).value + decode.time.value));
  CHECK(e.total.tokens == 32 * 65);
  CHECK(e.chips == 12);
  const sim::StepTimeline& t = e.timeline;
  CHECK((t.compute + t.exposed_network + t.bubble + t.overhead).value == doctest::Approx(e.total.time.value));
  double flops = 0, bytes = 0;
  for (const sim::Phase& phase : e.phases)
    for (const sim::OpEstimate& op : phase.ops) {
      flops += op.flops.value * op.count * op.ranks;
      bytes += op.levels[phase.main_level].bytes.value * op.count * op.ranks;
    }
  CHECK(e.total.flops.value == doctest::Approx(flops));
  CHECK(e.total.levels[0].bytes.value == doctest::Approx(bytes));
  CHECK(e.total.flops.value == doctest::Approx((e.phases[0].total.flops + e.phases[1].total.flops).value));
  CHECK(e.total.mfu > std::min(e.phases[0].total.mfu, e.phases[1].total.mfu));
  CHECK(e.total.mfu < std::max(e.phases[0].total.mfu, e.phases[1].total.mfu));
  REQUIRE(e.total.energy.has_value());
  CHECK(e.total.energy->value == doctest::Approx((*e.phases[0].total.energy + *e.phases[1].total.energy).value));
}

TEST_CASE("pools: each keeps its own memory; the decode pool keeps no prompt's activations") {
  const sim::Estimate e = estimate_of(run_text());
  REQUIRE(e.memory.tiers.size() == 2);
  CHECK(e.memory.tiers[0].level == "prefill HBM");
  CHECK(e.memory.tiers[1].level == "decode HBM");
  CHECK(e.memory.tiers[1].weights > e.memory.tiers[0].weights);  // over four chips, not eight
  CHECK(e.memory.tiers[0].activations > e.memory.tiers[1].activations);
  CHECK(e.memory.fits);
  const sim::Estimate most = estimate_of(run_text("batch: max"));
  CHECK(most.pools->pools[0].batch == 1);
  CHECK(most.pools->pools[1].batch == most.memory.max_batch);
  CHECK(most.pools->pools[1].batch > 32);
}

TEST_CASE("pools: prefill's batch is the generation's unless it has one of its own; plans can be searched for") {
  CHECK(estimate_of(run_text("batch: 32")).pools->pools[0].batch == 32);
  const sim::Estimate e = estimate_of(run_text("batch: 32, prefill_batch: 4", "plan: {prefill: {tensor: 2}, decode: best}\n"));
  CHECK(e.pools->pools[0].replicas == 4);
  CHECK(e.pools->pools[1].plan != "");
  CHECK(e.pools->pools[1].replicas == 1);
}

TEST_CASE("pools: chips that no replica has are idle, and the report says so") {
  const sim::Estimate e = estimate_of(run_text("batch: 30, prefill_batch: 3", "plan: {prefill: {data: 3}, decode: {tensor: 8}}\n"));
  CHECK(e.pools->pools[0].replicas == 2);
  CHECK(std::ranges::any_of(e.notes, [](const std::string& note) { return note == "2 of 8 chips of pool prefill are idle: its plan does not divide them"; }));
}

TEST_CASE("pools: a generation on one system has a rate of requests too") {
  const sim::Estimate e = on_one("dgx-h100", "{phase: generate, batch: 8, input: 128, output: 16}", 8);
  CHECK(e.serving->request_rate == doctest::Approx(8 / e.serving->latency.value));
  CHECK_FALSE(e.pools.has_value());
}

TEST_CASE("pools: what is missing or means nothing is refused") {
  const auto errors = [](const std::string& plan, const std::string& workload = "{phase: generate, batch: 8, input: 128, output: 16}") {
    return run_errors(head + "workload: " + workload + "\n" + plan);
  };
  CHECK(errors("plan: {prefill: {tensor: 8}}\n") == "run.yaml:4:7: pool 'decode' has no plan | plan: {prefill: {tensor: 8}, decode: {tensor: 8}}\n");
  CHECK(errors("plan: {decode: {tensor: 8}}\n").find("pool 'prefill' has no plan") != std::string::npos);
  CHECK(errors("") == "run.yaml:2:9: example-disaggregated has a pool for prefill and one for decode, and neither has a plan | plan: {prefill: {tensor: 8}, decode: {tensor: 8}}\n");
  CHECK(errors("plan: best\n").find("run.yaml:4:7: example-disaggregated has a pool for prefill") == 0);
  CHECK(errors(plans, "{phase: decode, batch: 8, context: 128}") ==
        "run.yaml:4:7: pools for prefill and decode serve phase generate | workload: {phase: generate, ...}, or one plan without prefill: and decode:\n");
  CHECK(errors("plan: {prefill: {tensor: 8}, decode: {tensor: 8}, data: 2}\n") == "run.yaml:4:51: 'data' beside the pools' plans means nothing | write it into prefill: or decode:\n");
  CHECK(errors("plan: {prefill: {tensor: 8}, decode: {decode: {tensor: 8}}}\n").find("a pool has no pools") != std::string::npos);
  CHECK(errors("plan: {prefill: {tensor: 16}, decode: {tensor: 8}}\n").find("run.yaml:4:17: 16 chips, but pool prefill of example-disaggregated has 8") == 0);
  CHECK(errors("plan: {prefill: {tensor: 8}, decode: {tensor: 8, sites: {level: nvlink, sync: local}}}\n").find("sites share a training run") != std::string::npos);
  CHECK(errors("plan: {prefill: {tensor: 8}, decode: {tensor: 8}}\nchips: 16\n").find("run.yaml:5:8: each pool's plan has chips of its own") == 0);
  CHECK(errors(plans, "{phase: generate, batch: 8, input: 128, output: 1}").find("leaves the decode pool nothing to do") != std::string::npos);
  CHECK(errors(plans + "placement: {kv_cache: tape}\n").find("h100-sxm has no memory level 'tape'") != std::string::npos);
  CHECK(run_errors("model: llama-3.2-1b\nsystem: dgx-h100\nworkload: {phase: generate, batch: 8, input: 128, output: 16}\n" + plans) ==
        "run.yaml:4:7: dgx-h100 has no pool 'prefill' | a system with pools named prefill and decode, or one plan for both\n");
  CHECK(run_errors("model: llama-3.2-1b\nsystem: dgx-h100\nworkload: {phase: generate, batch: 8, prefill_batch: 2, input: 128, output: 16}\n").find("run.yaml:3:54: prefill_batch needs a pool of its own") == 0);
  CHECK(run_errors("model: llama-3.2-1b\nsystem: dgx-h100\nworkload: {phase: decode, batch: 8, prefill_batch: 2, context: 128}\n").find("'prefill_batch' means nothing in phase decode") != std::string::npos);
}

TEST_CASE("pools in a report") {
  const sim::Estimate e = estimate_of(run_text());
  const Node node = reports::estimate_node(e);
  REQUIRE(node.find("pools"));
  const Node& pools = *node.find("pools");
  CHECK(pools.text_or("bottleneck", "") == e.pools->bottleneck);
  CHECK(pools.find("prefill")->number_or("utilisation", 0) == e.pools->pools[0].utilisation);
  CHECK(pools.find("decode")->number_or("balanced_parts", 0) == e.pools->pools[1].balanced_parts);
  CHECK(pools.find("network")->number_or("ttft_streamed_s", 0) == e.pools->ttft_streamed.value);
  CHECK(node.find("serving")->number_or("request_rate", 0) == e.serving->request_rate);
  const std::string text = reports::write_estimate(e, reports::TextFormat::table, false);
  for (const char* words : {"requests/s, as many as", "streamed layer by layer", "of prefill's parts to", "prefill on 8 x NVIDIA H100", "decode HBM"}) CHECK_MESSAGE(text.find(words) != std::string::npos, words);
}

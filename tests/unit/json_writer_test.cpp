// The JSON of an estimate is a contract: names, units in names, null for what is unknown.
#include <doctest/doctest.h>

#include <limits>

#include "base/load.hpp"
#include "reports/json.hpp"
#include "sample_estimate.hpp"

using namespace gambrel;
using namespace gambrel::reports;

namespace {

Node written(const sim::Estimate& run) {
  auto node = parse_json(write_estimate(run, TextFormat::json), "written");
  REQUIRE(node.has_value());
  return *node;
}

double number_at(const Node& node, std::initializer_list<std::string_view> path) {
  const Node* at = &node;
  for (const auto key : path) {
    at = at->find(key);
    REQUIRE_MESSAGE(at, std::string(key));
  }
  REQUIRE(at->is_number());
  return at->number;
}

}  // namespace

TEST_CASE("JSON holds every figure exactly, under its contract's name") {
  const auto run = test::sample_estimate();
  const Node node = written(run);
  CHECK(number_at(node, {"schema_version"}) == 1);
  CHECK(node.text_or("model", "") == "llama-3.1-8b");
  CHECK(node.find("settings")->text_or("workload", "") == "decode, batch 32, context 8192");
  CHECK(number_at(node, {"total", "time_s"}) == run.total.time.value);
  CHECK(number_at(node, {"total", "flops"}) == run.total.flops.value);
  CHECK(number_at(node, {"total", "bytes", "HBM"}) == run.total.levels[0].bytes.value);
  CHECK(number_at(node, {"total", "bytes_main"}) == run.total.levels[0].bytes.value);
  CHECK(number_at(node, {"total", "mbu"}) == run.total.mbu);
  CHECK(number_at(node, {"total", "energy_j"}) == 5.31);
  CHECK(number_at(node, {"total", "energy_arithmetic_j"}) == 0.6);
  CHECK(number_at(node, {"total", "energy_movement_j"}) == 4.0);
  CHECK(number_at(node, {"total", "energy_idle_j"}) == run.total.idle_energy.value);
  CHECK(number_at(node, {"total", "power_w"}) == run.total.power->value);
  CHECK(number_at(node, {"total", "power_share"}) == run.total.power_share);
  CHECK(number_at(node, {"total", "j_per_token"}) == 5.31 / 32);
  CHECK(number_at(node, {"total", "usd_per_token"}) == doctest::Approx(run.total.cost->value / 32));
  CHECK(number_at(node, {"total", "usd_per_million_tokens"}) == run.total.cost->value / 32 * 1e6);
  CHECK(number_at(node, {"memory", "kv_bytes_per_token"}) == 131072);
  CHECK(number_at(node, {"parameters", "total"}) == 8030261248);
  CHECK(node.find("total")->text_or("bound", "") == "HBM");
  CHECK(node.find("memory")->find("fits")->boolean);
  CHECK(node.find("memory")->find("tiers")->items[0].text_or("level", "") == "HBM");
  CHECK(node.find("roofs")->items[2].text_or("unit", "") == "B/s");
  CHECK(node.find("serving") == nullptr);
}

TEST_CASE("JSON operators: of one execution, with the share of all") {
  const auto run = test::sample_estimate();
  const Node node = written(run);
  const Node& ops = *node.find("ops");
  REQUIRE(ops.items.size() == run.phases[0].ops.size());
  double share = 0;
  for (std::size_t i = 0; i < ops.items.size(); ++i) {
    const Node& op = ops.items[i];
    for (const char* key : {"name", "kind", "math", "bound", "provenance"}) CHECK(op.find(key)->is_string());
    CHECK(number_at(op, {"flops"}) == run.phases[0].ops[i].flops.value);
    CHECK(number_at(op, {"bytes", "L2"}) == run.phases[0].ops[i].levels[1].bytes.value);
    CHECK(op.find("energy_j")->is_null() != run.phases[0].ops[i].energy.has_value());
    CHECK(number_at(op, {"total_time_s"}) == number_at(op, {"count"}) * number_at(op, {"time_s"}));
    CHECK(op.find("phase") == nullptr);
    share += number_at(op, {"share"});
  }
  CHECK(share == doctest::Approx(1).epsilon(1e-9));
}

TEST_CASE("JSON of a generation has serving times and names each operator's phase") {
  const auto run = test::sample_generation();
  const Node node = written(run);
  CHECK(number_at(node, {"serving", "ttft_s"}) == run.serving->ttft.value);
  CHECK(number_at(node, {"serving", "output_tokens_per_s"}) == 1950);
  CHECK(node.find("phases")->items.size() == 2);
  CHECK(number_at(node.find("phases")->items[1], {"total", "time_s"}) == run.phases[1].total.time.value);
  CHECK(node.find("ops")->items.front().text_or("phase", "") == "prefill");
  CHECK(node.find("ops")->items.back().text_or("phase", "") == "decode");
}

TEST_CASE("JSON has null for what is unknown or no number, never NaN") {
  auto run = test::sample_estimate();
  run.total.energy.reset();
  run.total.active_energy.reset();
  run.total.power.reset();
  run.total.power_share = 0;
  run.total.cost.reset();
  run.memory.tiers[0].capacity = Bytes{0};
  run.total.mfu = std::numeric_limits<double>::quiet_NaN();
  run.phases[0].ops[0].time = Seconds{std::numeric_limits<double>::infinity()};
  const Node node = written(run);
  for (const char* key : {"energy_j", "energy_arithmetic_j", "energy_idle_j", "power_w", "power_share", "j_per_token", "usd_per_token", "cost_usd", "usd_per_million_tokens", "mfu"})
    CHECK(node.find("total")->find(key)->is_null());
  CHECK(node.find("memory")->find("tiers")->items[0].find("capacity")->is_null());
  CHECK(node.find("ops")->items[0].find("time_s")->is_null());
  CHECK(written({}).find("ops")->items.empty());
}

TEST_CASE("JSON keeps hostile names as they are, and is valid for bytes that are no UTF-8") {
  auto run = test::sample_estimate();
  run.model = "</script>\"\\\n\xE2\x80\xA8";
  run.run = "\xff.yaml";
  const Node node = written(run);
  CHECK(node.text_or("model", "") == run.model);
  CHECK(node.text_or("run", "") == "\\xff.yaml");
}

TEST_CASE("JSON of a report lists its runs") {
  const auto node = parse_json(
      write_roofline_text({"T", {test::sample_estimate(), test::sample_generation()}}, TextFormat::json), "report");
  REQUIRE(node.has_value());
  CHECK(node->text_or("title", "") == "T");
  CHECK(node->find("runs")->items.size() == 2);
  CHECK(node->find("runs")->items[1].find("serving"));
}

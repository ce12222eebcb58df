// What reports say of several chips: the plan, the timeline, the network, training, the plans after the best.
#include "reports/plan.hpp"

#include <doctest/doctest.h>

#include <nlohmann/json.hpp>

#include "base/node.hpp"
#include "reports/report.hpp"
#include "sample_estimate.hpp"

using namespace gambrel;
using namespace gambrel::reports;

namespace {

sim::Estimate several_chips() {
  sim::Estimate e = test::sample_estimate();
  e.chips = 8;
  e.plan = "tensor 2, pipeline 4";
  e.total.time = Seconds{2};
  e.timeline = {.compute = Seconds{1}, .exposed_network = Seconds{0.5}, .bubble = Seconds{0.3}, .overhead = Seconds{0.2}, .overlap = Seconds{0.1}};
  e.network = {{.collective = "all_reduce", .axis = "tensor", .level = "nvlink", .algorithm = "ring", .ranks = 2, .count = 100, .bytes = Bytes{1e6}, .time = Seconds{1e-4}},
               {.collective = "point_to_point", .axis = "pipeline", .level = "infiniband", .algorithm = "direct", .ranks = 2, .count = 10, .bytes = Bytes{2e6}, .time = Seconds{4e-3}}};
  e.training = sim::TrainingFigures{.tokens_per_step = 4096, .tokens_per_second_per_chip = 256, .model_flops_per_chip = 1.5e14, .hfu = 0.5, .days = 12.5, .goodput = 0.9};
  e.next_plans = {{"tensor 4, pipeline 2", Seconds{2.5}}, {"data 8", Seconds{3}}};
  e.memory.peak = "stage 0 of 4, when its pipeline is full";
  return e;
}

std::string line_of(const sim::Estimate& e, std::string_view key) {
  for (const auto& [name, text] : plan_lines(e))
    if (name == key) return text;
  return "none";
}

double number_at(const Node& node, std::string_view key) {
  const Node* found = node.find(key);
  REQUIRE_MESSAGE((found && found->is_number()), std::string(key));
  return found->number;
}

}  // namespace

TEST_CASE("plan report: nothing of a run on one chip") {
  const sim::Estimate one = test::sample_estimate();
  CHECK(plan_lines(one).empty());
  CHECK(network_grid(one).rows.empty());
  CHECK(next_plans_grid(one).rows.empty());
}

TEST_CASE("plan report: chips, where the time goes, training in words, and who holds the most") {
  const sim::Estimate e = several_chips();
  CHECK(line_of(e, "chips") == "8 x NVIDIA H100 SXM: tensor 2, pipeline 4");
  CHECK(line_of(e, "step") == "compute 50.0%, exposed network 25.0%, pipeline bubble 15.0%, host 10.0%; network hidden behind compute 100 ms");
  CHECK(line_of(e, "training").find("256 tokens/s a chip") != std::string::npos);
  CHECK(line_of(e, "training").find("HFU 50.0%") != std::string::npos);
  CHECK(line_of(e, "duration").find("12.5 days at a goodput of 90.0%") == 0);
  CHECK(memory_text(e.memory).find("stage 0 of 4, when its pipeline is full") != std::string::npos);
  sim::Estimate idle = e;
  idle.timeline = {.compute = Seconds{2}};
  CHECK(line_of(idle, "step") == "compute 100.0%");  // parts of no length are not named
  idle.training->days = 0;
  CHECK(line_of(idle, "duration") == "none");
}

TEST_CASE("plan report: collectives by the time they take in all") {
  const Grid grid = network_grid(several_chips());
  REQUIRE(grid.rows.size() == 2);
  CHECK(grid.rows[0][0] == "point_to_point");  // 40 ms before 10 ms
  CHECK(grid.rows[0][3] == "infiniband");
  CHECK(grid.rows[1][4] == "ring");
  CHECK(grid.rows[1].back().find("10") == 0);
  for (const auto& row : grid.rows) CHECK(row.size() == grid.headings.size());
}

TEST_CASE("plan report: the plans after the best, and how much slower") {
  const Grid grid = next_plans_grid(several_chips());
  REQUIRE(grid.rows.size() == 2);
  CHECK(grid.rows[0][0] == "tensor 4, pipeline 2");
  CHECK(grid.rows[0][2] == "25.0%");
  CHECK(grid.rows[1][2] == "50.0%");
}

TEST_CASE("plan report: JSON holds every figure exactly") {
  Node node = Node::mapping();
  set_plan(node, several_chips());
  CHECK(number_at(node, "chips") == 8);
  CHECK(node.text_or("plan", "") == "tensor 2, pipeline 4");
  const Node& timeline = *node.find("timeline");
  CHECK(number_at(timeline, "compute_s") == 1);
  CHECK(number_at(timeline, "exposed_network_s") == 0.5);
  CHECK(number_at(timeline, "bubble_s") == 0.3);
  CHECK(number_at(timeline, "overhead_s") == 0.2);
  CHECK(number_at(timeline, "overlap_s") == 0.1);
  const Node& use = node.find("network")->items.at(0);
  CHECK(use.text_or("collective", "") == "all_reduce");
  CHECK(use.text_or("algorithm", "") == "ring");
  CHECK(number_at(use, "bytes") == 1e6);
  CHECK(number_at(use, "count") == 100);
  const Node& training = *node.find("training");
  CHECK(number_at(training, "tokens_per_step") == 4096);
  CHECK(number_at(training, "hfu") == 0.5);
  CHECK(number_at(training, "days") == 12.5);
  CHECK(node.find("next_plans")->items.size() == 2);
  CHECK(number_at(node.find("next_plans")->items[1], "time_s") == 3);
}

TEST_CASE("plan report: JSON of one chip has its timeline, and no training") {
  Node node = Node::mapping();
  set_plan(node, test::sample_estimate());
  CHECK(number_at(node, "chips") == 1);
  CHECK(node.find("network")->items.empty());
  CHECK(node.find("training") == nullptr);
  CHECK(node.find("next_plans") == nullptr);
}

TEST_CASE("plan report: the whole report has the network's table, in every format") {
  const sim::Estimate e = several_chips();
  for (const TextFormat format : {TextFormat::table, TextFormat::markdown, TextFormat::json}) {
    const std::string text = write_estimate(e, format);
    CHECK(text.find("point_to_point") != std::string::npos);
    CHECK(text.find("tensor 4, pipeline 2") != std::string::npos);
  }
}

TEST_CASE("plan report: hostile names stay harmless") {
  sim::Estimate e = several_chips();
  e.chip_name = e.network[0].level = test::hostile;
  const std::string text = write_estimate(e, TextFormat::json), table = write_estimate(e, TextFormat::table);
  CHECK(nlohmann::json::accept(text));
  CHECK(table.find('\x1b') == std::string::npos);
}

// gambrel sweep as a user runs it.
#include <doctest/doctest.h>

#include <algorithm>

#include "base/load.hpp"
#include "base/path.hpp"
#include "program_support.hpp"

namespace {

using namespace gambrel;
using namespace gambrel::test;

const std::string small = R"(
model: llama-3.1-8b
system: h100-sxm
hypothetical: true
workload: {phase: decode, batch: {sweep: [1, 16, 64]}, context: 2048}
set: {chip.memory.HBM.bandwidth: {sweep: [0.5x, 1x, 2x]}, chip.memory.L2.capacity: {sweep: [1x, 2x]}}
constraints: ["tpot < 100 ms"]
objectives: [{maximise: tokens_per_s}, {minimise: chip_cost_usd}]
)";

Node json_of(const std::string& text) {
  auto node = parse_json(text, "output");
  REQUIRE_MESSAGE(node.has_value(), text);
  return std::move(*node);
}

double number_at(const Node& node, std::string_view path) {
  const Node* found = find_path(node, path);
  REQUIRE_MESSAGE(found, path);
  return found->number;
}

}  // namespace

TEST_CASE("sweep: ends with the Pareto front, in every format") {
  const Scratch scratch;
  const std::string file = scratch.write("small.yaml", small);
  const Outcome table = program("sweep " + quoted(file));
  CHECK(table.code == 0);
  CHECK(table.out.find("18 points: 18 designs, 0 violate a constraint, 0 are impossible") != std::string::npos);
  CHECK(table.out.find("Pareto front, ") != std::string::npos);
  CHECK(table.out.find("max tokens_per_s") != std::string::npos);
  CHECK(table.out.find("knee") != std::string::npos);
  CHECK(program("sweep " + quoted(file) + " --format markdown").out.find("### Pareto front, ") != std::string::npos);
  const std::string csv = program("sweep " + quoted(file) + " --format csv").out;
  CHECK(csv.starts_with("index,"));
  CHECK(csv.find(",die_area_mm2,") != std::string::npos);
  const Node json = json_of(program("sweep " + quoted(file) + " --format json").out);
  CHECK(number_at(json, "schema_version") == 1);
  CHECK(number_at(json, "points") == 18);
  CHECK(json.find("front")->items.size() + 1 == static_cast<std::size_t>(std::ranges::count(csv, '\n')));
}

TEST_CASE("sweep: each point's command gives the point, bit for bit") {
  const Scratch scratch;
  const std::string file = scratch.write("small.yaml", small);
  const Node json = json_of(program("sweep " + quoted(file) + " --format json").out);
  for (const Node& point : json.find("front")->items) {
    const std::string command = point.text_or("command", "");
    REQUIRE(command.starts_with("gambrel "));
    const Node alone = json_of(output_of(command.substr(8) + " --format json"));
    CHECK(number_at(alone, "total.time_s") == number_at(point, "figures.time_s"));
    CHECK(number_at(alone, "total.energy_j") == number_at(point, "figures.energy_j"));
  }
}

TEST_CASE("sweep: a database is gone on with, and its settings count") {
  const Scratch scratch;
  const std::string file = scratch.write("small.yaml", small), database = scratch.path("out.sqlite");
  const Outcome first = program("sweep " + quoted(file) + " --format json --db " + quoted(database));
  CHECK(first.code == 0);
  CHECK(std::filesystem::exists(database));
  const Outcome again = program("sweep " + quoted(file) + " --format json --db " + quoted(database));
  CHECK(again.out == first.out);
  CHECK(program("sweep " + quoted(file) + " --set 'workload.context=4096' --db " + quoted(database)).code == 3);
}

TEST_CASE("sweep: a dry run counts and measures, and stores nothing") {
  const Scratch scratch;
  const std::string file = scratch.write("small.yaml", small);
  const std::string text = output_of("sweep " + quoted(file) + " --dry-run --jobs 2 --set 'workload.context={sweep: {from: 1024, to: 8192, factor: 2}}'");
  CHECK(text.starts_with("small, 72 points\n"));
  CHECK(text.find("on 2 threads") != std::string::npos);
  CHECK(number_at(json_of(output_of("sweep " + quoted(file) + " --dry-run --format json --shard 2/3")), "points") == 6);
  CHECK(scratch.files() == 1);
}

TEST_CASE("sweep: sensitivity and what would bound next") {
  const Scratch scratch;
  const std::string file = scratch.write("small.yaml", small);
  const Node json = json_of(program("sweep " + quoted(file) + " --set objectives='[{minimise: time_s}]' --sensitivity --format json").out);
  const Node& effects = *json.find("sensitivity")->find("effects");
  const auto bandwidth = std::ranges::find_if(effects.items, [](const Node& e) { return e.text_or("input", "") == "chip.memory.HBM.bandwidth"; });
  REQUIRE(bandwidth != effects.items.end());
  CHECK(number_at(*bandwidth, "percent.time_s") < -0.3);  // decode is bound by it
  CHECK(number_at(*bandwidth, "percent.time_s") > -1.01);
  const Node& bound = json.find("sensitivity")->find("bounds")->items.at(0);
  CHECK(number_at(bound, "factor") > 1);
  CHECK(number_at(bound, "time_ratio") < 1);
  CHECK(bound.text_or("next", "") != bound.text_or("bound", ""));
}

TEST_CASE("sweep: a Slurm script on request") {
  const Scratch scratch;
  const std::string text = output_of("sweep " + quoted(scratch.write("small.yaml", small)) + " --sbatch 4 --keep pareto --db out.sqlite");
  CHECK(text.find("#SBATCH") != std::string::npos);
  CHECK(text.find("--keep pareto") != std::string::npos);
}

TEST_CASE("sweep: wrong options and files have exit codes of their own") {
  const Scratch scratch;
  const std::string file = quoted(scratch.write("small.yaml", small));
  for (const char* options : {"--shard 3/2", "--shard x", "--jobs 0", "--jobs two", "--points -1", "--set nothing", "--search best"}) CHECK_MESSAGE(program("sweep " + file + " " + options).code == 2, options);
  CHECK(program("sweep " + file + " --set constraints='[powr < 1 W]'").code == 3);
  CHECK(program("sweep nothing.yaml").code != 0);
  const Outcome unknown = program("sweep " + file + " --set objectives='[{minimise: tme_s}]'");
  CHECK(unknown.code == 3);
  CHECK(unknown.err.find("did you mean 'time_s'?") != std::string::npos);
}

TEST_CASE("sweep: errors point at the value, as a compiler does") {
  const Scratch scratch;
  const std::string file = scratch.write("wrong.yaml", "model: llama-3.1-8b\nsystem: h100-sxm\nworkload: {phase: decode, batch: 8, context: 64}\nconstraints: [\"power < 700\"]\nset: {chip.memory.HBM.bandwidth: {sweep: [1 TB/s, 2 TBs]}}\n");
  CHECK(program("sweep " + quoted(file)).err == file + ":5:51: error: 'bandwidth': unknown unit 'TBs'; units are FLOP, OP, B, bit, s, Hz, W, J, USD, m, with prefixes, as in GB/s\n"
        "  set: {chip.memory.HBM.bandwidth: {sweep: [1 TB/s, 2 TBs]}}\n"
        "                                                    ^\n");
  CHECK(program("sweep " + quoted(file) + " --set 'chip.memory.HBM.bandwidth={sweep: [1x, 2x]}'").err == file + ":4:22: error: a quantity in W and a plain number do not compare or add up\n"
        "  constraints: [\"power < 700\"]\n"
        "                       ^\n"
        "  hint: write numbers with their unit, as in 700 W or 814 mm2\n");
}

TEST_CASE("sweep: the shipped example has a front inside its space") {
  const Node json = json_of(program("sweep llama-70b-decode-bandwidth --format json").out);
  const auto& front = json.find("front")->items;
  CHECK(front.size() > 5);
  // Designs cost area, power and money: the front leaves the largest bandwidth and most of the largest arithmetic out.
  const auto most = std::ranges::count_if(front, [](const Node& p) { return find_path(p, "axes.\"chip.memory.HBM.bandwidth\"")->text == "4x"; });
  CHECK(most == 0);
}

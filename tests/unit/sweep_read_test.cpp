// Sweep files: axes and their values, what is left of the run, errors with positions.
#include <doctest/doctest.h>

#include <algorithm>

#include "sweep_support.hpp"

namespace {

using namespace gambrel;
using namespace gambrel::test;

const std::string head = "model: llama-3.1-8b\nsystem: h100-sxm\n";
const std::string decode = head + "workload: {phase: decode, batch: 32, context: 4096}\n";

std::vector<std::string> texts(const std::string& yaml) {
  const Node node = parse_yaml(yaml, "axis").value();
  const auto values = sim::axis_values(node);
  REQUIRE_MESSAGE(values.has_value(), placed(values ? Diagnostics{} : values.error()));
  return values->texts;
}

std::string range_error(const std::string& yaml) {
  const Node node = parse_yaml(yaml, "axis").value();
  const auto values = sim::axis_values(node);
  return values ? "accepted" : placed(values.error());
}

using Texts = std::vector<std::string>;

const sim::SweepAxis& axis_named(const sim::RunSpace& space, std::string_view path) {
  for (const sim::SweepAxis& axis : space.axes())
    if (std::ranges::count(axis.paths, path)) return axis;
  FAIL("no axis " << std::string(path));
  return space.axes().front();
}

}  // namespace

TEST_CASE("sweep values: lists and ranges keep the units they are written in") {
  CHECK(texts("[1, 2x, 3 TB/s, bf16, {tensor: 8}]") == Texts{"1", "2x", "3 TB/s", "bf16", "{\"tensor\": 8}"});
  CHECK(texts("{from: 1, to: 64, factor: 2}") == Texts{"1", "2", "4", "8", "16", "32", "64"});
  CHECK(texts("{from: 1 TB/s, to: 8 TB/s, factor: 2}") == Texts{"1 TB/s", "2 TB/s", "4 TB/s", "8 TB/s"});
  CHECK(texts("{from: 500 GB/s, to: 2 TB/s, step: 500 GB/s}") == Texts{"500 GB/s", "1000 GB/s", "1500 GB/s", "2000 GB/s"});
  CHECK(texts("{from: 0.5x, to: 2x, step: 0.5x}") == Texts{"0.5x", "1x", "1.5x", "2x"});
  CHECK(texts("{from: 0, to: 1, count: 5}") == Texts{"0", "0.25", "0.5", "0.75", "1"});
  CHECK(texts("{from: 1, to: 1000, count: 4, spacing: log}") == Texts{"1", "10", "100", "1000"});
  CHECK(texts("{from: 4x, to: 0.5x, factor: 0.5}") == Texts{"4x", "2x", "1x", "0.5x"});
  CHECK(texts("{from: 0.1, to: 0.3, step: 0.1}") == Texts{"0.1", "0.2", "0.3"});
  CHECK(texts("{from: 1, to: 100, factor: 10}").size() == 3);
  CHECK(texts("{from: 1, to: 99, factor: 10}").size() == 2);
}

TEST_CASE("sweep values: ranges that lead nowhere are refused") {
  CHECK(range_error("{from: 1, to: 8, factor: 0.5}").find("never leads from 1 to 8") != std::string::npos);
  CHECK(range_error("{from: 8, to: 1, step: 1}").find("never leads") != std::string::npos);
  CHECK(range_error("{from: 1, to: 8, factor: 1}").find("never leads") != std::string::npos);
  CHECK(range_error("{from: 0, to: 8, factor: 2}").find("never leads") != std::string::npos);
  CHECK(range_error("{from: 1 TB/s, to: 8, factor: 2}").find("goes on in 'plain numbers'") != std::string::npos);
  CHECK(range_error("{from: 1 TB/s, to: 8 GB, factor: 2}").find("goes on in 'GB'") != std::string::npos);
  CHECK(range_error("{from: 1, to: 8}").find("exactly one of factor, step and count") != std::string::npos);
  CHECK(range_error("{from: 1, to: 8, faktor: 2}").find("did you mean 'factor'?") != std::string::npos);
  CHECK(range_error("{from: 1, to: 1e12, step: 1}").find("more than a million values") != std::string::npos);
  CHECK(range_error("{from: 1, to: 8, count: 1}").find("from 2 to a million") != std::string::npos);
  CHECK(range_error("{from: nine, to: 8, step: 1}").find("'nine' is no number") != std::string::npos);
  CHECK(range_error("[]").find("takes a list of values") != std::string::npos);
  CHECK(range_error("[1, 2, 1]").find("'1' is listed twice") != std::string::npos);
  CHECK(range_error("[1, null]").find("empty") != std::string::npos);
}

TEST_CASE("a sweep file is a run file with axes anywhere") {
  const auto space = space_of(R"(
model: {sweep: [llama-3.1-8b, mistral-7b]}
system: h100-sxm
workload: {phase: decode, batch: {sweep: [1, 2, 4]}, context: 4096}
precision: {weights: {sweep: [bf16, fp8]}}
set: {chip.memory.HBM.bandwidth: {sweep: [1x, 2x]}, chip.memory.HBM.capacity: 96 GB}
)");
  CHECK(space->size() == 24);
  CHECK(axis_named(*space, "workload.batch").values == std::vector<Texts>{{"1"}, {"2"}, {"4"}});
  CHECK(axis_named(*space, "model").at[0].line == 2);
  // What changes the most is the slowest: files, then chips, then workloads.
  CHECK(space->axes().back().paths[0] == "workload.batch");
  for (std::uint64_t i : {0, 7, 23}) CHECK(space->index_of(space->coordinates_of(i)) == i);
  CHECK(space->file().run.find("set")->find("chip.memory.HBM.capacity"));
  CHECK(!space->file().run.find("set")->find("chip.memory.HBM.bandwidth"));
}

TEST_CASE("zipped axes go together") {
  const auto space = space_of(decode + "set: {chip.memory.HBM.bandwidth: {sweep: [1x, 2x]}, chip.memory.HBM.capacity: {sweep: [1x, 3x]}}\nzip: [[chip.memory.HBM.bandwidth, chip.memory.HBM.capacity]]\n");
  REQUIRE(space->axes().size() == 1);
  CHECK(space->axes()[0].values == std::vector<Texts>{{"1x", "1x"}, {"2x", "3x"}});
  CHECK(sweep_errors(decode + "zip: [[a, b]]\n").find("'a' is not swept") != std::string::npos);
  CHECK(sweep_errors(decode + "set: {chip.memory.HBM.bandwidth: {sweep: [1x, 2x]}, chip.memory.HBM.capacity: {sweep: [1x]}}\nzip: [[chip.memory.HBM.bandwidth, chip.memory.HBM.capacity]]\n").find("has 1 values") != std::string::npos);
}

TEST_CASE("errors have positions and hints") {
  CHECK(sweep_errors(decode + "constraint: []\n").find("sweep.yaml:4:1: unknown key 'constraint' | did you mean 'constraints'?") != std::string::npos);
  CHECK(sweep_errors(decode + "constraints: [\"powr < 700 W\"]\n").find("sweep.yaml:4:16: 'powr' is neither a result nor an input | did you mean 'power'?") != std::string::npos);
  CHECK(sweep_errors(decode + "constraints: [\"1 + power < 700 W\"]\n").find("4:18: a plain number and a quantity in W") != std::string::npos);
  CHECK(sweep_errors(decode + "constraints: [\"memory.peak < chip.memory.HMB.capacity\"]\n").find("did you mean 'HBM'?") != std::string::npos);
  CHECK(sweep_errors(decode + "constraints: [power]\n").find("compares nothing") != std::string::npos);
  CHECK(sweep_errors(decode + "objectives: [{minimise: tme_s}]\n").find("did you mean 'time_s'?") != std::string::npos);
  CHECK(sweep_errors(decode + "derived: {time_s: \"1\"}\n").find("is a result already") != std::string::npos);
  CHECK(sweep_errors(decode + "keep: top:0\n").find("all, pareto or top:N") != std::string::npos);
  CHECK(sweep_errors(head + "workload: {phase: decode, batch: {sweep: [1x, 2x]}, context: 1}\n").find("3:43: '1x' is relative") != std::string::npos);
  CHECK(sweep_errors(head + "workload: {phase: decode, batch: {sweep: [1, two]}, context: 4}\n").find("3:46: 'batch' must be max") != std::string::npos);
  CHECK(sweep_errors(decode + "set: {chip.memory.HMB.bandwidth: {sweep: [1x, 2x]}}\n").find("did you mean 'HBM'?") != std::string::npos);
  CHECK(sweep_errors(decode + "set: {chip.memory.HBM.bandwidth: {sweep: [1 TB/s, 2 TBs]}}\n").find("4:51: 'bandwidth': unknown unit 'TBs'") != std::string::npos);
  CHECK(sweep_errors(decode + "workloads: [{run: no-such-run}]\n").find("no-such-run") != std::string::npos);
}

TEST_CASE("the command line lays keys over the file, axes included") {
  const auto space = space_of(decode, {"workload.batch={sweep: [1, 8]}", "chip.memory.HBM.bandwidth={sweep: [1x, 2x]}", "chip.memory.HBM.capacity=96 GB"});
  CHECK(space->size() == 4);
  const std::string command = space->command(space->coordinates_of(3));
  CHECK(command.find("--set chip.memory.HBM.bandwidth=2x") != std::string::npos);
  CHECK(command.find("--set 'chip.memory.HBM.capacity=96 GB'") != std::string::npos);
  CHECK(command.find("--set workload.batch=8") != std::string::npos);
}

TEST_CASE("a point is the estimate of its settings") {
  const auto space = space_of(head + "workload: {phase: decode, batch: {sweep: [1, 32]}, context: 4096}\nset: {chip.memory.HBM.bandwidth: {sweep: [1x, 2x]}}\nderived: {slowness: time / roofline, spare: chip.memory.HBM.capacity - memory.peak}\n");
  const auto evaluator = space->evaluator();
  const sim::PointResult point = point_of(*evaluator, *space, 3);
  const sim::Estimate alone = estimate_of(run_of(decode, {"chip.memory.HBM.bandwidth=2x"}));
  REQUIRE(point.state == sim::PointState::ok);
  CHECK(figure_of(*space, point, "time_s") == alone.total.time.value);
  CHECK(figure_of(*space, point, "energy_j") == alone.total.energy->value);
  CHECK(figure_of(*space, point, "max_batch") == alone.memory.max_batch);
  CHECK(figure_of(*space, point, "mfu") == alone.total.mfu);
  CHECK(figure_of(*space, point, "slowness") == alone.total.time.value / alone.total.roofline.value);
  CHECK(figure_of(*space, point, "spare") == 80e9 - alone.memory.tiers[0].used().value);
  CHECK(space->bounds().name(figure_of(*space, point, "bound")) == alone.total.bound);
}

TEST_CASE("constraints and what is no design") {
  const auto space = space_of(head + "workload: {phase: decode, batch: {sweep: [1, 32, 100000]}, context: {sweep: [64, 8192]}}\nconstraints: [\"workload.context < 1000\", \"time < 1 us\"]\n");
  const auto evaluator = space->evaluator();
  const auto at = [&](std::uint32_t batch, std::uint32_t context) {
    sim::PointResult point;
    const bool batch_first = space->axes()[0].paths[0] == "workload.batch";
    evaluator->evaluate(batch_first ? std::vector<std::uint32_t>{batch, context} : std::vector<std::uint32_t>{context, batch}, point);
    return point;
  };
  CHECK(at(0, 0).state == sim::PointState::violates);
  CHECK(at(0, 0).reason == 1);
  CHECK(at(1, 1).reason == 0);
  CHECK(at(2, 1).state == sim::PointState::impossible);
  CHECK(space->message(at(2, 1).reason) == "does not fit into its memory");
  CHECK(space->constraints().size() == 2);
}

TEST_CASE("several workloads: geometric mean by weight, or the worst") {
  const std::string two = head + "workloads: [{weight: 3, workload: {phase: decode, batch: 32, context: 4096}}, {weight: 1, workload: {phase: prefill, batch: 1, new_tokens: 1024}}]\n";
  const double slow = estimate_of(run_of(head + "workload: {phase: prefill, batch: 1, new_tokens: 1024}\n")).total.time.value, quick = estimate_of(run_of(decode)).total.time.value;
  const auto mean = space_of(two), worst = space_of(two + "aggregate: worst\n");
  const auto at = [](const sim::RunSpace& space) { return figure_of(space, point_of(*space.evaluator(), space, 0), "time_s"); };
  CHECK(at(*mean) == doctest::Approx(std::pow(quick, 0.75) * std::pow(slow, 0.25)));
  CHECK(at(*worst) == std::max(slow, quick));
  CHECK(mean->command({}).find(" && gambrel estimate") != std::string::npos);
}

TEST_CASE("hypothetical chips pay for what they have") {
  const auto space = space_of(decode + "hypothetical: true\nset: {chip.memory.HBM.bandwidth: {sweep: [0.5x, 1x, 2x]}}\n");
  const auto evaluator = space->evaluator();
  std::vector<double> area, price, tdp;
  for (std::uint64_t i = 0; i < 3; ++i) {
    const sim::PointResult point = point_of(*evaluator, *space, i);
    area.push_back(figure_of(*space, point, "die_area_mm2")), price.push_back(figure_of(*space, point, "chip_hour_usd")), tdp.push_back(figure_of(*space, point, "tdp_w"));
  }
  for (const auto* figures : {&area, &price, &tdp}) CHECK(std::ranges::is_sorted(*figures, std::less_equal<>()));
  CHECK(area[1] == doctest::Approx(814));
  CHECK(price[1] == doctest::Approx(10.8));
  CHECK(tdp[1] == doctest::Approx(700));
  CHECK(run_errors(head + "workload: {phase: decode, batch: 1, context: 8}\nhypothetical: true\nset: {chip.area: {die: 814 mm2}}\n") != "accepted");
}

TEST_CASE("a sweep's file alone is a run") {
  Node document = parse_yaml(head + "workload: {phase: decode, batch: {sweep: [7, 32]}, context: 4096}\nset: {chip.memory.HBM.bandwidth: {sweep: [2x]}}\nobjectives: [{minimise: time_s}]\n", "s.yaml").value();
  CHECK(sim::is_sweep(document));
  CHECK(!sim::is_sweep(parse_yaml(decode, "r.yaml").value()));
  const Node run = sim::run_of_sweep(document).value();
  CHECK(run.find("workload")->find("batch")->number == 7);
  CHECK(!run.find("objectives"));
  CHECK(sim::read_run(shipped(), run, {}).has_value());
}

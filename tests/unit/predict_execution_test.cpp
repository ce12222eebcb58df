// What an executed graph is predicted to take: where its operands come from, at which peaks, and how that is printed.
#include "sim/predict_execution.hpp"

#include <doctest/doctest.h>

#include "base/load.hpp"
#include "reports/execution.hpp"
#include "sim/kernel_models/kernel_models.hpp"
#include "tests/unit/model_support.hpp"

using namespace gambrel;
using namespace gambrel::sim;
using namespace gambrel::test;

namespace {

hw::Chip small_cpu() {
  const auto document = parse_yaml(
      "chip: small-cpu\nkind: cpu\nhierarchy: [{level: core, count: 1}]\ncompute: {simd: {kind: vector, per: core, peak: {fp32: 100 GFLOP/s}}}\nmemory:\n"
      "  - {level: DRAM, capacity: 16 GB, bandwidth: 20 GB/s}\n  - {level: L3, capacity: 16 MiB, bandwidth: 70 GB/s, managed: cache}\n"
      "  - {level: L2, per: core, capacity: 1 MiB, bandwidth: 100 GB/s, managed: cache}\n  - {level: L1, per: core, capacity: 32 KiB, bandwidth: 200 GB/s, managed: cache}\n",
      "small-cpu.yaml");
  REQUIRE(document.has_value());
  auto chip = hw::read_chip(*document);
  REQUIRE_MESSAGE(chip.has_value(), complaints(chip ? Diagnostics{} : chip.error()));
  return *chip;
}

std::vector<double> usual_values(const KernelModel& model) {
  std::vector<double> values;
  for (const Constant& c : model.constants) values.push_back(c.usual);
  return values;
}

models::Graph layer_graph(double tokens, double inner = 2048) {
  const models::ModelConfig model = model_of("hidden: 512\nvocab: 1000\nlayers:\n  - count: 2\n    attention: {kind: gqa, heads: 8, kv_heads: 2, head_dim: 64}\n    ffn: {kind: dense, inner: " +
                                             std::to_string(static_cast<int>(inner)) + ", activation: swiglu}\n");
  return models::build(model, {Format::fp32, {}, {}}, {.new_tokens = tokens});
}

/// Constants that are all usual ones, for rows and products.
CalibrationBook usual_book() {
  Calibration calibration;
  calibration.chip = "small-cpu", calibration.models = ModelSet::processor;
  for (const char* type : {"rms_norm", "elementwise", "activation", "rotary", "embedding", "kv_append", "sampling"})
    calibration.fits.push_back({.kernel = KernelKind::elementwise, .type = type, .values = usual_values(cpu_elementwise_model)});
  calibration.fits.push_back({.kernel = KernelKind::gemm, .type = "fp32", .values = usual_values(cpu_gemm_model)});
  CalibrationBook book;
  book.use(std::move(calibration));
  return book;
}

double seconds_of(const models::Graph& graph, const PredictedGraph& predicted, std::string_view ending) {
  for (std::size_t i = 0; i < graph.ops().size(); ++i)
    if (graph.ops()[i].name.ends_with(ending)) return predicted.ops[i].seconds;
  FAIL("no such operator");
  return 0;
}

}  // namespace

TEST_CASE("predict execution: a chip at other peaks has other rates, and the same capacities") {
  const hw::Chip chip = small_cpu(), now = at_peaks(chip, {.arithmetic = 0.5, .memory = {2, 1, 0.8, 0.5}});
  CHECK(now.compute[0].rate(Format::fp32)->value == doctest::Approx(50e9));
  CHECK(now.memory[0].bandwidth.value == doctest::Approx(40e9));
  CHECK(now.memory[2].bandwidth.value == doctest::Approx(80e9));
  CHECK(now.memory[1].capacity.value == chip.memory[1].capacity.value);
  CHECK(at_peaks(chip, {}).memory[3].bandwidth.value == chip.memory[3].bandwidth.value);
}

TEST_CASE("predict execution: a working set is read at the rate of the level that holds it") {
  const hw::Chip chip = small_cpu();
  CHECK(calibrated_read_rate(chip, 1 << 19) == doctest::Approx(100e9).epsilon(0.01));
  CHECK(calibrated_read_rate(chip, 1 << 23) == doctest::Approx(70e9).epsilon(0.01));
  CHECK(calibrated_read_rate(chip, 1 << 26) == doctest::Approx(20e9).epsilon(0.01));
}

TEST_CASE("predict execution: half the arithmetic and half the bandwidths take twice the time, launches aside") {
  const models::Graph graph = layer_graph(256);
  const hw::Chip chip = small_cpu();
  const PredictedGraph whole = predict_execution(graph, {}, chip, usual_book());
  const PredictedGraph half = predict_execution(graph, {}, at_peaks(chip, {.arithmetic = 0.5, .memory = {0.5, 0.5, 0.5, 0.5}}), usual_book());
  for (std::size_t i = 0; i < graph.ops().size(); ++i) {
    CHECK_MESSAGE(half.ops[i].seconds <= 2.0001 * whole.ops[i].seconds, graph.ops()[i].name);
    CHECK_MESSAGE(half.ops[i].seconds >= whole.ops[i].seconds, graph.ops()[i].name);
  }
  CHECK(seconds_of(graph, half, "mlp.gate_up") == doctest::Approx(2 * seconds_of(graph, whole, "mlp.gate_up")).epsilon(0.01));
}

TEST_CASE("predict execution: a residual comes from as far as what was touched since it was used") {
  const hw::Chip chip = small_cpu();
  // The two additions are alike but for what lies between: attention here, an FFN of 100 MB there.
  const models::Graph graph = layer_graph(64, 16384);
  const PredictedGraph predicted = predict_execution(graph, {}, chip, usual_book());
  CHECK(seconds_of(graph, predicted, "mlp.add") > 1.2 * seconds_of(graph, predicted, "attn.add"));
  const models::Graph small = layer_graph(64, 256);
  const PredictedGraph near = predict_execution(small, {}, chip, usual_book());
  CHECK(seconds_of(small, near, "mlp.add") == doctest::Approx(seconds_of(small, near, "attn.add")).epsilon(0.2));
}

namespace {

reports::ExecutionReport made_up_report() {
  reports::ExecutionReport report{.run = "r", .model = "m", .scaling = "all"};
  report.measured.ops = {{"a", "gemm", 1, 2e9, 1e6, 0.02}, {"b", "sampling", 1, 1e3, 1e3, 0.005}};
  report.measured.runs = 7;
  report.kernels = "k", report.chip = "c";
  PredictedGraph predicted;
  predicted.ops = {{.flops = 2e9, .bytes = 1e6, .seconds = 0.018, .roofline = 0.01, .bound = "compute", .provenance = Provenance::calibrated},
                   {.flops = 1e3, .bytes = 1e3, .seconds = 0.001, .roofline = 0.001, .bound = "DRAM", .provenance = Provenance::analytic}};
  report.predicted = predicted;
  for (PredictedOp& op : predicted.ops) op.seconds *= 1.1;
  report.scaled = predicted;
  report.peaks = {{"FMA fp32", 0, 90e9, 100e9}, {"DRAM", 64e6, 18e9, 20e9}};
  return report;
}

}  // namespace

TEST_CASE("execution report: peaks of the run, what they scale, and what no calibration covers") {
  const reports::ExecutionReport report = made_up_report();
  const auto tree = parse_json(reports::write_execution(report, reports::TextFormat::json), "out.json");
  REQUIRE(tree.has_value());
  CHECK(tree->number_or("covered", 0) == doctest::Approx(0.8));
  const Node* peaks = tree->find("peaks");
  REQUIRE(peaks);
  REQUIRE(peaks->items.size() == 2);
  CHECK(peaks->items[0].number_or("flops_per_s", 0) == 90e9);
  CHECK(peaks->items[1].number_or("calibrated_bytes_per_s", 0) == 20e9);
  CHECK(peaks->items[1].number_or("ratio", 0) == doctest::Approx(0.9));
  const Node* total = tree->find("total");
  REQUIRE(total);
  CHECK(total->number_or("scaled_ratio", 0) == doctest::Approx(1.1 * 0.019 / 0.025));
  const std::string text = reports::write_execution(report, reports::TextFormat::table);
  CHECK(text.find("covered by measured kernels: 80.0 % of the time; by the plain roofline: sampling") != std::string::npos);
  CHECK(text.find("FMA fp32 90.0 / 100.0 GFLOP/s, DRAM 18.0 / 20.0 GB/s") != std::string::npos);
  CHECK(text.find("at peaks now") != std::string::npos);
  CHECK(reports::write_execution(report, reports::TextFormat::csv).find("scaled_s,scaled_ratio\n") != std::string::npos);
}

TEST_CASE("execution report: Markdown holds what the table does, and names do no harm") {
  reports::ExecutionReport report = made_up_report();
  report.model = "<m>|*";
  const std::string text = reports::write_execution(report, reports::TextFormat::markdown);
  CHECK_MESSAGE(text.starts_with("## r: &lt;m&gt;\\|\\*\n\n- all\n- times: k, the least of 7 runs; predicted for c\n- memory: "), text);
  CHECK(text.find("\n\n| operator | kind |") != std::string::npos);
  CHECK(text.find("| total |") != std::string::npos);
  CHECK(text.find("\n\n- covered by measured kernels: 80.0 % of the time") != std::string::npos);
  report.predicted.reset(), report.scaled.reset(), report.peaks.clear();
  CHECK(reports::write_execution(report, reports::TextFormat::markdown).ends_with(" |\n"));
}

TEST_CASE("execution report: without peaks nothing is scaled") {
  reports::ExecutionReport report = made_up_report();
  report.scaled.reset(), report.peaks.clear();
  const std::string text = reports::write_execution(report, reports::TextFormat::table);
  CHECK(text.find("at peaks now") == std::string::npos);
  CHECK(text.find("calibrated:") == std::string::npos);
  CHECK(reports::write_execution(report, reports::TextFormat::json).find("scaled_s") == std::string::npos);
}

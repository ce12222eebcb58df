// calibrate --this-machine, from stored and made-up measurements: levels, chip file, held-out fits, the picture, the survey's cases.
#include "sim/calibration/this_machine.hpp"

#include <algorithm>
#include <set>

#include "base/schema.hpp"
#include "cpu_support.hpp"
#include "kernels/suite/gemm.hpp"
#include "kernels/suite/survey.hpp"
#include "reports/machine.hpp"
#include "reports/report.hpp"
#include "tests/unit/golden_table.hpp"
#include "tests/unit/program_support.hpp"

using namespace gambrel;
using namespace gambrel::sim;
using namespace gambrel::test;

namespace {

/// A machine whose streams follow these levels exactly.
MachineFigures made_up_machine() {
  MachineFigures machine{.cpu = "Made-up CPU", .compiler = "g++ 1", .date = "2026-01-02", .threads = 1, .memory = 16e9};
  machine.peaks = {{Format::fp32, 118e9}, {Format::fp64, 59e9}, {Format::bf16, 236e9}, {Format::int8, 472e9}};
  machine.nominal = {{"L1", 32 << 10}, {"L2", 1 << 20}, {"L3", 32 << 20}};
  machine.levels = {{"L1", 30e3, 240e9}, {"L2", 0.9e6, 110e9}, {"L3", 14e6, 70e9}, {"DRAM", 0, 17e9}};
  for (double bytes = 8192; bytes < 3e8; bytes *= 1.25) machine.points.push_back({bytes, stream_rate(machine.levels, bytes)});
  return machine;
}

std::string cells_of(const KernelCall& call) { return fmt::format("{}/{}/{}", call.dim(models::Dim::m), call.dim(models::Dim::n), call.dim(models::Dim::k)); }

}  // namespace

TEST_CASE("this machine: streams give the levels back, however wrong the system's word on the last cache") {
  const MachineFigures machine = made_up_machine();
  const auto levels = fit_levels(machine.points, machine.nominal);
  REQUIRE(levels.size() == 4);
  for (std::size_t i = 0; i < 4; ++i) {
    CHECK(levels[i].name == machine.levels[i].name);
    CHECK(levels[i].bandwidth == doctest::Approx(machine.levels[i].bandwidth).epsilon(0.03));
    if (i < 3) CHECK(levels[i].capacity == doctest::Approx(machine.levels[i].capacity).epsilon(0.05));
  }
}

TEST_CASE("this machine: the chip file obeys the schema, says its sources and is read as measured") {
  const MachineFigures machine = made_up_machine();
  const Node document = chip_document(machine);
  CHECK_MESSAGE(validate(document, "chip").empty(), complaints(validate(document, "chip")));
  const auto chip = hw::read_chip(document);
  REQUIRE_MESSAGE(chip.has_value(), complaints(chip ? Diagnostics{} : chip.error()));
  CHECK(chip->id == "this-machine");
  CHECK(chip->kind == hw::ChipKind::cpu);
  CHECK(chip->unit(hw::UnitKind::vector, Format::int8)->rate(Format::int8)->value == doctest::Approx(472e9));
  const ChipFigures figures = chip_figures(*chip);
  CHECK(figures.bandwidth == doctest::Approx(17e9));
  CHECK(figures.caches[2].capacity == doctest::Approx(14e6).epsilon(1e-3));
  const std::string source = document.find("sources")->text_or("default", "");
  for (const char* said : {"2026-01-02", "Made-up CPU", "g++ 1", "1 thread"}) CHECK_MESSAGE(source.find(said) != std::string::npos, said);
  CHECK(document.find("sources")->text_or("memory", "").find("L3 32768 KiB") != std::string::npos);
}

TEST_CASE("this machine: a fit to a model's own times finds them again on rows it did not see") {
  const KernelPredictor predictor(made_up_cpu(), {});
  std::vector<KernelCall> calls;
  std::vector<double> seconds;
  std::vector<std::string> keys;
  auto truth = usual_values(cpu_gemm_model);
  truth[0] = 1e-6, truth[1] = 0.8, truth.back() = 1;  // loops that copy panels
  for (const kernels::ProductSize& s : kernels::product_sizes(60)) {
    calls.push_back(cpu_gemm(static_cast<double>(s.m), static_cast<double>(s.n), static_cast<double>(s.k)));
    calls.back().measured_as = "fp32/one";
    seconds.push_back(predictor.seconds(cpu_gemm_model, calls.back(), truth));
    keys.push_back(cells_of(calls.back()));
  }
  const std::vector<double> apart(60, 0.01);
  const auto fits = fit_held_out({KernelKind::gemm, calls, seconds, keys, "rows.csv", "0", "2026-01-02", apart}, predictor, 3);
  REQUIRE(fits.size() == 1);
  CHECK(fits[0].fit.values.back() == 1);
  CHECK(fits[0].apart.rows == 60);
  CHECK(fits[0].apart.mean == doctest::Approx(0.01).epsilon(0.01));
  CHECK(fits[0].fit.type == "fp32/one");
  CHECK(fits[0].fit.reported.rows == 60);
  CHECK(fits[0].fit.reported.mean < 0.02);
  CHECK(fits[0].fit.fitted.mean < 0.01);
  std::size_t regimes = 0;
  for (const auto& [name, score] : fits[0].fit.regimes) regimes += score.rows;
  CHECK(regimes == 60);
  // Too few rows of a type are left out.
  CHECK(fit_held_out({KernelKind::gemm, {calls.data(), 8}, {seconds.data(), 8}, {keys.data(), 8}, "", "", ""}, predictor).empty());
}

// The survey's first 90 products over eight quiet windows on an AMD EPYC (Zen 4) virtual machine, oneDNN 2.6.3, one thread;
// two halves of the windows lie 0.8 % apart.
TEST_CASE("this machine: stored measurements of packed products are fitted, and predicted where they were held out") {
  MachineFigures machine = made_up_machine();
  machine.peaks = {{Format::fp32, 120.4e9}};
  machine.levels = {{"L1", 34 << 10, 218.5e9}, {"L2", 843 << 10, 119.1e9}, {"L3", 25186 << 10, 99.3e9}, {"DRAM", 0, 35.7e9}};
  const auto chip = hw::read_chip(chip_document(machine));
  REQUIRE(chip.has_value());
  const CsvTable table = golden_table("this_machine_gemm.csv");
  const auto reader = RowReader::make(table, KernelKind::gemm);
  REQUIRE(reader.has_value());
  std::vector<KernelCall> calls;
  std::vector<double> seconds;
  std::vector<std::string> keys;
  for (const CsvRow& row : table.rows) {
    calls.push_back(*reader->read(row));
    keys.push_back(reader->key(row));
    seconds.push_back(1e-6 * GoldenCells{table, row}.number("measured_us"));
  }
  const auto fits = fit_held_out({KernelKind::gemm, calls, seconds, keys, "this_machine_gemm.csv", "", ""}, KernelPredictor(*chip, {}), 2);
  REQUIRE(fits.size() == 1);
  CHECK(fits[0].fit.type == "fp32/onednn_packed");
  CHECK(fits[0].fit.reported.rows == 90);
  CHECK(fits[0].fit.values.back() == 0);  // panels, packed beforehand
  CHECK(fits[0].fit.fitted.mean < 0.03);
  CHECK(fits[0].fit.reported.mean < 0.05);
  CHECK(fits[0].fit.reported.median < 0.03);
}

TEST_CASE("this machine: softmax and layer norms are calibrated under their own kinds too, and predicted alike") {
  const auto chip = hw::read_chip(chip_document(made_up_machine()));
  REQUIRE(chip.has_value());
  const KernelPredictor predictor(*chip, {});
  for (const auto& [type, kind] : {std::pair{"softmax", KernelKind::softmax}, {"layer_norm", KernelKind::layernorm}}) {
    KernelFit fit{.kernel = KernelKind::elementwise, .type = type, .values = usual_values(predictor.model(KernelKind::elementwise))};
    const auto same = as_own_kind(fit);
    REQUIRE(same.has_value());
    CHECK(same->kernel == kind);
    CHECK(same->type == type);
    CHECK(same->values == fit.values);
    const auto by_rows = calls_of("rows,cols,dtype\n256,4096,fp32\n", kind);
    const auto by_bytes = calls_of(fmt::format("bytes_read,bytes_written,dtype,tokens,hidden,op,working_set_bytes\n4194304,4194304,fp32,256,4096,{},8388608\n", type), KernelKind::elementwise);
    CHECK(predictor.model(kind).predict(by_rows[0], predictor.figures(), same->values) ==
          doctest::Approx(predictor.model(KernelKind::elementwise).predict(by_bytes[0], predictor.figures(), fit.values)));
  }
  CHECK_FALSE(as_own_kind({.kernel = KernelKind::elementwise, .type = "rotary"}).has_value());
  CHECK_FALSE(as_own_kind({.kernel = KernelKind::gemm, .type = "softmax"}).has_value());
}

TEST_CASE("this machine: the page has every roof and kernel, asks for nothing from elsewhere and shows names as text") {
  const MachineFigures machine = made_up_machine();
  const std::vector<MeasuredPoint> points{{"large<script>", "gemm", Format::fp32, 1e9, 1e6, 1e6, 0.01}, {"stream", "elementwise", Format::fp32, 1e6, 1.2e8, 1.2e8, 0.01},
                                          {"copy", "elementwise", Format::fp32, 0, 1e6, 1e6, 1e-4}};
  const std::string page = reports::write_machine_html(machine, measured_roofline(machine, points));
  for (const char* shown : {"Made-up CPU", "118.0", "int8", "L3", "DRAM", "large&lt;script&gt;", "stream", "1 kernel without arithmetic", "default-src 'none'", "2026-01-02"})
    CHECK_MESSAGE(page.find(shown) != std::string::npos, shown);
  for (const char* absent : {"<script", "tokens/s", "0.0% of the time", "src=", "nan"}) CHECK_MESSAGE(page.find(absent) == std::string::npos, absent);
}

TEST_CASE("this machine: the picture holds every roof and its kernels") {
  const MachineFigures machine = made_up_machine();
  const std::vector<MeasuredPoint> points{{"large", "gemm", Format::fp32, 1e9, 1e6, 1e6, 0.01}, {"stream", "elementwise", Format::fp32, 1e6, 1.2e8, 1.2e8, 0.01}};
  const Estimate estimate = measured_roofline(machine, points);
  CHECK(estimate.phases[0].ops[0].bound == "compute");
  CHECK(estimate.phases[0].ops[1].bound == "DRAM");
  CHECK(estimate.phases[0].ops[1].provenance == Provenance::measured);
  const std::string svg = reports::write_svg({"t", {estimate}});
  for (const char* shown : {"fp32 simd", "L3", "DRAM", "large"}) CHECK_MESSAGE(svg.find(shown) != std::string::npos, shown);
}

TEST_CASE("survey: every case has a name of its own, work, and cells that its kind's reader takes") {
  const auto cases = kernels::survey_cases(1, true);
  std::set<std::string> kinds, names;
  for (const kernels::SurveyCase& row : cases) {
    kinds.insert(row.kind);
    std::string header, cells;
    for (const auto& [name, cell] : row.cells) header += name + ",", cells += cell + ",";
    CHECK_MESSAGE(names.insert(row.kind + cells).second, row.kernel.name());
    const auto calls = calls_of(header + "x\n" + cells + "0\n", *parse_kernel_kind(row.kind));
    CHECK(row.kernel.bytes > 0);
    // The predicted operator moves what the measured kernel moves, streams and look-ups apart, whose tables are larger.
    if (row.kind == "gemm" && row.kernel.type == "f32") CHECK(calls[0].op.work.bytes() == doctest::Approx(row.kernel.bytes).epsilon(0.01));
    if (row.kind.starts_with("attention")) CHECK(calls[0].op.work.flops == doctest::Approx(row.kernel.flops).epsilon(0.01));
  }
  CHECK(kinds == std::set<std::string>{"attention_decode", "attention_prefill", "elementwise", "gemm", "moe"});
}

TEST_CASE("survey: streamed products take copy after copy, and say what they touch in between") {
  int streamed = 0;
  for (const kernels::SurveyCase& row : kernels::survey_cases(1, true)) {
    const auto copies = std::ranges::find(row.kernel.sizes, "copies", [](const auto& size) { return size.first; });
    if (copies == row.kernel.sizes.end()) continue;
    ++streamed;
    const auto touched = std::ranges::find(row.cells, "working_set_bytes", [](const auto& cell) { return cell.first; });
    REQUIRE(touched != row.cells.end());
    CHECK(std::stod(touched->second) >= 2.7e8);  // eight times a last-level cache of 32 MiB
    CHECK(copies->second >= 5);
    CHECK(row.kernel.working_set <= 3.5e8);  // several of them are kept at one time
    CHECK(row.kernel.bytes < 1e8);  // of one call
  }
  CHECK(streamed >= 6);
  const auto call = kernels::streamed_gemm_case(2, 32, 64, 20e3, 1).prepare();
  for (int i = 0; i < 5; ++i) call->run();  // three copies, round and round
  CHECK_FALSE(call->selected().empty());
}

TEST_CASE("survey: sizes cover every regime and do not change") {
  const auto sizes = kernels::product_sizes(90);
  CHECK(sizes.size() == 90);
  const auto count = [&](auto wanted) { return std::ranges::count_if(sizes, wanted); };
  CHECK(count([](const auto& s) { return s.m == 1; }) >= 8);
  CHECK(count([](const auto& s) { return s.m > 64 && s.n >= 768 && s.k >= 768; }) >= 8);
  CHECK(count([](const auto& s) { return 4 * s.n * s.k > 32'000'000; }) >= 3);  // beyond usual caches
  const auto again = kernels::product_sizes(45);
  for (std::size_t i = 0; i < again.size(); ++i) CHECK((again[i].m == sizes[i].m && again[i].n == sizes[i].n && again[i].k == sizes[i].k));
}

TEST_CASE("survey: what gave no clean sample is taken out with its row, in order") {
  const auto row = [](const char* name) { return kernels::SurveyCase{.kind = name, .cells = {}, .kernel = {.kernel = name, .type = "f32", .version = "own"}}; };
  std::vector<kernels::SurveyCase> rows{row("a"), row("b"), row("c"), row("d")};
  std::vector<kernels::Surveyed> measured{{1, 1, 0}, {2, 2, 5}, {3, 3, 0}, {4, 4, 1}};
  CHECK(kernels::leave_out_unmeasured(rows, measured) == std::vector<std::string>{"a/f32/own/1t", "c/f32/own/1t"});
  REQUIRE(rows.size() == 2);
  REQUIRE(measured.size() == 2);
  CHECK((rows[0].kind == "b" && measured[0].seconds == 2));
  CHECK((rows[1].kind == "d" && measured[1].seconds == 4));
  CHECK(kernels::leave_out_unmeasured(rows, measured).empty());
  CHECK(rows.size() == 2);
}

TEST_CASE("survey: three visits of two small kernels give a time each") {
  std::vector<kernels::KernelCase> cases{kernels::anchor_case(kernels::Anchor::fma_f32, 0, 1), kernels::stream_case(kernels::Anchor::copy, 65536, 1)};
  CHECK(cases[1].bytes == 65536);
  std::size_t last = 0;
  const auto surveyed = kernels::survey(cases, {.seconds = 0.02}, [&](std::size_t done, std::size_t) { last = done; });
  REQUIRE(surveyed.size() == 2);
  CHECK(last == 2);
  for (const kernels::Surveyed& one : surveyed)
    if (one.samples > 0) CHECK((one.seconds > 0 && one.seconds <= one.median && std::abs(one.apart) < 5));
}

TEST_CASE("calibrate --this-machine: options are checked before anything is measured") {
  for (const char* wrong : {"--chip h100-sxm", "--seconds 0", "--seconds x", "--threads 0", "--threads 1.5", "--threads 100000"}) {
    const Outcome outcome = program(std::string("calibrate --this-machine ") + wrong);
    CHECK_MESSAGE(outcome.code == 2, wrong);
  }
  CHECK(program("calibrate --help").out.find("preparing operands and fitting come on top") != std::string::npos);
}

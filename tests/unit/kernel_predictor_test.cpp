// One kernel call on one chip: floors, asserted efficiencies, bounds, intervals, and the figures that models read.
#include "sim/calibration/kernel_predictor.hpp"

#include <cmath>

#include "tests/unit/calibration_support.hpp"

using namespace gambrel;
using namespace gambrel::sim;

namespace {

KernelCall prefill(const std::string& cells) { return test::calls_of(test::prefill_header + cells + "\n", KernelKind::attention_prefill).front(); }
KernelCall decode(const std::string& cells) { return test::calls_of(test::decode_header + cells + "\n", KernelKind::attention_decode).front(); }

KernelCall tiny() { return prefill("1,16,4,4,128,0,bf16,bf16"); }
KernelCall large() { return prefill("8,16384,32,32,128,0,bf16,bf16"); }
KernelCall streaming() { return decode("64,32768,32,8,128,0,bf16,bf16"); }

constexpr const char* plain_chip = R"(chip: plain
kind: gpu
cores: 100
compute:
  matrix: {kind: matrix, peak: {bf16: 1000 TFLOP/s}}
  vector: {kind: vector, peak: {fp32: 50 TFLOP/s}}
memory:
  - {level: DRAM, capacity: 80 GB, bandwidth: 2 TB/s}
  - {level: LLC, capacity: 40 MB, managed: cache}
sources: {default: made up for this test}
)";

}  // namespace

TEST_CASE("a calibrated chip says so, with an interval around its prediction") {
  const KernelPredictor predictor = test::predictor_for(test::shipped_chip("h100-sxm"));
  for (const KernelCall& call : {tiny(), large(), streaming()}) {
    const KernelPrediction p = predictor.predict(call);
    const auto found = predictor.book().find(call.kind, "bf16");
    CHECK(p.provenance == Provenance::calibrated);
    CHECK(p.roofline <= p.low);
    CHECK(p.low <= p.seconds);
    CHECK(p.high == doctest::Approx(p.seconds * (1 + found.fit->reported.p90)));
    CHECK(found.fit->reported.p90 > 0.01);
  }
}

TEST_CASE("what holds a call back: launches, arithmetic or the main memory by its name") {
  const KernelPredictor predictor = test::predictor_for(test::shipped_chip("h100-sxm"));
  CHECK(predictor.predict(tiny()).bound == "launch");
  CHECK(predictor.predict(large()).bound == "compute");
  CHECK(predictor.predict(streaming()).bound == "HBM");
}

TEST_CASE("the roofline is arithmetic at the peak, or bytes beyond the cache at the bandwidth") {
  const hw::Chip chip = test::read_chip(plain_chip);
  const KernelPredictor predictor(chip, {});
  CHECK(predictor.roofline(large()) == doctest::Approx(std::max(large().op.work.flops / 1000e12, large().op.work.vector_flops / 50e12)));
  CHECK(predictor.roofline(streaming()) == doctest::Approx((streaming().op.work.bytes() - 40e6) / 2e12));
}

TEST_CASE("a chip of which nothing is known is analytic: the plain roofline, up to twice of it") {
  const KernelPredictor predictor(test::read_chip(plain_chip), {});
  const KernelPrediction p = predictor.predict(streaming());
  CHECK(p.provenance == Provenance::analytic);
  CHECK(p.seconds == doctest::Approx(streaming().op.work.bytes() / 2e12));
  CHECK(p.low == p.roofline);
  CHECK(p.high == doctest::Approx(2 * p.seconds));
  CHECK(p.bound == "DRAM");
  CHECK(predictor.predict(large()).bound == "compute");
}

TEST_CASE("no constants make a call faster than its roofline") {
  const KernelPredictor predictor = test::predictor_for(test::shipped_chip("h100-sxm"));
  const KernelModel& model = model_of(KernelKind::attention_prefill);
  for (bool high : {false, true}) {
    std::vector<double> values;
    for (const Constant& c : model.constants) values.push_back(high ? c.high : c.low);
    for (const KernelCall& call : {tiny(), large()}) CHECK(predictor.seconds(model, call, values) >= predictor.roofline(call));
  }
}

TEST_CASE("an asserted efficiency replaces the model, for its kind of operator or of kernel only") {
  const hw::Chip chip = test::shipped_chip("h100-sxm");
  const KernelPrediction full = test::predictor_for(chip, {{"attention", 1.0}}).predict(large());
  CHECK(full.provenance == Provenance::assumed);
  CHECK(full.seconds >= full.roofline);
  const KernelPredictor half = test::predictor_for(chip, {{"attention", 0.5}});
  CHECK(half.predict(large()).seconds == doctest::Approx(2 * full.seconds));
  CHECK(half.predict(large()).high == half.predict(large()).seconds);
  const KernelPredictor prefill_only = test::predictor_for(chip, {{"attention_prefill", 0.5}});
  CHECK(prefill_only.predict(large()).provenance == Provenance::assumed);
  CHECK(prefill_only.predict(streaming()).provenance == Provenance::calibrated);
  CHECK(test::predictor_for(chip, {{"gemm", 0.5}}).predict(large()).provenance == Provenance::calibrated);
}

TEST_CASE("the models' figures are the datasheet's") {
  const ChipFigures f = chip_figures(test::shipped_chip("h100-sxm"));
  CHECK(f.cores == 132);
  CHECK(f.bandwidth == doctest::Approx(3.35e12).epsilon(0.01));
  CHECK(f.cache == doctest::Approx(50e6).epsilon(0.1));
  CHECK(f.peak[static_cast<std::size_t>(Format::bf16)] == doctest::Approx(989e12).epsilon(0.01));
  CHECK(f.runs_as[static_cast<std::size_t>(Format::fp8_e4m3)] == Format::fp8_e4m3);
  const ChipFigures a = chip_figures(test::shipped_chip("a100-sxm-80gb"));
  CHECK(a.runs_as[static_cast<std::size_t>(Format::fp8_e4m3)] != Format::fp8_e4m3);  // it has no fp8
  CHECK(a.peak[static_cast<std::size_t>(Format::fp8_e4m3)] == a.peak[static_cast<std::size_t>(Format::bf16)]);
}

TEST_CASE("a chip that states no clock, cache or cache bandwidth still has figures to predict with") {
  const ChipFigures f = chip_figures(test::read_chip(plain_chip));
  CHECK(f.cores == 100);
  CHECK(f.clock == 1.5e9);
  CHECK(f.cache == 40e6);
  CHECK(f.cache_bandwidth == doctest::Approx(22.8 * 1.5e9 * 100));
  const std::string text = plain_chip;
  const auto from = text.find("  - {level: LLC"), to = text.find("sources:");
  const ChipFigures bare = chip_figures(test::read_chip(text.substr(0, from) + text.substr(to)));
  CHECK(bare.cache == 0);
  CHECK(bare.cache_bandwidth >= bare.bandwidth);
}

TEST_CASE("every shipped chip has figures that a division survives") {
  for (const std::string& name : test::shipped().names("chips")) {
    const ChipFigures f = chip_figures(test::shipped_chip(name));
    for (double figure : {f.cores, f.clock, f.bandwidth, f.cache_bandwidth, f.vector_rate}) CHECK_MESSAGE((std::isfinite(figure) && figure >= 1), name);
    for (double peak : f.peak) CHECK_MESSAGE((std::isfinite(peak) && peak > 0), name);
  }
}

// Suites of published runs: how their files become runs and seconds, and how predictions are scored.
#include "sim/calibration/suite.hpp"

#include <cmath>

#include "base/schema.hpp"
#include "run_support.hpp"

using namespace gambrel;
using namespace gambrel::sim;
using gambrel::test::placed;
using gambrel::test::shipped;

namespace {

Node yaml(const std::string& text) {
  auto node = parse_yaml(text, "set.yaml");
  REQUIRE_MESSAGE(node.has_value(), placed(node ? Diagnostics{} : node.error()));
  return *node;
}

const char* const profiles = R"(
profiles:
  plain: {about: for tests, run: {precision: {weights: fp16, activations: fp16}, plan: {recompute: full}}}
)";

/// A set of one small model; `rows` are its rows' lines.
SuiteSet set_of(const std::string& rows, const std::string& more = "") {
  const Node document = yaml("set: tried\nsuite: training\ntitle: T\nsource: S\nfigure: read\n" + more +
                             "defaults: {model: mpt-125m, system: dgx-a100, workload: {phase: train, sequence: 1024, micro_batch: 1}}\nrows:\n" + rows);
  const Diagnostics broken = validate(document, "validation");
  REQUIRE_MESSAGE(broken.empty(), placed(broken));
  auto set = read_set(shipped(), document, yaml(profiles));
  REQUIRE_MESSAGE(set.has_value(), placed(set ? Diagnostics{} : set.error()));
  return std::move(*set);
}

const SuiteRow& first(const SuiteSet& set) {
  REQUIRE_MESSAGE(set.rows.at(0).run.has_value(), placed(set.rows[0].problem));
  return set.rows[0];
}

std::string refused(const std::string& measured) {
  return placed(validate(yaml("set: tried\nsuite: training\ntitle: T\nsource: S\nfigure: read\nrows:\n  - {row: r, run: {}, measured: " + measured + "}"), "validation"));
}

Estimate said(double time) {
  Estimate e;
  e.total.time = Seconds{time};
  e.total.bound = "HBM";
  e.memory.fits = true;
  return e;
}

const char* const row_of_8 = "  - {row: a, run: {chips: 8, workload: {global_batch: 16}}, measured: ";

}  // namespace

TEST_CASE("a row's run lies over the set's defaults, these over the profile") {
  const SuiteSet set = set_of("  - {row: a, run: {chips: 4, workload: {global_batch: 8, micro_batch: 2}, precision: {weights: bf16}}, measured: {step: 2 s}}\n", "profile: plain\n");
  const Run& run = *first(set).run;
  CHECK(run.model.id == "mpt-125m");
  CHECK(run.chips == 4);
  CHECK(run.workload.sequence == 1024);
  CHECK(run.workload.micro_batch == 2);
  CHECK(run.plan.recompute == models::Recompute::full);
  CHECK(run.precision.all.weights->format == Format::bf16);
  CHECK(run.precision.all.activations->format == Format::fp16);
  CHECK(first(set).measured == 2);
  CHECK(first(set).figure == "read");
}

TEST_CASE("measured figures become the seconds of a step") {
  CHECK(first(set_of(std::string(row_of_8) + "{step: 1420 ms}}\n")).measured == doctest::Approx(1.42));
  CHECK(first(set_of(std::string(row_of_8) + "{tokens_per_second_per_chip: 1000}}\n")).measured == doctest::Approx(16 * 1024 / 8e3));
  const SuiteRow row = first(set_of(std::string(row_of_8) + "{flops_per_second_per_chip: 100 TFLOP/s}}\n"));
  CHECK(row.measured == doctest::Approx(row.flops / 8e14));
}

TEST_CASE("decode steps share a published latency") {
  const SuiteSet set = set_of("  - {row: d, run: {chips: 1, workload: null}, measured: {step: 1 s}}\n");
  CHECK_FALSE(set.rows[0].run.has_value());  // a run without work
  CHECK_FALSE(set.rows[0].problem.empty());
  const Node document = yaml("set: d\nsuite: inference\ntitle: T\nsource: S\nfigure: recalled\nrows:\n"
                             "  - {row: d, figure: read, run: {model: llama-3.1-8b, system: h100-sxm, workload: {phase: decode, batch: 2, context: 100}}, measured: {latency: 640 ms, steps: 64}}\n");
  const auto decode = read_set(shipped(), document, yaml(profiles));
  REQUIRE(decode.has_value());
  CHECK(first(*decode).measured == doctest::Approx(0.01));
  CHECK(first(*decode).figure == "read");
}

TEST_CASE("FLOPs by Megatron's formulas, for the model and for the hardware") {
  // Narayanan et al. 2021 eq. 3 and Korthikanti et al. 2022 section 6 with mpt-125m's B 16, s 1024, l 12, h 768, V 50368.
  const double B = 16, s = 1024, l = 12, h = 768, V = 50368;
  const double model = 72 * B * l * s * h * h * (1 + s / (6 * h) + V / (12 * l * h)), hardware = 96 * B * l * s * h * h * (1 + s / (6 * h) + V / (16 * l * h));
  CHECK(first(set_of(std::string(row_of_8) + "{step: 1 s}}\n")).flops == doctest::Approx(model).epsilon(1e-9));
  CHECK(first(set_of(std::string(row_of_8) + "{step: 1 s}}\n", "flops: {recomputed: true}\n")).flops == doctest::Approx(hardware).epsilon(1e-9));
}

TEST_CASE("FLOPs by 6 P and causal attention") {
  const Run run = *first(set_of(std::string(row_of_8) + "{step: 1 s}}\n")).run;
  const double tokens = 16 * 1024, attention = 6.0 * 12 * 768 * 1024;  // 6 L N H s a token
  const double weights = 6 * parameters_of(run.model).total;
  CHECK(counted_flops(run, {.every_parameter = true, .causal = true}) == doctest::Approx(tokens * (weights + attention)).epsilon(1e-9));
  CHECK(counted_flops(run, {.every_parameter = true}) == doctest::Approx(tokens * (weights + 2 * attention)).epsilon(1e-9));
}

TEST_CASE("FLOPs of inference are one forward pass; of a generation the sum of its steps") {
  auto run = [](const std::string& work) { return test::run_of("model: mpt-125m\nsystem: a100-sxm-80gb\nworkload: " + work); };
  const double layers = 24.0 * 12 * 768 * 768, head = 2.0 * 768 * 50368;  // a token
  const double prefill = counted_flops(run("{phase: prefill, batch: 2, new_tokens: 100}"), {});
  CHECK(prefill == doctest::Approx(2 * (100 * layers + head + 4.0 * 12 * 768 * 100 * 100)));
  const double decode = counted_flops(run("{phase: decode, batch: 2, context: 101}"), {});
  CHECK(decode == doctest::Approx(2 * (layers + head + 4.0 * 12 * 768 * 101)));
  const double both = counted_flops(run("{phase: generate, batch: 2, input: 100, output: 2}"), {});
  CHECK(both == doctest::Approx(prefill + decode));
  const double one = counted_flops(run("{phase: generate, batch: 2, input: 100, output: 1}"), {});
  CHECK(one == doctest::Approx(prefill));
}

TEST_CASE("predictions are scored against the measured seconds; worst is the largest error") {
  SuiteSet set = set_of(std::string(row_of_8) + "{step: 1 s}}\n" "  - {row: b, run: {chips: 8, workload: {global_batch: 32}}, measured: {step: 2 s}}\n");
  predict(set, [](const Run& run) -> Result<Estimate> { return said(run.workload.global_batch == 16 ? 1.1 : 1.4); });
  CHECK(set.model.score.rows == 2);
  CHECK(set.model.score.mean == doctest::Approx(0.2));
  CHECK(set.model.score.bias == doctest::Approx(-0.1));
  CHECK(set.model.worst == doctest::Approx(0.3));
  CHECK(set.rows[0].bound == "HBM");
  CHECK(score_of(std::vector{set, set}).score.rows == 4);
}

TEST_CASE("the constant of a chip is the median of the set's other rows, never the row's own") {
  // Rates of 1, 2 and 4 units on one chip, and one row alone on another.
  SuiteSet set = set_of(std::string(row_of_8) + "{step: 4 s}}\n"
                        "  - {row: b, run: {chips: 8, workload: {global_batch: 16}}, measured: {step: 2 s}}\n"
                        "  - {row: c, run: {chips: 8, workload: {global_batch: 16}}, measured: {step: 1 s}}\n"
                        "  - {row: d, run: {system: dgx-h100, chips: 8, workload: {global_batch: 16}}, measured: {step: 1 s}}\n");
  predict(set, [](const Run&) -> Result<Estimate> { return said(1); });
  CHECK(*set.rows[0].baseline == doctest::Approx(4.0 / 3));  // median of 2 and 4
  CHECK(*set.rows[1].baseline == doctest::Approx(4.0 / 2.5));
  CHECK(*set.rows[2].baseline == doctest::Approx(4.0 / 1.5));
  CHECK_FALSE(set.rows[3].baseline.has_value());
  CHECK(set.baseline.score.rows == 3);
}

TEST_CASE("rows that are refused or not predicted keep their place and their reason, and are not scored") {
  SuiteSet set = set_of("  - {row: a, run: {chips: 8, model: no-such-model, workload: {global_batch: 16}}, measured: {step: 1 s}}\n"
                        "  - {row: b, run: {chips: 8, workload: {global_batch: 16}}, measured: {step: 1 s}}\n"
                        "  - {row: c, run: {chips: 8, workload: {global_batch: 32}}, measured: {step: 1 s}}\n");
  predict(set, [](const Run& run) -> Result<Estimate> {
    if (run.workload.global_batch == 16) return fail({{}, "no idea", ""});
    return said(NAN);
  });
  REQUIRE(set.rows.size() == 3);
  CHECK(set.rows[0].problem.at(0).message.find("no-such-model") != std::string::npos);
  CHECK(set.rows[1].problem.at(0).message == "no idea");
  CHECK(set.rows[2].problem.at(0).message.find("no time") != std::string::npos);
  CHECK(set.model.score.rows == 0);
}

TEST_CASE("what a row measured is one figure with its unit") {
  CHECK(refused("{step: 1 s}").empty());
  for (const char* wrong : {"{}", "{step: 1}", "{step: 1 GB}", "{step: 1 s, latency: 1 s}", "{steps: 3}", "{tokens_per_second_per_chip: 0}", "{flops_per_second_per_chip: 3 B/s}", "{mfu: 0.4}"})
    CHECK_MESSAGE(!refused(wrong).empty(), wrong);
}

TEST_CASE("an unknown profile or suite is an error that says what there is") {
  const Node document = yaml("set: s\nsuite: training\ntitle: T\nsource: S\nfigure: read\nprofile: plai\nrows:\n  - {row: r, run: {}, measured: {step: 1 s}}\n");
  const auto set = read_set(shipped(), document, yaml(profiles));
  REQUIRE_FALSE(set.has_value());
  CHECK(placed(set.error()) == "set.yaml:6:10: no profile is named 'plai' | did you mean 'plain'?\n");
  const auto none = read_suite(shipped(), "no-suite");
  REQUIRE_FALSE(none.has_value());
  CHECK(none.error()[0].hint == "suites are inference, training");
  CHECK(none.error()[0].fault == Fault::usage);
}

TEST_CASE("every shipped set is valid, named as its file, and each of its rows is a run") {
  for (const std::string& suite : suite_names(shipped())) {
    const auto sets = read_suite(shipped(), suite);
    REQUIRE_MESSAGE(sets.has_value(), placed(sets ? Diagnostics{} : sets.error()));
    for (const SuiteSet& set : *sets) {
      CAPTURE(set.name);
      CHECK(shipped().has("validation", set.name));
      for (const SuiteRow& row : set.rows) {
        CHECK_MESSAGE(row.run.has_value(), row.name, "\n", placed(row.problem));
        if (row.run) CHECK((row.measured > 1e-4 && row.measured < 1e3));
      }
    }
  }
}

TEST_CASE("shipped rows that state FLOP/s and time agree on the way of counting") {
  // Figures that the sources give beside those that the sets hold.
  const auto sets = read_suite(shipped(), "training");
  REQUIRE(sets.has_value());
  auto row = [&](std::string_view name, std::size_t index) {
    for (const SuiteSet& set : *sets)
      if (set.name == name) return set.rows.at(index);
    return SuiteRow{};
  };
  const SuiteRow moe = row("moezoo", 0);  // 245 TFLOP/s a GPU beside 19.7 s
  REQUIRE(moe.run.has_value());
  CHECK(moe.flops / (19.7 * 256) == doctest::Approx(245e12).epsilon(0.01));
  const SuiteRow korthikanti = row("korthikanti_t5", 2);  // MFU 51.4 % beside 13.75 s
  REQUIRE(korthikanti.run.has_value());
  CHECK(korthikanti.flops / (13.75 * 64) / 312e12 == doctest::Approx(0.514).epsilon(0.01));
  const SuiteRow ptdp = row("narayanan_t1", 5);  // 1008B: 96 B s l h^2 (...) at 163 TFLOP/s
  REQUIRE(ptdp.run.has_value());
  const double B = 3072, s = 2048, l = 128, h = 25600, V = 51200;
  CHECK(ptdp.measured == doctest::Approx(96 * B * s * l * h * h * (1 + s / (6 * h) + V / (16 * l * h)) / (163e12 * 3072)).epsilon(1e-6));
}

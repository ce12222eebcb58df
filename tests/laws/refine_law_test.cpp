// Laws of whole predictions by kernel models: above the plain roofline everywhere, and never slower with more of a rate.
#include <doctest/doctest.h>
#include <fmt/format.h>
#include <rapidcheck.h>

#include <map>

#include "base/load.hpp"
#include "sim/kernel_models/array_model.hpp"
#include "sim/predict.hpp"
#include "sim/refine.hpp"
#include "tests/laws/random_draws.hpp"
#include "tests/unit/calibration_support.hpp"

namespace gambrel::sim {
namespace {

const Run& shipped_run(const std::string& model, const std::string& system) {
  static std::map<std::pair<std::string, std::string>, Run> runs;
  const auto known = runs.find({model, system});
  if (known != runs.end()) return known->second;
  auto document = parse_yaml(fmt::format("model: {}\nsystem: {}\nworkload: {{phase: decode, batch: 1, context: 2}}\n", model, system), "law.yaml");
  auto run = read_run(test::shipped(), *document, {});
  RC_ASSERT(run.has_value());
  return runs.emplace(std::pair{model, system}, std::move(*run)).first->second;
}

/// Any model on any chip, whatever it has constants of, fused in any way.
Run any_run() {
  static const std::vector<std::string> models{"llama-3.1-8b", "gpt2", "gemma-3-1b", "mixtral-8x7b", "deepseek-v2-lite", "gpt-oss-20b", "nemotron-h-8b"};
  Run run = shipped_run(*rc::gen::elementOf(models), *rc::gen::elementOf(test::shipped().names("chips")));
  run.workload.batch = one_of_range(1, 200);
  run.workload.phase = *rc::gen::element(PhaseKind::prefill, PhaseKind::decode);
  run.workload.new_tokens = run.workload.phase == PhaseKind::prefill ? whole_magnitude(1, 5000) : 1;
  run.workload.past_tokens = whole_magnitude(1, 50000) - 1;
  run.fused_attention = *rc::gen::arbitrary<bool>(), run.fused_experts = *rc::gen::arbitrary<bool>();
  run.fusion = {*rc::gen::arbitrary<bool>(), *rc::gen::element(models::Epilogue::none, models::Epilogue::simple, models::Epilogue::all), *rc::gen::arbitrary<bool>()};
  return run;
}

Estimate predict(const Run& run) {
  auto estimate = sim::estimate(run);
  RC_ASSERT(estimate.has_value());
  return std::move(*estimate);
}

hw::Chip& chip_of(Run& run) { return run.system.pools.front().chip; }

/// One unit or one memory level of a chip made faster.
void improve(hw::Chip& chip) {
  const double k = one_of_range(101, 1000) / 100;
  const auto which = *rc::gen::inRange<std::size_t>(0, chip.compute.size() + chip.memory.size());
  if (which < chip.compute.size())
    for (auto& [format, rate] : chip.compute[which].peak) rate *= k;
  else chip.memory[which - chip.compute.size()].bandwidth *= k;
}

TEST_CASE("law: a prediction is nowhere below the plain roofline, and the roofline is the roofline run's time") {
  CHECK(rc::check("prediction >= roofline", [] {
    const Run run = any_run();
    Run plain = run;
    plain.calibrated = false;
    const Estimate e = predict(run), bound = predict(plain);
    for (std::size_t i = 0; i < e.phases[0].ops.size(); ++i) {
      const OpEstimate& op = e.phases[0].ops[i];
      RC_ASSERT(op.roofline == bound.phases[0].ops[i].time);
      RC_ASSERT(op.time >= op.roofline);
      RC_ASSERT(op.time_low <= op.time);
      RC_ASSERT(op.time <= op.time_high);
      RC_ASSERT(op.time_low >= op.roofline);
    }
    RC_ASSERT(e.total.time.value >= e.total.roofline.value * (1 - 1e-12));
    RC_ASSERT(e.total.roofline == bound.total.time);
    RC_ASSERT(e.total.flops == bound.total.flops);
  }));
}

TEST_CASE("law: fusing more is never slower, nor a lower bound higher") {
  CHECK(rc::check("fusion", [] {
    Run some = any_run();
    Run more = some;
    more.fusion.norms = more.fusion.rotary = true;
    if (some.fusion.activation == models::Epilogue::simple || *rc::gen::arbitrary<bool>()) more.fusion.activation = models::Epilogue::all;
    const Estimate a = predict(some), b = predict(more);
    RC_ASSERT(b.total.roofline.value <= a.total.roofline.value * (1 + 1e-12));
    RC_ASSERT(b.total.time.value <= a.total.time.value * (1 + 1e-12));
  }));
}

TEST_CASE("law: operators that move and hardly compute are never slower with more of any rate") {
  CHECK(rc::check("elementwise", [] {
    const Run before = any_run();
    Run after = before;
    improve(chip_of(after));
    const Estimate a = predict(before), b = predict(after);
    for (std::size_t i = 0; i < a.phases[0].ops.size(); ++i) {
      const OpEstimate &x = a.phases[0].ops[i], &y = b.phases[0].ops[i];
      const bool product = x.kind == "gemm" || x.kind == "batched_gemm" || x.kind == "grouped_gemm" || x.kind == "expert_ffn" || x.kind.starts_with("attention");
      // An operator fused behind a product that became faster may hide less behind it.
      if (!product && !x.fused) RC_ASSERT(y.time.value <= x.time.value * (1 + 1e-12));
    }
  }));
}

TEST_CASE("law: systolic arrays: a larger product is never faster, a faster unit never slower") {
  CHECK(rc::check("arrays", [] {
    MathRate rate{.rate = 1e14, .sparse_rate = 1e14, .rows = one_of_range(1, 256), .columns = one_of_range(1, 256), .arrays = one_of_range(1, 16),
                  .dataflow = *rc::gen::element(hw::Dataflow::weight_stationary, hw::Dataflow::output_stationary, hw::Dataflow::input_stationary)};
    models::LoweredOp op{.kind = models::OpKind::gemm};
    for (models::Dim d : {models::Dim::m, models::Dim::n, models::Dim::k}) op.dims[d] = whole_magnitude(1, 20000);
    op.work.flops = 2 * op.dims[models::Dim::m] * op.dims[models::Dim::n] * op.dims[models::Dim::k];
    const double before = array_seconds(rate, op, 1);
    RC_ASSERT(before >= op.work.flops / rate.rate * (1 - 1e-12));
    models::LoweredOp larger = op;
    larger.dims[*rc::gen::element(models::Dim::m, models::Dim::n, models::Dim::k)] += one_of_range(1, 500);
    RC_ASSERT(array_seconds(rate, larger, 1) >= before * (1 - 1e-12));
    rate.rate = rate.sparse_rate = 2e14;
    RC_ASSERT(array_seconds(rate, op, 1) <= before);
  }));
}

/// Not true yet, in about one of 500 draws: with RC_PARAMS=seed=5 the chip `rubin` and `gpt2` break it, and not by the
/// products, whose own law holds (gemm_law_test). Run it with --no-skip; take skip() away once it holds.
TEST_CASE("law: more of any rate is never slower, whole predictions" * doctest::skip()) {
  CHECK(rc::check("whole", [] {
    const Run before = any_run();
    Run after = before;
    improve(chip_of(after));
    RC_ASSERT(predict(after).total.time.value <= predict(before).total.time.value * (1 + 1e-12));
  }));
}

}  // namespace
}  // namespace gambrel::sim

// Whole models by kernel models: which kernel computes an operator, what fused ones pay, and the bound beside it all.
#include "sim/refine.hpp"

#include "models/fuse.hpp"
#include "reports/report.hpp"
#include "run_support.hpp"
#include "sim/kernel_models/array_model.hpp"

using namespace gambrel;
using namespace gambrel::test;
using models::Dim;
using models::OpKind;
using sim::KernelCall;
using sim::KernelKind;
using sim::Provenance;

namespace {

const std::string llama = "model: llama-3.1-8b\nsystem: h100-sxm\nworkload: {phase: decode, batch: 32, context: 8192}\n";

std::string work(const std::string& model, const std::string& more = "", const std::string& chip = "h100-sxm") {
  return fmt::format("model: {}\nsystem: {}\nworkload: {{phase: decode, batch: 16, context: 1024}}\n{}", model, chip, more);
}

/// By the default cost model.
sim::Estimate predicted(const std::string& text, const std::vector<std::string>& set = {}) { return estimate_of(run_of(text, set)); }

/// The call that an operator of the run's decoding step becomes.
KernelCall call_of(const std::string& text, std::string_view ending) {
  const sim::Run run = run_of(text);
  const models::Graph graph = models::build(run.model, run.policy(), run.step(16, 1, 1023));
  for (const models::Op& op : graph.ops())
    if (op.name.ends_with(ending)) {
      const auto call = sim::kernel_call(graph, op, {});
      REQUIRE_MESSAGE(call.has_value(), op.name);
      return *call;
    }
  FAIL("no operator " << std::string(ending));
  return {};
}

double flops_of(const KernelCall& call) { return 2 * call.dim(Dim::m) * call.dim(Dim::n) * call.dim(Dim::k); }
double executed(const sim::Estimate& e, std::string_view ending) { return op_named(e.phases[0], ending).time.value; }

}  // namespace

TEST_CASE("refine: kernel models are what an estimate uses unless told otherwise") {
  CHECK(run_of(llama).calibrated);
  CHECK_FALSE(run_of(llama + "cost_model: roofline\n").calibrated);
  const sim::Estimate e = predicted(llama), bound = estimate_of(llama);
  CHECK(e.total.time.value > 1.05 * bound.total.time.value);
  CHECK(e.total.roofline.value == doctest::Approx(bound.total.time.value));
  CHECK(bound.total.roofline == bound.total.time);
  for (const sim::OpEstimate& op : e.phases[0].ops) CHECK_MESSAGE(op.provenance == Provenance::calibrated, op.name);
  for (const sim::OpEstimate& op : bound.phases[0].ops) CHECK_MESSAGE(op.provenance == Provenance::analytic, op.name);
}

TEST_CASE("refine: the bound is printed beside the prediction, in JSON, CSV and the table's total") {
  const std::string json = reports::write_estimate(predicted(llama), reports::TextFormat::json), csv = reports::write_estimate(predicted(llama), reports::TextFormat::csv);
  const Node document = *parse_json(json, "estimate.json");
  const Node& total = *document.find("total");
  CHECK(total.find("roofline_s")->number > 0);
  CHECK(total.find("time_s")->number >= total.find("roofline_s")->number);
  CHECK(csv.find("roofline_s") != std::string::npos);
  CHECK(reports::write_estimate(predicted(llama), reports::TextFormat::table).find("by the plain roofline") != std::string::npos);
  CHECK(reports::write_estimate(estimate_of(llama), reports::TextFormat::table).find("by the plain roofline") == std::string::npos);
}

TEST_CASE("refine: batched and grouped products are one product of the same FLOPs and weights") {
  const KernelCall absorb = call_of(work("deepseek-v2-lite"), "attn.q_absorb");
  CHECK(absorb.kind == KernelKind::gemm);
  CHECK(flops_of(absorb) == doctest::Approx(absorb.op.work.flops));
  CHECK(absorb.dim(Dim::m) == 16);
  const KernelCall grouped = call_of(work("mixtral-8x7b", "fusion: {experts: false}\n"), "moe.experts.up");
  CHECK(grouped.kind == KernelKind::gemm);
  CHECK(flops_of(grouped) == doctest::Approx(grouped.op.work.flops));
  // 32 routed rows over the 8 (1 - (3/4)^16) experts that 16 tokens reach.
  const double hit = 8 * (1 - std::pow(0.75, 16));
  CHECK(grouped.dim(Dim::m) == doctest::Approx(32 / hit));
  CHECK(2 * grouped.dim(Dim::n) * grouped.dim(Dim::k) == doctest::Approx(grouped.op.work.bytes(models::Role::expert_weight)));
  const KernelCall scores = call_of(work("llama-3.1-8b", "fusion: {attention: false}\n"), "attn.scores");
  CHECK(scores.kind == KernelKind::gemm);
  CHECK(flops_of(scores) == doctest::Approx(scores.op.work.flops));
  CHECK(scores.dim(Dim::m) == 4);  // query heads that share keys
  CHECK(scores.dim(Dim::k) == 128);
}

TEST_CASE("refine: every kind of operator of every kind of model has a kernel on a calibrated chip") {
  for (const std::string model : {"llama-3.1-8b", "deepseek-v2-lite", "gpt-oss-20b", "nemotron-h-8b", "gpt2"})
    for (const std::string more : {"", "fusion: {attention: false, experts: false}\n"})
      for (const sim::OpEstimate& op : predicted(work(model, more)).phases[0].ops) {
        CHECK_MESSAGE(op.provenance != Provenance::analytic, model, " ", op.name);
        CHECK(std::isfinite(op.time_high.value));
        CHECK(op.time >= op.roofline);
      }
}

TEST_CASE("refine: a softmax in pieces walks rows of all keys, a look-up is slower than a copy") {
  const KernelCall softmax = call_of(work("llama-3.1-8b", "fusion: {attention: false}\n"), "attn.softmax");
  CHECK(softmax.kind == KernelKind::elementwise);
  CHECK(softmax.dim(Dim::n) == 1024);
  const sim::Estimate e = predicted("model: llama-3.1-8b\nsystem: h100-sxm\nworkload: {phase: prefill, batch: 4, new_tokens: 8192}\n");
  const sim::OpEstimate &embed = op_named(e.phases[0], "embed"), &add = op_named(e.phases[0], "mlp.add");
  CHECK(embed.time / embed.roofline > add.time / add.roofline);
}

TEST_CASE("refine: a norm fused with the addition before it saves its launch") {
  const sim::Estimate fused = predicted(llama), apart = predicted(llama + "fusion: {norms: false}\n");
  CHECK(executed(apart, "mlp.norm") - executed(fused, "mlp.norm") > 1e-6);
  CHECK(executed(fused, "mlp.norm") > 0);
  CHECK(executed(fused, "attn.add") == executed(apart, "attn.add"));
  CHECK(op_named(fused.phases[0], "mlp.norm").fused);
  CHECK_FALSE(op_named(apart.phases[0], "mlp.norm").fused);
}

TEST_CASE("refine: rotary embedding and cache write are in the attention's own time") {
  const sim::Estimate fused = predicted(llama), apart = predicted(llama + "fusion: {rotary: false}\n");
  for (const char* name : {"attn.rotary", "attn.kv_append"}) {
    CHECK(executed(fused, name) == op_named(fused.phases[0], name).roofline.value);
    CHECK(executed(apart, name) > 1e-6);
    CHECK(op_named(fused.phases[0], name).provenance == Provenance::calibrated);
  }
}

TEST_CASE("refine: an activation in a product's epilogue adds what the roofline says it adds") {
  const std::string prefill = "model: gpt2\nsystem: h100-sxm\nworkload: {phase: prefill, batch: 64, new_tokens: 1024}\n";
  const sim::Estimate fused = predicted(prefill), apart = predicted(prefill + "fusion: {activation: false}\n");
  const sim::OpEstimate& act = op_named(fused.phases[0], "mlp.act");
  CHECK(act.fused);
  CHECK(act.time == act.roofline);
  CHECK(act.time.value < 0.6 * executed(apart, "mlp.act"));
  CHECK(fused.total.time < apart.total.time);
  CHECK(fused.total.flops == apart.total.flops);
  CHECK(executed(predicted(llama + "fusion: {activation: true}\n"), "mlp.act") < executed(predicted(llama), "mlp.act"));
}

TEST_CASE("refine: an asserted efficiency stands above every kernel model") {
  const sim::Estimate e = predicted(llama + "assume: {gemm: 0.5, rms_norm: 0.5}\n");
  for (const char* name : {"mlp.down", "mlp.norm"}) {
    CHECK(op_named(e.phases[0], name).provenance == Provenance::assumed);
    CHECK(executed(e, name) == doctest::Approx(2 * op_named(e.phases[0], name).roofline.value));
  }
}

TEST_CASE("refine: chips borrow within their kind, and widely; none but GPUs have anything to borrow") {
  for (const std::string& chip : shipped().names("chips")) {
    const sim::Run run = run_of(work("gpt2", "", chip));
    const bool gpu = run.system.chip().kind == hw::ChipKind::gpu;
    const sim::Estimate e = estimate_of(run);
    for (const sim::OpEstimate& op : e.phases[0].ops) {
      CHECK_MESSAGE((op.provenance == Provenance::analytic) == !gpu, chip, " ", op.name);
      if (op.provenance == Provenance::transferred && op.kind == "gemm") CHECK_MESSAGE(op.time_high.value >= 1.2 * op.time.value, chip);
    }
  }
}

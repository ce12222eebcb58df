// Whole estimates: totals, utilisation, energy, cost, roofs, notes.
#include "sim/predict.hpp"

#include <algorithm>
#include <numeric>

#include "models/build.hpp"
#include "run_support.hpp"

using namespace gambrel;
using namespace gambrel::test;

namespace {

const std::string llama = "model: llama-3.1-8b\nsystem: h100-sxm\nworkload: {phase: decode, batch: 32, context: 8192}\n";

std::string run_text(const std::string& model, const std::string& chip, const std::string& more = "") {
  return fmt::format("model: {}\nsystem: {}\nworkload: {{phase: decode, batch: 4, context: 128}}\n{}", model, chip, more);
}

bool noted(const sim::Estimate& e, std::string_view text) {
  return std::ranges::any_of(e.notes, [&](const std::string& note) { return note.find(text) != std::string::npos; });
}

std::string all_notes(const sim::Estimate& e) {
  std::string text;
  for (const std::string& note : e.notes) text += note + "\n";
  return text;
}

}  // namespace

TEST_CASE("predict: who, on what, doing what") {
  const sim::Estimate e = estimate_of(llama + "run: mine\n");
  CHECK(e.run == "mine");
  CHECK(e.model == "llama-3.1-8b");
  CHECK(e.system == "h100-sxm");
  CHECK(e.chip == "h100-sxm");
  CHECK(e.chip_name == "NVIDIA H100 SXM5 80 GB");
  CHECK(e.settings.front().second == "phase decode, batch 32, context 8192");
  CHECK(e.parameters.total == 8030261248);
  CHECK(e.parameters.active == 8030261248 - 128256.0 * 4096);
  CHECK(e.config_hash.size() == 32);
  CHECK_FALSE(e.sources.empty());
  CHECK_FALSE(e.serving.has_value());
  CHECK(e.memory.kv_per_token.value == 2.0 * 2 * 8 * 128 * 32);
}

TEST_CASE("predict: Llama-3.1-8B decoding on an H100 is its weights and cache at the speed of HBM") {
  const sim::Estimate e = estimate_of(llama);
  const double weights = 2 * (8030261248 - 128256.0 * 4096), cache = 32 * 8192 * 131072.0;
  CHECK(e.total.bound == "HBM");
  CHECK(e.total.bound_share > 0.99);
  CHECK(e.total.time.value > (weights + cache) / 3.35e12);
  CHECK(e.total.time.value < 1.02 * (weights + cache) / 3.35e12);
  CHECK(e.total.mbu > 0.98);
  CHECK(e.total.mbu < 1);
  CHECK(e.total.flops.value > 2 * e.parameters.active * 32);
  CHECK(e.total.mfu == doctest::Approx(e.total.flops.value / e.total.time.value / 989e12).epsilon(0.005));  // the norms' FLOPs do not count
  CHECK(e.total.tokens == 32);
  CHECK(e.total.tokens_per_second == doctest::Approx(32 / e.total.time.value));
  CHECK(e.total.intensity.value == doctest::Approx(e.total.flops.value / e.total.levels[0].bytes.value));
}

TEST_CASE("predict: a long prompt is bound by arithmetic, near 2 FLOP a parameter and token") {
  const sim::Estimate e = estimate_of("model: llama-3.1-8b\nsystem: h100-sxm\nworkload: {phase: prefill, batch: 1, new_tokens: 8192}\n");
  const double layers = 2 * (8030261248 - 2 * 128256.0 * 4096) * 8192, head = 2 * 128256.0 * 4096, attention = 4 * 32 * 128 * 32 * (8192.0 * 8193 / 2);
  CHECK(e.total.flops.value == doctest::Approx(layers + head + attention).epsilon(0.002));
  CHECK(e.total.bound == "compute");
  CHECK(e.total.mfu > 0.85);
  CHECK(e.total.mfu <= 1);
  CHECK(e.total.tokens == 8192);
}

TEST_CASE("predict: totals are the sums of the rows") {
  for (const std::string workload : {"{phase: decode, batch: 8, context: 512}", "{phase: generate, batch: 8, input: 64, output: 32}"}) {
    const sim::Estimate e = estimate_of("model: gpt-oss-20b\nsystem: h100-sxm\nworkload: " + workload + "\n");
    double time = 0, flops = 0, kept = 0, tokens = 0;
    std::vector<double> bytes(e.phases[0].levels.size(), 0.0);
    for (const sim::Phase& phase : e.phases) {
      tokens += phase.total.tokens;
      double phase_time = 0;
      for (const sim::OpEstimate& op : phase.ops) {
        phase_time += op.count * op.time.value;
        flops += op.count * op.flops.value;
        kept += op.count * op.kept_bytes.value;
        for (std::size_t i = 0; i < bytes.size(); ++i) bytes[i] += op.count * op.levels[i].bytes.value;
      }
      CHECK(phase.total.time.value == doctest::Approx(phase_time));
      time += phase_time;
    }
    CHECK(e.total.time.value == doctest::Approx(time));
    CHECK(e.total.flops.value == doctest::Approx(flops));
    CHECK(e.total.kept_bytes.value == doctest::Approx(kept));
    CHECK(e.total.tokens == tokens);
    for (std::size_t i = 0; i < bytes.size(); ++i) CHECK(e.total.levels[i].bytes.value == doctest::Approx(bytes[i]));
  }
}

TEST_CASE("predict: one layer's totals times the layers, and what stands outside them, is the whole") {
  const sim::Estimate e = estimate_of(llama);
  REQUIRE(e.phases[0].layers.size() == 1);
  const sim::LayerTotal& layer = e.phases[0].layers[0];
  CHECK(layer.name == "layers.0-31");
  CHECK(layer.count == 32);
  double outside = 0;
  for (const sim::OpEstimate& op : e.phases[0].ops)
    if (!op.name.starts_with("layers.")) outside += op.count * op.time.value;
  CHECK(32 * layer.time.value + outside == doctest::Approx(e.total.time.value));
  CHECK(32 * layer.kv_per_token.value == doctest::Approx(e.memory.kv_per_token.value));
  CHECK(32 * layer.weight_bytes.value == doctest::Approx(2 * (8030261248 - 2 * 128256.0 * 4096 - 4096)));
  CHECK(layer.activation_bytes.value < layer.bytes.value);
}

TEST_CASE("predict: the mean of a generation's decode steps lies between its first and its last") {
  const std::string start = "model: llama-3.1-8b\nsystem: h100-sxm\nworkload: ";
  const sim::Estimate whole = estimate_of(start + "{phase: generate, batch: 32, input: 2048, output: 256}\n");
  const sim::OpEstimate& mean = op_named(whole.phases[1], "attn.core");
  const auto at = [&](int context) { return op_named(estimate_of(start + fmt::format("{{phase: decode, batch: 32, context: {}}}\n", context)).phases[0], "attn.core"); };
  CHECK(mean.count == 255 * 32);
  CHECK(mean.time.value > at(2049).time.value);
  CHECK(mean.time.value < at(2303).time.value);
  CHECK(mean.flops.value == doctest::Approx((at(2049).flops.value + at(2303).flops.value) / 2));
  CHECK(mean.bound == "HBM");
}

TEST_CASE("predict: past tokens cost a prefill its attention to them, and nothing else") {
  const std::string start = "model: llama-3.1-8b\nsystem: h100-sxm\nworkload: {phase: prefill, batch: 1, new_tokens: 256, past_tokens: ";
  const sim::Estimate none = estimate_of(start + "0}\n"), some = estimate_of(start + "4096}\n");
  CHECK(some.total.flops.value - none.total.flops.value == doctest::Approx(32 * 4 * 32 * 128 * 256.0 * 4096));
  for (std::size_t i = 0; i < none.phases[0].ops.size(); ++i)
    if (!none.phases[0].ops[i].name.ends_with("attn.core")) CHECK(none.phases[0].ops[i].time == some.phases[0].ops[i].time);
}

TEST_CASE("predict: FP8 on an A100 is stored in 8 bits and computed in bf16, and says so") {
  const std::string fp8 = "precision: {weights: fp8, activations: fp8}\n";
  const sim::Estimate a100 = estimate_of(run_text("llama-3.1-8b", "a100-sxm-80gb", fp8)), h100 = estimate_of(run_text("llama-3.1-8b", "h100-sxm", fp8));
  CHECK(op_named(a100.phases[0], "mlp.down").math == Format::bf16);
  CHECK(op_named(h100.phases[0], "mlp.down").math == Format::fp8_e4m3);
  CHECK(op_named(a100.phases[0], "mlp.down").levels[0].bytes == op_named(h100.phases[0], "mlp.down").levels[0].bytes);
  CHECK_MESSAGE(noted(a100, "fp8_e4m3 arithmetic runs as bf16: a100-sxm-80gb has no fp8_e4m3 rate"), all_notes(a100));
  CHECK_FALSE(noted(h100, "runs as"));
  const sim::Estimate v100 = estimate_of(run_text("llama-3.1-8b", "v100-sxm2"));
  CHECK(op_named(v100.phases[0], "mlp.down").math == Format::fp16);
  CHECK_MESSAGE(noted(v100, "bf16 arithmetic runs as fp16"), all_notes(v100));
}

TEST_CASE("predict: MFU measures each product by the dense peak of the format it runs in") {
  const sim::Estimate e = estimate_of("model: llama-3.1-8b\nsystem: h100-sxm\nworkload: {phase: prefill, batch: 1, new_tokens: 2048}\nprecision: {weights: fp8, activations: fp8}\n");
  double at_peak = 0;
  for (const sim::OpEstimate& op : e.phases[0].ops)
    if (op.kind == "gemm" || op.kind == "attention") at_peak += op.count * op.flops.value / (op.math == Format::fp8_e4m3 ? 1979e12 : 989e12);
  CHECK(op_named(e.phases[0], "attn.core").math == Format::bf16);
  CHECK(e.total.mfu == doctest::Approx(at_peak / e.total.time.value));
}

TEST_CASE("predict: energy as the chip states it, cost where it has a price") {
  const sim::Estimate h100 = estimate_of(llama), a100 = estimate_of(llama, {"system=a100-sxm-80gb"});
  REQUIRE(h100.total.cost.has_value());
  CHECK(h100.total.cost->value == doctest::Approx(10.80 / 3600 * h100.total.time.value));
  CHECK_FALSE(a100.total.cost.has_value());
  REQUIRE(a100.total.energy.has_value());
  double joules = 0;
  for (const sim::OpEstimate& op : a100.phases[0].ops) {
    REQUIRE(op.energy.has_value());
    if (op.kind == "gemm") CHECK(op.energy->arithmetic.value == doctest::Approx(op.flops.value * 0.16e-12));
    CHECK(op.energy->movement.value >= op.levels[0].bytes.value * 8 * 5.5e-12);
    joules += op.count * op.energy->total().value;
  }
  CHECK(a100.total.energy->value == doctest::Approx(joules + a100.total.idle_energy.value));
  CHECK(a100.total.power->value == doctest::Approx(a100.total.energy->value / a100.total.time.value));
  CHECK_FALSE(estimate_of(llama, {"system=a100-sxm-80gb", "chip.energy=null", "chip.area.process=null"}).total.energy.has_value());
}

TEST_CASE("predict: energy and cost of a generation are the sums over its phases") {
  const sim::Estimate e = estimate_of("model: llama-3.1-8b\nsystem: a100-sxm-80gb\nworkload: {phase: generate, batch: 4, input: 64, output: 32}\n", {"chip.price.hourly=2 USD"});
  REQUIRE(e.phases.size() == 2);
  CHECK(e.total.energy->value == doctest::Approx(e.phases[0].total.energy->value + e.phases[1].total.energy->value));
  CHECK(e.total.cost->value == doctest::Approx(e.phases[0].total.cost->value + e.phases[1].total.cost->value));
}

TEST_CASE("predict: roofs of the formats in use, the vector unit and every level with a bandwidth") {
  const sim::Estimate e = estimate_of(llama);
  std::vector<std::string> names;
  for (const sim::Roof& roof : e.roofs) names.push_back(roof.name);
  CHECK(names == std::vector<std::string>{"bf16 matrix", "fp32 vector", "HBM", "L2", "SMEM"});
  CHECK(e.roofs[0].value == 989e12);
  CHECK_FALSE(e.roofs[0].memory);
  CHECK(e.roofs[2].value == 3.35e12);
  CHECK(e.roofs[2].memory);
  const sim::Estimate sparse = estimate_of(llama + "sparsity: {weights: \"2:4\"}\n");
  CHECK(std::ranges::any_of(sparse.roofs, [](const sim::Roof& r) { return r.name == "bf16 matrix sparse" && r.value == 2 * 989e12; }));
}

TEST_CASE("predict: 2:4 weights halve the time of what arithmetic bounds and shrink what memory bounds") {
  const std::string prefill = "model: llama-3.1-8b\nsystem: h100-sxm\nworkload: {phase: prefill, batch: 1, new_tokens: 8192}\n", sparse = "sparsity: {weights: \"2:4\"}\n";
  const auto down = [](const sim::Estimate& e) { return op_named(e.phases[0], "mlp.down"); };
  CHECK(down(estimate_of(prefill + sparse)).t_math.value == doctest::Approx(down(estimate_of(prefill)).t_math.value / 2));
  CHECK(down(estimate_of(prefill + sparse)).flops == down(estimate_of(prefill)).flops);
  // bf16: half the elements, 2 bits of index to each 16: 0.5625 of the bytes.
  CHECK(down(estimate_of(llama + sparse)).kept_bytes.value == doctest::Approx(0.5625 * down(estimate_of(llama)).kept_bytes.value));
  CHECK_FALSE(noted(estimate_of(prefill + sparse), "does not skip"));
  const sim::Estimate other = estimate_of(prefill + "sparsity: {weights: \"4:8\"}\n");  // four of eight need not be two of four
  CHECK_MESSAGE(noted(other, "h100-sxm does not skip the zeros of 4:8 weights"), all_notes(other));
  CHECK(down(other).t_math == down(estimate_of(prefill)).t_math);
}

TEST_CASE("predict: a cache in host memory crosses the host's link") {
  const sim::Estimate e = estimate_of(llama + "placement: {kv_cache: DRAM}\n");
  const sim::OpEstimate& core = op_named(e.phases[0], "attn.core");
  CHECK(e.phases[0].levels.front() == "DRAM");
  CHECK(e.phases[0].main_level == 1);
  CHECK(core.bound == "DRAM");
  CHECK(core.t_mem.value == doctest::Approx(32 * 8192 * 4096.0 / 63e9).epsilon(0.001));
  CHECK(op_named(e.phases[0], "mlp.down").levels[0].bytes.value == 0);
  CHECK(e.memory.tiers[0].kv_cache.value == 32 * 8192 * 131072.0);
  CHECK(e.memory.tiers[1].kv_cache.value == 0);
}

TEST_CASE("predict: weights kept within the chip do not count for what main memory's bandwidth is used for") {
  const sim::Estimate e = estimate_of(llama + "placement: {weights: L2}\n");
  CHECK(e.total.kept_bytes.value == doctest::Approx(32 * 8193 * 131072.0).epsilon(0.001));
  CHECK(e.total.mbu < 1);
  CHECK(e.memory.tiers.back().level == "L2");
  CHECK_FALSE(e.memory.fits);
}

TEST_CASE("predict: unfused attention moves its scores") {
  const sim::Estimate fused = estimate_of(llama), pieces = estimate_of(llama + "fusion: {attention: false}\n");
  CHECK(op_named(pieces.phases[0], "attn.softmax").levels[0].bytes.value == 2 * 2.0 * 32 * 32 * 8192);
  CHECK(pieces.total.levels[0].bytes.value > fused.total.levels[0].bytes.value);
  CHECK(pieces.total.kept_bytes.value == doctest::Approx(fused.total.kept_bytes.value));
}

TEST_CASE("predict: an assumed efficiency is seen in time and provenance") {
  const sim::Estimate plain = estimate_of(llama), assumed = estimate_of(llama + "assume: {gemm: 0.8}\n");
  for (std::size_t i = 0; i < plain.phases[0].ops.size(); ++i) {
    const sim::OpEstimate &a = plain.phases[0].ops[i], &b = assumed.phases[0].ops[i];
    CHECK(b.provenance == (b.kind == "gemm" ? sim::Provenance::assumed : sim::Provenance::analytic));
    CHECK(b.time.value == doctest::Approx(b.kind == "gemm" ? a.time.value / 0.8 : a.time.value));
  }
}

TEST_CASE("predict: notes say what was left out, what is missing and what does not fit") {
  const sim::Estimate e = estimate_of("model: deepseek-v3\nsystem: h200-sxm\nworkload: {phase: decode, batch: 64, context: 4096}\n");
  CHECK_MESSAGE(noted(e, "left out: mtp"), all_notes(e));
  CHECK_MESSAGE(noted(e, "does not fit"), all_notes(e));
  CHECK_FALSE(e.memory.fits);
  const sim::Estimate v4i = estimate_of(run_text("gpt2", "tpu-v4i"));
  CHECK_MESSAGE(noted(v4i, "no vector rate of tpu-v4i is stated: vector work is charged to its matrix unit"), all_notes(v4i));
  CHECK_MESSAGE(noted(v4i, "CMEM: no bandwidth is stated"), all_notes(v4i));
  CHECK(estimate_of(llama).notes == test::run_of(llama).energy_notes);
}

TEST_CASE("predict: parameters that are multiplied with, and that are not") {
  const auto parameters = [](const std::string& name) {
    const auto document = sim::load_model_document(shipped(), name);
    REQUIRE(document.has_value());
    return sim::parameters_of(*models::read_model(*document));
  };
  CHECK(parameters("llama-3.2-1b").total == 1235814400);
  CHECK(parameters("llama-3.2-1b").active == 1235814400);  // tied: the table is lm_head too
  CHECK(parameters("mixtral-8x7b").total == 46702792704);
  CHECK(parameters("deepseek-v3").active < 0.06 * parameters("deepseek-v3").total);
}

TEST_CASE("predict: every shipped model on every shipped chip gives finite, positive figures") {
  for (const std::string& chip : shipped().names("chips")) {
    const sim::Run host = run_of(run_text("gpt2", chip));
    for (const std::string name : {"gpt2", "gemma-3-1b", "deepseek-v2-lite", "gpt-oss-20b", "nemotron-h-8b"}) {
      sim::Run run = run_of(run_text(name, "h100-sxm"));
      run.system = host.system;
      const sim::Estimate e = estimate_of(run);
      CHECK_MESSAGE(e.total.time.value > 0, chip, " ", name);
      CHECK(std::isfinite(e.total.time.value));
      CHECK(e.total.mfu > 0);
      CHECK(e.total.mfu <= 1.0 + 1e-12);
      CHECK(e.total.mbu <= 1.0 + 1e-12);
      CHECK_FALSE(e.total.bound.empty());
    }
  }
}

// What narrow formats and zeros cost besides the multiply: conversions on the vector unit, indices, what units can skip.
#include <doctest/doctest.h>

#include <cmath>

#include "models/build.hpp"
#include "sim/machine.hpp"
#include "sim/refine.hpp"
#include "tests/unit/model_support.hpp"
#include "tests/unit/run_support.hpp"

using namespace gambrel;
using namespace gambrel::models;
using gambrel::test::op_named;
using gambrel::test::work_named;

namespace {

const std::string llama_like = "  - {count: 2, attention: {kind: gqa, heads: 4, kv_heads: 2, head_dim: 4}, ffn: {kind: dense, inner: 64, activation: swiglu}}\n";
const std::string rectified = "  - {count: 2, attention: {kind: gqa, heads: 4, kv_heads: 2, head_dim: 4}, ffn: {kind: dense, inner: 64, activation: relu2}}\n";

Precision formats(Format weights, Format activations, Format kv = Format::bf16) {
  Precision p;
  p.all.weights = weights;
  p.all.activations = activations;
  p.all.kv_cache = kv;
  return p;
}

Step step_with(const WeightSparsity& sparsity) { return {.new_tokens = 3, .past_tokens = 5, .sparsity = sparsity}; }

}  // namespace

TEST_CASE("format cost: weights narrower than the arithmetic are widened, two operations an element") {
  const ModelConfig model = test::model_with(llama_like);
  const Graph wide = test::graph_of(model), narrow = test::graph_of(model, {}, formats(Format::int4, Format::bf16));
  CHECK(work_named(wide, "attn.qkv").conversions == 0);
  CHECK(work_named(wide, "attn.qkv").narrow == 0);
  CHECK(work_named(narrow, "attn.qkv").conversions == 2 * (4 + 2 * 2) * 4 * 16);
  CHECK(work_named(narrow, "attn.core").conversions == 0);
}

TEST_CASE("format cost: activations are quantised where they are written, four operations an element, and their products convert nothing") {
  const ModelConfig model = test::model_with(llama_like);
  const Graph graph = test::graph_of(model, {.new_tokens = 3}, formats(Format::fp8_e4m3, Format::fp8_e4m3));
  CHECK(work_named(graph, "attn.norm").conversions == 4 * 3 * 16);
  CHECK(work_named(graph, "mlp.act").conversions == 4 * 3 * 64);
  CHECK(work_named(graph, "attn.core").conversions == 4 * 3 * 16);
  CHECK(work_named(graph, "mlp.down").conversions == 0);
  CHECK(work_named(graph, "mlp.down").narrow == 3 * 64 + 16 * 64);
}

TEST_CASE("format cost: keys and values are quantised into the cache and widened out of it") {
  const ModelConfig model = test::model_with(llama_like);
  const Graph graph = test::graph_of(model, {.new_tokens = 1, .past_tokens = 7}, formats(Format::bf16, Format::bf16, Format::fp8_e4m3));
  CHECK(work_named(graph, "attn.kv_append").conversions == 4 * 2 * 2 * 4);
  CHECK(work_named(graph, "attn.core").conversions == 2 * 8 * 2 * 2 * 4);
}

TEST_CASE("format cost: rows that are only copied are not converted again") {
  const ModelConfig model = test::model_with("  - {count: 1, attention: {kind: gqa, heads: 4, kv_heads: 2, head_dim: 4}, ffn: {kind: moe, experts: 4, top_k: 2, inner: 8, activation: swiglu}}\n");
  const Graph graph = test::graph_of(model, {}, formats(Format::fp8_e4m3, Format::fp8_e4m3));
  CHECK(work_named(graph, "moe.dispatch").conversions == 0);
  CHECK(work_named(graph, "moe.norm").conversions > 0);
}

TEST_CASE("format cost: a chip without the format widens both operands, one with it none") {
  const ModelConfig model = test::model_with(llama_like);
  const Graph graph = test::graph_of(model, {}, formats(Format::fp8_e4m3, Format::fp8_e4m3));
  const auto rows = lower(graph);
  hw::Chip with = test::chip_of({});
  with.compute[0].peak.emplace_back(Format::fp8_e4m3, FlopsPerSecond{200e12});
  const sim::Machine narrow = sim::make_machine(with, {}, ""), wide = sim::make_machine(test::chip_of({}), {}, "");
  for (std::size_t i = 0; i < rows.size(); ++i) {
    if (!graph.ops()[i].name.ends_with("mlp.down")) continue;
    CHECK(narrow.format_operations(rows[i]) == 0);
    CHECK(wide.format_operations(rows[i]) == 2 * (64 + 16 * 64));
    CHECK(wide.math_times(rows[i]).vector > narrow.math_times(rows[i]).vector);
  }
}

TEST_CASE("format cost: where the vector unit is slow it bounds a product with weights in 4 bits") {
  const std::string text =
      "model: llama-3.1-8b\nsystem: h100-sxm\nworkload: {phase: decode, batch: 1, context: 16}\nprecision: {weights: int4_wo}\n"
      "set: {chip.compute.vector.peak.fp32: 0.5 TFLOP/s}\n";
  const sim::Estimate slow = test::estimate_of(text);
  const auto& op = test::op_named(slow.phases[0], "mlp.gate_up");
  CHECK(op.t_math.value == doctest::Approx(2 * 2 * 14336.0 * 4096 / 0.5e12));
  CHECK(op.bound == "compute");
}

TEST_CASE("sparsity: what is stored beside the kept elements") {
  using S = WeightSparsity::Structure;
  CHECK(WeightSparsity{S::n_of_m, 0.5, 2, 4}.stored_share(16) == doctest::Approx(0.5 * 18 / 16));
  CHECK(WeightSparsity{S::n_of_m, 0.25, 1, 4}.stored_share(8) == doctest::Approx(0.25 * 10 / 8));
  CHECK(WeightSparsity{S::n_of_m, 0.5, 4, 8}.stored_share(16) == doctest::Approx(0.5 * 19 / 16));
  CHECK(WeightSparsity{S::unstructured, 0.3}.stored_share(16) == doctest::Approx(0.3 + 1.0 / 16));
  CHECK(WeightSparsity{.structure = S::unstructured, .density = 0.3, .index = WeightSparsity::Index::csr}.stored_share(16) == doctest::Approx(0.6));
  CHECK(WeightSparsity{S::block, 0.5}.stored_share(16) == 0.5);
  CHECK(WeightSparsity{.structure = S::block, .density = 0.5, .block = 4}.stored_share(16) == doctest::Approx(0.5 * (1 + 1.0 / 16)));
}

TEST_CASE("sparsity: each format pays below its own density") {
  using S = WeightSparsity::Structure;
  for (WeightSparsity s : {WeightSparsity{S::n_of_m, 0.5, 2, 4}, WeightSparsity{S::unstructured, 0.5}, WeightSparsity{.structure = S::unstructured, .index = WeightSparsity::Index::csr},
                           WeightSparsity{.structure = S::block, .density = 0.5, .block = 8}})
    for (const double bits : {16.0, 8.0, 4.0}) {
      s.density = s.break_even(bits);
      CHECK(s.stored_share(bits) == doctest::Approx(1));
    }
  // CSR's column takes as much as an element of 16 bits, and twice one of 8.
  CHECK(WeightSparsity{.structure = S::unstructured, .index = WeightSparsity::Index::csr}.break_even(16) == doctest::Approx(0.5));
  CHECK(WeightSparsity{.structure = S::unstructured, .index = WeightSparsity::Index::csr}.break_even(8) == doctest::Approx(1.0 / 3));
}

TEST_CASE("sparsity: large blocks of zeros are skipped by every kernel, small ones only not stored") {
  const ModelConfig model = test::model_with(llama_like);
  using S = WeightSparsity::Structure;
  const double dense = work_named(test::graph_of(model), "mlp.down").flops;
  CHECK(work_named(test::graph_of(model, {.sparsity = {S::block, 0.25}}), "mlp.down").flops == doctest::Approx(dense / 4));
  CHECK(work_named(test::graph_of(model, {.sparsity = {.structure = S::block, .density = 0.25, .block = 32}}), "mlp.down").flops == doctest::Approx(dense / 4));
  CHECK(work_named(test::graph_of(model, {.sparsity = {.structure = S::block, .density = 0.25, .block = 8}}), "mlp.down").flops == dense);
  CHECK(work_named(test::graph_of(model, {.sparsity = {S::unstructured, 0.25}}), "mlp.down").flops == dense);
  CHECK(work_named(test::graph_of(model, {.sparsity = {S::block, 0.25}}), "lm_head").flops == work_named(test::graph_of(model), "lm_head").flops);
}

TEST_CASE("sparsity: what no unit takes as it is stored is laid out on the vector unit, an operation an element") {
  const ModelConfig model = test::model_with(llama_like);
  using S = WeightSparsity::Structure;
  CHECK(work_named(test::graph_of(model, step_with({S::n_of_m, 0.5, 2, 4})), "mlp.down").expanded == 16 * 64);
  CHECK(work_named(test::graph_of(model, step_with({S::unstructured, 0.5})), "mlp.down").expanded == 16 * 64);
  CHECK(work_named(test::graph_of(model, step_with({S::block, 0.5})), "mlp.down").expanded == 0);
  CHECK(work_named(test::graph_of(model, step_with({})), "mlp.down").expanded == 0);
}

TEST_CASE("sparsity: weights that meet only zeros are neither read nor multiplied; the more tokens, the fewer") {
  const ModelConfig model = test::model_with(rectified), gated = test::model_with(llama_like);
  auto with = [](double tokens, double density) { return Step{.new_tokens = tokens, .data_sparsity = {.activations = density}}; };
  const Work dense = work_named(test::graph_of(model, with(1, 1)), "mlp.down"), thin = work_named(test::graph_of(model, with(1, 0.1)), "mlp.down");
  CHECK(thin.flops == doctest::Approx(0.1 * dense.flops));
  CHECK(thin.bytes(Role::weight) == doctest::Approx(0.1 * dense.bytes(Role::weight)));
  const Work more = work_named(test::graph_of(model, with(8, 0.1)), "mlp.down");
  CHECK(more.bytes(Role::weight) == doctest::Approx((1 - std::pow(0.9, 8)) * dense.bytes(Role::weight)));
  CHECK(work_named(test::graph_of(gated, with(1, 0.1)), "mlp.down").flops == work_named(test::graph_of(gated, with(1, 1)), "mlp.down").flops);
}

TEST_CASE("sparsity: block-sparse attention computes a share of the pairs; one query reads that share of the keys, many read almost all") {
  const ModelConfig model = test::model_with(llama_like);
  auto with = [](double tokens, double past, double density) { return Step{.new_tokens = tokens, .past_tokens = past, .data_sparsity = {.attention = density}}; };
  const Op one = op_named(test::graph_of(model, with(1, 1023, 0.25)), "attn.core");
  CHECK(one.dims[Dim::pairs] == doctest::Approx(256));
  CHECK(one.dims[Dim::keys] == doctest::Approx(256));
  const Op many = op_named(test::graph_of(model, with(1024, 0, 0.25)), "attn.core");
  CHECK(many.dims[Dim::pairs] == doctest::Approx(0.25 * 1024 * 1025 / 2));
  CHECK(many.dims[Dim::keys] > 0.98 * 1024);
  const ModelConfig windowed = test::model_with("  - {count: 1, attention: {kind: gqa, heads: 4, kv_heads: 2, head_dim: 4, window: 64}, ffn: {kind: dense, inner: 8, activation: swiglu}}\n");
  CHECK(op_named(test::graph_of(windowed, with(1, 1023, 0.25)), "attn.core").dims[Dim::keys] == 64);
}

TEST_CASE("sparsity: kernel models see narrower products, fewer bytes and the unit's speed") {
  const ModelConfig model = test::model_with(rectified);
  using S = WeightSparsity::Structure;
  auto call = [&](const Step& step) {
    const Graph graph = test::graph_of(model, step);
    return *sim::kernel_call(graph, op_named(graph, "mlp.down"), {});
  };
  CHECK(call({}).stored_share == 1);
  CHECK(call({.sparsity = {S::n_of_m, 0.5, 2, 4}}).stored_share == doctest::Approx(0.5625));
  CHECK(call({.sparsity = {S::n_of_m, 0.5, 2, 4}}).dim(Dim::k) == 64);
  CHECK(call({.sparsity = {S::block, 0.5}}).dim(Dim::k) == 32);
  CHECK(call({.sparsity = {S::block, 0.5}}).stored_share == 1);
  CHECK(call({.data_sparsity = {.activations = 0.25}}).dim(Dim::k) == 16);
  CHECK(call({.data_sparsity = {.activations = 0.25}}).stored_share == 1);
}

TEST_CASE("sparsity: 2:4 is faster where the unit skips zeros, and saves bytes where it does not") {
  const std::string run = "model: llama-3.1-8b\nsystem: h100-sxm\nworkload: {phase: prefill, batch: 1, new_tokens: 8192}\ncost_model: calibrated\n";
  const sim::Estimate dense = test::estimate_of(run), sparse = test::estimate_of(run + "sparsity: {weights: \"2:4\"}\n");
  const sim::Estimate unable = test::estimate_of(run + "sparsity: {weights: \"4:8\"}\n");
  CHECK(sparse.total.time.value < 0.9 * dense.total.time.value);
  CHECK(unable.total.time.value > 0.97 * dense.total.time.value);
  CHECK(unable.memory.tiers[0].weights.value < 0.65 * dense.memory.tiers[0].weights.value);
  // No measured row is sparse: the figure is at best transferred.
  CHECK(test::op_named(sparse.phases[0], "mlp.down").provenance == sim::Provenance::transferred);
  CHECK(test::op_named(dense.phases[0], "mlp.down").provenance == sim::Provenance::calibrated);
}

TEST_CASE("sparsity: what a run may say, and what not") {
  const std::string head = "model: llama-3.1-8b\nsystem: h100-sxm\nworkload: {phase: decode, batch: 1, context: 16}\n";
  const sim::Run csr = test::run_of(head + "sparsity: {weights: {density: 0.3, structure: unstructured, index: csr}}\n");
  CHECK(csr.sparsity.index == WeightSparsity::Index::csr);
  CHECK(test::run_of(head + "sparsity: {weights: {density: 0.3, structure: block, block: 16}}\n").sparsity.block == 16);
  CHECK(test::run_of(head + "sparsity: {attention: {density: 0.3}}\n").data_sparsity.attention == 0.3);
  CHECK(test::run_errors(head + "sparsity: {weights: {density: 0.3, structure: unstructured, block: 16}}\n").find("'block' is of structure block") != std::string::npos);
  CHECK(test::run_errors(head + "sparsity: {weights: {density: 0.3, structure: block, index: csr}}\n").find("'index' is of structure unstructured") != std::string::npos);
  CHECK(test::run_errors(head + "sparsity: {activations: {density: 0.3}}\n").find("makes zeros: that takes relu") != std::string::npos);
  CHECK(test::run_errors("model: llama-3.1-8b\nsystem: h100-sxm\nworkload: {phase: train, global_batch: 1, sequence: 16}\nsparsity: {attention: {density: 0.3}}\n").find("in inference only") != std::string::npos);
  CHECK(test::run_errors("baseline: llama-3.1-8b-decode-h100\nvariants: {}\n").find("this is a comparison of runs | gambrel compare reads it") != std::string::npos);
}

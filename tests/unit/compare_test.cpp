#include "sim/compare/compare.hpp"

#include <doctest/doctest.h>

#include <cmath>

#include "reports/comparison.hpp"
#include "sim/compare/compare_recipe.hpp"
#include "tests/unit/compare_support.hpp"

using namespace gambrel;
using namespace gambrel::test;

namespace {

Node recipe(const std::string& text, const std::string& under = "") {
  const Node value = parse_yaml(text, "recipe").value();
  const Node run = under.empty() ? Node{} : parse_yaml(under, "run").value();
  auto section = sim::precision_section(value, &run);
  REQUIRE_MESSAGE(section.has_value(), placed(section ? Diagnostics{} : section.error()));
  return *section;
}

std::string recipe_error(const std::string& text) {
  const auto section = sim::precision_section(parse_yaml(text, "recipe").value(), nullptr);
  return section ? "accepted" : placed(section.error());
}

/// The formats that a recipe gives an operator of the tiny model.
models::OpPrecision at(const std::string& precision, const std::string& path) {
  const auto comparison = try_comparison("baseline: " + tiny_run + "\nvariants: {v: {precision: \"" + precision + "\"}}\n");
  REQUIRE_MESSAGE(comparison.has_value(), placed(comparison ? Diagnostics{} : comparison.error()));
  const auto run = sim::read_variant(shipped(), comparison->variants[1]);
  REQUIRE_MESSAGE(run.has_value(), placed(run ? Diagnostics{} : run.error()));
  return run->policy().at(path);
}

}  // namespace

TEST_CASE("recipe: a wide format is the whole model's, a narrow one that of its products") {
  CHECK(recipe("bf16").text_or("weights", "") == "bf16");
  CHECK(recipe("bf16").text_or("kv_cache", "") == "bf16");
  CHECK(at("fp8", "layers.0.attn.qkv").weights == DataType(Format::fp8_e4m3));
  CHECK(at("fp8", "layers.3.moe.experts").activations == DataType(Format::fp8_e4m3));
  CHECK(at("fp8", "layers.0.moe.router").weights == DataType(Format::bf16));
  CHECK(at("fp8", "lm_head").weights == DataType(Format::bf16));
  CHECK(at("fp8", "embed").weights == DataType(Format::bf16));
  CHECK(at("fp8", "layers.0.attn.core").kv_cache == DataType(Format::bf16));
}

TEST_CASE("recipe: weights only, with the scales that recipes give") {
  const models::OpPrecision int4 = at("int4_wo", "layers.1.attn.out");
  CHECK(int4.weights.format == Format::int4);
  CHECK(int4.weights.scale == Scale{Scale::Per::block, 1, 128, Format::fp16});
  CHECK(int4.activations == DataType(Format::bf16));
  CHECK(at("mxfp4_wo", "layers.1.attn.out").weights == DataType(Format::mxfp4));
  CHECK(at("int8", "layers.1.attn.out").weights.scale.per == Scale::Per::channel);
  CHECK(at("int8", "layers.1.attn.out").activations.scale.per == Scale::Per::channel);
  CHECK(at("int2", "layers.1.attn.out").activations == DataType(Format::bf16));
  CHECK(at("fp8_block", "layers.1.attn.out").weights.scale == Scale{Scale::Per::block, 128, 128, Format::fp32});
  CHECK(at("fp8_block", "layers.1.attn.out").activations.scale == Scale{Scale::Per::block, 1, 128, Format::fp32});
}

TEST_CASE("recipe: parts lie over what stands") {
  CHECK(at("fp8+kv=fp8", "layers.0.attn.core").kv_cache == DataType(Format::fp8_e4m3));
  CHECK(at("mxfp4+activations=fp8", "layers.0.attn.out").activations == DataType(Format::fp8_e4m3));
  CHECK(at("mxfp4+activations=fp8", "layers.0.attn.out").weights == DataType(Format::mxfp4));
  CHECK(at("fp8+lm_head=fp8", "lm_head").weights == DataType(Format::fp8_e4m3));
  CHECK(at("bf16+accumulate=bf16", "layers.0.attn.out").accumulate == DataType(Format::bf16));
  const Node kept = recipe("kv=fp8", "{weights: fp16, gradients: fp32}");
  CHECK(kept.text_or("weights", "") == "fp16");
  CHECK(kept.text_or("kv_cache", "") == "fp8_e4m3");
  // A whole recipe replaces weights, activations and cache; what training adds stays.
  const Node whole = recipe("fp8", "{weights: fp16, kv_cache: fp8, gradients: fp32}");
  CHECK(!whole.find("weights"));
  CHECK(!whole.find("kv_cache"));
  CHECK(whole.text_or("gradients", "") == "fp32");
}

TEST_CASE("recipe: what is none says what would be one") {
  CHECK(recipe_error("fp9").find("did you mean 'fp8'") != std::string::npos);
  CHECK(recipe_error("\"fp8+kw=fp8\"").find("a recipe has no part 'kw' | did you mean 'kv'?") != std::string::npos);
  CHECK(recipe_error("\"fp8+\"").find("unknown data type") != std::string::npos);
  CHECK(recipe_error("\"\"").find("a precision is missing") != std::string::npos);
  CHECK(comparison_errors("baseline: " + tiny_run + "\nvariants: {v: {precision: fp9}}\n").starts_with("comparison.yaml:2:27: unknown data type"));
}

TEST_CASE("vary: every combination, the first key slowest, the first the baseline") {
  const sim::Comparison c = vary(tiny_run, {"precision=bf16,fp8+kv=fp8", "sparsity=none,2:4,{density: 0.5, structure: block}"});
  REQUIRE(c.variants.size() == 6);
  CHECK(c.variants[0].name == "bf16, none");
  CHECK(c.variants[1].name == "bf16, 2:4");
  CHECK(c.variants[2].name == "bf16, block 0.5");
  CHECK(c.variants[3].name == "fp8+kv=fp8, none");
  const sim::Comparison chips = vary(tiny_run, {"system=h100-sxm,a100-sxm-80gb"});
  CHECK(chips.variants[1].name == "system a100-sxm-80gb");
  CHECK(compare_all(chips).variants[1].estimate.chip == "a100-sxm-80gb");
}

TEST_CASE("vary: what varies nothing is refused") {
  const Position at{std::make_shared<const Source>(Source{"--vary", "x"}), 1, 1};
  CHECK(sim::parse_vary("precision", at).error().front().fault == Fault::usage);
  CHECK(sim::parse_vary("=a", at).error().front().message == "'=a' varies nothing");
  CHECK(sim::parse_vary("precision=bf16,,fp8", at).error().front().message.ends_with("has an empty value"));
  std::vector<sim::Vary> many(9, {"workload.batch", {Node::of("1"), Node::of("2")}, at});
  CHECK(sim::vary_run(*parse_yaml(tiny_run, "run"), many, {}).error().front().message == "that makes more than 256 variants");
}

TEST_CASE("comparison: the file's parts are read, and what is wrong is placed") {
  const auto c = try_comparison("comparison: mine\nbaseline: llama-3.1-8b-decode-h100\nname_baseline: wide\nvariants: {slow: {chip.memory.HBM.bandwidth: 0.5x}}\n"
                                "error: {layers: 1, width_fraction: 0.125, tokens: 8, seed: 3}\nsearch: {error: 0.05, formats: [fp8]}\n");
  REQUIRE_MESSAGE(c.has_value(), placed(c ? Diagnostics{} : c.error()));
  CHECK(c->id == "mine");
  CHECK(c->variants[0].name == "wide");
  CHECK(c->variants[1].settings[0].path == "chip.memory.HBM.bandwidth");
  CHECK(c->error.layers == 1);
  CHECK(c->error.width_fraction == 0.125);
  CHECK(c->error.seed == 3);
  CHECK(c->search->budget == 0.05);
  CHECK(c->search->formats == std::vector<std::string>{"fp8"});
  CHECK(comparison_errors("variants: {}\n").find("baseline") != std::string::npos);
  CHECK(comparison_errors("baseline: llama-3.1-8b-decode-h1000\n").find("did you mean") != std::string::npos);
  CHECK(comparison_errors("baseline: " + tiny_run + "\nvariant: {}\n").find("did you mean 'variants'?") != std::string::npos);
  CHECK(comparison_errors("baseline: " + tiny_run + "\nvariants: {baseline: {precision: fp8}}\n").find("a second variant is named 'baseline'") != std::string::npos);
  CHECK(comparison_errors("baseline: " + tiny_run + "\nerror: {layers: 0}\n") != "accepted");
}

TEST_CASE("comparison: a wrong setting of one variant is an error at its place") {
  const auto c = try_comparison("baseline: " + tiny_run + "\nvariants: {v: {chip.memory.HBM.bandwith: 2x}}\n");
  REQUIRE(c.has_value());
  const auto result = sim::compare(shipped(), *c);
  REQUIRE_FALSE(result.has_value());
  CHECK(placed(result.error()).starts_with("comparison.yaml:2:"));
}

TEST_CASE("comparison: figures are those of the runs alone, ratios are to the first") {
  const auto c = comparison_of("baseline: llama-3.1-8b-decode-h100\nvariants: {w4: {precision: int4_wo}, twice: {chip.memory.HBM.bandwidth: 2x}, more: {workload.batch: 64}}\n");
  const sim::Estimate alone = estimate_of(run_of("base: llama-3.1-8b-decode-h100\nmodel: llama-3.1-8b\nsystem: h100-sxm\nworkload: {phase: decode, batch: 32, context: 8192}\n"
                                                 "precision: {weights: bf16, activations: bf16, kv_cache: bf16, accumulate: fp32}\n"));
  const sim::VariantResult& base = variant(c, "baseline");
  CHECK(base.estimate.total.time.value == alone.total.time.value);
  CHECK(base.speedup == 1);
  CHECK(base.memory_ratio == 1);
  CHECK(*base.energy_ratio == 1);
  CHECK_FALSE(base.bound_moved);
  CHECK(variant(c, "w4").speedup > 1);
  CHECK(variant(c, "w4").memory_ratio < 1);
  CHECK(variant(c, "w4").memory.value < base.memory.value - 1e10 + 2e9);
  CHECK(variant(c, "twice").speedup == doctest::Approx(base.estimate.total.time / variant(c, "twice").estimate.total.time));
  // More sequences: a token's share of the time counts, not the step's.
  CHECK(variant(c, "more").estimate.total.time.value > base.estimate.total.time.value);
  CHECK(variant(c, "more").speedup > 1);
}

TEST_CASE("comparison: arithmetic and movement are the operators' sums; the bound says when it moves") {
  const auto c = comparison_of("baseline: llama-3.1-8b-decode-h100\nvariants: {fast: {chip.memory.HBM.bandwidth: 1000x}}\n");
  const sim::VariantResult &base = c.variants[0], &fast = c.variants[1];
  double math = 0, moved = 0;
  for (const sim::OpEstimate& op : base.estimate.phases[0].ops) math += op.count * op.t_math.value, moved += op.count * op.t_mem.value;
  CHECK(base.arithmetic.value == doctest::Approx(math));
  CHECK(base.movement.value == doctest::Approx(moved));
  CHECK(base.estimate.total.bound == "HBM");
  CHECK(fast.bound_moved);
  CHECK(reports::write_comparison(c, reports::TextFormat::table).find("HBM to ") != std::string::npos);
}

TEST_CASE("comparison: what does not fit says so and is on no front") {
  const auto c = comparison_of("baseline: {model: llama-3.1-70b, system: h100-sxm, workload: {phase: decode, batch: 1, context: 16}}\nvariants: {w4: {precision: int4_wo}}\n");
  CHECK_FALSE(variant(c, "baseline").estimate.memory.fits);
  CHECK_FALSE(variant(c, "baseline").front);
  CHECK(variant(c, "w4").estimate.memory.fits);
  CHECK(variant(c, "w4").front);
  REQUIRE(c.notes.size() == 1);
  CHECK(c.notes[0].starts_with("baseline does not fit"));
}

TEST_CASE("comparison: zeros that take more bytes than they save are told") {
  const auto c = comparison_of("baseline: llama-3.1-8b-decode-h100\nvariants: {csr: {sparsity: {density: 0.6, structure: unstructured, index: csr}}, bitmap: {sparsity: {density: 0.6, structure: unstructured}}}\n");
  REQUIRE(c.notes.size() == 1);
  CHECK(c.notes[0].find("csr: sparse weights take 1.2x the bytes of dense ones; at 16 bits this format pays below a density of 0.5") != std::string::npos);
  CHECK(variant(c, "bitmap").memory_ratio < 1);
}

TEST_CASE("comparison: what a variant's estimate remarks, and the baseline's does not, is told") {
  const auto c = comparison_of("baseline: {model: tiny-mixtral, system: a100-sxm-80gb, workload: {phase: decode, batch: 4, context: 64}}\nvariants: {fp8: {precision: fp8}, pruned: {sparsity: \"4:8\"}}\n");
  REQUIRE(c.notes.size() == 2);
  CHECK(c.notes[0].starts_with("fp8: fp8_e4m3 arithmetic runs as bf16"));
  CHECK(c.notes[1] == "pruned: a100-sxm-80gb does not skip the zeros of 4:8 weights: they save bytes only");
}

TEST_CASE("comparison: the error is executed; fp32 is exact, equal numbers are measured once") {
  const auto c = comparison_of("baseline: " + tiny_run + "\nvariants: {exact: {precision: fp32}, bf16: {precision: bf16}, faster: {precision: bf16, chip.memory.HBM.bandwidth: 2x}, w4: {precision: int4_wo}}\n"
                               "error: {layers: 1, width_fraction: 0.5, tokens: 4, vocabulary_rows: 64}\n");
  REQUIRE(variant(c, "exact").error);
  CHECK(variant(c, "exact").error->relative_error == 0);
  CHECK(std::isinf(variant(c, "exact").error->sqnr_db));
  CHECK(variant(c, "faster").error->relative_error == variant(c, "bf16").error->relative_error);
  CHECK(variant(c, "faster").error->variant == "faster");
  CHECK(variant(c, "w4").error->relative_error > variant(c, "bf16").error->relative_error);
  CHECK(variant(c, "exact").front);
  CHECK_FALSE(variant(c, "bf16").front);  // `faster` is as exact
  CHECK(variant(c, "faster").front);
}

TEST_CASE("comparison: a search stays within its budget, and its choice is a section a run takes") {
  const auto c = comparison_of("baseline: {model: tiny-mixtral, system: h100-sxm, workload: {phase: decode, batch: 4, context: 64}, cost_model: roofline}\n"
                               "error: {layers: 1, width_fraction: 0.5, tokens: 4, vocabulary_rows: 64}\nsearch: {error: 0.05, formats: [fp8, int4_wo]}\n");
  REQUIRE(c.found);
  CHECK(c.found->error <= 0.05);
  CHECK_FALSE(c.found->choices.empty());
  CHECK(c.found->considered.size() > c.found->choices.size());
  const sim::VariantResult& found = c.variants.back();
  CHECK(found.speedup > 1);
  CHECK(found.error->relative_error == doctest::Approx(c.found->error));
  const sim::Estimate again = estimate_of("model: tiny-mixtral\nsystem: h100-sxm\nworkload: {phase: decode, batch: 4, context: 64}\nprecision: " + c.found->precision + "\n");
  CHECK(again.total.time.value == doctest::Approx(found.estimate.total.time.value));
}

TEST_CASE("comparison: no search finds formats where the baseline is beyond the budget") {
  auto c = try_comparison("baseline: " + tiny_run + "\nerror: {layers: 1, width_fraction: 0.5, tokens: 4, vocabulary_rows: 64}\nsearch: {error: 1e-9}\n");
  REQUIRE(c.has_value());
  const auto result = sim::compare(shipped(), *c);
  REQUIRE_FALSE(result.has_value());
  CHECK(result.error().front().message.starts_with("the baseline itself has an error of"));
}

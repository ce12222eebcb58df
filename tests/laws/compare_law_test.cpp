// Laws of comparisons: what a format's width, a variant's place and a machine's rates must and must not change.
#include <doctest/doctest.h>
#include <rapidcheck.h>

#include <algorithm>

#include "tests/laws/random_draws.hpp"
#include "tests/unit/compare_support.hpp"

using namespace gambrel;
using namespace gambrel::test;

namespace {

std::string decode(int batch, int context, const std::string& model) {
  return fmt::format("{{model: {}, system: h100-sxm, workload: {{phase: decode, batch: {}, context: {}}}, cost_model: roofline}}", model, batch, context);
}

const sim::VariantResult& named(const sim::ComparisonResult& c, const std::string& name) { return variant(c, name); }

template <class Law>
void holds(const std::string& name, Law law) {
  CHECK(rc::check(name, law));
}

}  // namespace

TEST_CASE("law: where memory holds a decode back, wider weights are never faster and never smaller") {
  holds("wider is not faster", [] {
    const int batch = *rc::gen::inRange(1, 16), context = *rc::gen::inRange(1, 2000);
    const auto c = compare_all(vary(decode(batch, context, "llama-3.2-1b"), {"precision=bf16_wo,int8_wo,mxfp6_wo,int4_wo"}));
    for (std::size_t i = 1; i < c.variants.size(); ++i) {
      RC_ASSERT(c.variants[i].estimate.total.time.value <= c.variants[i - 1].estimate.total.time.value * (1 + 1e-12));
      RC_ASSERT(c.variants[i].memory.value < c.variants[i - 1].memory.value);
      RC_ASSERT(c.variants[i].estimate.memory.max_batch >= c.variants[i - 1].estimate.memory.max_batch);
    }
  });
}

TEST_CASE("law: the baseline's ratios are 1, and ratios are of the figures beside them") {
  holds("ratios", [] {
    const int batch = *rc::gen::inRange(1, 64);
    const auto c = compare_all(vary(decode(batch, 512, "llama-3.2-1b"), {"precision=bf16,fp8,int4_wo", "sparsity=none,2:4"}));
    const sim::VariantResult& base = c.variants.front();
    RC_ASSERT(base.speedup == 1 && base.memory_ratio == 1 && *base.energy_ratio == 1 && !base.bound_moved);
    for (const sim::VariantResult& v : c.variants) {
      RC_ASSERT(std::abs(v.speedup * v.estimate.total.time.value / base.estimate.total.time.value - 1) < 1e-12);
      RC_ASSERT(v.bound_moved == (v.estimate.total.bound != base.estimate.total.bound));
      RC_ASSERT(std::max(v.arithmetic, v.movement).value <= v.estimate.total.time.value * (1 + 1e-9));
    }
  });
}

TEST_CASE("law: the order of variants changes no figure of theirs") {
  const std::string head = "baseline: " + decode(8, 300, "tiny-mixtral") + "\nerror: {layers: 1, width_fraction: 0.5, tokens: 2, vocabulary_rows: 32}\nvariants:\n";
  std::vector<std::string> rows{"  a: {precision: fp8}\n", "  b: {precision: int4_wo}\n", "  c: {sparsity: \"2:4\"}\n"};
  const auto first = comparison_of(head + rows[0] + rows[1] + rows[2]);
  while (std::ranges::next_permutation(rows).found) {
    const auto again = comparison_of(head + rows[0] + rows[1] + rows[2]);
    for (const char* name : {"baseline", "a", "b", "c"}) {
      CHECK(named(again, name).estimate.total.time.value == named(first, name).estimate.total.time.value);
      CHECK(named(again, name).speedup == named(first, name).speedup);
      CHECK(named(again, name).error->relative_error == named(first, name).error->relative_error);
      CHECK(named(again, name).front == named(first, name).front);
    }
  }
}

TEST_CASE("law: no variant on the front is beaten, and every other one is") {
  const auto c = comparison_of("baseline: " + decode(4, 128, "tiny-mixtral") + "\nerror: {layers: 1, width_fraction: 0.5, tokens: 2, vocabulary_rows: 32}\n"
                               "vary: {precision: [bf16, fp8, int8, int4_wo, mxfp4, nvfp4], sparsity: [none, \"2:4\"]}\n");
  auto beats = [](const sim::VariantResult& a, const sim::VariantResult& b) {
    return a.speedup >= b.speedup && a.error->relative_error <= b.error->relative_error && (a.speedup > b.speedup || a.error->relative_error < b.error->relative_error);
  };
  for (const sim::VariantResult& v : c.variants) CHECK(v.front == std::ranges::none_of(c.variants, [&](const sim::VariantResult& other) { return beats(other, v); }));
}

TEST_CASE("law: a chip that knows no 2:4 gains no arithmetic from it, one that does never loses") {
  holds("what units can use", [] {
    const int tokens = *rc::gen::inRange(256, 8192);
    const std::string run = fmt::format("{{model: llama-3.2-1b, system: h100-sxm, workload: {{phase: prefill, batch: 1, new_tokens: {}}}, cost_model: roofline}}", tokens);
    const auto able = compare_all(vary(run, {"sparsity=none,2:4"})), unable = compare_all(vary(run, {"sparsity=none,4:8"}));
    RC_ASSERT(able.variants[1].arithmetic <= able.variants[0].arithmetic);
    RC_ASSERT(unable.variants[1].arithmetic >= unable.variants[0].arithmetic);
    RC_ASSERT(unable.variants[1].movement < unable.variants[0].movement);
  });
}

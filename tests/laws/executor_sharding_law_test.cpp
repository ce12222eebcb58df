// Several ranks in one process, their collectives really moving data, compute what one rank computes.
#include <doctest/doctest.h>
#include <rapidcheck.h>

#include <cmath>

#include "tests/laws/executor_support.hpp"
#include "tests/laws/random_executable.hpp"

using namespace gambrel;
using namespace gambrel::models;
using namespace gambrel::test;
using kernels::Execution;
using kernels::Executor;

namespace {

double flops_of(const Graph& graph, const Execution& done, OpKind a, OpKind b) {
  double sum = 0;
  for (OpId id = 0; id < graph.ops().size(); ++id)
    if (graph.op(id).kind == a || graph.op(id).kind == b) sum += done.ops[id].flops;
  return sum;
}

/// New tokens to decode: where the context is cut too few to cut, and as many as experts' ranks share out.
double few_tokens(const Sharding& sharding) { return sharding.context > 1 ? 1 : 4; }

bool swaps_heads(const ModelConfig& model, const Sharding& sharding) {
  if (sharding.context == 1) return false;
  for (const LayerSpec& layer : all_layers(model))
    if (layer.mamba || (layer.attention && sharding.exchange == ContextExchange::ulysses)) return true;
  return false;
}

/// A prefill and a decode step on all ranks and on one, which has all data ranks' sequences.
void check_equal(const ModelConfig& model, Step step, const Sharding& sharding, const kernels::ExecutorOptions& options = {}) {
  Executor<double> one(model), many(model, sharding, options);
  Step all = step;
  all.sequences *= sharding.data;
  for (double past : {0.0, step.new_tokens}) {
    step.past_tokens = all.past_tokens = past;
    if (past > 0 && swaps_heads(model, sharding)) return;  // decoding has another cache
    if (past > 0 && !sharding.sequence && sharding.layout == Layout::weight_stationary_1d) step.new_tokens = all.new_tokens = few_tokens(sharding);
    RC_LOG() << describe(model, step, sharding);
    const Execution whole = executed(one, model, all), cut = executed(many, model, step, sharding);
    RC_ASSERT(distance(cut.logits, whole.logits) < 1e-11);
    RC_ASSERT(cut.tokens.size() == whole.tokens.size());
    const Graph graph = plain_graph(model, all), share = build(model, {model.dtype, {}, {}}, step, sharding);
    for (auto [a, b] :
         {std::pair{OpKind::attention, OpKind::attention_scores}, {OpKind::expert_ffn, OpKind::grouped_gemm}}) {
      if (sharding.context > 1 && (!step.fused_attention || a == OpKind::expert_ffn)) continue;  // pieces compute all pairs
      RC_ASSERT(std::abs(flops_of(share, cut, a, b) - flops_of(graph, whole, a, b)) < 0.5);
    }
  }
}

Step some_step() {
  Step step{.sequences = draw(1, 2), .new_tokens = 4 * draw(1, 3)};
  step.logits = coin() ? 1 : step.new_tokens;
  step.fused_attention = coin(), step.fused_experts = coin();
  return step;
}

}  // namespace

TEST_CASE("law: tensor ranks compute what one rank does, with and without sequence parallelism") {
  CHECK(rc::check("tensor", [] {
    const double ranks = one_of<double>({2, 4});
    check_equal(divisible_model(), some_step(), {.tensor = ranks, .sequence = coin()});
  }));
}

TEST_CASE("law: expert ranks compute what one rank does") {
  CHECK(rc::check("over data ranks", [] {
    const double ranks = one_of<double>({2, 4});
    check_equal(divisible_model(), some_step(), {.data = ranks, .expert = ranks});
  }));
  CHECK(rc::check("over tensor and data ranks, experts' widths cut too", [] {
    Sharding sharding{.tensor = one_of<double>({1, 2, 4}), .data = one_of<double>({1, 2})};
    sharding.sequence = coin();
    const double ranks = sharding.tensor * sharding.data;
    sharding.expert_tensor = one_of<double>({1, 2});
    sharding.expert = one_of<double>({1, 2, 4});
    RC_PRE(std::fmod(ranks, sharding.expert_tensor * sharding.expert) == 0);
    check_equal(divisible_model(), some_step(), sharding);
  }));
}

TEST_CASE("law: context ranks compute what one rank does") {
  auto cut = [](ContextExchange exchange) {
    Step step = some_step();
    const double ranks = one_of<double>({2, 4});
    step.sequences = 2, step.new_tokens = 8 * draw(1, 2);
    const double tensor = ranks == 4 ? 1 : one_of<double>({1, 1, 2});  // four state-space groups
    check_equal(divisible_model(), step, {.tensor = tensor, .context = ranks, .exchange = exchange});
  };
  CHECK(rc::check("keys and values go round a ring", [&] { cut(ContextExchange::ring); }));
  CHECK(rc::check("keys and values are gathered", [&] { cut(ContextExchange::all_gather); }));
  CHECK(rc::check("heads are swapped for tokens", [&] {
    ModelConfig model = divisible_model();
    for (LayerGroup& group : model.layers)
      for (LayerSpec& layer : group.pattern) RC_PRE(!layer.latent);
    Step step = some_step();
    step.sequences = 2, step.new_tokens = 8;
    check_equal(model, step, {.tensor = one_of<double>({1, 1, 2}), .context = 2, .exchange = ContextExchange::ulysses});
  }));
}

TEST_CASE("law: layouts that cut both axes or gather weights compute what one rank does") {
  auto laid_out = [](Layout layout) {
    ModelConfig model = divisible_model();
    model.hidden = 16 * draw(1, 3);
    Step step = some_step();
    step.sequences = 4;
    const double ranks = one_of<double>({2, 4});
    check_equal(model, step, {.tensor = ranks, .layout = layout});
  };
  CHECK(rc::check("weights stationary in two dimensions", [&] { laid_out(Layout::weight_stationary_2d); }));
  CHECK(rc::check("weights gathered", [&] { laid_out(Layout::weight_gathered); }));
}

TEST_CASE("law: pipeline stages hand over what one rank computes") {
  CHECK(rc::check("with and without tensor ranks", [] {
    const Sharding sharding{.tensor = one_of<double>({1, 2}), .data = one_of<double>({1, 2})};
    check_equal(divisible_model(), some_step(), sharding, {.pipeline = static_cast<std::size_t>(draw(2, 3))});
  }));
}

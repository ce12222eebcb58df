// Several ranks in one process, their collectives really moving data, compute what one rank computes.
#include <doctest/doctest.h>
#include <rapidcheck.h>

#include <cmath>

#include "tests/laws/executor_support.hpp"
#include "tests/laws/random_model.hpp"

using namespace gambrel;
using namespace gambrel::models;
using namespace gambrel::test;
using kernels::Execution;
using kernels::Executor;

namespace {

/// Everything that ranks share out is a multiple of 4; key/value heads may be fewer than the ranks.
LayerSpec divisible_layer() {
  LayerSpec layer = random_layer(true);
  if (layer.attention) {
    layer.attention->kv_heads = one_of<double>({1, 2, 4, 8});
    layer.attention->heads = layer.attention->kv_heads * (layer.attention->kv_heads < 4 ? 4 : draw(1, 2));
    if (layer.attention->qk_norm == QkNorm::full) layer.attention->qk_norm = QkNorm::head;
  }
  if (layer.latent) layer.latent->heads = 4 * draw(1, 2);
  if (layer.mamba) layer.mamba->groups = 4, layer.mamba->heads = 4 * draw(1, 2);
  if (layer.dense) layer.dense->inner = 4 * draw(1, 8);
  if (layer.moe) {
    layer.moe->sizes = {{4 * draw(1, 3), 4 * draw(1, 5)}};
    layer.moe->top_k = draw(1, 4);
    if (layer.moe->shared_inner > 0) layer.moe->shared_inner = 4 * draw(1, 4);
  }
  return layer;
}

ModelConfig divisible_model() {
  ModelConfig model = random_model(false);
  model.vocab = 4 * draw(1, 20);
  if (model.learned_positions > 0) model.learned_positions = 100;
  model.layers.clear();
  for (int i = static_cast<int>(draw(1, 2)); i > 0; --i)
    model.layers.push_back({static_cast<int>(draw(1, 2)), {divisible_layer()}});
  return model;
}

double flops_of(const Graph& graph, const Execution& done, OpKind a, OpKind b) {
  double sum = 0;
  for (OpId id = 0; id < graph.ops().size(); ++id)
    if (graph.op(id).kind == a || graph.op(id).kind == b) sum += done.ops[id].flops;
  return sum;
}

/// A prefill and a decode step on all ranks and on one, which has all data ranks' sequences.
void check_equal(const ModelConfig& model, Step step, const Sharding& sharding) {
  Executor<double> one(model), many(model, sharding);
  Step all = step;
  all.sequences *= sharding.data;
  for (double past : {0.0, step.new_tokens}) {
    step.past_tokens = all.past_tokens = past;
    if (past > 0 && !sharding.sequence) step.new_tokens = all.new_tokens = 4;
    const Execution whole = executed(one, model, all), cut = executed(many, model, step, sharding);
    RC_ASSERT(distance(cut.logits, whole.logits) < 1e-11);
    const Graph graph = plain_graph(model, all), share = build(model, {model.dtype, {}, {}}, step, sharding);
    for (auto [a, b] :
         {std::pair{OpKind::attention, OpKind::attention_scores}, {OpKind::expert_ffn, OpKind::grouped_gemm}})
      RC_ASSERT(std::abs(flops_of(share, cut, a, b) - flops_of(graph, whole, a, b)) < 0.5);
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

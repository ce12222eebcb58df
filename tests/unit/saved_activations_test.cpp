// What is kept between the passes: Korthikanti et al. 2022 (arXiv 2205.05198) eq. 1-4, for the paper's four models.
#include <doctest/doctest.h>

#include "models/backward.hpp"
#include "tests/unit/model_support.hpp"

using namespace gambrel;
using namespace gambrel::models;
using namespace gambrel::test;

namespace {

/// Table 3 of the paper; sequence 2048, vocabulary 51200.
struct Published {
  const char* model;
  double heads, hidden, layers, tensor, micro_batch;
};
constexpr Published published_models[] = {{"korthikanti-22b", 64, 6144, 48, 8, 4},
                                          {"gpt3-175b", 96, 12288, 96, 8, 1},
                                          {"mt-nlg-530b", 128, 20480, 105, 8, 1},
                                          {"gpt-1t", 160, 25600, 128, 8, 1}};
constexpr double sequence = 2048;

SavedActivations saved(const Published& p, const Sharding& sharding, Recompute recompute, bool fused = false) {
  const ModelConfig model = shipped(p.model);
  const Step step{.sequences = p.micro_batch, .new_tokens = sequence, .fused_attention = fused, .training = true, .dropout = true};
  return saved_activations(build(model, {model.dtype, model.precision, {}}, step, sharding), recompute);
}

}  // namespace

TEST_CASE("kept bytes of a GPT layer are the paper's formulas exactly") {
  for (const Published& p : published_models) {
    CAPTURE(p.model);
    const double sbh = sequence * p.micro_batch * p.hidden, scores = 5 * p.heads * sequence * sequence * p.micro_batch, t = p.tensor;
    const Sharding tensor{.tensor = t}, both{.tensor = t, .sequence = true};
    CHECK(saved(p, {}, Recompute::none).per_layer == 34 * sbh + scores);
    CHECK(saved(p, tensor, Recompute::none).per_layer == sbh * (10 + 24 / t) + scores / t);
    CHECK(saved(p, both, Recompute::none).per_layer == (34 * sbh + scores) / t);
    CHECK(saved(p, tensor, Recompute::selective).per_layer == sbh * (10 + 24 / t));
    CHECK(saved(p, both, Recompute::selective).per_layer == sbh / t * 34);
    CHECK(saved(p, tensor, Recompute::full).per_layer == sbh * 2);
    CHECK(saved(p, both, Recompute::full).per_layer == sbh / t * 2);
    CHECK(saved(p, both, Recompute::none, /*fused=*/true).per_layer == sbh / t * 34);
  }
}

TEST_CASE("before and after the layers: one mask; the last norm's and the head's input and the probabilities in fp32") {
  const Published& p = published_models[0];
  const double sbh = sequence * p.micro_batch * p.hidden, sbv = sequence * p.micro_batch * 51200;
  const SavedActivations kept = saved(p, {.tensor = 8, .sequence = true}, Recompute::none);
  CHECK(kept.embedding == sbh / 8);
  CHECK(kept.head == (4 * sbh + 4 * sbv) / 8);  // the paper's 4 s b h / t (1 + v / h), section 4.3
}

TEST_CASE("recomputing keeps less and works on more") {
  const Published& p = published_models[0];
  const Sharding sharding{.tensor = 8, .sequence = true};
  const SavedActivations none = saved(p, sharding, Recompute::none), full = saved(p, sharding, Recompute::full);
  const SavedActivations selective = saved(p, sharding, Recompute::selective);
  CHECK(none.per_layer > selective.per_layer);
  CHECK(selective.per_layer > full.per_layer);
  CHECK(none.working <= selective.working);
  CHECK(none.working < full.working);
  CHECK(full.working > none.per_layer);  // the layer's activations are there once more, and gradients
}

TEST_CASE("what lives while a layer runs backward, counted by hand") {
  Graph graph;
  auto tensor = [&](const char* name, double elements, Role role) {
    return graph.add(Tensor{.name = name, .shape = {1, elements}, .type = Format::bf16, .role = role});
  };
  auto product = [&](const char* name, TensorId x, TensorId w, TensorId y) {
    graph.add(Op{.name = name, .uses = {{x, false, graph.tensor(x).elements()}, {w, false, 1}, {y, true, graph.tensor(y).elements()}}});
  };
  const TensorId x = tensor("x", 10, Role::activation), a = tensor("a", 20, Role::activation), b = tensor("b", 30, Role::activation);
  product("a", x, tensor("v", 1, Role::weight), a);
  product("b", a, tensor("w", 1, Role::weight), b);
  const SavedActivations kept = saved_activations(graph, Recompute::none);
  CHECK(kept.per_layer == 2 * (10 + 20));                                         // both products' inputs
  CHECK(kept.working == 2 * (30 + 20));                                           // gradients of b and a; x needs none
  CHECK(saved_activations(graph, Recompute::full).per_layer == 2 * 10);           // the input alone
  CHECK(saved_activations(graph, Recompute::full).working == 2 * (20 + 30 + 20));  // a again, both gradients
}

TEST_CASE("activation memory of the first stage as the paper's figures have it") {
  // A stage of p keeps what L layers keep; m chunks each 1 + (p - 1) / (p m) times that (section 4.2.3).
  const double gib = 1024.0 * 1024 * 1024;
  const auto stage = [&](const Published& p, double pipeline, double chunks, const Sharding& s, Recompute r) {
    const double in_flight = pipeline > 1 ? 1 + (pipeline - 1) / (pipeline * chunks) : 1;
    return saved(p, s, r).per_layer * p.layers * in_flight / gib;
  };
  const Sharding tensor{.tensor = 8}, both{.tensor = 8, .sequence = true};
  const double small = stage(published_models[0], 1, 1, tensor, Recompute::none), large = stage(published_models[1], 8, 3, tensor, Recompute::none);
  CHECK(small == 59.25);     // figure 1, GiB
  CHECK(large == 66.84375);
  CHECK(stage(published_models[3], 1, 1, tensor, Recompute::none) == 131.25);  // not interleaved
  CHECK(stage(published_models[0], 1, 1, both, Recompute::selective) == 9.5625);
  CHECK(stage(published_models[3], 1, 1, both, Recompute::selective) == 26.5625);
  // Figure 7, share of that in percent.
  CHECK(stage(published_models[0], 1, 1, tensor, Recompute::selective) / small == doctest::Approx(0.4942).epsilon(1e-3));
  CHECK(stage(published_models[0], 1, 1, both, Recompute::selective) / small == doctest::Approx(0.1618).epsilon(1e-3));
  CHECK(stage(published_models[1], 8, 3, both, Recompute::selective) / large == doctest::Approx(0.1849).epsilon(1e-3));
  CHECK(stage(published_models[1], 8, 3, tensor, Recompute::full) / large == doctest::Approx(0.0871).epsilon(1e-3));
}

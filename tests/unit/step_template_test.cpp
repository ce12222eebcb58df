// One rank's costs by part of the model: every operator and every weight in exactly one part, layers in order.
#include "sim/timeline/step_template.hpp"

#include <algorithm>
#include <cmath>

#include "model_support.hpp"

using namespace gambrel;
using namespace gambrel::sim;
using namespace gambrel::test;

namespace {

const std::string alternating =
    "  - {count: 3, repeat: [{attention: {kind: gqa, heads: 4, kv_heads: 2, head_dim: 8}, ffn: {kind: dense, inner: 24}},"
    " {attention: {kind: mha, heads: 4, head_dim: 8}, ffn: {kind: moe, experts: 4, top_k: 2, inner: 12}}]}\n";
const std::string plain = "  - {count: 6, attention: {kind: mha, heads: 4, head_dim: 8}, ffn: {kind: dense, inner: 24}}\n";

models::Graph training_graph(const models::ModelConfig& model, const models::Sharding& sharding = {}) {
  models::Step step{.sequences = 2, .new_tokens = 16};
  step.logits = 16;
  step.training = true;
  return models::build(model, {model.dtype, model.precision, {}}, step, sharding);
}

/// Operator i takes i + 1 seconds.
Phase numbered(const models::Graph& graph) {
  Phase phase;
  for (const models::Op& op : graph.ops()) phase.ops.push_back({.name = op.name, .count = op.count, .time = Seconds{double(phase.ops.size() + 1)}});
  return phase;
}

double seconds_of(const Phase& phase) {
  double sum = 0;
  for (const OpEstimate& op : phase.ops) sum += op.count * op.time.value;
  return sum;
}

PartCost whole(const StepTemplate& step) { return step.all_layers() + step.embedding + step.head; }

}  // namespace

TEST_CASE("template: each operator's time is in one part, as often as there are layers of its kind") {
  for (const std::string& layers : {plain, alternating}) {
    const models::Graph forward = training_graph(model_with(layers)), backward = models::backward(forward, models::Recompute::selective, {});
    const Phase f = numbered(forward), b = numbered(backward);
    const Evaluated backwards{&backward, &b};
    const StepTemplate step = make_template({&forward, &f}, &backwards, {});
    const PartCost all = whole(step);
    CHECK(all.forward.seconds() == doctest::Approx(seconds_of(f)));
    CHECK(all.backward_inputs.seconds() + all.backward_weights.seconds() == doctest::Approx(seconds_of(b)));
    CHECK(all.backward_weights.seconds() > 0);
    CHECK(step.layers == 6);
    CHECK(step.blocks.size() == (layers == plain ? 1 : 2));
  }
}

TEST_CASE("template: weights and cache are those of the graph, experts apart") {
  const models::ModelConfig model = model_with(alternating);
  const models::Graph graph = models::build(model, {model.dtype, {}, {}}, {.sequences = 2, .past_tokens = 10});
  const PartCost all = whole(make_template({&graph, nullptr}, nullptr, {}));
  double dense = 0, experts = 0, cache = 0;
  for (const models::Tensor& t : graph.tensors()) {
    using enum models::Role;
    (t.role == weight ? dense : t.role == expert_weight ? experts : cache) += t.role == activation ? 0 : t.bytes() * t.copies;
  }
  CHECK(all.weights == doctest::Approx(dense));
  CHECK(all.experts == doctest::Approx(experts));
  CHECK(all.expert_parameters == doctest::Approx(experts / 2));
  CHECK(all.kv_cache == doctest::Approx(cache));
  CHECK(all.forward.seconds() == 0);  // nothing was evaluated
}

TEST_CASE("template: a tied table is kept at both ends, and its gradients belong to both") {
  const auto of = [](const std::string& more) {
    const models::Graph graph = training_graph(model_with(plain, more));
    return make_template({&graph, nullptr}, nullptr, {});
  };
  const StepTemplate tied = of("tie_embeddings: true\n"), apart = of("");
  CHECK(tied.tied_parameters == 100 * 16);
  CHECK(tied.tied_bytes == 100 * 16 * 2);
  CHECK(apart.tied_parameters == 0);
  CHECK(tied.embedding.dense_parameters == apart.embedding.dense_parameters);
  CHECK(tied.head.dense_parameters == apart.head.dense_parameters);
}

TEST_CASE("template: layers of two kinds are two blocks, each with its own layers") {
  const models::Graph graph = training_graph(model_with(alternating));
  const Phase phase = numbered(graph);
  const StepTemplate step = make_template({&graph, &phase}, nullptr, {});
  REQUIRE(step.blocks.size() == 2);
  for (const Block& block : step.blocks) {
    CHECK(block.step == 2);
    CHECK(block.count == 3);
    CHECK((block.layer.experts > 0) == (block.first == 1));
  }
  const PartCost layers = step.all_layers();
  CHECK(layers.forward.seconds() == doctest::Approx(3 * (step.blocks[0].layer.forward.seconds() + step.blocks[1].layer.forward.seconds())));
}

TEST_CASE("template: what goes from stage to stage is the residual stream, cut by tokens under sequence parallelism") {
  const models::ModelConfig model = model_with(plain);
  const auto boundary = [&](const models::Sharding& s) {
    const models::Graph graph = training_graph(model, s);
    return make_template({&graph, nullptr}, nullptr, {}).boundary;
  };
  CHECK(boundary({}) == 2 * 16 * 16 * 2.0);  // sequences x tokens x hidden in bf16
  CHECK(boundary({.tensor = 2}) == boundary({}));
  CHECK(boundary({.tensor = 2, .sequence = true}) == boundary({}) / 2);
}

TEST_CASE("template: collectives are network time, the share that the plan asserts is hidden") {
  const models::Graph graph = training_graph(model_with(plain), {.tensor = 2});
  const Phase phase = numbered(graph);
  double sent = 0;
  for (std::size_t i = 0; i < graph.ops().size(); ++i)
    if (graph.ops()[i].communication) sent += phase.ops[i].time.value * phase.ops[i].count;
  REQUIRE(sent > 0);
  const PassCost none = whole(make_template({&graph, &phase}, nullptr, {.tensor = 2})).forward;
  const PassCost most = whole(make_template({&graph, &phase}, nullptr, {.tensor = 2, .overlap_tensor = 0.75})).forward;
  CHECK(none.network == doctest::Approx(sent));
  CHECK(none.hidden == 0);
  CHECK(most.network == doctest::Approx(sent / 4));
  CHECK(most.hidden == doctest::Approx(3 * sent / 4));
  CHECK(most.compute == doctest::Approx(none.compute));
}

TEST_CASE("template: blocks that go round hide behind attention, as far as it lasts") {
  const models::Graph graph = training_graph(model_with(plain), {.context = 4, .exchange = models::ContextExchange::ring});
  const auto forward = [&](double ring, double attention) {
    Phase phase = numbered(graph);
    for (std::size_t i = 0; i < graph.ops().size(); ++i) {
      const models::Op& op = graph.ops()[i];
      phase.ops[i].time = Seconds{op.communication ? ring : op.kind == models::OpKind::attention ? attention : 0};
    }
    return make_template({&graph, &phase}, nullptr, {.context = 4}).blocks[0].layer.forward;
  };
  const double rings = forward(1, 0).network;  // of one second each
  REQUIRE(rings > 0);
  CHECK(forward(1, 100).network == doctest::Approx(0));
  CHECK(forward(1, 100).hidden == doctest::Approx(rings));
  CHECK(forward(10, 3).network == doctest::Approx(10 * rings - 3));
  CHECK(forward(10, 3).hidden == doctest::Approx(3));
}

TEST_CASE("template: the less is recomputed the more is kept") {
  const models::Graph graph = training_graph(model_with(plain)), backward = models::backward(graph, models::Recompute::none, {});
  const auto saved = [&](models::Recompute recompute) {
    const Evaluated none{&backward, nullptr};
    return make_template({&graph, nullptr}, &none, {.recompute = recompute}).blocks[0].layer.saved;
  };
  CHECK(saved(models::Recompute::full) > 0);
  CHECK(saved(models::Recompute::full) < saved(models::Recompute::selective));
  CHECK(saved(models::Recompute::selective) <= saved(models::Recompute::none));
}

TEST_CASE("template: layers go to stages once each, in order, evenly; odd ones to the middle") {
  using Ranges = std::vector<std::pair<int, int>>;
  CHECK(layer_ranges(6, 4, 1) == Ranges{{0, 1}, {1, 3}, {3, 5}, {5, 6}});
  CHECK(layer_ranges(126, 16, 1).front() == std::pair{0, 7});
  for (int layers : {1, 6, 7, 80, 126})
    for (int stages : {1, 2, 3, 7, 16})
      for (int chunks : {1, 2, 5}) {
        const auto ranges = layer_ranges(layers, stages, chunks);
        REQUIRE(ranges.size() == static_cast<std::size_t>(stages * chunks));
        int next = 0, least = layers, most = 0;
        for (const auto& [first, last] : ranges) {
          CHECK(first == next);
          least = std::min(least, last - first), most = std::max(most, last - first), next = last;
        }
        CHECK(next == layers);
        CHECK(most - least <= 1);
        CHECK(ranges.back().second - ranges.back().first == least);  // it has the head as well
      }
}

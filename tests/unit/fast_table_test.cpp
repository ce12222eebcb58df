// The executor with the suite's kernels in place of its references: the same logits, whatever the model is made of.
#include "kernels/suite/fast_table.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>

#include "kernels/measure_graph.hpp"
#include "tests/unit/model_support.hpp"

using namespace gambrel;
using namespace gambrel::kernels;

namespace {

models::Graph graph_of(const models::ModelConfig& model, const models::Step& step) { return models::build(model, {model.dtype, {}, {}}, step); }

double largest(const std::vector<double>& values) {
  double most = 0;
  for (const double v : values) most = std::max(most, std::abs(v));
  return most;
}

/// A prompt and one more token, fast and by the references.
void check_equal(const models::ModelConfig& model) {
  Executor<float> fast(model, {}, {.count = false, .keep_weights = true, .fast = &fast_table()}), plain(model, {}, {.count = false, .keep_weights = true});
  for (const models::Step& step : {models::Step{.sequences = 2, .new_tokens = 37}, models::Step{.sequences = 2, .new_tokens = 1, .past_tokens = 37}}) {
    const auto a = fast.run(graph_of(model, step), step), b = plain.run(graph_of(model, step), step);
    REQUIRE(a.has_value());
    REQUIRE(b.has_value());
    REQUIRE(a->logits.size() == b->logits.size());
    double difference = 0;
    for (std::size_t i = 0; i < a->logits.size(); ++i) difference = std::max(difference, std::abs(a->logits[i] - b->logits[i]));
    CHECK(difference < 2e-5 * largest(b->logits));
  }
}

models::ModelConfig llama(const std::string& attention) {
  return test::model_of("hidden: 64\nvocab: 96\nlayers:\n  - count: 2\n    attention: {" + attention + "}\n    ffn: {kind: dense, inner: 80, activation: swiglu}\n");
}

}  // namespace

TEST_CASE("fast kernels: a Llama gives the references' logits") { check_equal(llama("kind: gqa, heads: 4, kv_heads: 2, head_dim: 16")); }

TEST_CASE("fast kernels: windows and odd heads fall back, and are still right") {
  check_equal(llama("kind: gqa, heads: 4, kv_heads: 2, head_dim: 16, window: 9"));
  check_equal(llama("kind: gqa, heads: 3, kv_heads: 1, head_dim: 20"));
}

TEST_CASE("fast kernels: experts with as many rows as come") {
  check_equal(test::model_of("hidden: 64\nvocab: 96\nlayers:\n  - count: 2\n    attention: {kind: gqa, heads: 4, kv_heads: 4, head_dim: 16}\n"
                             "    ffn: {kind: moe, experts: 4, top_k: 2, inner: 48, activation: swiglu}\n"));
}

TEST_CASE("fast kernels: a measured graph keeps its counts, times each operator, and holds its weights") {
  const models::ModelConfig model = llama("kind: gqa, heads: 4, kv_heads: 2, head_dim: 16");
  const models::Step step{.new_tokens = 8};
  const auto plain = measure_graph(model, graph_of(model, step), step), fast = measure_graph(model, graph_of(model, step), step, {}, {.fast = &fast_table(), .runs = 3, .seconds = 1});
  REQUIRE(plain.has_value());
  REQUIRE(fast.has_value());
  CHECK(plain->runs == 1);
  CHECK(fast->runs >= 2);
  REQUIRE(fast->ops.size() == plain->ops.size());
  for (std::size_t i = 0; i < fast->ops.size(); ++i) {
    CHECK(fast->ops[i].flops == plain->ops[i].flops);
    CHECK(fast->ops[i].bytes == plain->ops[i].bytes);
    CHECK(std::isfinite(fast->ops[i].seconds));
  }
  CHECK(fast->peak_bytes >= 4 * fast->parameters);
  CHECK(fast_table_text().find("oneDNN") == 0);
}

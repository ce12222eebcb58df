// The executor with the suite's kernels in place of its references: the same logits, whatever the model is made of.
#include "kernels/suite/fast_table.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <vector>

#include "kernels/executor/measure_graph.hpp"
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

TEST_CASE("fast kernels: rotary embedding turns in place, of any width") {
  for (const std::size_t width : {2u, 20u, 64u, 128u}) {
    const std::size_t heads = 3, half = width / 2, position = 11;
    std::vector<float> x(heads * width);
    for (std::size_t i = 0; i < x.size(); ++i) x[i] = std::sin(static_cast<float>(i));
    std::vector<double> wanted(x.begin(), x.end());
    for (std::size_t i = 0; i < x.size(); ++i) {
      const std::size_t pair = i % half;
      const double angle = static_cast<double>(position) * std::pow(10000.0, -2.0 * static_cast<double>(pair) / static_cast<double>(width));
      const bool is_first = i % width < half;
      wanted[i] = x[i] * std::cos(angle) + (is_first ? -x[i + half] : x[i - half]) * std::sin(angle);
    }
    fast_table().rotary(x.data(), position, heads, width, 10000);
    for (std::size_t i = 0; i < x.size(); ++i) CHECK(x[i] == doctest::Approx(wanted[i]).epsilon(1e-5));
  }
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

TEST_CASE("fast kernels: a sum may overwrite a term; the first of the largest is found, wherever it stands") {
  std::vector<float> a(37), b(37);
  for (std::size_t i = 0; i < a.size(); ++i) a[i] = static_cast<float>(i), b[i] = 2 * a[i];
  fast_table().add(a.data(), b.data(), a.data(), a.size());
  for (std::size_t i = 0; i < a.size(); ++i) CHECK(a[i] == 3 * static_cast<float>(i));
  for (const std::size_t n : {1, 15, 16, 17, 33, 100})
    for (std::size_t at = 0; at < n; ++at) {
      std::vector<float> x(n, -2.0f);
      x[at] = -1, x[n - 1] = -1;
      CHECK(fast_table().argmax(x.data(), n) == at);
    }
}

TEST_CASE("fast kernels: a step that is run again, a longer one and another prompt give what a fresh executor gives") {
  const models::ModelConfig model = llama("kind: gqa, heads: 4, kv_heads: 2, head_dim: 16");
  const ExecutorOptions options{.count = false, .keep_weights = true, .fast = &fast_table()};
  Executor<float> kept(model, {}, options);
  const models::Step prompt{.sequences = 2, .new_tokens = 9}, next{.sequences = 2, .new_tokens = 1, .past_tokens = 9}, more{.sequences = 2, .new_tokens = 3, .past_tokens = 10};
  std::vector<double> once, again;
  for (std::vector<double>* logits : {&once, &again}) {
    for (const models::Step& step : {prompt, next, next, more, next, more}) {
      const auto done = kept.run(graph_of(model, step), step);
      REQUIRE(done.has_value());
      logits->insert(logits->end(), done->logits.begin(), done->logits.end());
    }
  }
  CHECK(once == again);
  Executor<float> fresh(model, {}, options);
  std::vector<double> straight;
  for (const models::Step& step : {prompt, next}) {
    const auto done = fresh.run(graph_of(model, step), step);
    straight.insert(straight.end(), done->logits.begin(), done->logits.end());
  }
  CHECK(std::equal(straight.begin(), straight.end(), once.begin()));
}

TEST_CASE("fast kernels: what is measured beside has its turns, and its clock counts") {
  const models::ModelConfig model = llama("kind: gqa, heads: 4, kv_heads: 2, head_dim: 16");
  const models::Step step{.new_tokens = 8};
  int turns = 0;
  const auto clock = [&turns] { return ++turns, 2.0; };
  const auto measured = measure_graph(model, graph_of(model, step), step, {}, {.fast = &fast_table(), .runs = 12, .seconds = 5, .beside = clock});
  REQUIRE(measured.has_value());
  CHECK(measured->runs == 12);
  CHECK(turns == 3);  // of five runs at the most
  for (const MeasuredOp& op : measured->ops) CHECK((op.seconds > 0 && op.seconds < 1));
}

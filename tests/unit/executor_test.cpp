// The executing reference path on models small enough to say what must come out.
#include <doctest/doctest.h>

#include <cmath>

#include "kernels/executor/executor.hpp"
#include "kernels/executor/fast_kernels.hpp"
#include "kernels/executor/measure_graph.hpp"
#include "kernels/weights/scale_model.hpp"
#include "kernels/weights/weights.hpp"
#include "models/backward.hpp"
#include "tests/unit/model_support.hpp"

using namespace gambrel;
using namespace gambrel::models;
using namespace gambrel::test;
using kernels::Executor;

namespace {

ModelConfig attention_model(const std::string& more = "") {
  return model_with("  - count: 2\n    attention: {kind: gqa, heads: 4, kv_heads: 2, head_dim: 4" + more +
                    "}\n    ffn: {kind: dense, inner: 24, activation: swiglu}\n");
}

ModelConfig routed_model() {
  return model_with(
      "  - attention: {kind: gqa, heads: 2, head_dim: 8}\n    ffn: {kind: moe, experts: 4, top_k: 2, inner: 12, activation: swiglu}\n");
}

template <class T = double>
kernels::Execution executed(const ModelConfig& model, const Step& step) {
  const auto done = Executor<T>(model).run(graph_of(model, step), step);
  REQUIRE_MESSAGE(done.has_value(), complaints(done ? Diagnostics{} : done.error()));
  return *done;
}

/// The one diagnostic of a run that must fail.
std::string refusal(const ModelConfig& model, const Graph& graph, const Step& step, const Sharding& sharding = {}) {
  const auto done = Executor<double>(model, sharding).run(graph, step);
  REQUIRE_FALSE(done.has_value());
  for (const Diagnostic& d : done.error()) CHECK(d.fault == Fault::input);
  return done.error().front().message;
}

double flops_of(const ModelConfig& model, const Step& step, std::string_view path) {
  const Graph graph = graph_of(model, step);
  const kernels::Execution done = executed(model, step);
  double sum = 0;
  for (OpId id = 0; id < graph.ops().size(); ++id)
    if (graph.op(id).name.ends_with(path)) sum += done.ops[id].flops;
  return sum;
}

}  // namespace

TEST_CASE("executor: weights and tokens are the formula's, wherever they are computed") {
  // From tests/golden/reference_models.py.
  CHECK(kernels::unit_value("embed.table", 0, 0) == 0.40230318471227178);
  CHECK(kernels::unit_value("embed.table", 1, 0) == 0.2959386067812122);
  CHECK(kernels::unit_value("layers.7.attn.qkv.weight", 1000, 0) == -0.2978782461157834);
  CHECK(kernels::unit_value("embed.table", 0, 1) != kernels::unit_value("embed.table", 0, 0));
  CHECK(kernels::token_at(0, 0, 50, 0) == 37);
  CHECK(kernels::token_at(1, 6, 50, 0) == 36);
  double sum = 0;
  for (std::uint64_t i = 0; i < 10000; ++i) sum += kernels::unit_value("x", i, 3);
  CHECK(std::abs(sum / 10000) < 0.03);
}

TEST_CASE("executor: causal attention computes s (s + 1) / 2 pairs, a window and a chunk fewer") {
  const double per_pair = 2 * 2 * 4 * (4 + 4);  // layers, multiply-add, heads, widths
  CHECK(flops_of(attention_model(), {.new_tokens = 9}, "attn.core") == per_pair * 45);
  CHECK(flops_of(attention_model(), {.sequences = 3, .new_tokens = 2, .past_tokens = 5}, "attn.core") ==
        per_pair * 3 * (6 + 7));
  CHECK(flops_of(attention_model(", window: 3"), {.new_tokens = 9}, "attn.core") == per_pair * (1 + 2 + 7 * 3));
  CHECK(flops_of(attention_model(", chunk: 4"), {.new_tokens = 9}, "attn.core") == per_pair * (10 + 10 + 1));
}

TEST_CASE("executor: every token runs through top_k experts") {
  for (bool fused : {true, false}) {
    Step step{.sequences = 3, .new_tokens = 5};
    step.fused_experts = fused;
    double rows = 0;
    for (const char* path : {"moe.experts", "moe.experts.up", "moe.experts.down"})
      rows += flops_of(routed_model(), step, path) / (2.0 * 12 * 16);
    CHECK(rows == 3 * 2 * 15);  // projections x top_k x tokens
  }
}

TEST_CASE("executor: a token that sees itself alone does not depend on others") {
  const ModelConfig alone = attention_model(", window: 1");
  const Step three{.new_tokens = 3}, last{.new_tokens = 1, .past_tokens = 2};
  const auto first = executed(alone, three).logits, second = executed(alone, last).logits;
  REQUIRE(first.size() == second.size());
  for (std::size_t i = 0; i < first.size(); ++i) CHECK(first[i] == doctest::Approx(second[i]).epsilon(1e-12));
  const ModelConfig all = attention_model();
  CHECK(executed(all, three).logits != executed(all, last).logits);
}

TEST_CASE("executor: rotary embedding and sinks change the result, the seed everything") {
  const Step step{.new_tokens = 3};
  const auto plain = executed(attention_model(", rotary: 0"), step).logits;
  CHECK(executed(attention_model(), step).logits != plain);
  CHECK(executed(attention_model(", rotary: 2"), step).logits != plain);
  CHECK(executed(attention_model(", rotary: 0, sinks: true"), step).logits != plain);
  const ModelConfig model = attention_model(", rotary: 0");
  CHECK(Executor<double>(model, {}, {.seed = 1}).run(graph_of(model, step), step)->logits != plain);
}

TEST_CASE("executor: sampling is greedy and a loss is the mean over next tokens") {
  Step step{.sequences = 2, .new_tokens = 4, .logits = 4};
  const ModelConfig model = routed_model();
  const kernels::Execution done = executed(model, step);
  REQUIRE(done.rows == 8);
  REQUIRE(done.tokens.size() == 8);
  step.training = true;
  double loss = 0;
  for (std::size_t row = 0; row < 8; ++row) {
    const double* logits = done.logits.data() + row * done.vocabulary;
    double sum = 0;
    for (std::size_t i = 0; i < done.vocabulary; ++i) {
      sum += std::exp(logits[i]);
      CHECK(logits[static_cast<std::size_t>(done.tokens[row])] >= logits[i]);
    }
    loss += std::log(sum) - logits[kernels::token_at(row / 4, row % 4 + 1, model.vocab, 0)];
  }
  CHECK(executed(model, step).loss == doctest::Approx(loss / 8).epsilon(1e-12));
}

TEST_CASE("executor: single precision is near double") {
  const Step step{.sequences = 2, .new_tokens = 6};
  const auto wide = executed(routed_model(), step).logits, narrow = executed<float>(routed_model(), step).logits;
  REQUIRE(wide.size() == narrow.size());
  for (std::size_t i = 0; i < wide.size(); ++i) CHECK(std::abs(wide[i] - narrow[i]) < 1e-5);
  CHECK(wide != narrow);
}

TEST_CASE("executor: what it cannot run is an error that says so") {
  const ModelConfig model = attention_model();
  const Step step{.new_tokens = 4};
  const Graph graph = graph_of(model, step);
  CHECK(refusal(model, graph, {.new_tokens = 6}, {.context = 2}) == "4 ranks do not divide 6 new tokens");
  CHECK(refusal(model, graph, step, {.tensor = 3}) == "3 ranks do not divide 100 tokens of the vocabulary");
  CHECK(refusal(model, graph, {.new_tokens = 1.5}) == "1.5 sequences or tokens are not a whole number");
  const ModelConfig positions = model_with("  - attention: {kind: gqa, heads: 2}\n", "learned_positions: 8\n");
  CHECK(refusal(positions, graph_of(positions, {.past_tokens = 8}), {.past_tokens = 8}) ==
        "position 9 is behind the table of 8 positions");
  Step training = step;
  training.training = true;
  const Graph forward = graph_of(model, training);
  const auto unkept = Executor<double>(model).train(forward, backward(forward, Recompute::none, {}), training);
  REQUIRE_FALSE(unkept.has_value());
  CHECK(unkept.error().front().message == "weights that are not kept cannot be trained");
}

namespace {

int products_run = 0, norms_run = 0, attentions_run = 0, activations_run = 0;

struct PlainWeights {
  std::vector<float> values;
  std::size_t n, k;
};

kernels::FastKernels::Packed pack(const float* weights, std::size_t, std::size_t n, std::size_t k) {
  return std::make_shared<PlainWeights>(PlainWeights{{weights, weights + n * k}, n, k});
}

void multiply(const kernels::FastKernels::Packed& packed, const float* x, std::size_t x_stride, const float* bias, float* y,
              std::size_t y_stride, std::size_t m) {
  ++products_run;
  const auto& w = *static_cast<const PlainWeights*>(packed.get());
  for (std::size_t i = 0; i < m; ++i)
    for (std::size_t j = 0; j < w.n; ++j) {
      float sum = bias ? bias[j] : 0;
      for (std::size_t l = 0; l < w.k; ++l) sum += x[i * x_stride + l] * w.values[j * w.k + l];
      y[i * y_stride + j] = sum;
    }
}

void norm(const float* x, const float* gain, float* y, std::size_t rows, std::size_t n, float epsilon) {
  ++norms_run;
  for (std::size_t row = 0; row < rows; ++row, x += n, y += n) {
    float squares = 0;
    for (std::size_t i = 0; i < n; ++i) squares += x[i] * x[i];
    for (std::size_t i = 0; i < n; ++i) y[i] = x[i] / std::sqrt(squares / static_cast<float>(n) + epsilon) * gain[i];
  }
}

void swiglu(const float* in, float* out, std::size_t rows, std::size_t inner) {
  ++activations_run;
  for (std::size_t row = 0; row < rows; ++row)
    for (std::size_t i = 0; i < inner; ++i) {
      const float gate = in[row * 2 * inner + i];
      out[row * inner + i] = gate / (1 + std::exp(-gate)) * in[row * 2 * inner + inner + i];
    }
}

void attend(const kernels::AttentionCall& c) {
  ++attentions_run;
  for (std::size_t h = 0; h < c.heads; ++h)
    for (std::size_t i = 0; i < c.queries; ++i) {
      const std::size_t end = c.keys - c.queries + i + 1, first = c.window > 0 && end > c.window ? end - c.window : 0;
      const std::size_t kv = h / (c.heads / c.kv_heads);
      std::vector<float> out(c.v_width);
      float sum = 0;
      for (std::size_t j = first; j < end; ++j) {
        float score = 0;
        for (std::size_t l = 0; l < c.qk_width; ++l)
          score += c.q[i * c.q_stride + h * c.qk_width + l] * c.k[j * c.k_stride + kv * c.qk_width + l];
        const float weight = std::exp(score * c.scale);
        sum += weight;
        for (std::size_t l = 0; l < c.v_width; ++l) out[l] += weight * c.v[j * c.v_stride + kv * c.v_width + l];
      }
      for (std::size_t l = 0; l < c.v_width; ++l) c.out[i * c.out_stride + h * c.v_width + l] = out[l] / sum;
    }
}

}  // namespace

TEST_CASE("executor: fast kernels stand in for the references and count the same") {
  const kernels::FastKernels fast{.pack = pack, .gemm = multiply, .attention = attend, .rms_norm = norm, .swiglu = swiglu};
  for (const ModelConfig& model : {attention_model(", window: 3, qkv_bias: true"), routed_model()}) {
    Executor<float> plain(model), quick(model, {}, {.keep_weights = true, .fast = &fast});
    products_run = norms_run = attentions_run = activations_run = 0;
    for (const Step& step : {Step{.sequences = 2, .new_tokens = 5, .logits = 5}, Step{.sequences = 2, .past_tokens = 5}}) {
      const Graph graph = graph_of(model, step);
      const auto expected = plain.run(graph, step), found = quick.run(graph, step);
      REQUIRE(found.has_value());
      for (std::size_t i = 0; i < expected->logits.size(); ++i) CHECK(std::abs(found->logits[i] - expected->logits[i]) < 1e-5);
      for (OpId id = 0; id < graph.ops().size(); ++id) {
        CHECK_MESSAGE(found->ops[id].flops == expected->ops[id].flops, graph.op(id).name);
        CHECK_MESSAGE(found->ops[id].vector_flops == expected->ops[id].vector_flops, graph.op(id).name);
      }
    }
    CHECK(products_run > 0);
    CHECK(norms_run > 0);
    CHECK(attentions_run > 0);
  }
}

TEST_CASE("executor: the most that is held is weights, caches and a layer's activations") {
  const ModelConfig model = attention_model();
  const Step step{.sequences = 2, .new_tokens = 6};
  const Graph graph = graph_of(model, step);
  const double all_weights = 8 * count_parameters(graph).total, cache = 8 * 2 * 2 * 6 * 2 * 2 * 4;
  const auto held = Executor<double>(model, {}, {.keep_weights = true}).run(graph, step), drawn = Executor<double>(model).run(graph, step);
  CHECK(held->peak_bytes >= all_weights + cache);
  CHECK(held->peak_bytes <= all_weights + cache + 8 * 12 * (100 + 16 + 48));
  CHECK(drawn->peak_bytes < held->peak_bytes);
  CHECK(drawn->peak_bytes > cache);
}

TEST_CASE("executor: training a few steps makes the loss fall") {
  const ModelConfig model = routed_model();
  Step step{.sequences = 2, .new_tokens = 6};
  step.training = true;
  const Graph forward = graph_of(model, step), back = backward(forward, Recompute::full, {}), optimizer = optimizer_step(forward, {}, 1, 1);
  Executor<float> executor(model, {}, {.count = false, .keep_weights = true});
  CHECK_FALSE(executor.update(optimizer, {}).has_value());
  std::vector<double> losses;
  for (int i = 0; i < 20; ++i) {
    const auto trained = executor.train(forward, back, step);
    REQUIRE(trained.has_value());
    losses.push_back(trained->forward.loss);
    const auto updated = executor.update(optimizer, {.learning_rate = 0.01});
    REQUIRE(updated.has_value());
    for (OpId id = 0; id < optimizer.ops().size(); ++id)
      if (optimizer.op(id).kind == OpKind::elementwise)
        CHECK(updated->ops[id].flops == work_of(optimizer, optimizer.op(id)).flops);
  }
  CHECK(losses.back() < 0.5 * losses.front());
}

TEST_CASE("executor: a graph beyond the limits is refused with what would help") {
  const ModelConfig model = routed_model();
  const Step step{.new_tokens = 4};
  const auto many = kernels::measure_graph(model, graph_of(model, step), step, {.flops = 10});
  REQUIRE_FALSE(many.has_value());
  CHECK(complaints(many.error()).find("--width-fraction") != std::string::npos);
  const auto large = kernels::measure_graph(model, graph_of(model, step), step, {.bytes = 10});
  REQUIRE_FALSE(large.has_value());
  CHECK(complaints(large.error()).find("memory") != std::string::npos);
  const auto measured = kernels::measure_graph(model, graph_of(model, step), step);
  REQUIRE(measured.has_value());
  CHECK(measured->parameters == count_parameters(graph_of(model, step)).total);
  for (const kernels::MeasuredOp& op : measured->ops) CHECK_MESSAGE((op.executions == 1 && op.seconds > 0), op.name);
}

TEST_CASE("executor: a scaled model keeps its kind") {
  const ModelConfig big = model_with(
      "  - count: 1\n    attention: {kind: gqa, heads: 8, kv_heads: 4, head_dim: 2}\n    ffn: {kind: dense, inner: 64, activation: swiglu}\n"
      "  - count: 5\n    attention: {kind: gqa, heads: 8, kv_heads: 1, head_dim: 2}\n    ffn: {kind: moe, experts: 4, top_k: 2, inner: 30, activation: swiglu}\n");
  const ModelConfig small = kernels::scale_model(big, 3, 0.5);
  CHECK(small.layer_count() == 3);
  CHECK(small.hidden == 8);
  CHECK(small.vocab == 50);
  CHECK(small.layers[0].pattern[0].attention->heads == 4);
  CHECK(small.layers[0].pattern[0].attention->kv_heads == 2);
  CHECK(small.layers[1].count == 2);
  CHECK(small.layers[1].pattern[0].attention->heads == 4);
  CHECK(small.layers[1].pattern[0].attention->kv_heads == 1);
  CHECK(small.layers[1].pattern[0].moe->sizes[0].inner == 15);
  CHECK(small.layers[1].pattern[0].moe->experts() == 4);
  CHECK(kernels::scale_model(big, 0, 1).layer_count() == 6);
  CHECK(kernels::scale_model(big, 100, 1).layer_count() == 6);
  CHECK(executed(small, {.new_tokens = 3}).vocabulary == 50);
}

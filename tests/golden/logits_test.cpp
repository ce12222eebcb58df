// The executor's logits against those of an independent NumPy program: tests/golden/reference_models.py.
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <fstream>
#include <sstream>
#include <string>
#include <vector>

#include "kernels/executor/executor.hpp"
#include "tests/unit/model_support.hpp"

using namespace gambrel;
using namespace gambrel::test;

namespace {

std::vector<double> golden(const std::string& name) {
  std::ifstream file(GAMBREL_SOURCE_DIR "/tests/golden/logits/" + name + ".csv");
  REQUIRE(file.good());
  std::vector<double> values;
  for (std::string line; std::getline(file, line);) {
    std::istringstream cells(line);
    for (std::string cell; std::getline(cells, cell, ',');) values.push_back(std::stod(cell));
  }
  return values;
}

/// Largest difference over the largest logit.
template <class T>
double difference(const models::ModelConfig& model, const models::Step& step, const std::vector<double>& expected) {
  const auto done = kernels::Executor<T>(model).run(graph_of(model, step), step);
  REQUIRE_MESSAGE(done.has_value(), complaints(done ? Diagnostics{} : done.error()));
  REQUIRE(done->logits.size() == expected.size());
  double largest = 0, worst = 0;
  for (std::size_t i = 0; i < expected.size(); ++i) {
    largest = std::max(largest, std::abs(expected[i]));
    worst = std::max(worst, std::abs(done->logits[i] - expected[i]));
  }
  return worst / largest;
}

void check_golden(const std::string& name, const models::ModelConfig& model) {
  const std::vector<double> expected = golden(name);
  for (bool fused : {false, true}) {
    models::Step step{.sequences = 2, .new_tokens = 7, .logits = 7};
    step.fused_attention = step.fused_experts = fused;
    CHECK(difference<double>(model, step, expected) < 1e-10);
    CHECK(difference<float>(model, step, expected) < 1e-5);
  }
}

}  // namespace

TEST_CASE("golden logits: grouped-query attention, biases, tied embeddings") {
  check_golden("llama", model_of("hidden: 32\nvocab: 50\ntie_embeddings: true\nlayers:\n"
                                 "  - count: 3\n"
                                 "    attention: {kind: gqa, heads: 4, kv_heads: 2, head_dim: 8, qkv_bias: true}\n"
                                 "    ffn: {kind: dense, inner: 40, activation: swiglu}\n"));
}

TEST_CASE("golden logits: a sliding window and routed experts") {
  check_golden("mixtral", model_of("hidden: 24\nvocab: 40\nlayers:\n"
                                   "  - count: 2\n"
                                   "    attention: {kind: gqa, heads: 6, kv_heads: 2, head_dim: 4, window: 4}\n"
                                   "    ffn: {kind: moe, experts: 8, top_k: 2, inner: 20, activation: swiglu}\n"));
}

TEST_CASE("golden logits: latent attention, absorbed and expanded, and a shared expert") {
  for (const char* absorb : {"always", "never"}) {
    const std::string attention =
        std::string(
            "    attention: {kind: mla, heads: 4, q_lora_rank: 12, kv_lora_rank: 16, rope_head_dim: 4, "
            "nope_head_dim: 8, v_head_dim: 6, absorb: ") +
        absorb + "}\n";
    check_golden(
        "deepseek",
        model_of("hidden: 32\nvocab: 60\nlayers:\n  - count: 1\n" + attention +
                 "    ffn: {kind: dense, inner: 36, activation: swiglu}\n  - count: 2\n" + attention +
                 "    ffn: {kind: moe, experts: 8, top_k: 3, inner: 10, activation: swiglu, shared: {inner: 14}}\n"));
  }
}

TEST_CASE("golden logits: layer norms, positions, biases, normed heads, sinks; a sandwich and a parallel layer") {
  const std::string parts =
      "    attention: {kind: gqa, heads: 3, head_dim: 8, rotary: 2, qk_norm: head, qkv_bias: true, out_bias: true, sinks: true}\n"
      "    ffn: {kind: dense, inner: 32, activation: gelu, bias: true}\n";
  check_golden("gpt",
               model_of("hidden: 24\nvocab: 30\nnorm: layer_norm\nlearned_positions: 16\nlm_head_bias: true\nlayers:\n"
                        "  - norms: sandwich\n" +
                        parts + "  - parallel: true\n    shared_norm: true\n" + parts));
}

TEST_CASE("golden logits: state spaces") {
  check_golden("mamba",
               model_of("hidden: 20\nvocab: 30\nlayers:\n"
                        "  - {count: 2, mamba: {heads: 4, head_dim: 6, state: 5, groups: 2, conv_kernel: 3}}\n"));
}

// Adam's step: which tensors each group of parameters reads and writes, and what a parameter costs.
#include <doctest/doctest.h>

#include "models/backward.hpp"
#include "tests/unit/model_support.hpp"

using namespace gambrel;
using namespace gambrel::models;
using namespace gambrel::test;

namespace {

const char* const experts_and_dense =
    "  - count: 3\n    attention: {kind: mha, heads: 2, kv_heads: 2, head_dim: 8}\n    ffn: {kind: moe, experts: 4, top_k: 2, inner: 8, activation: swiglu}\n";

Graph forward_of(const std::string& layers, const std::string& more = "") {
  const ModelConfig model = model_with(layers, more);
  return build(model, {model.dtype, {}, {}}, Step{.sequences = 2, .new_tokens = 4, .training = true});
}

double bytes_of(const Graph& graph, std::string_view op, bool written) {
  const Work work = work_named(graph, op);
  double sum = 0;
  for (int role = 0; role < role_count; ++role) sum += (written ? work.written_bytes : work.read_bytes)[static_cast<std::size_t>(role)];
  return sum;
}

double parameters_of(const Graph& forward, Role role) {
  double sum = 0;
  for (const Tensor& t : forward.tensors())
    if (t.role == role) sum += t.elements() * t.copies;
  return sum;
}

}  // namespace

TEST_CASE("a parameter with 16-bit weights and fp32 otherwise: 16 bytes read, 14 written, 4 for the norm, 13 FLOPs") {
  const Graph forward = forward_of(experts_and_dense), graph = optimizer_step(forward, {}, 1, 1);
  for (auto [name, role] : {std::pair{"dense.bf16", Role::weight}, {"expert.bf16", Role::expert_weight}}) {
    CAPTURE(name);
    const double n = parameters_of(forward, role);
    CHECK(n > 0);
    CHECK(bytes_of(graph, fmt::format("optimizer.{}", name), false) == 16 * n + 4);
    CHECK(bytes_of(graph, fmt::format("optimizer.{}", name), true) == 14 * n);
    CHECK(bytes_of(graph, fmt::format("optimizer.norm.{}", name), false) - 4 * n <= 4);
    CHECK(work_named(graph, fmt::format("optimizer.{}", name)).vector_flops == 13 * n);
  }
  CHECK(graph.ops().size() == 4);
  CHECK(parameters_of(forward, Role::weight) + parameters_of(forward, Role::expert_weight) == doctest::Approx(count_parameters(forward).total));
}

TEST_CASE("without a master copy the weight itself is read; without clipping nothing is scaled") {
  const Graph forward = forward_of("  - attention: {kind: mha, heads: 2, kv_heads: 2, head_dim: 8}\n", "tie_embeddings: true\n");
  const double n = parameters_of(forward, Role::weight);
  const Graph graph = optimizer_step(forward, {.master = Format::bf16}, 1, 1, {.clip = false});
  REQUIRE(graph.ops().size() == 1);
  CHECK(bytes_of(graph, "optimizer.dense.bf16", false) == (4 + 4 + 4 + 2) * n);
  CHECK(bytes_of(graph, "optimizer.dense.bf16", true) == (4 + 4 + 2) * n);
  CHECK(graph.op(0).dims[Dim::terms] == 12);
}

TEST_CASE("a rank updates its share, and the norm of all is summed among the ranks") {
  const Graph forward = forward_of(experts_and_dense);
  const Graph graph = optimizer_step(forward, {}, 1.0 / 8, 1.0 / 2, {.ranks = 16});
  CHECK(op_named(graph, "optimizer.dense.bf16").dims[Dim::n] == parameters_of(forward, Role::weight) / 8);
  CHECK(op_named(graph, "optimizer.expert.bf16").dims[Dim::n] == parameters_of(forward, Role::expert_weight) / 2);
  const Op& norm = op_named(graph, "optimizer.norm.all_reduce");
  CHECK((norm.communication->bytes == 4 && norm.communication->ranks == 16));
  bool found = false;
  for (const Edge& e : graph.edges()) found |= graph.op(e.producer).name == norm.name && graph.op(e.consumer).name == "optimizer.dense.bf16";
  CHECK(found);  // no update before the norm is known
}

TEST_CASE("formats of weights are updated apart") {
  const ModelConfig model = model_with(experts_and_dense);
  const Precision run{{}, {{"layers.*.attn", {.weights = DataType(Format::fp8_e4m3)}}}};
  const Graph forward = build(model, {model.dtype, {}, run}, Step{.sequences = 1, .new_tokens = 4, .training = true});
  const Graph graph = optimizer_step(forward, {}, 1, 1, {.clip = false});
  CHECK(graph.ops().size() == 3);
  const double n = op_named(graph, "optimizer.dense.fp8_e4m3").dims[Dim::n];
  CHECK(bytes_of(graph, "optimizer.dense.fp8_e4m3", true) == 13 * n);
}

// The backward pass of small graphs, operator by operator: names, operands, shapes, and what is added up.
#include "models/backward.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <string>

#include "tests/unit/model_support.hpp"

using namespace gambrel;
using namespace gambrel::models;
using namespace gambrel::test;

namespace {

/// Adds tensors and operators with as little text as possible.
struct Small {
  Graph graph;
  TensorId tensor(std::string name, std::vector<double> shape, Role role = Role::activation, DataType type = Format::bf16) {
    return graph.add(Tensor{.name = std::move(name), .shape = std::move(shape), .type = type, .role = role});
  }
  TensorId weight(std::string name, std::vector<double> shape) { return tensor(std::move(name), std::move(shape), Role::weight); }
  Use read(TensorId t) const { return {t, false, graph.tensor(t).elements()}; }
  Use read(TensorId t, double elements) const { return {t, false, elements}; }
  Use write(TensorId t) const { return {t, true, graph.tensor(t).elements()}; }
  OpId op(std::string name, OpKind kind, std::vector<Use> uses, std::initializer_list<std::pair<Dim, double>> dims = {},
          std::optional<Communication> communication = {}) {
    Op o{.name = std::move(name), .kind = kind, .communication = communication, .uses = std::move(uses)};
    for (auto [d, extent] : dims) o.dims[d] = extent;
    return graph.add(std::move(o));
  }
  /// y[m, n] = x[m, k] W[n, k]
  TensorId product(const std::string& name, TensorId x, double n) {
    const double m = graph.tensor(x).shape[0], k = graph.tensor(x).shape[1];
    const TensorId y = tensor(name, {m, n});
    op(name, OpKind::gemm, {read(x), read(weight(name + ".weight", {n, k})), write(y)}, {{Dim::m, m}, {Dim::n, n}, {Dim::k, k}});
    return y;
  }
};

/// "a b -> c": the names of the tensors an operator reads and writes.
std::string operands(const Graph& graph, std::string_view name) {
  const Op& op = op_named(graph, name);
  std::string text, written;
  for (const Use& use : op.uses) (use.write ? written : text) += " " + graph.tensor(use.tensor).name;
  return (text + " ->" + written).substr(1);
}

Graph backward_of(const Graph& graph, Recompute recompute = Recompute::none) { return backward(graph, recompute, {}); }

std::string names(const Graph& graph) {
  std::string text;
  for (const Op& op : graph.ops()) text += (text.empty() ? "" : " ") + op.name;
  return text;
}

/// A layer of every published GPT model: layer norm, biases, GELU, as many key heads as heads.
ModelConfig gpt(double hidden, double heads, int layers) {
  return model_of(fmt::format("hidden: {}\nvocab: 100\ndtype: fp16\nnorm: layer_norm\nlearned_positions: 64\ntie_embeddings: true\nlayers:\n"
                              "  - count: {}\n    attention: {{kind: mha, heads: {}, kv_heads: {}, head_dim: {}, rotary: 0, qkv_bias: true, out_bias: true}}\n"
                              "    ffn: {{kind: dense, inner: {}, activation: gelu, bias: true}}\n",
                              hidden, layers, heads, heads, hidden / heads, 4 * hidden));
}

Graph training_graph(const ModelConfig& model, const Sharding& sharding = {}, bool fused = true) {
  const Step step{.sequences = 2, .new_tokens = 32, .fused_attention = fused, .training = true};
  return build(model, {model.dtype, model.precision, {}}, step, sharding);
}

}  // namespace

TEST_CASE("a product has two gradients; its input needs none if nothing before it has parameters") {
  Small s;
  const TensorId x = s.tensor("x", {5, 3});
  const TensorId y = s.product("first", x, 7);
  s.product("second", y, 2);
  const Graph graph = backward_of(s.graph);
  CHECK(names(graph) == "second.dgrad second.wgrad first.wgrad");
  CHECK(operands(graph, "second.dgrad") == "second.grad second.weight -> first.grad");
  CHECK(operands(graph, "second.wgrad") == "second.grad first second.weight.grad -> second.weight.grad");
  CHECK(operands(graph, "first.wgrad") == "first.grad x first.weight.grad -> first.weight.grad");
  const Dims& d = op_named(graph, "second.dgrad").dims;  // dx[m, k] = dy[m, n] W
  CHECK((d[Dim::m] == 5 && d[Dim::n] == 7 && d[Dim::k] == 2));
  const Dims& w = op_named(graph, "second.wgrad").dims;  // dW[n, k] = dy^T[n, m] x
  CHECK((w[Dim::m] == 2 && w[Dim::n] == 7 && w[Dim::k] == 5));
}

TEST_CASE("a gradient of a weight has its shape and the chosen format") {
  Small s;
  s.product("p", s.tensor("x", {5, 3}), 7);
  const Graph graph = backward(s.graph, Recompute::none, {.gradients = Format::bf16});
  const Op& op = op_named(graph, "p.wgrad");
  const Tensor& gradient = graph.tensor(op.uses.back().tensor);
  CHECK(gradient.name == "p.weight.grad");
  CHECK(gradient.shape == std::vector<double>{7, 3});
  CHECK(gradient.type == DataType(Format::bf16));
  CHECK(op.uses.back().write);
}

TEST_CASE("two readers of the whole send two gradients, which are added; a sum's terms get the same one") {
  Small s;
  const TensorId x = s.product("x", s.tensor("in", {5, 3}), 3), y = s.product("y", x, 3), z = s.tensor("z", {5, 3});
  s.op("add", OpKind::elementwise, {s.read(x), s.read(y), s.write(z)}, {{Dim::m, 5}, {Dim::n, 3}, {Dim::terms, 1}});
  const Graph graph = backward_of(s.graph);
  CHECK(names(graph) == "y.dgrad y.wgrad x.sum.backward x.wgrad");
  CHECK(operands(graph, "y.dgrad") == "z.grad y.weight -> x.grad.1");
  CHECK(operands(graph, "x.sum.backward") == "z.grad x.grad.1 -> x.grad");
  CHECK(operands(graph, "x.wgrad") == "x.grad in x.weight.grad -> x.weight.grad");
  CHECK(work_of(graph, op_named(graph, "x.sum.backward")).flops == 15);
}

TEST_CASE("readers of a part each fill one gradient; what was written in place is two values") {
  Small s;
  const TensorId qkv = s.product("qkv", s.tensor("x", {4, 8}), 24), o = s.tensor("o", {4, 8});
  const TensorId gain = s.weight("gain", {16});
  s.op("qk_norm", OpKind::rms_norm, {s.read(qkv, 64), s.read(gain), {qkv, true, 64}}, {{Dim::m, 4}, {Dim::n, 16}, {Dim::terms, 4}});
  s.op("core", OpKind::attention, {s.read(qkv, 32), s.read(qkv, 64), s.write(o)});
  const Graph graph = backward_of(s.graph);
  CHECK(names(graph) == "core.backward qk_norm.backward qkv.wgrad");
  CHECK(operands(graph, "core.backward") == "qk_norm qk_norm o o.grad -> qkv.grad qkv.grad");
  CHECK(operands(graph, "qk_norm.backward") == "qkv gain qkv.grad gain.grad -> gain.grad qkv.grad");
}

TEST_CASE("attention's backward pass has five products for two") {
  Small s;
  const TensorId q = s.product("q", s.tensor("x", {4, 8}), 8), k = s.product("k", q, 8), o = s.tensor("o", {4, 8});
  s.op("core", OpKind::attention, {s.read(q), s.read(k), s.write(o)},
       {{Dim::batch, 3}, {Dim::heads, 2}, {Dim::pairs, 10}, {Dim::qk_width, 4}, {Dim::v_width, 4}, {Dim::queries, 4}});
  const Graph graph = backward_of(s.graph);
  const Op& core = op_named(graph, "core.backward");
  CHECK(core.kind == OpKind::attention_backward);
  CHECK(work_of(graph, core).flops == 2.5 * work_of(s.graph, op_named(s.graph, "core")).flops);
  CHECK(work_of(graph, core).vector_flops == 6 * 3 * 2 * 10 + 2 * 3 * 2 * 4 * 4);
}

TEST_CASE("a collective comes back as its conjugate; what was gathered is gathered again") {
  Small s;
  const TensorId x = s.product("x", s.tensor("in", {2, 4}), 4), all = s.tensor("all", {8, 4});
  const Communication c{.kind = CollectiveKind::all_gather, .axis = MeshAxis::tensor, .ranks = 4, .bytes = 64};
  s.op("gather", OpKind::collective, {s.read(x), s.write(all)}, {}, c);
  const TensorId y = s.product("y", all, 4), part = s.tensor("part", {2, 4}), sent = s.tensor("sent", {2, 4});
  s.op("scatter", OpKind::collective, {s.read(y), s.write(part)}, {}, Communication{CollectiveKind::reduce_scatter, MeshAxis::tensor, 4, 64});
  s.op("swap", OpKind::collective, {s.read(part), s.write(sent)}, {}, Communication{CollectiveKind::all_to_all, MeshAxis::expert, 4, 16});
  const Graph graph = backward_of(s.graph);
  CHECK(names(graph) == "swap.backward scatter.backward y.dgrad gather.again y.wgrad gather.backward x.wgrad");
  CHECK(op_named(graph, "swap.backward").communication->kind == CollectiveKind::all_to_all);
  CHECK(op_named(graph, "scatter.backward").communication->kind == CollectiveKind::all_gather);
  CHECK(op_named(graph, "gather.backward").communication->kind == CollectiveKind::reduce_scatter);
  CHECK(op_named(graph, "gather.backward").communication->bytes == 64);
  CHECK(op_named(graph, "gather.backward").communication->ranks == 4);
  CHECK(operands(graph, "gather.again") == "x -> all");
  CHECK(operands(graph, "y.wgrad") == "y.grad all y.weight.grad -> y.weight.grad");
}

TEST_CASE("an all-reduce hands the gradient on; one of the backward pass alone runs there") {
  Small s;
  const TensorId x = s.product("x", s.tensor("in", {2, 4}), 4);
  const Communication c{.kind = CollectiveKind::all_reduce, .ranks = 4, .bytes = 16};
  Communication f = c;
  f.backward_only = true;
  s.op("f", OpKind::collective, {s.read(x), s.write(x)}, {}, f);
  const TensorId y = s.product("y", x, 4);
  s.op("g", OpKind::collective, {s.read(y), s.write(y)}, {}, c);
  const Graph graph = backward_of(s.graph);
  CHECK(names(graph) == "y.dgrad y.wgrad f.backward x.wgrad");
  const Communication& sent = *op_named(graph, "f.backward").communication;
  CHECK((sent.kind == CollectiveKind::all_reduce && sent.bytes == 16 && !sent.backward_only));
  CHECK(operands(graph, "f.backward") == "x.grad -> x.grad");
  CHECK(operands(graph, "y.wgrad") == "y.grad x y.weight.grad -> y.weight.grad");
}

TEST_CASE("narrow activations get 16-bit gradients, and the network carries those") {
  Small s;
  const TensorId x = s.product("x", s.tensor("in", {2, 4}), 4), rows = s.tensor("rows", {2, 4}, Role::activation, Format::fp8_e4m3);
  s.op("cast", OpKind::dispatch, {s.read(x), s.write(rows)});
  const TensorId sent = s.tensor("sent", {2, 4}, Role::activation, Format::fp8_e4m3);
  s.op("swap", OpKind::collective, {s.read(rows), s.write(sent)}, {}, Communication{CollectiveKind::all_to_all, MeshAxis::expert, 4, 8});
  const Graph graph = backward_of(s.graph);
  CHECK(op_named(graph, "swap.backward").communication->bytes == 16);
}

TEST_CASE("a GPT layer backward, piece by piece") {
  const ModelConfig model = gpt(16, 4, 3);
  const Graph forward = training_graph(model), graph = backward_of(forward);
  CHECK(operands(graph, "loss.backward") == "loss.probabilities loss.targets -> lm_head.grad");
  CHECK(operands(graph, "lm_head.wgrad") == "lm_head.grad norm embed.table.grad -> embed.table.grad");  // tied
  CHECK(operands(graph, "embed.backward") == "embed.ids embed.grad embed.table.grad embed.positions.grad -> embed.table.grad embed.positions.grad");
  CHECK(operands(graph, "mlp.act.backward") == "layers.0-2.mlp.up layers.0-2.mlp.act.grad -> layers.0-2.mlp.up.grad");
  CHECK(operands(graph, "mlp.up.bias.wgrad") == "layers.0-2.mlp.up.grad layers.0-2.mlp.up.bias.grad -> layers.0-2.mlp.up.bias.grad");
  const std::string norm = "layers.0-2.mlp.norm";  // its offset is not read
  const std::string parameters = norm + ".gain.grad " + norm + ".bias.grad";
  CHECK(operands(graph, "mlp.norm.backward") == "layers.0-2.attn.add " + norm + ".gain " + norm + ".grad " + parameters +
                                                    " -> layers.0-2.attn.add.grad.1 " + parameters);
  CHECK(op_named(graph, "attn.core.backward").count == 3);
  CHECK(work_named(graph, "mlp.act.backward").flops == 2 * work_named(forward, "mlp.act").flops);
}

TEST_CASE("attention in three pieces: each operand's gradient is a product with the other") {
  const Graph graph = backward_of(training_graph(gpt(16, 4, 1), {}, false));
  const std::string p = "layers.0.attn.";
  CHECK(operands(graph, "attn.values.weights.dgrad") == p + "values.grad " + p + "qkv -> " + p + "softmax.grad");
  CHECK(operands(graph, "attn.values.value.dgrad") == p + "values.grad " + p + "softmax -> " + p + "qkv.grad");
  CHECK(operands(graph, "attn.softmax.backward") == p + "softmax " + p + "softmax.grad -> " + p + "scores.grad");
  CHECK(operands(graph, "attn.scores.query.dgrad") == p + "scores.grad " + p + "qkv -> " + p + "qkv.grad");
  CHECK(operands(graph, "attn.scores.key.dgrad") == p + "scores.grad " + p + "qkv -> " + p + "qkv.grad");
}

TEST_CASE("recomputation: the core of an attention, or each layer, before its own gradients") {
  const Graph forward = training_graph(gpt(16, 4, 1), {}, false);
  const std::string selective = names(backward_of(forward, Recompute::selective));
  CHECK(selective.find("layers.0.attn.scores.recompute layers.0.attn.softmax.recompute layers.0.attn.values.recompute "
                       "layers.0.attn.values.weights.dgrad") != selective.npos);
  CHECK(selective.find("qkv.recompute") == selective.npos);
  const std::string full = names(backward_of(forward, Recompute::full));
  CHECK(full.find("norm.backward layers.0.attn.norm.recompute layers.0.attn.qkv.recompute") != full.npos);
  CHECK(full.find("layers.0.mlp.add.recompute layers.0.mlp.down.dgrad") != full.npos);
  CHECK(full.find("lm_head.recompute") == full.npos);
  CHECK(names(backward_of(training_graph(gpt(16, 4, 1)), Recompute::selective)).find("recompute") == std::string::npos);
}

TEST_CASE("tensor parallelism: two all-reduces a layer backward, or two gathers, two scatters and the gathers again") {
  auto collectives = [](const Graph& graph, std::string_view suffix) {
    std::string text;
    for (const Op& op : graph.ops())
      if (op.communication && op.part == ModelPart::layers && op.name.ends_with(suffix))
        text += fmt::format("{} ", to_string(op.communication->kind));
    return text;
  };
  const Graph whole = backward_of(training_graph(gpt(16, 4, 2), {.tensor = 2}));
  CHECK(collectives(whole, "") == "all_reduce all_reduce ");
  const Graph cut = backward_of(training_graph(gpt(16, 4, 2), {.tensor = 2, .sequence = true}));
  CHECK(collectives(cut, ".backward") == "all_gather reduce_scatter all_gather reduce_scatter ");
  CHECK(collectives(cut, ".again") == "all_gather all_gather ");
}

TEST_CASE("experts: rows go back the way they came, and the fused kernel computes its inner activations again") {
  const ModelConfig model = model_with(
      "  - attention: {kind: mha, heads: 2, kv_heads: 2, head_dim: 8}\n"
      "    ffn: {kind: moe, experts: 4, top_k: 2, inner: 8, activation: swiglu}\n");
  const Graph forward = training_graph(model), graph = backward_of(forward);
  const std::string p = "layers.0.moe.";
  CHECK(op_named(graph, "moe.combine.backward").kind == OpKind::dispatch);
  CHECK(op_named(graph, "moe.dispatch.backward").kind == OpKind::combine);
  CHECK(operands(graph, "moe.dispatch.backward") == p + "topk " + p + "dispatch.grad -> " + p + "norm.grad.0");
  CHECK(work_named(graph, "moe.experts.backward").flops == work_named(forward, "moe.experts").flops * 8 / 3);
  Step step{.sequences = 2, .new_tokens = 32, .fused_experts = false, .training = true};
  const Graph pieces = build(model, {model.dtype, {}, {}}, step), back = backward_of(pieces);
  CHECK(work_named(back, "moe.experts.up.dgrad").flops == doctest::Approx(work_named(pieces, "moe.experts.up").flops));
  CHECK(work_named(back, "moe.experts.up.wgrad").flops == doctest::Approx(work_named(pieces, "moe.experts.up").flops));
  CHECK(op_named(back, "moe.experts.up.wgrad").dims[Dim::m] == 4 * 16);  // 4 experts of 2 x 8 rows
}

TEST_CASE("a state-space mixer: convolution twice, scan three times") {
  const ModelConfig model = model_with(
      "  - mamba: {heads: 2, head_dim: 4, state: 8, groups: 1, conv_kernel: 4, conv_bias: true}\n"
      "    ffn: {kind: dense, inner: 8, activation: silu}\n");
  const Graph forward = training_graph(model), graph = backward_of(forward);
  CHECK(work_named(graph, "mamba.conv.dgrad").flops == work_named(forward, "mamba.conv").flops);
  CHECK(work_named(graph, "mamba.conv.wgrad").flops == work_named(forward, "mamba.conv").flops);
  CHECK(work_named(graph, "mamba.scan.backward").flops == 3 * work_named(forward, "mamba.scan").flops);
}

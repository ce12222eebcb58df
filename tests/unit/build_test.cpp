// Model + step -> graph: the operators of each kind of layer, their parameters counted by hand, their operands.
#include "models/build.hpp"

#include "tests/unit/build_support.hpp"

using namespace gambrel;
using namespace gambrel::models;
using namespace gambrel::test;

namespace {

std::vector<std::string> names(const Graph& graph) {
  std::vector<std::string> result;
  for (const Op& op : graph.ops()) result.push_back(op.name);
  return result;
}

}  // namespace

TEST_CASE("a dense Llama: its operators in order, its parameters, its FLOPs") {
  const Graph graph = graph_of(model_with(dense_layer), {.sequences = 2, .new_tokens = 3, .past_tokens = 4});
  CHECK(names(graph) == std::vector<std::string>{"embed", "layers.0.attn.norm", "layers.0.attn.qkv",
                                                 "layers.0.attn.rotary", "layers.0.attn.kv_append",
                                                 "layers.0.attn.core", "layers.0.attn.out", "layers.0.attn.add",
                                                 "layers.0.mlp.norm", "layers.0.mlp.gate_up", "layers.0.mlp.act",
                                                 "layers.0.mlp.down", "layers.0.mlp.add", "norm", "lm_head", "sample"});
  CHECK(total(graph) == frame + attention_weights + ffn_weights + 2 * 16);
  CHECK(active(graph) == total(graph) - table);
  CHECK(flops_of(graph).linear == 2 * 6 * (attention_weights + ffn_weights) + 2 * 2 * table);
  CHECK(flops_of(graph).attention == 2.0 * 2 * 4 * (5 + 6 + 7) * (8 + 8));
  CHECK(work_named(graph, "attn.norm").vector_flops == 4 * 6 * 16);
  CHECK(work_named(graph, "mlp.act").flops == 5 * 6 * 40);
  CHECK(work_named(graph, "mlp.add").flops == 6 * 16);
  CHECK(work_named(graph, "attn.rotary").flops == 3 * 6 * (4 + 2) * 8);
}

TEST_CASE("layers are stored once and counted") {
  const Graph one = graph_of(model_with(dense_layer));
  std::string many = dense_layer;
  many.insert(many.find('{') + 1, "count: 12, ");
  const Graph twelve = graph_of(model_with(many));
  CHECK(twelve.ops().size() == one.ops().size());
  CHECK(op_named(twelve, "layers.0-11.mlp.down").count == 12);
  CHECK(total(twelve) == frame + 12 * (total(one) - frame));
  CHECK(stored_bytes(twelve, Role::kv_cache) == 12 * stored_bytes(one, Role::kv_cache));
  CHECK(op_named(twelve, "lm_head").count == 1);
}

TEST_CASE("parallel sublayers read the same input, with a norm each or one for both") {
  const std::string parts = ", attention: {kind: mha, heads: 4}, ffn: {kind: dense, inner: 40}";
  const Graph two = layer_graph("parallel: true" + parts),
              one = layer_graph("parallel: true, shared_norm: true" + parts);
  const Graph serial = layer_graph("parallel: false" + parts);
  CHECK(find_op(two, "mlp.norm") != nullptr);
  CHECK(find_op(one, "mlp.norm") == nullptr);
  CHECK(total(two) == total(serial));
  CHECK(total(one) == total(serial) - 16);
  CHECK(find_op(two, "attn.add") == nullptr);
  CHECK(work_named(two, "layers.0.add").flops == 2 * 16);  // x + attention + ffn
  CHECK(work_named(two, "layers.0.add").bytes() == 2 * 4 * 16);
}

TEST_CASE("norms before, after and around") {
  const std::string parts = ", attention: {kind: mha, heads: 4}, ffn: {kind: dense, inner: 40}";
  const Graph pre = layer_graph("norms: pre" + parts), post = layer_graph("norms: post" + parts),
              both = layer_graph("norms: sandwich" + parts);
  CHECK(find_op(pre, "attn.post_norm") == nullptr);
  CHECK(find_op(post, "attn.norm") == nullptr);
  CHECK(find_op(post, "mlp.post_norm") != nullptr);
  CHECK(find_op(both, "mlp.post_norm") != nullptr);
  CHECK(total(post) == total(pre));
  CHECK(total(both) == total(pre) + 2 * 16);
}

TEST_CASE("layer norms have a bias, and so have projections that ask for one") {
  const std::string layer =
      "  - {attention: {kind: gqa, heads: 4, kv_heads: 2, qkv_bias: true, out_bias: true}, ffn: {kind: dense, inner: "
      "40, activation: gelu, bias: true}}\n";
  const std::string plain =
      "  - {attention: {kind: gqa, heads: 4, kv_heads: 2}, ffn: {kind: dense, inner: 40, activation: gelu}}\n";
  const Graph with = graph_of(model_with(layer)), without = graph_of(model_with(plain));
  CHECK(total(without) == frame + 16 * (4 + 4) * 4 + 16 * 16 + 2 * 16 * 40 + 2 * 16);
  CHECK(total(with) == total(without) + (4 + 4) * 4 + 16 + 40 + 16);
  CHECK(work_named(with, "attn.qkv").vector_flops == 32);
  CHECK(flops_of(with).linear == flops_of(without).linear);
  CHECK(find_op(with, "mlp.up") != nullptr);
  CHECK(total(graph_of(model_with(plain, "norm: layer_norm\n"))) == total(without) + 3 * 16);
  CHECK(work_named(graph_of(model_with(plain, "norm: layer_norm\n")), "mlp.norm").flops == 7 * 16);
}

TEST_CASE("tied embeddings are one table, multiplied") {
  const Graph tied = graph_of(model_with(dense_layer, "tie_embeddings: true\n")),
              untied = graph_of(model_with(dense_layer));
  CHECK(total(tied) == total(untied) - table);
  CHECK(active(tied) == active(untied));
  CHECK(active(tied) == total(tied));
  CHECK(work_named(tied, "lm_head").flops == work_named(untied, "lm_head").flops);
  CHECK(work_named(tied, "lm_head").bytes() == work_named(untied, "lm_head").bytes());
}

TEST_CASE("lm_head's bias, tied or not") {
  for (const char* tied : {"", "tie_embeddings: true\n"}) {
    const Graph with = graph_of(model_with(dense_layer, std::string(tied) + "lm_head_bias: true\n")),
                without = graph_of(model_with(dense_layer, tied));
    CHECK(total(with) == total(without) + 100);
    CHECK(work_named(with, "lm_head").vector_flops == 100);
    CHECK(work_named(with, "lm_head").bytes() == work_named(without, "lm_head").bytes() + 200);
  }
}

TEST_CASE("learned positions are looked up, not multiplied") {
  const Graph graph = graph_of(model_with(dense_layer, "learned_positions: 50\n")),
              without = graph_of(model_with(dense_layer));
  CHECK(total(graph) == total(without) + 50 * 16);
  CHECK(active(graph) == active(without));
  CHECK(work_named(graph, "embed").bytes(Role::weight) == 2 * work_named(without, "embed").bytes(Role::weight));
}

TEST_CASE("lm_head multiplies the positions whose logits are asked for") {
  const ModelConfig model = model_with(dense_layer);
  CHECK(work_named(graph_of(model, {.sequences = 2, .new_tokens = 8}), "lm_head").flops == 2 * 2 * table);
  CHECK(work_named(graph_of(model, {.sequences = 2, .new_tokens = 8, .logits = 8}), "lm_head").flops == 2 * 16 * table);
  CHECK(work_named(graph_of(model, {.sequences = 2, .new_tokens = 1, .logits = 8}), "lm_head").flops == 2 * 2 * table);
  CHECK(work_named(graph_of(model, {.sequences = 2, .new_tokens = 8}), "sample").flops == 5 * 2 * 100);
}

namespace {

const std::string moe = "ffn: {kind: moe, experts: 8, top_k: 2, inner: 24";

}  // namespace

TEST_CASE("experts: parameters in all and active, FLOPs of the routed rows") {
  const Graph graph = layer_graph(moe + "}", {.sequences = 1, .new_tokens = 5, .routing = {Routing::Kind::balanced}});
  const double expert = 3 * 16 * 24, router = 16 * 8;
  CHECK(total(graph) == frame + 16 + router + 8 * expert);
  CHECK(active(graph) == frame - table + 16 + router + 2 * expert);
  CHECK(work_named(graph, "moe.experts").flops == 2 * 5 * 2 * expert);
  CHECK(work_named(graph, "moe.experts").vector_flops == 5 * 10 * 24);
  CHECK(work_named(graph, "moe.experts").bytes(Role::expert_weight) == 2 * 8 * expert);  // 10 rows: every expert
  CHECK(work_named(graph, "moe.experts").bytes(Role::activation) == 2 * (10 * 16 + 10 * 16));
  CHECK(work_named(graph, "moe.router").flops == 2 * 5 * router);
  CHECK(work_named(graph, "moe.topk").flops == 5 * 8 * (5 + 2));
  CHECK(work_named(graph, "moe.dispatch").bytes() == 2 * (5 * 16 + 10 * 16) + 4 * 5 * 2 * 2);
  CHECK(work_named(graph, "moe.combine").flops == 2 * 5 * 16 * 2);
}

TEST_CASE("experts that no token reaches are not read") {
  auto bytes = [](Routing routing, double tokens) {
    return work_named(layer_graph(moe + "}", {.sequences = tokens, .routing = routing}), "moe.experts")
        .bytes(Role::expert_weight);
  };
  const double expert_bytes = 2 * 3 * 16 * 24;
  CHECK(bytes({Routing::Kind::balanced}, 1) == 2 * expert_bytes);
  CHECK(bytes({Routing::Kind::uniform}, 3) ==
        doctest::Approx(experts_hit(8, 2, 3, {Routing::Kind::uniform}) * expert_bytes));
  CHECK(bytes({Routing::Kind::power_law, 2}, 3) < bytes({Routing::Kind::uniform}, 3));
}

TEST_CASE("unfused experts: two grouped GEMMs with the inner activations between them") {
  const Step step{.sequences = 5, .fused_experts = false};
  const Graph graph = layer_graph(moe + ", bias: true}", step);
  const Graph fused = layer_graph(moe + ", bias: true}", {.sequences = 5});
  CHECK(work_named(graph, "moe.experts.up").flops == 2.0 * 10 * 2 * 24 * 16);
  CHECK(work_named(graph, "moe.experts.down").flops == 2.0 * 10 * 24 * 16);
  CHECK(work_named(graph, "moe.experts.act").bytes() == 2 * 10 * (2 * 24 + 24));
  CHECK(total(graph) == total(fused));
  CHECK(total(fused) == total(layer_graph(moe + "}")) + 8 * (2 * 24 + 16));
  CHECK(moved_bytes(graph, Role::expert_weight) ==
        doctest::Approx(moved_bytes(fused, Role::expert_weight)).epsilon(1e-14));
  CHECK(flops_of(graph).linear == flops_of(fused).linear);
}

TEST_CASE("a shared expert works on every token, behind its gate") {
  const double expert = 3 * 16 * 24, shared = 3 * 16 * 48;
  const Graph plain = layer_graph(moe + "}", {.sequences = 5}),
              with = layer_graph(moe + ", shared: {inner: 48}}", {.sequences = 5});
  const Graph gated = layer_graph(moe + ", shared: {inner: 48, gate: true}}", {.sequences = 5});
  CHECK(total(with) == total(plain) + shared);
  CHECK(active(with) == active(plain) + shared);
  CHECK(flops_of(with).linear == flops_of(plain).linear + 2 * 5 * shared);
  CHECK(total(gated) == total(with) + 16);
  CHECK(work_named(gated, "moe.shared.gate").flops == 2 * 5 * 16);
  CHECK(find_op(with, "moe.shared.scale") == nullptr);
  CHECK(work_named(gated, "moe.shared.scale").flops == 5 * 16);
  CHECK(work_named(gated, "moe.add_shared").flops == 5 * 16);
  CHECK(work_named(with, "moe.experts").flops == 2 * 10 * expert);
}

TEST_CASE("router bias, ungated experts, unequal experts") {
  CHECK(total(layer_graph(moe + ", router_bias: true}")) == total(layer_graph(moe + "}")) + 8);
  CHECK(total(layer_graph(moe + ", activation: relu2}")) == frame + 16 + 16 * 8 + 8 * 2 * 16 * 24);
  const Graph unequal =
      layer_graph("ffn: {kind: moe, experts: 8, top_k: 2, inner: [{experts: 6, inner: 24}, {experts: 2, inner: 48}]}");
  CHECK(total(unequal) == frame + 16 + 16 * 8 + 3 * 16 * (6 * 24 + 2 * 48));
  CHECK(work_named(unequal, "moe.experts").flops == 2 * 2 * 3 * 16 * 30);  // 30 wide on average
}

TEST_CASE("mamba: parameters, the scan's work, and its state") {
  const std::string layer = "mamba: {heads: 4, head_dim: 8, state: 6, groups: 2}";
  const double inner = 32, channels = 32 + 2 * 2 * 6, in = 16 * (inner + channels + 4);
  const Graph graph = layer_graph(layer, {.sequences = 2, .new_tokens = 3});
  CHECK(total(graph) == frame + 16 + in + channels * 4 + channels + 3 * 4 + inner + inner * 16);
  CHECK(total(layer_graph("mamba: {heads: 4, head_dim: 8, state: 6, groups: 2, conv_bias: false, proj_bias: true}")) ==
        total(graph) - channels + (inner + channels + 4) + 16);
  CHECK(flops_of(graph).linear == 2 * 6 * (in + inner * 16) + 2 * 2 * table);
  CHECK(work_named(graph, "mamba.scan").flops == 6 * inner * (5 * 6 + 3));
  CHECK(work_named(graph, "mamba.conv").flops == 2 * 6 * channels * 4);
  CHECK(work_named(graph, "mamba.scan").bytes(Role::state) == 4 * 2 * inner * 6);  // written, as fp32
  CHECK(stored_bytes(graph, Role::state) == 2 * (4 * inner * 6 + 2 * channels * 3));
  CHECK(stored_bytes(graph, Role::kv_cache) == 0);
  const Graph later = layer_graph(layer, {.sequences = 2, .new_tokens = 3, .past_tokens = 100});
  CHECK(work_named(later, "mamba.scan").bytes(Role::state) == 2 * 4 * 2 * inner * 6);  // read, then written
  CHECK(stored_bytes(later, Role::state) == stored_bytes(graph, Role::state));
}

TEST_CASE("narrow activations: the norm writes what the projection reads") {
  const Precision run{{}, {{"layers.*.mlp.gate_up", {.activations = DataType(Format::fp8_e4m3)}}}};
  const Graph graph = graph_of(model_with(dense_layer), {}, run);
  CHECK(work_named(graph, "mlp.norm").written_bytes[static_cast<std::size_t>(Role::activation)] == 16);
  CHECK(work_named(graph, "attn.norm").written_bytes[static_cast<std::size_t>(Role::activation)] == 32);
  const Precision latent{{}, {{"layers.*.attn.q_a", {.activations = DataType(Format::fp8_e4m3)}}}};
  const Graph absorbed = graph_of(model_with("  - {" + mla(", q_lora_rank: 10") + "}\n"), {}, latent);
  CHECK(work_named(absorbed, "attn.norm").written_bytes[static_cast<std::size_t>(Role::activation)] == 16);
}

TEST_CASE("sparsity thins the layers' matrices, nothing else") {
  const Step sparse{.sequences = 4, .sparsity = {WeightSparsity::Structure::n_of_m, 0.5, 2, 4}};
  const std::string layer =
      "attention: {kind: mha, heads: 4, qkv_bias: true}, " + moe + ", bias: true, router_bias: true}";
  const Graph dense = layer_graph(layer, {.sequences = 4}), graph = layer_graph(layer, sparse);
  const double share = 0.5 * 18 / 16;
  for (const Tensor& t : graph.tensors()) {
    CAPTURE(t.name);
    const bool thinned = t.name == "layers.0.attn.qkv.weight" || t.name == "layers.0.attn.out.weight" ||
                         t.name == "layers.0.moe.experts.up" || t.name == "layers.0.moe.experts.down";
    CHECK(t.stored_share == (thinned ? share : 1));
  }
  CHECK(total(graph) == total(dense));
  CHECK(flops_of(graph).linear == flops_of(dense).linear);
  CHECK(op_named(graph, "attn.qkv").sparse_weights);
  CHECK(op_named(graph, "moe.experts").sparse_weights);
  CHECK_FALSE(op_named(graph, "moe.router").sparse_weights);
  CHECK_FALSE(op_named(graph, "lm_head").sparse_weights);
  CHECK_FALSE(op_named(dense, "attn.qkv").sparse_weights);
}

TEST_CASE("operations per element of each activation") {
  for (auto [activation, terms] :
       {std::pair{"swiglu", 5}, {"geglu", 9}, {"silu", 4}, {"gelu", 8}, {"relu", 1}, {"relu2", 2}}) {
    const Graph graph = layer_graph(fmt::format("ffn: {{kind: dense, inner: 40, activation: {}}}", activation));
    CHECK(work_named(graph, "mlp.act").flops == terms * 40);
  }
}

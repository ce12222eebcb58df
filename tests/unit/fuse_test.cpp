// Fusion: which operators join the one before them, and what of their traffic is left, counted by hand.
#include "models/fuse.hpp"

#include "tests/unit/model_support.hpp"

using namespace gambrel;
using namespace gambrel::models;
using namespace gambrel::test;

namespace {

constexpr Fusion nothing{.norms = false, .activation = Epilogue::none, .rotary = false};
constexpr Fusion norms{.norms = true, .activation = Epilogue::none, .rotary = false};
constexpr Fusion rotary{.norms = false, .activation = Epilogue::none, .rotary = true};
constexpr Fusion simple{.norms = false, .activation = Epilogue::simple, .rotary = false};
constexpr Fusion all{.activation = Epilogue::all};

// hidden 16; 2 bytes an element; 6 tokens.
const Step step{.sequences = 2, .new_tokens = 3, .past_tokens = 4};
constexpr double residual = 2 * 6 * 16;

Graph layers(const std::string& list) { return graph_of(model_with(list), step); }
Graph dense(const std::string& more = "", int count = 1, const std::string& ffn = "kind: dense, inner: 40") {
  return layers(fmt::format("  - {{count: {}, attention: {{kind: gqa, heads: 4, kv_heads: 2, head_dim: 8{}}}, ffn: {{{}}}}}\n", count, more, ffn));
}

double moved(const Graph& graph, std::string_view path) { return work_named(graph, path).bytes(Role::activation); }
double saved(const Graph& graph, const Fusion& fusion, std::string_view path) { return moved(graph, path) - moved(fuse(graph, fusion), path); }

std::vector<std::string> fused_names(const Graph& graph) {
  std::vector<std::string> names;
  for (const Op& op : graph.ops())
    if (op.fused) names.push_back(op.name);
  return names;
}

}  // namespace

TEST_CASE("fuse: an engine's choice for a Llama") {
  using Names = std::vector<std::string>;
  CHECK(fused_names(fuse(dense(), {})) == Names{"layers.0.attn.kv_append", "layers.0.mlp.norm", "norm"});
  CHECK(fused_names(fuse(dense(), all)) == Names{"layers.0.attn.kv_append", "layers.0.mlp.norm", "layers.0.mlp.act", "norm"});
  CHECK(fused_names(fuse(dense("", 4), norms)) == Names{"layers.0-3.attn.norm", "layers.0-3.mlp.norm", "norm"});
  CHECK(fused_names(fuse(dense(), nothing)).empty());
  CHECK(fused_names(dense()).empty());
}

TEST_CASE("fuse: a norm takes the sum from the addition before it, which still writes it for the next one") {
  const Graph graph = dense();
  CHECK(saved(graph, norms, "mlp.norm") == residual);
  CHECK(saved(graph, norms, "attn.add") == 0);
  CHECK(saved(graph, norms, "layers.0.attn.norm") == 0);  // the embedding is no addition
  CHECK(moved(fuse(graph, norms), "mlp.norm") == residual);  // what it writes
  CHECK(work_named(fuse(graph, norms), "mlp.norm").bytes(Role::weight) == 2 * 16);
}

TEST_CASE("fuse: from the second of equal layers on, the first norm follows the layer before") {
  const Graph graph = dense("", 4);
  CHECK(saved(graph, norms, "layers.0-3.attn.norm") == doctest::Approx(0.75 * residual));
  const Graph two = layers("  - {attention: {kind: mha, heads: 2}, ffn: {kind: dense, inner: 8}}\n  - {count: 3, attention: {kind: mha, heads: 2}, ffn: {kind: dense, inner: 24}}\n");
  CHECK(saved(two, norms, "layers.0.attn.norm") == 0);
  CHECK(saved(two, norms, "layers.1-3.attn.norm") == residual);  // its first follows the other group's addition
}

TEST_CASE("fuse: an addition feeds one norm only, and a norm after anything else stays alone") {
  const std::string parallel = "  - {{parallel: true, shared_norm: {}, attention: {{kind: mha, heads: 2, qk_norm: head}}, ffn: {{kind: dense, inner: 8}}}}\n";
  const Graph two = layers(fmt::format(fmt::runtime(parallel), false) + fmt::format(fmt::runtime(parallel), true));
  CHECK(fused_names(fuse(two, norms)) == std::vector<std::string>{"layers.1.attn.norm", "norm"});
  const std::string twice = fmt::format("  - {{count: 2, {}\n", fmt::format(fmt::runtime(parallel), false).substr(5));
  const Graph repeated = fuse(layers(twice), norms);
  CHECK(fused_names(repeated) == std::vector<std::string>{"layers.0-1.attn.norm", "norm"});
}

TEST_CASE("fuse: rotated keys go to the cache and nowhere else") {
  const Graph graph = dense();
  const double keys = 2 * 6 * 2 * 8;
  CHECK(saved(graph, rotary, "attn.rotary") == keys);     // not written back
  CHECK(saved(graph, rotary, "attn.kv_append") == keys);  // nor read again
  CHECK(work_named(fuse(graph, rotary), "attn.kv_append").bytes(Role::kv_cache) == work_named(graph, "attn.kv_append").bytes(Role::kv_cache));
  CHECK(saved(dense(", rotary: 4"), rotary, "attn.kv_append") == keys / 2);
  CHECK(find_op(dense(", rotary: 0"), "attn.rotary") == nullptr);
  CHECK(fused_names(fuse(dense(", rotary: 0"), rotary)).empty());
}

TEST_CASE("fuse: a latent's rotated part is written by the same kernel, its bytes are not told apart") {
  const Graph graph = layers("  - {attention: {kind: mla, heads: 4, kv_lora_rank: 8, rope_head_dim: 4, nope_head_dim: 8, v_head_dim: 8}, ffn: {kind: dense, inner: 8}}\n");
  CHECK(op_named(fuse(graph, rotary), "attn.kv_append").fused);
  CHECK(moved_bytes(fuse(graph, rotary)) == moved_bytes(graph));
}

TEST_CASE("fuse: simple activations run in the epilogue of their product, gated ones only if asked to") {
  const Graph gelu = dense("", 1, "kind: dense, inner: 40, activation: gelu");
  const double inner = 2 * 6 * 40;
  CHECK(saved(gelu, simple, "mlp.up") == inner);
  CHECK(saved(gelu, simple, "mlp.act") == inner);
  CHECK(moved(fuse(gelu, simple), "mlp.act") == inner);
  CHECK(moved_bytes(fuse(dense(), simple)) == moved_bytes(dense()));
  CHECK(saved(dense(), all, "mlp.gate_up") == 2 * inner);
  CHECK(saved(dense(), all, "mlp.act") == 2 * inner);
}

TEST_CASE("fuse: experts in pieces, their activation with the product before it") {
  Step pieces = step;
  pieces.fused_experts = false;
  const auto model = model_with("  - {attention: {kind: mha, heads: 2}, ffn: {kind: moe, experts: 4, top_k: 2, inner: 8, activation: relu2}}\n");
  const Graph graph = graph_of(model, pieces);
  CHECK(op_named(fuse(graph, simple), "moe.experts.act").fused);
  CHECK(saved(graph, simple, "moe.experts.up") == 2 * 6 * 2 * 8);
}

TEST_CASE("fuse: a product that another operator reads is written all the same") {
  Graph graph;
  auto tensor = [&](const std::string& name, double width) { return graph.add(Tensor{.name = name, .shape = {4, width}, .type = Format::bf16}); };
  const TensorId x = tensor("x", 8), y = tensor("y", 8), z = tensor("z", 8), w = tensor("w", 8);
  auto add = [&](const std::string& name, OpKind kind, TensorId in, TensorId out) {
    Op op{.name = name, .kind = kind};
    op.uses = {{in, false, 32}, {out, true, 32}};
    graph.add(op);
  };
  add("product", OpKind::gemm, x, y);
  add("activation", OpKind::activation, y, z);
  CHECK(op_named(fuse(graph, simple), "activation").fused);
  add("other", OpKind::elementwise, y, w);
  CHECK_FALSE(op_named(fuse(graph, simple), "activation").fused);
  CHECK(moved_bytes(fuse(graph, simple)) == moved_bytes(graph));
}

TEST_CASE("fuse: tensors, ids, edges and counts stay") {
  const Graph before = dense("", 3), after = fuse(before, all);
  REQUIRE(after.ops().size() == before.ops().size());
  CHECK(after.edges().size() == before.edges().size());
  CHECK(after.tensors().size() == before.tensors().size());
  CHECK(count_parameters(after).total == count_parameters(before).total);
  for (OpId id = 0; id < before.ops().size(); ++id) CHECK(after.op(id).name == before.op(id).name);
}

// Attention in the graph: what each kind of it stores, computes and moves.
#include "models/build.hpp"

#include "tests/unit/build_support.hpp"

using namespace gambrel;
using namespace gambrel::models;
using namespace gambrel::test;

namespace {

double read_elements(const Graph& graph, std::string_view path, Role role) {
  double sum = 0;
  for (const Use& use : op_named(graph, path).uses)
    if (!use.write && graph.tensor(use.tensor).role == role) sum += use.elements;
  return sum;
}

}  // namespace

TEST_CASE("a dense Llama: what its attention moves") {
  const Graph graph = graph_of(model_with(dense_layer), {.sequences = 2, .new_tokens = 3, .past_tokens = 4});
  const double kv_width = 2 * 2 * 8;
  const Work core = work_named(graph, "attn.core");
  CHECK(core.bytes(Role::kv_cache) == 2 * 2 * 7 * kv_width);     // 2 bytes, 2 sequences, 7 keys
  CHECK(core.bytes(Role::activation) == 2 * (6 * 32 + 6 * 32));  // queries in, values out: no score matrix
  CHECK(core.bytes(Role::weight) == 0);
  CHECK(work_named(graph, "attn.kv_append").written_bytes[static_cast<std::size_t>(Role::kv_cache)] ==
        2 * 6 * kv_width);
  CHECK(stored_bytes(graph, Role::kv_cache) == 2 * 2 * 7 * kv_width);
  CHECK(work_named(graph, "attn.qkv").bytes(Role::weight) == 2 * 16 * 64);
  CHECK(work_named(graph, "attn.qkv").bytes(Role::activation) == 2 * 6 * (16 + 64));
  CHECK(work_named(graph, "embed").bytes(Role::weight) == 2 * 6 * 16);
  CHECK(op_named(graph, "attn.core").math == Format::bf16);
  CHECK(op_named(graph, "attn.norm").math == Format::fp32);
}

TEST_CASE("norms of queries and keys, partial rotation, sinks (read by unfused attention too)") {
  auto with = [](const std::string& more) {
    return layer_graph("attention: {kind: gqa, heads: 4, kv_heads: 2, head_dim: 8" + more + "}");
  };
  const double plain = total(with(""));
  CHECK(total(with(", qk_norm: head")) == plain + 2 * 8);
  CHECK(total(with(", qk_norm: full")) == plain + (4 + 2) * 8);
  CHECK(work_named(with(", qk_norm: full"), "attn.qk_norm").flops == 4 * 48);
  CHECK(work_named(with(", rotary: 2"), "attn.rotary").flops == 3 * (4 + 2) * 2);
  CHECK(find_op(with(", rotary: 0"), "attn.rotary") == nullptr);
  CHECK(total(with(", sinks: true")) == plain + 4);
  CHECK(read_elements(with(", sinks: true"), "attn.core", Role::weight) == 4);
  const Graph unfused = layer_graph("attention: {kind: mha, heads: 4, sinks: true}", {.fused_attention = false});
  CHECK(read_elements(unfused, "attn.scores", Role::weight) == 4);
}

TEST_CASE("a sliding window and a chunk bound what is computed, read and kept") {
  const Step prefill{.new_tokens = 6, .past_tokens = 0}, decode{.new_tokens = 1, .past_tokens = 21};
  auto core = [](const std::string& more, const Step& step) {
    return op_named(layer_graph("attention: {kind: mha, heads: 2, head_dim: 8" + more + "}", step), "attn.core");
  };
  CHECK(core("", prefill).dims[Dim::pairs] == 21);
  CHECK(core(", window: 4", prefill).dims[Dim::pairs] == 1 + 2 + 3 + 4 * 3);
  CHECK(core(", chunk: 4", prefill).dims[Dim::pairs] == 10 + 3);
  CHECK(core(", causal: false", prefill).dims[Dim::pairs] == 36);
  CHECK(core("", decode).dims[Dim::keys] == 22);
  CHECK(core(", window: 4", decode).dims[Dim::keys] == 4);
  CHECK(core(", chunk: 4", decode).dims[Dim::keys] == 2);  // tokens 20 and 21 of the sixth chunk
  auto kept = [](const std::string& more, const Step& step) {
    return stored_bytes(layer_graph("attention: {kind: mha, heads: 2, head_dim: 8" + more + "}", step), Role::kv_cache);
  };
  CHECK(kept("", decode) == 22 * 32 * 2);
  CHECK(kept(", window: 4", decode) == 4 * 32 * 2);
  CHECK(kept(", chunk: 4", decode) == 4 * 32 * 2);
  CHECK(kept(", window: 100", decode) == 22 * 32 * 2);
}

TEST_CASE("unfused attention writes and reads the score matrix and computes the masked half") {
  const Graph graph = layer_graph("attention: {kind: gqa, heads: 4, kv_heads: 2, head_dim: 8}",
                                  {.sequences = 2, .new_tokens = 3, .past_tokens = 4, .fused_attention = false});
  const double matrix = 2 * 4 * 3 * 7;  // sequences, heads, queries, keys
  CHECK(find_op(graph, "attn.core") == nullptr);
  CHECK(work_named(graph, "attn.scores").flops == 2 * matrix * 8);
  CHECK(work_named(graph, "attn.values").flops == 2 * matrix * 8);
  CHECK(work_named(graph, "attn.softmax").bytes() == 2 * 2 * matrix);
  CHECK(work_named(graph, "attn.scores").bytes(Role::kv_cache) == 2 * 2 * 7 * 16);  // the keys, then
  CHECK(work_named(graph, "attn.values").bytes(Role::kv_cache) == 2 * 2 * 7 * 16);  // the values
  CHECK(op_named(graph, "attn.softmax").math == Format::fp32);
}

TEST_CASE("latent attention: parameters with and without a query rank") {
  const double shared = 16 * (12 + 2) + 12 + 12 * 4 * (6 + 5) + 4 * 5 * 16 + 16;  // kv_a, its norm, kv_b, out, norm
  CHECK(total(layer_graph(mla(""))) == frame + shared + 16 * 4 * 8);
  CHECK(total(layer_graph(mla(", q_lora_rank: 10"))) == frame + shared + 16 * 10 + 10 + 10 * 4 * 8);
  CHECK(total(layer_graph(mla(", qkv_bias: true, out_bias: true"))) == frame + shared + 16 * 4 * 8 + 14 + 32 + 16);
}

TEST_CASE("latent attention absorbed: scores and values in the latent space") {
  const Graph graph = layer_graph(mla(""), {.sequences = 3, .new_tokens = 1, .past_tokens = 9});
  CHECK(find_op(graph, "attn.kv_b") == nullptr);
  CHECK(work_named(graph, "attn.q_absorb").flops == 2 * 3 * 4 * 6 * 12);
  CHECK(work_named(graph, "attn.v_up").flops == 2 * 3 * 4 * 12 * 5);
  CHECK(work_named(graph, "attn.core").flops == 2 * 3 * 4 * 10 * ((12 + 2) + 12));
  CHECK(work_named(graph, "attn.core").bytes(Role::kv_cache) == 2 * 3 * 10 * 14);  // the latent is read once for both
  CHECK(work_named(graph, "attn.core").bytes(Role::activation) == 2 * 3 * 4 * (14 + 12));
  CHECK(op_named(graph, "attn.core").dims[Dim::kv_heads] == 1);
  CHECK(work_named(graph, "attn.kv_append").bytes(Role::kv_cache) == 2 * 3 * 14);
}

TEST_CASE("latent attention expanded: keys and values of every head, from the whole context") {
  const Graph graph = layer_graph(mla(", absorb: never"), {.sequences = 3, .new_tokens = 2, .past_tokens = 9});
  CHECK(find_op(graph, "attn.q_absorb") == nullptr);
  CHECK(work_named(graph, "attn.kv_b").flops == 2 * 3 * 11 * 12 * 4 * 11);
  CHECK(work_named(graph, "attn.core").flops == 2 * 3 * 4 * (10 + 11) * (8 + 5));
  CHECK(work_named(graph, "attn.core").bytes(Role::kv_cache) == 2 * 3 * 11 * 2);  // the rotated key is not expanded
  CHECK(work_named(graph, "attn.core").bytes(Role::activation) == 2 * (6 * 4 * 8 + 3 * 11 * 4 * 11 + 6 * 4 * 5));
  CHECK(op_named(graph, "attn.core").dims[Dim::kv_heads] == 4);
}

TEST_CASE("latent attention: `absorb` decides, else the fewer FLOPs; both store the same weights") {
  const Step one{.new_tokens = 1, .past_tokens = 5}, two{.new_tokens = 2, .past_tokens = 5}, prompt{.new_tokens = 8};
  CHECK(find_op(layer_graph(mla(", absorb: never"), one), "attn.kv_b") != nullptr);
  CHECK(find_op(layer_graph(mla(", absorb: always"), two), "attn.q_absorb") != nullptr);
  for (const Step& step : {one, two, prompt}) {
    auto flops = [&](const char* absorb) {
      double sum = 0;
      const Graph graph = layer_graph(mla(absorb), step);
      for (const Op& op : graph.ops()) sum += op.kind == OpKind::sampling ? 0 : work_of(graph, op).flops;
      return sum;
    };
    CHECK(flops(", absorb: auto") == std::min(flops(", absorb: always"), flops(", absorb: never")));
  }
  CHECK(find_op(layer_graph(mla(", absorb: auto"), two), "attn.q_absorb") != nullptr);
  CHECK(find_op(layer_graph(mla(", absorb: auto"), prompt), "attn.kv_b") != nullptr);
  // The halves of kv_b have kv_b's format.
  const Precision run{{}, {{"layers.*.attn.kv_b", {.weights = DataType(Format::fp8_e4m3)}}}};
  auto bytes = [&](const char* absorb) {
    return stored_bytes(graph_of(model_with("  - {" + mla(absorb) + "}\n"), one, run), Role::weight);
  };
  CHECK(bytes(", absorb: always") == bytes(", absorb: never"));
}

TEST_CASE("latent attention unfused reads the latent for the scores and again for the values") {
  const Graph graph =
      layer_graph(mla(""), {.sequences = 3, .new_tokens = 1, .past_tokens = 9, .fused_attention = false});
  CHECK(work_named(graph, "attn.scores").bytes(Role::kv_cache) == doctest::Approx(2 * 3 * 10 * 14).epsilon(1e-14));
  CHECK(work_named(graph, "attn.values").bytes(Role::kv_cache) == doctest::Approx(2 * 3 * 10 * 12).epsilon(1e-14));
}

// The graph of one rank: which collectives stand where, what they send, what each rank holds; layouts of the tensor axis.
#include <cmath>

#include "models/build.hpp"
#include "models/shares.hpp"
#include "tests/unit/model_support.hpp"

using namespace gambrel;
using namespace gambrel::models;
using namespace gambrel::test;
using enum CollectiveKind;

namespace {

const std::string dense_layer =
    "  - {attention: {kind: gqa, heads: 8, kv_heads: 2, head_dim: 8}, ffn: {kind: dense, inner: 40}}\n";

Graph rank_graph(const std::string& layers, const Sharding& sharding, const Step& step = {},
                 const std::string& more = "", const Precision& run = {}) {
  const ModelConfig model = model_with(layers, more);
  return build(model, {model.dtype, model.precision, run}, step, sharding);
}

/// "name: kind axis ranks bytes", backward ones in brackets.
std::vector<std::string> messages(const Graph& graph) {
  std::vector<std::string> result;
  for (const Op& op : graph.ops()) {
    if (!op.communication) continue;
    const Communication& c = *op.communication;
    std::string text = fmt::format("{}: {} {} {}", op.name, to_string(c.axis), c.ranks, c.bytes);
    if (c.steps > 1) text += fmt::format(" x {}", c.steps);
    if (c.stride > 1) text += fmt::format(" every {}", c.stride);
    result.push_back(c.backward_only ? "[" + text + "]" : text);
  }
  return result;
}

const Tensor& tensor_named(const Graph& graph, std::string_view path) {
  for (const Tensor& t : graph.tensors())
    if (t.name == path || t.name.ends_with(fmt::format(".{}", path))) return t;
  FAIL("no tensor " << std::string(path));
  return graph.tensors().front();
}

/// Gathered or scattered elements of a 16-bit graph's layers on the tensor axis; an all-reduce is both.
double volume(const Graph& graph) {
  double sum = 0;
  for (const Op& op : graph.ops()) {
    if (!op.communication || op.part != ModelPart::layers || op.name.ends_with("statistics")) continue;
    sum += op.communication->bytes / 2 * (op.communication->kind == all_reduce ? 2 : 1);
  }
  return sum;
}

Graph feed_forward(double hidden, double inner, double tokens, double tensor, Layout layout) {
  const ModelConfig model = model_of(fmt::format(
      "hidden: {}\nvocab: 64\nlayers: [{{ffn: {{kind: dense, inner: {}, activation: gelu}}}}]\n", hidden, inner));
  return build(model, {model.dtype, {}, {}}, {.sequences = tokens}, {.tensor = tensor, .layout = layout});
}

}  // namespace

TEST_CASE(
    "tensor parallelism: an all-reduce after each row-parallel product, the embedding and the head cut by the vocabulary") {
  const Graph graph = rank_graph(dense_layer, {.tensor = 4}, {.sequences = 3, .past_tokens = 9});
  CHECK(messages(graph) ==
        std::vector<std::string>{"embed.all_reduce: tensor 4 96", "layers.0.attn.out.all_reduce: tensor 4 96",
                                 "layers.0.mlp.out.all_reduce: tensor 4 96", "lm_head.all_gather: tensor 4 600"});
  CHECK(op_named(graph, "attn.core").dims[Dim::heads] == 2);
  CHECK(op_named(graph, "attn.core").dims[Dim::kv_heads] == 1);  // 2 heads on 4 ranks: each on two of them
  CHECK(tensor_named(graph, "attn.kv_cache").shape == std::vector<double>{3, 10, 16});
  CHECK(tensor_named(graph, "attn.qkv.weight").shape == std::vector<double>{32, 16});
  CHECK(tensor_named(graph, "attn.out.weight").shape == std::vector<double>{16, 16});
  CHECK(tensor_named(graph, "mlp.gate_up.weight").shape == std::vector<double>{20, 16});
  CHECK(tensor_named(graph, "embed.table").shape == std::vector<double>{25, 16});
  CHECK(op_named(graph, "sample").dims[Dim::n] == 100);
}

TEST_CASE("sequence parallelism: gather before, scatter after, the stream in between is 1 / tensor") {
  const Graph graph = rank_graph(dense_layer, {.tensor = 4, .sequence = true}, {.new_tokens = 8});
  CHECK(messages(graph) ==
        std::vector<std::string>{"embed.reduce_scatter: tensor 4 256", "layers.0.attn.in.all_gather: tensor 4 256",
                                 "layers.0.attn.out.reduce_scatter: tensor 4 256",
                                 "layers.0.mlp.in.all_gather: tensor 4 256",
                                 "layers.0.mlp.out.reduce_scatter: tensor 4 256", "lm_head.in.all_gather: tensor 4 32",
                                 "lm_head.all_gather: tensor 4 200"});
  CHECK(tensor_named(graph, "attn.add").shape == std::vector<double>{2, 16});
  CHECK(tensor_named(graph, "attn.out").shape == std::vector<double>{8, 16});
}

TEST_CASE("collectives stand on the edges between the operators that need them") {
  const Graph graph = rank_graph(dense_layer, {.tensor = 4}, {});
  auto feeds = [&](std::string_view from, std::string_view to) {
    for (const Edge& e : graph.edges())
      if (graph.op(e.producer).name.ends_with(from) && graph.op(e.consumer).name.ends_with(to)) return true;
    return false;
  };
  CHECK(feeds("attn.out", "attn.out.all_reduce"));
  CHECK(feeds("attn.out.all_reduce", "attn.add"));
  CHECK_FALSE(feeds("attn.out", "attn.add"));
  CHECK(work_named(graph, "attn.out.all_reduce").flops == 0);
}

TEST_CASE("training: a loss on all positions, no cache, and what backward sends where a layer is entered") {
  const Graph graph = rank_graph(dense_layer, {.tensor = 4}, {.sequences = 2, .new_tokens = 8, .training = true});
  CHECK(messages(graph) ==
        std::vector<std::string>{"embed.all_reduce: tensor 4 512", "[layers.0.attn.in.all_reduce: tensor 4 512]",
                                 "layers.0.attn.out.all_reduce: tensor 4 512",
                                 "[layers.0.mlp.in.all_reduce: tensor 4 512]",
                                 "layers.0.mlp.out.all_reduce: tensor 4 512", "[lm_head.in.all_reduce: tensor 4 512]",
                                 "loss.all_reduce: tensor 4 64 x 3"});
  CHECK(work_named(graph, "attn.in.all_reduce").bytes() == 0);
  CHECK(find_op(graph, "attn.kv_append") == nullptr);
  CHECK(find_op(graph, "sample") == nullptr);
  CHECK(stored_bytes(graph, Role::kv_cache) == 0);
  CHECK(op_named(graph, "lm_head").dims[Dim::m] == 16);
  CHECK(work_named(graph, "loss").flops == 5 * 16 * 25);
  CHECK(tensor_named(graph, "loss.probabilities").bytes() == 4 * 16 * 25);
  CHECK(work_named(graph, "attn.core").bytes(Role::activation) == 2 * 16 * (32 + 16));  // queries, keys, values; out
  CHECK(messages(rank_graph(dense_layer, {}, {.new_tokens = 8, .training = true})).empty());
}

TEST_CASE("training without a cache: latent attention expands, state spaces keep no state") {
  const Step step{.new_tokens = 4, .training = true};
  const Graph latent = rank_graph(
      "  - {attention: {kind: mla, heads: 4, kv_lora_rank: 12, rope_head_dim: 2, nope_head_dim: 6, v_head_dim: 5, absorb: always}}\n",
      {}, step);
  CHECK(find_op(latent, "attn.kv_b") != nullptr);
  CHECK(work_named(latent, "attn.kv_b").bytes(Role::activation) == 2 * 4 * (12 + 4 * 11));
  CHECK(stored_bytes(latent, Role::kv_cache) == 0);
  CHECK(stored_bytes(rank_graph("  - {mamba: {heads: 4, head_dim: 8, state: 6, groups: 2}}\n", {}, step),
                     Role::state) == 0);
}

TEST_CASE("dropout: a byte an element after the scores' softmax and after each sublayer") {
  const Step step{.sequences = 2, .new_tokens = 8, .fused_attention = false, .training = true, .dropout = true};
  const Graph graph = rank_graph(dense_layer, {.tensor = 4, .sequence = true}, step);
  CHECK(tensor_named(graph, "attn.scores_dropout.mask").bytes() ==
        2 * 2 * 8 * 8);  // sequences, heads of the rank, queries, keys
  CHECK(tensor_named(graph, "attn.dropout.mask").bytes() == 4 * 16);
  CHECK(tensor_named(graph, "mlp.dropout.mask").bytes() == 4 * 16);
  CHECK(work_named(graph, "mlp.dropout").bytes() == 4 * 16 * (2 + 2 + 1));
  Step fused = step;
  fused.fused_attention = true;
  CHECK(find_op(rank_graph(dense_layer, {}, fused), "attn.scores_dropout") == nullptr);
  fused.training = false;
  CHECK(find_op(rank_graph(dense_layer, {}, fused), "mlp.dropout") == nullptr);
}

TEST_CASE("sublayers side by side share one gather and one sum") {
  const std::string layer =
      "  - {parallel: true, shared_norm: true, attention: {kind: mha, heads: 4}, ffn: {kind: dense, inner: 40}}\n";
  CHECK(messages(rank_graph(layer, {.tensor = 2}, {.training = true})) ==
        std::vector<std::string>{"embed.all_reduce: tensor 2 32", "[layers.0.attn.in.all_reduce: tensor 2 32]",
                                 "layers.0.sum.out.all_reduce: tensor 2 32", "[lm_head.in.all_reduce: tensor 2 32]",
                                 "loss.all_reduce: tensor 2 4 x 3"});
  const Graph cut = rank_graph(layer, {.tensor = 2, .sequence = true}, {.new_tokens = 4});
  CHECK(work_named(cut, "layers.0.sum").flops == 4 * 16);
  CHECK(work_named(cut, "layers.0.add").flops == 2 * 16);
}

TEST_CASE("latent attention: heads are cut, latents and their cache are not") {
  const std::string mla =
      "  - {attention: {kind: mla, heads: 4, q_lora_rank: 10, kv_lora_rank: 12, rope_head_dim: 2, nope_head_dim: 6, v_head_dim: 5}}\n";
  const Step step{.sequences = 3, .past_tokens = 9};
  const Graph whole = rank_graph(mla, {}, step), rank = rank_graph(mla, {.tensor = 4}, step),
              cut = rank_graph(mla, {.tensor = 4, .sequence = true}, {.new_tokens = 8});
  CHECK(stored_bytes(rank, Role::kv_cache) == stored_bytes(whole, Role::kv_cache));
  CHECK(op_named(rank, "attn.core").dims[Dim::heads] == 1);
  CHECK(work_named(rank, "attn.q_a").flops == work_named(whole, "attn.q_a").flops);
  CHECK(work_named(rank, "attn.q_absorb").flops == work_named(whole, "attn.q_absorb").flops / 4);
  CHECK(op_named(cut, "attn.kv_a").dims[Dim::m] == 2);  // each rank compresses its own tokens
  CHECK(op_named(cut, "attn.kv_norm.all_gather").communication->bytes == 2 * 8 * 12);
  CHECK(op_named(cut, "attn.kv_a.all_gather").communication->bytes == 2 * 8 * 2);
  CHECK(find_op(cut, "attn.in.all_gather") == nullptr);  // nobody needs the wide input
}

TEST_CASE("state spaces: heads are cut, groups replicate, a cut context swaps heads for tokens") {
  const std::string layer = "  - {mamba: {heads: 8, head_dim: 4, state: 6, groups: 2}}\n";
  const Graph rank = rank_graph(layer, {.tensor = 4}, {.new_tokens = 6});
  CHECK(tensor_named(rank, "mamba.in.weight").shape == std::vector<double>{8 + 8 + 2 * 6 + 2, 16});
  CHECK(find_op(rank, "mamba.gated_norm.statistics") != nullptr);  // half a group each
  CHECK(find_op(rank_graph(layer, {.tensor = 2}), "mamba.gated_norm.statistics") == nullptr);
  const Graph cut = rank_graph(layer, {.context = 2}, {.new_tokens = 6});
  CHECK(op_named(cut, "mamba.in").dims[Dim::m] == 3);
  CHECK(op_named(cut, "mamba.scan").dims[Dim::m] == 6);
  CHECK(op_named(cut, "mamba.scan").dims[Dim::n] == 16);
  CHECK(op_named(cut, "mamba.out").dims[Dim::m] == 3);
  CHECK(op_named(cut, "mamba.result.all_to_all").communication->bytes == 2 * 6 * 16);
}

TEST_CASE("ring attention: pairs are shared out evenly, blocks go round, a window needs fewer") {
  const std::string mha = "  - {attention: {kind: mha, heads: 4, head_dim: 8";
  const Step step{.new_tokens = 16};
  const Graph ring = rank_graph(mha + "}}\n", {.context = 4}, step);
  CHECK(op_named(ring, "attn.core").dims[Dim::pairs] == 16 * 17 / 2 / 4);
  CHECK(op_named(ring, "attn.core").dims[Dim::queries] == 4);
  CHECK(op_named(ring, "attn.core").dims[Dim::keys] == 16);
  CHECK(tensor_named(ring, "attn.kv_cache").shape == std::vector<double>{1, 4, 64});
  CHECK(messages(ring)[0] == "layers.0.attn.keys.point_to_point: context 4 512 x 3");
  CHECK(tensor_named(ring, "attn.keys.point_to_point").bytes() == 2 * 512);  // one in use, one arriving
  CHECK(work_named(ring, "attn.core").bytes(Role::activation) == 2 * (4 * 32 + 12 * 64 + 4 * 32));
  const Graph near = rank_graph(mha + ", window: 2}}\n", {.context = 4}, step);
  CHECK(op_named(near, "attn.core").dims[Dim::keys] == 4 + 2 * 2);
  CHECK(messages(near)[0].starts_with("layers.0.attn.keys.point_to_point: context 4 "));
  CHECK(op_named(near, "attn.keys.point_to_point").communication->bytes * 3 == doctest::Approx(2 * (8 - 16 / 4) * 64));
}

TEST_CASE("a decode step over context ranks: each has a part of the cache, outputs are put together") {
  const std::string mha = "  - {attention: {kind: mha, heads: 4, head_dim: 8}}\n";
  const Graph graph = rank_graph(mha, {.context = 4}, {.sequences = 3, .past_tokens = 15});
  CHECK(op_named(graph, "attn.core").dims[Dim::keys] == 4);
  CHECK(op_named(graph, "attn.qkv").dims[Dim::m] == 3);
  CHECK(messages(graph) == std::vector<std::string>{"layers.0.attn.core.statistics.all_reduce: context 4 48 x 2",
                                                    "layers.0.attn.core.all_reduce: context 4 192"});
  CHECK(stored_bytes(graph, Role::kv_cache) == 2 * 3 * 4 * 64);
  CHECK(work_named(graph, "attn.kv_append").bytes(Role::kv_cache) == 2 * 3 * 64 / 4.0);
}

TEST_CASE("Ulysses: heads for tokens; too few key/value heads replicate") {
  const std::string gqa = "  - {attention: {kind: gqa, heads: 8, kv_heads: 2, head_dim: 8}}\n";
  const Graph graph = rank_graph(gqa, {.context = 4, .exchange = ContextExchange::ulysses}, {.new_tokens = 16});
  CHECK(messages(graph) == std::vector<std::string>{"layers.0.attn.q.all_to_all: context 4 512",
                                                    "layers.0.attn.k.all_to_all: context 4 256",
                                                    "layers.0.attn.v.all_to_all: context 4 256",
                                                    "layers.0.attn.result.all_to_all: context 4 512"});
  CHECK(op_named(graph, "attn.core").dims[Dim::heads] == 2);
  CHECK(op_named(graph, "attn.core").dims[Dim::kv_heads] == 1);
  CHECK(op_named(graph, "attn.core").dims[Dim::pairs] == 16 * 17 / 2);
  CHECK(tensor_named(graph, "attn.kv_cache").shape == std::vector<double>{1, 16, 16});
  CHECK(op_named(graph, "attn.out").dims[Dim::m] == 4);
}

TEST_CASE("experts: tokens go out and come back; tensor ranks send their own and gather the sums") {
  const std::string moe = "  - {ffn: {kind: moe, experts: 8, top_k: 2, inner: 24, shared: {inner: 48}}}\n";
  const Step step{.sequences = 16, .routing = {Routing::Kind::balanced}};
  const Graph graph = rank_graph(moe, {.tensor = 2, .data = 4, .expert = 4}, step);
  CHECK(messages(graph) ==
        std::vector<std::string>{
            "embed.all_reduce: tensor 2 512", "layers.0.moe.dispatch.all_to_all: expert 4 512",
            "layers.0.moe.combine.all_to_all: expert 4 512", "layers.0.moe.combine.all_gather: tensor 2 512",
            "layers.0.moe.shared.out.all_reduce: tensor 2 512", "lm_head.all_gather: tensor 2 3200"});
  CHECK(op_named(graph, "moe.experts").dims[Dim::groups] == 2);
  CHECK(op_named(graph, "moe.experts").dims[Dim::m] == 8 * 2);
  CHECK(op_named(graph, "moe.router").dims[Dim::m] == 8);
  CHECK(tensor_named(graph, "moe.experts.up").shape == std::vector<double>{2, 48, 16});
  const Graph wide = rank_graph(moe, {.data = 8, .expert_tensor = 2, .expert = 4}, step);
  CHECK(op_named(wide, "moe.dispatch.all_gather").communication->bytes == 2 * 2 * (16 * 2) * 16);
  CHECK(op_named(wide, "moe.experts.reduce_scatter").communication->bytes == 2 * 2 * (16 * 2) * 16);
  CHECK(op_named(wide, "moe.experts").dims[Dim::m] == 2 * 16 * 2);
  CHECK(op_named(wide, "moe.experts").dims[Dim::n] == 12);
}

TEST_CASE("experts whose widths the tensor ranks share are cut like a dense layer") {
  const std::string moe = "  - {ffn: {kind: moe, experts: 8, top_k: 2, inner: 24, shared: {inner: 48}}}\n";
  const Graph graph = rank_graph(moe, {.tensor = 2, .expert_tensor = 2}, {.sequences = 16});
  CHECK(messages(graph) == std::vector<std::string>{"embed.all_reduce: tensor 2 512",
                                                    "layers.0.moe.out.all_reduce: tensor 2 512",
                                                    "lm_head.all_gather: tensor 2 3200"});
  CHECK(op_named(graph, "moe.experts").dims[Dim::m] == 32);
  CHECK(op_named(graph, "moe.experts").dims[Dim::n] == 12);
}

TEST_CASE("formats of what goes out and comes back") {
  const std::string moe = "  - {ffn: {kind: moe, experts: 8, top_k: 2, inner: 24}}\n";
  const Precision run{{.activations = DataType(Format::fp8_e4m3), .combine = DataType(Format::fp8_e4m3)}, {}};
  const Step step{.sequences = 16, .routing = {Routing::Kind::balanced}};
  const Graph usual = rank_graph(moe, {.data = 4, .expert = 4}, step),
              narrow = rank_graph(moe, {.data = 4, .expert = 4}, step, "", run);
  CHECK(op_named(usual, "moe.dispatch.all_to_all").communication->bytes == 2 * 16 * 2 * 16);
  CHECK(op_named(narrow, "moe.dispatch.all_to_all").communication->bytes == 16 * 2 * 16);
  CHECK(op_named(narrow, "moe.combine.all_to_all").communication->bytes == 16 * 2 * 16);
  CHECK(tensor_named(rank_graph(moe, {}, step, "", run), "moe.experts").type ==
        DataType(Format::bf16));  // nothing is sent
}

TEST_CASE("`precision: {dispatch, combine}`: the run's choice over the checkpoint's, for the layers it names") {
  const auto node = parse_yaml("dispatch: fp8\noverrides: [{match: layers.1, combine: fp16}]\n", "precision.yaml");
  REQUIRE(node.has_value());
  const auto run = read_precision(*node);
  REQUIRE(run.has_value());
  const PrecisionPolicy policy(Format::bf16, {{.dispatch = DataType(Format::int8)}, {}}, *run);
  CHECK(policy.at("layers.0.moe.dispatch").dispatch == DataType(Format::fp8_e4m3));
  CHECK(policy.at("layers.0.moe.combine").combine == std::nullopt);
  CHECK(policy.at("layers.1.moe.combine").combine == DataType(Format::fp16));
}

TEST_CASE("the busiest rank: the expected maximum for uniform routing, the popular expert's for a power law") {
  const Routing uniform{Routing::Kind::uniform}, skewed{Routing::Kind::power_law, 1.2};
  CHECK(busiest_rank(256, 8, 4096, 256, uniform) == doctest::Approx(1.29).epsilon(0.005));  // simulated 1.26
  CHECK(busiest_rank(64, 6, 4096, 64, uniform) == doctest::Approx(1.15).epsilon(0.005));    // simulated 1.12
  CHECK(busiest_rank(256, 8, 4096, 256, {Routing::Kind::balanced}) == 1);
  CHECK(busiest_rank(256, 8, 4096, 1, skewed) == 1);
  CHECK(busiest_rank(256, 8, 4096, 32, skewed) > busiest_rank(256, 8, 4096, 32, uniform));
  CHECK(busiest_rank(256, 8, 4096, 32, skewed) <= 32);  // all 8 choices of a token on one rank of 8 experts
  CHECK(busiest_rank(8, 8, 1, 8, uniform) == 1);        // every token goes everywhere
  const Graph graph = rank_graph("  - {ffn: {kind: moe, experts: 8, top_k: 2, inner: 24}}\n", {.data = 4, .expert = 4},
                                 {.sequences = 16});
  CHECK(op_named(graph, "moe.experts").dims[Dim::m] == doctest::Approx(32 * busiest_rank(8, 2, 64, 4, uniform)));
}

TEST_CASE("Pope et al. 2022: volumes of a feed-forward layer in the three layouts") {
  const double E = 256, F = 1024, n = 16, B = 64;
  CHECK(volume(feed_forward(E, F, B, n, Layout::weight_stationary_1d)) == 2 * B * E);
  const double X = std::sqrt(E * n / F);  // 2
  CHECK(best_split(n, 2 * E, 2 * F) == X);
  CHECK(volume(feed_forward(E, F, B, n, Layout::weight_stationary_2d)) == 2 * B * (E / X + F / (n / X)));
  CHECK(volume(feed_forward(E, F, B, n, Layout::weight_stationary_2d)) == 8 * B * E / std::sqrt(n));
  for (double tokens : {1024.0, 4096.0}) {
    const double N = std::sqrt(tokens * n / F);  // 4, 8
    CHECK(best_gathered(n, 2 * E * F, E, tokens, tokens) == N);
    CHECK(volume(feed_forward(E, F, tokens, n, Layout::weight_gathered)) ==
          doctest::Approx(2 * E * F * N / n + 2 * tokens * E / N));
  }
  CHECK(best_gathered(n, 2 * E * F, E, 1e9, 1e9) == n);  // weights only
  CHECK(best_gathered(n, 2 * E * F, E, 1, 64) == 2);     // asked for, so it gathers
  CHECK(best_gathered(n, 2 * E * F, E, 1024, 1) == 1);   // one sequence cannot be shared out
  CHECK(best_gathered(n, 2 * E * F, E, 1024, 3) == 2);   // no more ranks than sequences
}

TEST_CASE("2D layout: groups of X and of YZ ranks, a stream cut by width whose norms add up their sums") {
  const Graph graph = feed_forward(256, 1024, 64, 16, Layout::weight_stationary_2d);
  CHECK(messages(graph) ==
        std::vector<std::string>{
            "embed.reduce_scatter: tensor 16 32768", "layers.0.mlp.norm.statistics: tensor 16 256",
            "layers.0.mlp.in.all_gather: tensor 8 16384 every 2", "layers.0.mlp.up.reduce_scatter: tensor 2 16384",
            "layers.0.mlp.down.in.all_gather: tensor 2 16384",
            "layers.0.mlp.out.reduce_scatter: tensor 8 16384 every 2", "norm.statistics: tensor 16 256",
            "lm_head.in.all_gather: tensor 16 32768", "lm_head.all_gather: tensor 16 8192"});
  CHECK(tensor_named(graph, "mlp.up.weight").shape == std::vector<double>{128, 128});
  CHECK(tensor_named(graph, "mlp.down.weight").shape == std::vector<double>{128, 128});
  CHECK(tensor_named(graph, "mlp.add").shape == std::vector<double>{64, 16});
}

TEST_CASE("gathered weights: ranks of other sequences put a matrix together before they use it") {
  const Graph graph = feed_forward(256, 1024, 1024, 16, Layout::weight_gathered);
  CHECK(messages(graph) == std::vector<std::string>{
                               "embed.reduce_scatter: tensor 16 524288", "layers.0.mlp.in.all_gather: tensor 4 131072",
                               "layers.0.mlp.up.weight.all_gather: tensor 4 131072 every 4",
                               "layers.0.mlp.down.weight.all_gather: tensor 4 131072 every 4",
                               "layers.0.mlp.out.reduce_scatter: tensor 4 131072",
                               "lm_head.in.all_gather: tensor 16 524288", "lm_head.all_gather: tensor 16 131072"});
  CHECK(tensor_named(graph, "mlp.up.weight").shape == std::vector<double>{64, 256});
  CHECK(work_named(graph, "mlp.up").flops == 2.0 * 256 * 256 * 256);
  CHECK(tensor_named(graph, "mlp.up.weight.all_gather").role == Role::activation);
}

TEST_CASE("experts after a stream cut by width: tokens are put together, and cut again") {
  const std::string moe = "  - {ffn: {kind: moe, experts: 8, top_k: 2, inner: 24}}\n";
  const Graph graph = rank_graph(moe, {.tensor = 4, .expert = 4, .layout = Layout::weight_stationary_2d},
                                 {.sequences = 16, .routing = {Routing::Kind::balanced}});
  CHECK(op_named(graph, "moe.own.all_to_all").communication->bytes == 2 * 16 * 4);
  CHECK(tensor_named(graph, "moe.own.all_to_all").shape == std::vector<double>{4, 16});
  CHECK(op_named(graph, "moe.experts").dims[Dim::m] == 8);
  CHECK(tensor_named(graph, "moe.combine.all_to_all").shape == std::vector<double>{8, 16});
  CHECK(tensor_named(graph, "moe.add").shape == std::vector<double>{16, 4});
}

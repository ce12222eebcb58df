// Laws of sharding: what all ranks do and hold together is the whole model plus what is replicated, written down here
// apart from the builders; what goes between them follows closed forms.
#include <doctest/doctest.h>
#include <rapidcheck.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <set>

#include "tests/laws/random_model.hpp"
#include "tests/unit/model_support.hpp"

using namespace gambrel;
using namespace gambrel::models;
using namespace gambrel::test;

namespace {

bool near(double a, double b) { return std::abs(a - b) <= 1e-9 * std::max({std::abs(a), std::abs(b), 1.0}); }

/// A model whose heads, widths and experts divide by `tensor` x `context` and whatever experts need.
ModelConfig shardable(ModelConfig model, double tensor, double context) {
  const double all = tensor * context;
  model.vocab *= tensor;
  model.hidden *= tensor;
  for (LayerGroup& group : model.layers)
    for (LayerSpec& layer : group.pattern) {
      if (auto& a = layer.attention) {
        a->kv_heads = one_of<double>({1, 2, 4, 8, 16});
        a->heads = std::max(a->kv_heads, all) * draw(1, 3);
      }
      if (layer.latent) layer.latent->heads *= all;
      if (auto& m = layer.mamba) m->groups = one_of<double>({1, 2, 4, 8}), m->heads = all * m->groups;
      if (layer.dense) layer.dense->inner *= tensor;
      if (auto& f = layer.moe) {
        f->shared_inner *= tensor;
        for (ExpertSize& size : f->sizes) size.experts *= 4, size.inner *= 8;
      }
    }
  return model;
}

/// What several ranks compute alike, beyond once, summed over all of them: FLOPs of matrix products.
///   key/value heads and state-space groups that are fewer than the tensor ranks: one copy a rank;
///   latent down-projections, unless the stream is cut by tokens;
///   routers of experts that are cut like a dense layer; gates of shared experts.
double replicated_flops(const ModelConfig& model, const Step& step, const Sharding& s) {
  double sum = 0;
  for (const LayerSpec& layer : all_layers(model)) {
    const double wide = 2 * step.tokens() * model.hidden;
    if (const auto& a = layer.attention)
      sum += wide * 2 * (std::max(a->kv_heads, s.tensor) - a->kv_heads) * a->head_dim;
    if (const auto& a = layer.latent)
      if (!s.sequence) sum += wide * (s.tensor - 1) * (a->q_lora_rank + a->kv_lora_rank + a->rope_head_dim);
    if (const auto& m = layer.mamba) sum += wide * 2 * (std::max(m->groups, s.tensor) - m->groups) * m->state;
    if (const auto& f = layer.moe) {
      const bool like_dense = s.expert == 1 && s.expert_tensor == s.tensor;
      if (like_dense) sum += wide * (s.tensor - 1) * f->experts();
      if (f->shared_gate) sum += wide * (s.tensor - 1);
    }
  }
  return sum;
}

Graph graph_on(const ModelConfig& model, const Step& step, const Sharding& sharding) {
  return build(model, {model.dtype, {}, {}}, step, sharding);
}

Sharding random_sharding(double largest_context) {
  Sharding s{
      .tensor = one_of<double>({1, 2, 4, 8}), .context = one_of<double>({1, 2, 4}), .data = one_of<double>({1, 4})};
  s.context = std::min(s.context, largest_context);
  s.sequence = s.tensor > 1 && coin();
  s.exchange = one_of<ContextExchange>({ContextExchange::ring, ContextExchange::all_gather, ContextExchange::ulysses});
  const double ranks = s.tensor * s.context * s.data;
  s.expert_tensor = one_of<double>({1, std::min(4.0, ranks), s.tensor});
  s.expert = std::min(4.0, ranks / s.expert_tensor);
  if (coin()) s.expert = 1;
  return s;
}

/// A step whose tokens divide by the context ranks and which computes all logits, so that no rank has more than its share.
Step even_step(double context, bool training) {
  Step step = random_step();
  step.routing = {Routing::Kind::balanced};
  step.new_tokens = context * draw(1, 20);
  step.logits = step.new_tokens;
  step.training = training;
  if (training) step.past_tokens = 0, step.dropout = coin();
  return step;
}

double message_bytes(const Graph& graph, MeshAxis axis, CollectiveKind kind, bool backward_only = false) {
  double sum = 0;
  for (const Op& op : graph.ops())
    if (op.communication && op.communication->axis == axis && op.communication->kind == kind &&
        op.communication->backward_only == backward_only && !op.name.ends_with("statistics"))
      sum += op.count * op.communication->bytes * op.communication->steps;
  return sum;
}

ModelConfig random_gpt(double tensor) {
  ModelConfig model = shardable(random_model(/*experts=*/false), tensor, 1);
  for (LayerGroup& group : model.layers)
    for (LayerSpec& layer : group.pattern) {
      layer.mamba.reset(), layer.latent.reset();
      if (!layer.attention) layer.attention = GroupedAttention{.heads = tensor, .kv_heads = 1, .head_dim = 8};
      if (!layer.dense) layer.dense = DenseFfn{tensor * draw(1, 9), Activation::gelu, false};
      layer.attention->qk_norm = QkNorm::none;
      layer.parallel = layer.shared_norm = false;
    }
  return model;
}

}  // namespace

TEST_CASE("all ranks' matrix products are the model's and the replicated ones") {
  CHECK(rc::check("ranks x FLOPs(rank) == FLOPs + replicated", [] {
    const Sharding s = random_sharding(4);
    const ModelConfig model = shardable(random_model(), s.tensor, s.context);
    const Step step = even_step(s.context, coin());
    const GraphFlops whole = flops_of(graph_on(model, step, {})), rank = flops_of(graph_on(model, step, s));
    const double ranks = s.tensor * s.context;
    RC_ASSERT(near(ranks * rank.attention, whole.attention));
    RC_ASSERT(near(ranks * rank.linear, whole.linear + replicated_flops(model, step, s)));
  }));
}

TEST_CASE("with new tokens too few to cut, context ranks share the keys only") {
  CHECK(rc::check("attention / context, all else replicated", [] {
    const Sharding s{.tensor = one_of<double>({1, 2, 4}), .context = one_of<double>({2, 4})};
    const ModelConfig model = shardable(random_model(/*experts=*/false), s.tensor, s.context);
    const Step step{.sequences = draw(1, 5), .new_tokens = 1, .past_tokens = draw(4, 50)};
    const Graph whole = graph_on(model, step, {.tensor = s.tensor}), cut = graph_on(model, step, s);
    double expanded = 0;  // latent keys and values are expanded where they lie
    for (const Op& op : whole.ops())
      if (op.name.ends_with("attn.kv_b")) expanded += op.count * work_of(whole, op).flops;
    RC_ASSERT(near(s.context * flops_of(cut).attention, flops_of(whole).attention));
    RC_ASSERT(near(flops_of(cut).linear, flops_of(whole).linear - expanded * (1 - 1 / s.context)));
    RC_ASSERT(near(s.context * stored_bytes(cut, Role::kv_cache), stored_bytes(whole, Role::kv_cache)));
  }));
}

TEST_CASE("every parameter is cut or copied whole") {
  static const std::vector<std::string_view> copied{
      ".gain",           ".norm.bias",        ".post_norm.bias",  ".kv_norm.bias",
      ".q_norm.bias",    "norm.bias",         "attn.out.bias",    "down.bias",
      "mamba.out.bias",  "moe.router.weight", "moe.router.bias",  "moe.shared.gate.weight",
      "attn.q_a.weight", "attn.q_a.bias",     "attn.kv_a.weight", "attn.kv_a.bias",
      "embed.positions"};
  static const std::vector<std::string_view> grouped{"attn.qkv.weight", "attn.qkv.bias", "qk_norm.gain",
                                                     "mamba.in.weight", "mamba.in.bias", "mamba.conv.weight",
                                                     "mamba.conv.bias"};
  auto ends_in = [](const std::string& name, const std::vector<std::string_view>& list) {
    return std::ranges::any_of(list, [&](std::string_view end) { return name.ends_with(end); });
  };
  CHECK(rc::check("ranks x parameters(rank) == parameters, or equal", [&] {
    const Sharding s = random_sharding(4);
    const ModelConfig model = shardable(random_model(), s.tensor, s.context);
    const Step step = even_step(s.context, coin());
    const Graph whole = graph_on(model, step, {}), rank = graph_on(model, step, s);
    std::map<std::string, double> parameters;
    for (const Tensor& t : whole.tensors())
      if (t.role == Role::weight || t.role == Role::expert_weight) parameters[t.name] = t.elements();
    std::size_t found = 0;
    for (const Tensor& t : rank.tensors()) {
      if (t.role != Role::weight && t.role != Role::expert_weight) continue;
      ++found;
      RC_LOG(t.name);
      RC_ASSERT(parameters.contains(t.name));
      const double all = parameters[t.name], mine = t.elements();
      if (t.role == Role::expert_weight &&
          t.name.ends_with("bias")) {  // of the output: on every rank that shares the width
        RC_ASSERT(mine * s.expert <= all * (1 + 1e-9));
        RC_ASSERT(mine * s.expert * s.expert_tensor >= all * (1 - 1e-9));
      } else if (t.role == Role::expert_weight) {
        RC_ASSERT(near(mine * s.expert * s.expert_tensor, all));
      } else if (ends_in(t.name, grouped)) {  // key/value heads and groups replicate in part
        RC_ASSERT(mine * s.tensor >= all * (1 - 1e-9));
        RC_ASSERT(mine <= all * (1 + 1e-9));
      } else {
        RC_ASSERT((near(mine * s.tensor, all) || (near(mine, all) && ends_in(t.name, copied))));
      }
    }
    RC_ASSERT(found == parameters.size());
  }));
}

TEST_CASE("sharding changes no operator, it only puts collectives between them") {
  CHECK(rc::check("operators but collectives are the same", [] {
    const Sharding s = random_sharding(4);
    const ModelConfig model = shardable(random_model(), s.tensor, s.context);
    Step step = even_step(s.context, coin());
    step.fused_attention = coin(), step.fused_experts = coin();
    auto names = [](const Graph& graph) {
      std::vector<std::string> result;
      for (const Op& op : graph.ops())
        if (op.kind != OpKind::collective && !op.name.ends_with(".sum")) result.push_back(op.name);
      return result;
    };
    const Graph cut = graph_on(model, step, s);
    RC_ASSERT(names(cut) == names(graph_on(model, step, {})));
    for (const Op& op : cut.ops()) {
      RC_ASSERT((op.kind == OpKind::collective) == op.communication.has_value());
      if (!op.communication) continue;
      RC_LOG(op.name);
      RC_ASSERT(op.communication->ranks > 1);
      RC_ASSERT(op.communication->bytes > 0);
      RC_ASSERT(op.communication->steps >= 1);
    }
  }));
}

TEST_CASE("sharded graphs are acyclic, and what is read was written before") {
  CHECK(rc::check("definitions before uses, nothing in vain", [] {
    Sharding s = random_sharding(4);
    s.layout = one_of<Layout>({Layout::weight_stationary_1d, Layout::weight_stationary_2d, Layout::weight_gathered});
    const ModelConfig model = shardable(random_model(), s.tensor, s.context);
    Step step = even_step(s.context, coin());
    step.fused_attention = coin(), step.fused_experts = coin();
    const Graph graph = graph_on(model, step, s);
    std::set<TensorId> written, read;
    for (const Op& op : graph.ops()) {
      RC_LOG(op.name);
      for (const Use& use : op.uses) {
        const Tensor& t = graph.tensor(use.tensor);
        RC_LOG(t.name);
        RC_ASSERT(use.elements >= 0);
        if (op.communication && op.communication->kind != CollectiveKind::point_to_point && t.role != Role::kv_cache)
          RC_ASSERT(use.elements <= t.elements() * (1 + 1e-9));  // a window keeps less than a prompt reads
        if (use.write) continue;
        read.insert(use.tensor);
        if (t.role == Role::activation && t.name != "embed.ids" && t.name != "loss.targets")
          RC_ASSERT(written.contains(use.tensor));
      }
      for (const Use& use : op.uses)
        if (use.write) written.insert(use.tensor);
    }
    RC_ASSERT(graph.topological_order().size() == graph.ops().size());
    for (TensorId t = 0; t < graph.tensors().size(); ++t) {
      const Tensor& tensor = graph.tensor(t);
      const bool result = tensor.role == Role::state || tensor.name == "sample" || tensor.name.starts_with("loss") ||
                          tensor.name.ends_with(".mask");
      RC_LOG(tensor.name);
      if (!result) RC_ASSERT(read.contains(t));
    }
  }));
}

TEST_CASE("Megatron: two all-reduces a layer forward, two backward, of tokens x hidden") {
  CHECK(rc::check("bytes == closed form; with sequence parallelism as much gathered and as much scattered", [] {
    const double t = one_of<double>({2, 4, 8});
    const ModelConfig model = random_gpt(t);
    const Step step = even_step(1, true);
    const double layers = model.layer_count(), message = 2 * step.tokens() * model.hidden;
    const double loss = 3 * 4 * step.tokens();
    const Graph plain = graph_on(model, step, {.tensor = t}),
                cut = graph_on(model, step, {.tensor = t, .sequence = true});
    using enum CollectiveKind;
    RC_ASSERT(
        near(message_bytes(plain, MeshAxis::tensor, all_reduce), (2 * layers + 1) * message + loss));  // + embedding
    RC_ASSERT(near(message_bytes(plain, MeshAxis::tensor, all_reduce, true),
                   (2 * layers + 1) * message));  // + lm_head's input
    RC_ASSERT(near(message_bytes(cut, MeshAxis::tensor, all_gather), (2 * layers + 1) * message));
    RC_ASSERT(near(message_bytes(cut, MeshAxis::tensor, reduce_scatter), (2 * layers + 1) * message));
    RC_ASSERT(near(message_bytes(cut, MeshAxis::tensor, all_reduce), loss));
    RC_ASSERT(message_bytes(cut, MeshAxis::tensor, all_reduce, true) == 0);
  }));
}

TEST_CASE("sequence parallelism: norms, dropout and residual additions of each rank are 1 / tensor") {
  CHECK(rc::check("vector work in the stream", [] {
    const double t = one_of<double>({2, 4, 8});
    const ModelConfig model = random_gpt(t);
    const Step step = even_step(1, true);
    const Graph plain = graph_on(model, step, {.tensor = t}),
                cut = graph_on(model, step, {.tensor = t, .sequence = true});
    std::map<std::string, double> whole;
    for (const Op& op : plain.ops()) whole[op.name] = work_of(plain, op).flops;
    for (const Op& op : cut.ops())
      if (op.name.ends_with(".norm") || op.name.ends_with(".add") || op.name.ends_with(".dropout") || op.name == "norm")
        RC_ASSERT(near(t * work_of(cut, op).flops, whole.at(op.name)));
  }));
}

TEST_CASE("expert parallelism: tokens out and back, k rows each") {
  CHECK(rc::check("all-to-all bytes == own tokens x top_k x hidden x width", [] {
    const double t = one_of<double>({1, 2, 4});
    Sharding s{.tensor = t, .data = 8, .expert = one_of<double>({2, 4, 8})};
    s.sequence = t > 1 && coin();
    ModelConfig model = shardable(random_model(), t, 1);
    model.layers = {{.count = 3, .pattern = {LayerSpec{.moe = random_moe()}}}};
    MoeFfn& f = *model.layers[0].pattern[0].moe;
    f.shared_inner = 0;
    f.sizes = {{32, 24}};
    Step step = even_step(1, false);
    const Precision run{{.dispatch = DataType(Format::fp8_e4m3), .combine = DataType(Format::fp16)}, {}};
    const Graph graph = build(model, {model.dtype, {}, run}, step, s);
    const double rows = 3 * step.tokens() / t * f.top_k * model.hidden;
    RC_ASSERT(near(message_bytes(graph, MeshAxis::expert, CollectiveKind::all_to_all), rows * (1 + 2)));
    const double whole = s.sequence ? 0 : t > 1 ? 3 * 2 * step.tokens() * model.hidden : 0;
    double gathered = 0;
    for (const Op& op : graph.ops())
      if (op.name.ends_with("moe.combine.all_gather")) gathered += op.count * op.communication->bytes;
    RC_ASSERT(near(gathered, whole));
    step.routing = {Routing::Kind::uniform};
    RC_ASSERT(message_bytes(build(model, {model.dtype, {}, run}, step, s), MeshAxis::expert,
                            CollectiveKind::all_to_all) >= rows * 3 * (1 - 1e-9));
  }));
}

TEST_CASE(
    "context parallelism: a ring sends what others hold, a gather as much at once, Ulysses swaps heads four times") {
  CHECK(rc::check("bytes on the context axis", [] {
    const double c = one_of<double>({2, 4, 8}), t = one_of<double>({1, 2});
    ModelConfig model = random_gpt(t);
    for (LayerGroup& group : model.layers)
      for (LayerSpec& layer : group.pattern)
        layer.attention = GroupedAttention{.heads = 16, .kv_heads = 16, .head_dim = 4};
    Step step = even_step(c, coin());
    const double layers = model.layer_count(), keys = step.sequences * (step.new_tokens + step.past_tokens),
                 kv = 2 * keys * 2 * 16 / t * 4;
    auto bytes = [&](ContextExchange exchange, CollectiveKind kind) {
      return message_bytes(graph_on(model, step, {.tensor = t, .context = c, .exchange = exchange}), MeshAxis::context,
                           kind);
    };
    RC_ASSERT(near(bytes(ContextExchange::ring, CollectiveKind::point_to_point), layers * kv * (c - 1) / c));
    RC_ASSERT(near(bytes(ContextExchange::all_gather, CollectiveKind::all_gather), layers * kv));
    RC_ASSERT(near(bytes(ContextExchange::ulysses, CollectiveKind::all_to_all),
                   layers * 4 * 2 * step.tokens() / c * 16 / t * 4));
  }));
}

TEST_CASE("2D and weight-gathered layouts: the same matrix products, cut otherwise") {
  CHECK(rc::check("ranks x FLOPs(rank) == FLOPs + replicated heads", [] {
    Sharding s{.tensor = one_of<double>({2, 4, 8})};
    s.layout = coin() ? Layout::weight_stationary_2d : Layout::weight_gathered;
    ModelConfig model = random_gpt(s.tensor);
    for (LayerGroup& group : model.layers)
      for (LayerSpec& layer : group.pattern) layer.attention->kv_heads = layer.attention->heads;
    Step step = even_step(1, coin());
    step.sequences = 8;
    const Graph whole = graph_on(model, step, {}), rank = graph_on(model, step, s);
    RC_ASSERT(near(s.tensor * flops_of(rank).attention, flops_of(whole).attention));
    RC_ASSERT(near(s.tensor * flops_of(rank).linear, flops_of(whole).linear));
    for (const Tensor& t : rank.tensors())
      if (t.role == Role::weight && t.shape.size() == 2 && t.name != "embed.positions")
        for (const Tensor& all : whole.tensors())
          if (all.name == t.name) RC_ASSERT(near(s.tensor * t.elements(), all.elements()));
  }));
}

TEST_CASE("the busiest rank has at least its share and at most every token's choices") {
  CHECK(rc::check("1 <= busiest_rank <= ranks, fewer tokens are no more even", [] {
    const double ranks = one_of<double>({1, 2, 4, 8, 16}), experts = ranks * draw(1, 8),
                 top_k = draw(1, static_cast<int>(experts)), tokens = draw(1, 1000);
    const Routing routing{
        one_of<Routing::Kind>({Routing::Kind::balanced, Routing::Kind::uniform, Routing::Kind::power_law}),
        draw(0, 30) / 10};
    const double factor = busiest_rank(experts, top_k, tokens, ranks, routing);
    RC_ASSERT(factor >= 1);
    RC_ASSERT(factor <= ranks * (1 + 1e-12));
    RC_ASSERT(factor * top_k / ranks <=
              std::min(top_k, experts / ranks) * (1 + 1e-12) + 1e-12);  // rows of one token there
    RC_ASSERT(busiest_rank(experts, top_k, tokens * 2, ranks, routing) <= factor * (1 + 1e-12));
  }));
}

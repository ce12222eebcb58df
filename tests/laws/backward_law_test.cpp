// Laws of the backward pass, for random models: FLOPs, gradients, bytes, recomputation, what is kept.
#include <doctest/doctest.h>
#include <rapidcheck.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <numeric>
#include <set>

#include "models/backward.hpp"
#include "tests/laws/random_model.hpp"
#include "tests/unit/model_support.hpp"

using namespace gambrel;
using namespace gambrel::models;
using namespace gambrel::test;

namespace {

bool near(double a, double b) { return std::abs(a - b) <= 1e-9 * std::max(std::abs(a), std::abs(b)); }

Step random_training_step() {
  Step step{.sequences = draw(1, 4), .new_tokens = draw(1, 30)};
  step.training = true, step.dropout = coin();
  step.fused_attention = coin(), step.fused_experts = coin();
  return step;
}

/// Sizes need not divide: every law is linear in them.
Sharding random_sharding() {
  Sharding s{.tensor = one_of<double>({1, 2, 4}), .context = one_of<double>({1, 1, 2})};
  s.sequence = s.tensor > 1 && coin();
  s.exchange = one_of<ContextExchange>({ContextExchange::ring, ContextExchange::all_gather, ContextExchange::ulysses});
  s.expert = one_of<double>({1, 2}), s.expert_tensor = one_of<double>({1, 2});
  using enum Layout;
  if (!s.sequence) s.layout = one_of<Layout>({weight_stationary_1d, weight_stationary_1d, weight_stationary_2d, weight_gathered});
  return s;
}

Recompute random_recompute() { return one_of<Recompute>({Recompute::none, Recompute::selective, Recompute::full}); }

Graph random_forward(bool sharded = true) {
  return build(random_model(), {DataType(Format::bf16), {}, {}}, random_training_step(), sharded ? random_sharding() : Sharding{});
}

bool is_again(const Op& op) { return op.name.ends_with(".recompute") || op.name.ends_with(".again"); }

/// FLOPs of a contraction's backward pass over its own.
double factor(const Op& op) {
  const Dims& d = op.dims;
  if (op.kind == OpKind::attention) return (3 * d[Dim::qk_width] + 2 * d[Dim::v_width]) / (d[Dim::qk_width] + d[Dim::v_width]);
  return op.kind == OpKind::expert_ffn ? (3 * d[Dim::projections] - 1) / d[Dim::projections] : 2;
}

struct Totals {
  double flops = 0, vector_flops = 0, bytes = 0, sent = 0;
};
template <class Select>
Totals totals(const Graph& graph, Select select) {
  Totals sum;
  for (const Op& op : graph.ops()) {
    if (!select(op)) continue;
    const Work work = work_of(graph, op);
    sum.flops += op.count * work.flops;
    sum.vector_flops += op.count * work.vector_flops;
    sum.bytes += op.count * work.bytes();
    if (op.communication && !op.communication->backward_only) sum.sent += op.count * op.communication->bytes * op.communication->steps;
  }
  return sum;
}
bool near(const Totals& a, const Totals& b) {
  return near(a.flops, b.flops) && near(a.vector_flops, b.vector_flops) && near(a.bytes, b.bytes) && near(a.sent, b.sent);
}
bool any(const Op&) { return true; }

/// The same graph with its operators added in another order that is legal: reads after the write they saw, writes in
/// place after the reads before them, runs of layers one after another.
Graph reordered(const Graph& graph) {
  const auto& ops = graph.ops();
  std::vector<std::set<std::size_t>> before(ops.size());
  std::map<TensorId, std::size_t> writer;
  std::map<TensorId, std::vector<std::size_t>> readers;
  for (std::size_t i = 0; i < ops.size(); ++i) {
    for (const Use& use : ops[i].uses) {
      if (writer.contains(use.tensor) && writer[use.tensor] != i) before[i].insert(writer[use.tensor]);
      if (use.write)
        for (std::size_t r : readers[use.tensor])
          if (r != i) before[i].insert(r);
    }
    for (const Use& use : ops[i].uses) {
      if (use.write) writer[use.tensor] = i, readers[use.tensor].clear();
      else readers[use.tensor].push_back(i);
    }
  }
  auto run = [&](std::size_t i) { return std::tuple(ops[i].part, ops[i].first_layer, ops[i].layer_step); };
  Graph result;
  for (const Tensor& t : graph.tensors()) result.add(t);
  std::set<std::size_t> done;
  for (std::size_t first = 0, last = 0; first < ops.size(); first = last) {
    while (last < ops.size() && run(last) == run(first)) ++last;
    while (done.size() < last) {
      std::vector<std::size_t> ready;
      for (std::size_t i = first; i < last; ++i)
        if (!done.contains(i) && std::ranges::includes(done, before[i])) ready.push_back(i);
      const std::size_t next = one_of(ready);
      result.add(ops[next]);
      done.insert(next);
    }
  }
  return result;
}

}  // namespace

TEST_CASE("every weight gets exactly one gradient, of its shape, read and written alike") {
  CHECK(rc::check("gradients of weights", [] {
    const Graph forward = random_forward();
    const Graph graph = backward(forward, random_recompute(), {.gradients = Format::bf16});
    std::map<std::string, std::vector<const Tensor*>> gradients;
    for (const Tensor& t : graph.tensors()) gradients[t.name].push_back(&t);
    std::map<std::string, double> balance;
    for (const Op& op : graph.ops())
      for (const Use& use : op.uses) balance[graph.tensor(use.tensor).name] += (use.write ? 1 : -1) * use.elements;
    for (const Tensor& t : forward.tensors()) {
      if (t.role != Role::weight && t.role != Role::expert_weight) continue;
      const auto& found = gradients[t.name + ".grad"];
      RC_ASSERT(found.size() == 1u);
      RC_ASSERT(found[0]->shape == t.shape);
      RC_ASSERT(found[0]->copies == t.copies);
      RC_ASSERT(found[0]->type == DataType(Format::bf16));
      RC_ASSERT(balance[t.name + ".grad"] == 0);
    }
  }));
}

TEST_CASE("contractions backward have twice their FLOPs, fused ones what they compute again besides") {
  CHECK(rc::check("FLOPs(backward) == factor x FLOPs(forward)", [] {
    const Graph forward = random_forward(), graph = backward(forward, random_recompute(), {});
    double expected = 0;
    for (const Op& op : forward.ops())
      if (row_of(op.kind).contraction) expected += op.count * factor(op) * work_of(forward, op).flops;
    const Totals sum = totals(graph, [](const Op& op) { return row_of(op.kind).contraction && !is_again(op); });
    RC_ASSERT(near(sum.flops, expected));
  }));
}

TEST_CASE("the backward graph is acyclic, and what it reads was written, kept or is a parameter") {
  CHECK(rc::check("order and definitions", [] {
    const Graph forward = random_forward(), graph = backward(forward, random_recompute(), {});
    std::vector<std::size_t> place(graph.ops().size(), 0);
    const std::vector<OpId> order = graph.topological_order();
    RC_ASSERT(std::set<OpId>(order.begin(), order.end()).size() == graph.ops().size());
    for (std::size_t i = 0; i < order.size(); ++i) place[order[i]] = i;
    for (const Edge& e : graph.edges()) RC_ASSERT(place[e.producer] < place[e.consumer]);

    std::set<std::string> known;
    for (const Tensor& t : forward.tensors()) known.insert(t.name);
    for (const Op& op : forward.ops()) known.insert(op.name);  // what was written in place
    std::set<std::string> weights;
    for (const Tensor& t : forward.tensors())
      if (t.role != Role::activation) weights.insert(t.name + ".grad");
    std::set<TensorId> written;
    for (const Op& op : graph.ops()) {
      for (const Use& use : op.uses) {
        RC_ASSERT(use.elements >= 0);
        const std::string& name = graph.tensor(use.tensor).name;
        if (!use.write && !written.contains(use.tensor)) RC_ASSERT(known.contains(name) || weights.contains(name));
      }
      for (const Use& use : op.uses)
        if (use.write) written.insert(use.tensor);
    }
  }));
}

TEST_CASE("every gradient that is written is read") {
  CHECK(rc::check("no gradient in vain", [] {
    const Graph forward = random_forward(), graph = backward(forward, random_recompute(), {});
    std::set<TensorId> read;
    for (const Op& op : graph.ops())
      for (const Use& use : op.uses)
        if (!use.write) read.insert(use.tensor);
    for (TensorId t = 0; t < graph.tensors().size(); ++t)
      if (graph.tensor(t).name.find(".grad") != std::string::npos) RC_ASSERT(read.contains(t));
  }));
}

TEST_CASE("bytes are linear in the widths: a model twice as wide moves twice the bytes, gradients of weights apart") {
  CHECK(rc::check("fp32 == 2 x bf16", [] {
    const ModelConfig model = random_model();
    const Step step = random_training_step();
    const Sharding sharding = random_sharding();
    const Recompute recompute = random_recompute();
    auto forward = [&](Format activations) { return build(model, {DataType(activations), {}, {}}, step, sharding); };
    auto of = [&](Format activations, Format gradients) { return backward(forward(activations), recompute, {.gradients = gradients}); };
    const Graph plain = forward(Format::bf16);
    const Graph narrow = of(Format::bf16, Format::bf16), wide = of(Format::fp32, Format::bf16), gradients = of(Format::bf16, Format::fp32);
    RC_ASSERT(narrow.tensors().size() == wide.tensors().size());
    std::set<std::string> weights;
    for (const Tensor& t : plain.tensors())
      if (t.role != Role::activation) weights.insert(t.name + ".grad");
    for (TensorId t = 0; t < narrow.tensors().size(); ++t) {
      const bool weight = weights.contains(narrow.tensor(t).name), fixed = weight || narrow.tensor(t).type != DataType(Format::bf16);
      RC_ASSERT(wide.tensor(t).bytes() == (fixed ? 1 : 2) * narrow.tensor(t).bytes());
      RC_ASSERT(gradients.tensor(t).bytes() == (weight ? 2 : 1) * narrow.tensor(t).bytes());
    }
  }));
}

TEST_CASE("full recomputation adds exactly the layers' forward work, selective that of attention's core") {
  CHECK(rc::check("backward(recompute) - backward(none)", [] {
    const Graph forward = random_forward();
    const Totals none = totals(backward(forward, Recompute::none, {}), any);
    auto with = [&](Recompute recompute, auto select) {
      Totals sum = totals(forward, select);
      sum.flops += none.flops, sum.vector_flops += none.vector_flops, sum.bytes += none.bytes, sum.sent += none.sent;
      return near(totals(backward(forward, recompute, {}), any), sum);
    };
    RC_ASSERT(with(Recompute::full, [](const Op& op) { return op.part == ModelPart::layers; }));
    RC_ASSERT(with(Recompute::selective, [](const Op& op) {
      return op.kind == OpKind::attention_scores || op.kind == OpKind::attention_values || op.kind == OpKind::softmax || op.name.ends_with("attn.scores_dropout");
    }));
  }));
}

TEST_CASE("collectives come back as their conjugates with the same bytes") {
  CHECK(rc::check("sent backward", [] {
    const Graph forward = random_forward(), graph = backward(forward, random_recompute(), {});
    auto sent = [](const Graph& g, CollectiveKind kind, bool back) {
      return totals(g, [&](const Op& op) {
               if (!op.communication || op.communication->kind != kind || op.communication->forward_only) return false;
               return back ? op.name.ends_with(".backward") : !op.communication->backward_only;
             }).sent;
    };
    double reduced = 0, scattered = 0;  // by the backward pass alone
    for (const Op& op : forward.ops()) {
      if (!op.communication || !op.communication->backward_only) continue;
      (op.communication->kind == CollectiveKind::all_reduce ? reduced : scattered) += op.count * op.communication->bytes;
    }
    using enum CollectiveKind;
    RC_ASSERT(near(sent(graph, all_to_all, true), sent(forward, all_to_all, false)));
    RC_ASSERT(near(sent(graph, point_to_point, true), sent(forward, point_to_point, false)));
    RC_ASSERT(near(sent(graph, reduce_scatter, true), sent(forward, all_gather, false)));
    RC_ASSERT(near(sent(graph, all_gather, true), sent(forward, reduce_scatter, false) + scattered));
    RC_ASSERT(sent(graph, all_reduce, true) >= reduced * (1 - 1e-9));
  }));
}

TEST_CASE("more recomputation keeps no more") {
  CHECK(rc::check("kept(full) <= kept(selective) <= kept(none)", [] {
    const Graph forward = random_forward();
    auto kept = [&](Recompute recompute) { return saved_activations(forward, recompute); };
    const SavedActivations none = kept(Recompute::none), selective = kept(Recompute::selective), full = kept(Recompute::full);
    RC_ASSERT(full.per_layer <= selective.per_layer * (1 + 1e-12));
    RC_ASSERT(selective.per_layer <= none.per_layer * (1 + 1e-12));
    RC_ASSERT(full.head == none.head);
    RC_ASSERT(full.embedding == none.embedding);
    RC_ASSERT(full.working >= none.working);
    RC_ASSERT(full.per_layer > 0);
  }));
}

TEST_CASE("a GPT layer keeps s b h (34 + 5 a s / h), cut by tensor ranks as the paper says") {
  CHECK(rc::check("Korthikanti et al. 2022 eq. 1-4 for any sizes", [] {
    const double a = draw(1, 8), t = one_of<double>({1, 2, 4}), s = 4 * draw(1, 40), b = draw(1, 6);
    ModelConfig model;
    model.hidden = 4 * a * draw(1, 8), model.vocab = 64, model.norm = NormKind::layer_norm, model.dtype = Format::fp16;
    LayerSpec layer;
    layer.attention = GroupedAttention{.heads = 4 * a, .kv_heads = 4 * a, .head_dim = model.hidden / (4 * a), .qkv_bias = true, .out_bias = true};
    layer.dense = DenseFfn{4 * model.hidden, Activation::gelu, true};
    model.layers = {{static_cast<int>(draw(1, 4)), {layer}}};
    const Step step{.sequences = b, .new_tokens = s, .fused_attention = false, .training = true, .dropout = true};
    auto kept = [&](bool sequence, Recompute r) {
      return saved_activations(build(model, {model.dtype, {}, {}}, step, {.tensor = t, .sequence = sequence}), r).per_layer;
    };
    const double sbh = s * b * model.hidden, scores = 5 * 4 * a * s * s * b;
    RC_ASSERT(near(kept(false, Recompute::none), sbh * (10 + 24 / t) + scores / t));
    RC_ASSERT(near(kept(true, Recompute::none), (34 * sbh + scores) / t));
    RC_ASSERT(near(kept(true, Recompute::selective), 34 * sbh / t));
    RC_ASSERT(near(kept(false, Recompute::full), 2 * sbh));
  }));
}

TEST_CASE("storing equal layers once changes no total of the backward pass") {
  CHECK(rc::check("grouped == written out", [] {
    const ModelConfig model = random_model();
    const Step step = random_training_step();
    const Sharding sharding = random_sharding();
    const Recompute recompute = random_recompute();
    const Graph grouped = build(model, {model.dtype, {}, {}}, step, sharding), written = build(written_out(model), {model.dtype, {}, {}}, step, sharding);
    RC_ASSERT(near(totals(backward(grouped, recompute, {}), any), totals(backward(written, recompute, {}), any)));
    RC_ASSERT(near(saved_activations(grouped, recompute).per_layer, saved_activations(written, recompute).per_layer));
    RC_ASSERT(near(saved_activations(grouped, recompute).head, saved_activations(written, recompute).head));
  }));
}

TEST_CASE("no total depends on the order in which operators were added") {
  CHECK(rc::check("backward(reordered) == backward", [] {
    const Graph forward = random_forward(), other = reordered(forward);
    const Recompute recompute = coin() ? Recompute::none : Recompute::full;
    RC_ASSERT(near(totals(backward(forward, recompute, {}), any), totals(backward(other, recompute, {}), any)));
    RC_ASSERT(near(saved_activations(forward, recompute).per_layer, saved_activations(other, recompute).per_layer));
  }));
}

TEST_CASE("the optimizer touches every parameter once, in shares that add up") {
  CHECK(rc::check("elements and bytes", [] {
    const Graph forward = random_forward(false);
    const double share = 1 / draw(1, 64), expert_share = 1 / draw(1, 8);
    const TrainingPrecision precision{.gradients = one_of<Format>({Format::fp32, Format::bf16}), .moments = one_of<Format>({Format::fp32, Format::bf16})};
    auto sum = [&](double dense, double expert) {
      Totals all = totals(optimizer_step(forward, precision, dense, expert, {.clip = false}), any);
      return std::pair{all.flops, all.bytes};
    };
    const double total = count_parameters(forward).total;
    RC_ASSERT(near(sum(1, 1).first, 12 * total));
    const double width = DataType(precision.gradients).storage_bits() / 8 + 2 * 4 + 4 * DataType(precision.moments).storage_bits() / 8 + 2;
    RC_ASSERT(near(sum(1, 1).second, width * total));
    RC_ASSERT(near(sum(share, expert_share).second, share * sum(1, 0).second + expert_share * sum(0, 1).second));
  }));
}

// The whole model: embedding, layers (equal ones once, with a count), final norm, lm_head, sampling.
#include "models/build.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "models/layer_builder.hpp"

namespace gambrel::models {
namespace {

/// The operator that reads a sublayer's normed input and so decides its format.
std::string_view first_reader(const LayerSpec& spec, bool is_mixer) {
  if (is_mixer) return spec.mamba ? "mamba.in" : spec.attention ? "attn.qkv" : spec.latent->q_lora_rank > 0 ? "attn.q_a" : "attn.q";
  return spec.moe ? "moe.experts" : is_gated(spec.dense->activation) ? "mlp.gate_up" : "mlp.up";
}

/// Equal layers that are stored once.
struct LayerRun {
  const LayerSpec* spec;
  int first, step, count;
  Scope scope() const {
    const int last = first + step * (count - 1);
    std::string label = count == 1 ? fmt::format("layers.{}", first) : fmt::format("layers.{}-{}", first, last);
    if (count > 1 && step > 1) label += fmt::format(":{}", step);
    return {label, fmt::format("layers.{}", first), static_cast<double>(count), ModelPart::layers, first, step};
  }
};

/// True if the same overrides hold for each repetition of every place in the pattern.
bool uniform(const LayerGroup& group, int first, const PrecisionPolicy& policy) {
  const int period = static_cast<int>(group.pattern.size());
  for (int place = 0; place < period; ++place) {
    const std::string signature = policy.signature(first + place);
    for (int i = 1; i < group.count; ++i)
      if (policy.signature(first + place + i * period) != signature) return false;
  }
  return true;
}

/// Splits a group where overrides tell its layers apart: neighbours that are equal stay together.
void split(const LayerGroup& group, int first, const PrecisionPolicy& policy, std::vector<LayerRun>& runs) {
  const int period = static_cast<int>(group.pattern.size());
  std::string last_signature;
  for (int i = 0; i < group.count * period; ++i) {
    const LayerSpec* spec = &group.pattern[static_cast<std::size_t>(i % period)];
    const std::string signature = policy.signature(first + i);
    if (i > 0 && signature == last_signature && *runs.back().spec == *spec) ++runs.back().count;
    else runs.push_back({spec, first + i, 1, 1});
    last_signature = signature;
  }
}

std::vector<LayerRun> layer_runs(const ModelConfig& model, const PrecisionPolicy& policy) {
  std::vector<LayerRun> runs;
  int first = 0;
  for (const LayerGroup& group : model.layers) {
    const int period = static_cast<int>(group.pattern.size());
    if (uniform(group, first, policy))
      for (int place = 0; place < period; ++place) runs.push_back({&group.pattern[static_cast<std::size_t>(place)], first + place, period, group.count});
    else split(group, first, policy, runs);
    first += group.count * period;
  }
  return runs;
}

}  // namespace

TensorId LayerBuilder::embed() {
  const OpPrecision p = at("embed");
  Op o = op("embed", OpKind::embedding);
  o.dims[Dim::m] = tokens();
  o.dims[Dim::n] = model_.hidden;
  table_ = table("embed", "table", model_.vocab, p.weights, model_.tie_embeddings);
  const TensorId ids = value("embed.ids", tokens(), 1, Format::int32);
  const TensorId rows = value("embed", tokens(), model_.hidden, p.residual);
  o.uses = {read(ids), read(table_, tokens() * model_.hidden), write(rows)};
  if (model_.learned_positions > 0)
    o.uses.push_back(read(table("embed", "positions", model_.learned_positions, p.weights, false), tokens() * model_.hidden));
  graph_.add(std::move(o));
  return rows;
}

TensorId LayerBuilder::mixer(const LayerSpec& spec, TensorId h) {
  if (spec.attention) return attention(*spec.attention, h);
  if (spec.latent) return latent_attention(*spec.latent, h);
  return mamba(*spec.mamba, h);
}

TensorId LayerBuilder::feed_forward(const LayerSpec& spec, TensorId h) {
  return spec.moe ? moe(*spec.moe, h) : dense_ffn(*spec.dense, h, "mlp");
}

// x + f(norm(x)), x + norm(f(x)) or x + norm(f(norm(x))).
TensorId LayerBuilder::residual_sublayer(const LayerSpec& spec, TensorId x, bool is_mixer) {
  const std::string path = is_mixer ? (spec.mamba ? "mamba" : "attn") : (spec.moe ? "moe" : "mlp");
  TensorId h = x;
  if (spec.norms != NormPlacement::post) h = norm(path + ".norm", x, tokens(), model_.hidden, model_.norm, at(first_reader(spec, is_mixer)).activations, model_.hidden);
  TensorId y = is_mixer ? mixer(spec, h) : feed_forward(spec, h);
  if (spec.norms != NormPlacement::pre) y = norm(path + ".post_norm", y, tokens(), model_.hidden, model_.norm, at(path).residual, model_.hidden);
  return add(path + ".add", {x, y}, tokens(), model_.hidden);
}

TensorId LayerBuilder::layer(const LayerSpec& spec, TensorId x) {
  const bool has_mixer = spec.attention || spec.latent || spec.mamba, has_ffn = spec.dense || spec.moe;
  if (spec.parallel && has_mixer && has_ffn) {
    const TensorId h = norm("attn.norm", x, tokens(), model_.hidden, model_.norm, at(first_reader(spec, true)).activations, model_.hidden);
    const TensorId g = spec.shared_norm ? h : norm("mlp.norm", x, tokens(), model_.hidden, model_.norm, at(first_reader(spec, false)).activations, model_.hidden);
    const TensorId a = mixer(spec, h), f = feed_forward(spec, g);
    return add("add", {x, a, f}, tokens(), model_.hidden);
  }
  if (has_mixer) x = residual_sublayer(spec, x, true);
  if (has_ffn) x = residual_sublayer(spec, x, false);
  return x;
}

void LayerBuilder::head(TensorId x) {
  const double rows = step_.sequences * std::min(step_.logits, step_.new_tokens);
  const OpPrecision p = at("lm_head");
  const TensorId h = norm("norm", x, rows, model_.hidden, model_.norm, p.activations, model_.hidden);
  TensorId logits;
  if (model_.tie_embeddings) {
    Op o = op("lm_head", OpKind::gemm);
    o.dims[Dim::m] = rows;
    o.dims[Dim::n] = model_.vocab;
    o.dims[Dim::k] = model_.hidden;
    o.math = math_format(p.activations.format, graph_.tensor(table_).type.format);
    logits = value("lm_head", rows, model_.vocab, p.residual);
    o.uses = {read(h), read(table_), write(logits)};
    if (model_.lm_head_bias) {
      o.dims[Dim::terms] = 1;
      o.uses.push_back(read(vector_parameter("lm_head", "bias", model_.vocab)));
    }
    graph_.add(std::move(o));
  } else {
    logits = gemm("lm_head", h, rows, model_.vocab, model_.hidden, model_.lm_head_bias, p.residual);
  }
  Op sample = op("sample", OpKind::sampling);
  sample.dims[Dim::m] = rows;
  sample.dims[Dim::n] = model_.vocab;
  sample.dims[Dim::terms] = 5;
  const TensorId ids = value("sample", rows, 1, Format::int32);
  sample.uses = {read(logits), write(ids)};
  graph_.add(std::move(sample));
}

Graph build(const ModelConfig& model, const PrecisionPolicy& precision, const Step& step, const Sharding& sharding) {
  Graph graph;
  LayerBuilder builder(graph, model, precision, step, sharding);
  builder.enter({.part = ModelPart::embedding});
  TensorId x = builder.embed();
  for (const LayerRun& run : layer_runs(model, precision)) {
    builder.enter(run.scope());
    x = builder.layer(*run.spec, x);
  }
  builder.enter({.part = ModelPart::head});
  builder.head(x);
  return graph;
}

}  // namespace gambrel::models

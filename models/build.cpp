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

// A vocabulary cut over the ranks: each looks up what it has, and the rows are summed. Positions are added after it.
TensorId LayerBuilder::embed() {
  const OpPrecision p = at("embed");
  const double rows = shares_.group_tokens, vocab = model_.vocab / sharding_.tensor;
  Op o = op("embed", OpKind::embedding);
  o.dims[Dim::m] = rows;
  o.dims[Dim::n] = model_.hidden;
  table_ = table("embed", "table", vocab, p.weights, model_.tie_embeddings);
  const TensorId ids = value("embed.ids", rows, 1, Format::int32);
  const TensorId found = value("embed", rows, model_.hidden, p.residual);
  o.uses = {read(ids), read(table_, rows * model_.hidden / sharding_.tensor), write(found)};
  if (model_.learned_positions > 0)
    o.uses.push_back(read(table("embed", "positions", model_.learned_positions, p.weights, false), rows * model_.hidden));
  graph_.add(std::move(o));
  TensorId stream = found;
  if (shares_.stream_by_tokens || shares_.stream_by_width)
    stream = exchange("embed", CollectiveKind::reduce_scatter, {.ranks = sharding_.tensor}, found, shares_.stream_rows, shares_.stream_width);
  else all_reduce("embed", {.ranks = sharding_.tensor}, found);
  return dropout("embed.dropout", stream, shares_.stream_rows, shares_.stream_width);
}

TensorId LayerBuilder::mixer(const LayerSpec& spec, TensorId h) {
  if (spec.attention) return attention(*spec.attention, h);
  if (spec.latent) return latent_attention(*spec.latent, h);
  return mamba(*spec.mamba, h);
}

// x + f(norm(x)), x + norm(f(x)) or x + norm(f(norm(x))).
TensorId LayerBuilder::residual_sublayer(const LayerSpec& spec, TensorId x, bool is_mixer) {
  const std::string path = is_mixer ? (spec.mamba ? "mamba" : "attn") : (spec.moe ? "moe" : "mlp");
  split_ = split_of(model_, shares_, spec, is_mixer, !is_mixer);
  apart_ = spec.norms == NormPlacement::post;
  TensorId h = x;
  if (spec.norms != NormPlacement::post) h = stream_norm(path + ".norm", x, shares_.stream_rows, at(first_reader(spec, is_mixer)).activations);
  std::pair<TensorId, bool> y{0, true};
  if (is_mixer) y.first = mixer(spec, h);
  else if (spec.moe) y = moe(*spec.moe, h);
  else y.first = dense_ffn(*spec.dense, h, "mlp");
  if (y.second) y.first = leave(path, y.first);
  if (spec.norms != NormPlacement::pre) y.first = stream_norm(path + ".post_norm", y.first, shares_.stream_rows, at(path).residual);
  y.first = dropout(path + ".dropout", y.first, shares_.stream_rows, shares_.stream_width);
  return stream_add(path + ".add", {x, y.first});
}

// Both sublayers read the layer's input; what they leave is summed among the ranks once.
TensorId LayerBuilder::parallel_layer(const LayerSpec& spec, TensorId x) {
  const double rows = shares_.stream_rows;
  split_ = split_of(model_, shares_, spec, true, true);
  apart_ = true;
  const TensorId h = stream_norm("attn.norm", x, rows, at(first_reader(spec, true)).activations);
  const TensorId g = spec.shared_norm ? h : stream_norm("mlp.norm", x, rows, at(first_reader(spec, false)).activations);
  TensorId a = mixer(spec, h);
  auto [f, partial] = spec.moe ? moe(*spec.moe, g) : std::pair{dense_ffn(*spec.dense, g, "mlp"), true};
  const bool sharded = sharding_.tensor > 1, masked = step_.training && step_.dropout;
  if (sharded && !partial) a = leave("attn", a);
  if (!sharded && !masked) return add("add", {x, a, f}, rows, model_.hidden);
  const bool together = sharded && partial;  // still cut as the sublayers cut it
  TensorId sum = add("sum", {a, f}, together ? tokens() : rows, together ? model_.hidden / split_ : shares_.stream_width);
  if (together) sum = leave("sum", sum);
  return stream_add("add", {x, dropout("dropout", sum, rows, shares_.stream_width)});
}

TensorId LayerBuilder::layer(const LayerSpec& spec, TensorId x) {
  const bool has_mixer = spec.attention || spec.latent || spec.mamba, has_ffn = spec.dense || spec.moe;
  if (spec.parallel && has_mixer && has_ffn) return parallel_layer(spec, x);
  if (has_mixer) x = residual_sublayer(spec, x, true);
  if (has_ffn) x = residual_sublayer(spec, x, false);
  return x;
}

// lm_head is cut by the vocabulary, whatever the layers' layout. Of a cut context the rank that has the last tokens.
void LayerBuilder::head(TensorId x) {
  const double rows = step_.sequences * (step_.training ? shares_.queries : std::min(step_.logits, shares_.queries));
  const double ranks = sharding_.tensor, vocab = model_.vocab / ranks;
  const OpPrecision p = at("lm_head");
  TensorId h = stream_norm("norm", x, shares_.stream_by_tokens ? rows / ranks : rows, p.activations);
  if (shares_.stream_by_tokens || shares_.stream_by_width) h = exchange("lm_head.in", CollectiveKind::all_gather, {.ranks = ranks}, h, rows, model_.hidden);
  else backward_only("lm_head.in", CollectiveKind::all_reduce, {.ranks = ranks}, h);
  TensorId logits;
  if (model_.tie_embeddings) {
    Op o = op("lm_head", OpKind::gemm);
    o.dims[Dim::m] = rows;
    o.dims[Dim::n] = vocab;
    o.dims[Dim::k] = model_.hidden;
    o.math = math_format(p.activations.format, graph_.tensor(table_).type.format);
    logits = value("lm_head", rows, vocab, p.residual);
    o.uses = {read(h), read(table_), write(logits)};
    if (model_.lm_head_bias) {
      o.dims[Dim::terms] = 1;
      o.uses.push_back(read(vector_parameter("lm_head", "bias", vocab)));
    }
    graph_.add(std::move(o));
  } else {
    logits = gemm("lm_head", h, rows, vocab, model_.hidden, model_.lm_head_bias, p.residual);
  }
  if (step_.training) loss(logits, rows);
  else sample(logits, rows);
}

// Every rank samples from all logits.
void LayerBuilder::sample(TensorId logits, double rows) {
  logits = exchange("lm_head", CollectiveKind::all_gather, {.ranks = sharding_.tensor}, logits, rows, model_.vocab);
  Op sample = op("sample", OpKind::sampling);
  sample.dims[Dim::m] = rows;
  sample.dims[Dim::n] = model_.vocab;
  sample.dims[Dim::terms] = 5;
  const TensorId ids = value("sample", rows, 1, Format::int32);
  sample.uses = {read(logits), write(ids)};
  graph_.add(std::move(sample));
}

// Each rank works on its part of the vocabulary; maximum, sum and the target's logit of each token go round, one after
// the other (Shoeybi et al. 2019, section 3). The probabilities are what backward needs (Korthikanti et al. 2022: 4 s b v / t).
void LayerBuilder::loss(TensorId logits, double rows) {
  Op o = op("loss", OpKind::cross_entropy);
  o.dims[Dim::m] = rows;
  o.dims[Dim::n] = graph_.tensor(logits).shape[1];
  o.dims[Dim::terms] = 5;
  const TensorId targets = value("loss.targets", rows, 1, Format::int32);
  const TensorId probabilities = value("loss.probabilities", rows, graph_.tensor(logits).shape[1], Format::fp32);
  const TensorId loss = value("loss", rows, sharding_.tensor > 1 ? 3 : 1, Format::fp32);
  o.uses = {read(logits), read(targets), write(probabilities), write(loss)};
  graph_.add(std::move(o));
  all_reduce("loss", {.ranks = sharding_.tensor}, loss, 3);
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

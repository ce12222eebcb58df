// Attention sublayers of heads (multi-head, grouped-query, multi-query), and the core that latent attention shares.
#include "models/layer_builder.hpp"

#include <algorithm>

namespace gambrel::models {

namespace {

/// Queries that share their choice of keys in a block-sparse attention (Yuan et al. 2025, arXiv 2502.11089).
constexpr double attention_block = 64;

}  // namespace

TensorId LayerBuilder::kv_cache(double width, double window, bool whole_sequences) {
  const double total = step_.past_tokens + step_.new_tokens;
  const double held = window > 0 ? std::min(window, total) : total;
  return graph_.add(Tensor{.name = name("attn.kv_cache"), .shape = {shares_.sequences, whole_sequences ? held : held / sharding_.context, width},
                           .type = at("attn.core").kv_cache, .role = Role::kv_cache, .copies = scope_.count});
}

void LayerBuilder::kv_append(std::vector<Use> fresh, TensorId cache, double rows, double width) {
  Op o = op("attn.kv_append", OpKind::kv_append);
  o.dims[Dim::m] = rows;
  o.dims[Dim::n] = width;
  o.uses = std::move(fresh);
  o.uses.push_back(write(cache, rows * width));
  graph_.add(std::move(o));
}

// A cut context: each rank has two chunks, one from either end, so that causal pairs are shared out evenly (zigzag; Llama 3,
// arXiv 2407.21783 section 3.3.2). A window or chunk of r reaches at most r keys back from each. New tokens that are too
// few to cut look at every rank's keys from every rank.
LayerBuilder::Span LayerBuilder::span(const Core& core) const {
  const double ranks = sharding_.context, reach = std::max(core.window, core.chunk);
  double keys = keys_read(step_.new_tokens, step_.past_tokens, core.window, core.chunk);
  double pairs = score_pairs(step_.new_tokens, step_.past_tokens, core.window, core.chunk, core.causal);
  if (const double density = step_.data_sparsity.attention; density < 1 && reach == 0) {
    pairs *= density;
    keys *= chosen_by_any(density, step_.new_tokens / attention_block);
  }
  if (ranks == 1 || core.whole_sequences) return {step_.new_tokens, keys, keys, pairs};
  if (!shares_.cuts_context) return {step_.new_tokens, keys / ranks, keys / ranks, pairs / ranks};
  const bool reached = reach > 0 && sharding_.exchange == ContextExchange::ring;
  return {shares_.queries, keys / ranks, reached ? std::min(keys, shares_.queries + 2 * reach) : keys, pairs / ranks};
}

// The keys and values that others hold, a block after the other: one is attended to while the next arrives.
Use LayerBuilder::ring(Group group, const std::vector<Use>& mine, double rows, double width) {
  const double steps = group.ranks - 1;
  const TensorId blocks = value("attn.keys.point_to_point", rows / steps * std::min(steps, 2.0), width, graph_.tensor(mine.front().tensor).type);
  Op o = op("attn.keys.point_to_point", OpKind::collective);
  o.dims[Dim::m] = rows;
  o.dims[Dim::n] = width;
  const double bytes = graph_.tensor(blocks).bytes() / std::min(steps, 2.0);
  o.communication = {.kind = CollectiveKind::point_to_point, .axis = group.axis, .ranks = group.ranks, .bytes = bytes, .steps = steps};
  o.uses = mine;
  o.uses.push_back(write(blocks, rows * width));
  graph_.add(std::move(o));
  return read(blocks, rows * width);
}

// Ring attention sends the blocks round (Liu et al. 2023, arXiv 2310.01889); gathering has them all at once.
std::vector<Use> LayerBuilder::keys_and_values(const Span& span, const std::vector<KeyPart>& parts) {
  std::vector<Use> uses;
  double width = 0;
  for (const KeyPart& part : parts) {
    uses.push_back(read(part.tensor, shares_.sequences * span.keys_here * part.width));
    width += part.width;
  }
  const double ranks = sharding_.context, missing = span.keys - span.keys_here;
  if (missing <= 0) return uses;
  const Group group{MeshAxis::context, ranks};
  if (sharding_.exchange != ContextExchange::ring)
    return {read(exchange("attn.keys", CollectiveKind::all_gather, group, uses, shares_.sequences * span.keys, width))};
  uses.push_back(ring(group, uses, shares_.sequences * missing, width));
  return uses;
}

Op LayerBuilder::attention_op(std::string_view path, OpKind kind, const Core& core, const Span& span) const {
  const OpPrecision p = at("attn.core");
  Op o = op(path, kind);
  o.math = math_format(p.residual.format, p.kv_cache.format);
  o.dims[Dim::batch] = shares_.sequences;
  o.dims[Dim::heads] = core.heads;
  o.dims[Dim::kv_heads] = core.kv_heads;
  o.dims[Dim::queries] = span.queries;
  o.dims[Dim::keys] = span.keys;
  o.dims[Dim::qk_width] = core.qk_width;
  o.dims[Dim::v_width] = core.v_width;
  return o;
}

TensorId LayerBuilder::attend_fused(const Core& core, const Span& span, std::vector<Use> inputs, const std::vector<Use>& keys) {
  Op o = attention_op("attn.core", OpKind::attention, core, span);
  o.dims[Dim::pairs] = span.pairs;
  const bool parted = sharding_.context > 1 && !shares_.cuts_context;
  const double rows = shares_.sequences * span.queries;
  const TensorId result = value("attn.core", rows, core.heads * core.v_width, parted ? at("attn.core").residual : at("attn.out").activations);
  o.uses = std::move(inputs);
  o.uses.insert(o.uses.end(), keys.begin(), keys.end());
  o.uses.push_back(write(result));
  const TensorId statistics = parted ? value("attn.core.statistics", rows, 2 * core.heads, Format::fp32) : result;
  if (parted) o.uses.push_back(write(statistics));
  graph_.add(std::move(o));
  if (parted) combine_parts(result, statistics);
  return result;
}

// Each context rank attended to its own keys: maxima and sums first, then the outputs scaled by them.
void LayerBuilder::combine_parts(TensorId result, TensorId statistics) {
  const Group group{MeshAxis::context, sharding_.context};
  all_reduce("attn.core.statistics", group, statistics, 2);
  all_reduce("attn.core", group, result);
}

// The three pieces with the score matrix in memory. A dense GEMM cannot skip the masked half, so all pairs are computed.
TensorId LayerBuilder::attend_unfused(const Core& core, const Span& span, std::vector<Use> inputs, const std::vector<Use>& keys) {
  Op scores = attention_op("attn.scores", OpKind::attention_scores, core, span);
  scores.dims[Dim::pairs] = span.queries * span.keys;
  Op softmax = scores, values = scores;
  softmax.name = name("attn.softmax");
  softmax.kind = OpKind::softmax;
  softmax.math = Format::fp32;
  values.name = name("attn.values");
  values.kind = OpKind::attention_values;
  const DataType residual = at("attn.core").residual;
  const double rows = shares_.sequences * core.heads * span.queries;
  const TensorId matrix = value("attn.scores", rows, span.keys, residual);
  TensorId weights = value("attn.softmax", rows, span.keys, residual);
  const TensorId result = value("attn.values", shares_.sequences * span.queries, core.heads * core.v_width, at("attn.out").activations);
  scores.uses = std::move(inputs);
  for (const Use& use : keys) scores.uses.push_back(read(use.tensor, use.elements * core.key_bytes_share));
  scores.uses.push_back(write(matrix));
  softmax.uses = {read(matrix), write(weights)};
  const bool parted = sharding_.context > 1 && !shares_.cuts_context;
  const TensorId statistics = parted ? value("attn.core.statistics", shares_.sequences * span.queries, 2 * core.heads, Format::fp32) : weights;
  if (parted) softmax.uses.push_back(write(statistics));
  graph_.add(std::move(scores));
  graph_.add(std::move(softmax));
  weights = dropout("attn.scores_dropout", weights, rows, span.keys);
  values.uses = {read(weights)};
  for (const Use& use : keys) values.uses.push_back(read(use.tensor, use.elements * (1 - core.key_bytes_share)));
  values.uses.push_back(write(result));
  graph_.add(std::move(values));
  if (parted) combine_parts(result, statistics);
  return result;
}

TensorId LayerBuilder::attend(const Core& core, std::vector<Use> inputs, const std::vector<KeyPart>& parts) {
  const Span seen = span(core);
  const std::vector<Use> keys = keys_and_values(seen, parts);
  return step_.fused_attention ? attend_fused(core, seen, std::move(inputs), keys) : attend_unfused(core, seen, std::move(inputs), keys);
}

// Heads for tokens, or back: all-to-all over the context axis (Jacobs et al. 2023, arXiv 2309.14509).
TensorId LayerBuilder::swap_heads(std::string_view path, Use part, double rows, double width) {
  return exchange(path, CollectiveKind::all_to_all, {MeshAxis::context, sharding_.context}, {part}, rows, width);
}

LayerBuilder::Projected LayerBuilder::project(const GroupedAttention& a, TensorId qkv, Core& core) {
  double rows = tokens(), q_width = core.heads * a.head_dim, kv_width = 2 * core.kv_heads * a.head_dim;
  std::vector<Use> q{read(qkv, rows * q_width)}, kv{read(qkv, rows * kv_width)};
  std::vector<KeyPart> fresh{{qkv, kv_width}};
  if (core.whole_sequences) {
    const double ranks = sharding_.context;
    core.heads /= ranks;
    core.kv_heads = std::max(1.0, core.kv_heads / ranks);
    q = {read(swap_heads("attn.q", q[0], rows * ranks, q_width / ranks))};
    const double width = core.kv_heads * a.head_dim;
    const TensorId k = swap_heads("attn.k", read(qkv, rows * kv_width / 2), rows * ranks, width);
    const TensorId v = swap_heads("attn.v", read(qkv, rows * kv_width / 2), rows * ranks, width);
    kv = {read(k), read(v)};
    fresh = {{k, width}, {v, width}};
    rows *= ranks;
    kv_width = 2 * width;
  }
  if (step_.training) return {q, fresh};
  const TensorId cache = kv_cache(kv_width, a.window > 0 ? a.window : a.chunk, core.whole_sequences);
  kv_append(kv, cache, shares_.cuts_context ? rows : rows / sharding_.context, kv_width);
  return {q, {{cache, kv_width}}};
}

TensorId LayerBuilder::attention(const GroupedAttention& a, TensorId h) {
  const double heads = a.heads / shares_.columns, kv_heads = std::max(1.0, a.kv_heads / shares_.columns);
  const double q_width = heads * a.head_dim, kv_width = 2 * kv_heads * a.head_dim, qk_width = q_width + kv_width / 2;
  const DataType residual = at("attn.qkv").residual;
  auto width = [&](double ranks) { return a.heads / ranks * a.head_dim + 2 * std::max(1.0, a.kv_heads / ranks) * a.head_dim; };
  const TensorId qkv = column("attn.qkv", enter("attn", h), model_.hidden, width, a.qkv_bias, residual);
  if (a.qk_norm != QkNorm::none) {
    const bool whole = a.qk_norm == QkNorm::head || shares_.columns == 1;
    const auto sums = statistics("attn.qk_norm", qkv, tokens(), NormKind::rms_norm, whole, 2);
    Op o = op("attn.qk_norm", OpKind::rms_norm);
    o.dims[Dim::m] = tokens();
    o.dims[Dim::n] = qk_width;
    o.dims[Dim::terms] = 4;
    const TensorId gain = vector_parameter("attn.qk_norm", "gain", a.qk_norm == QkNorm::head ? 2 * a.head_dim : qk_width);
    o.uses = {read(qkv, tokens() * qk_width), read(gain), write(qkv, tokens() * qk_width)};
    if (sums) o.uses.push_back(read(*sums));
    graph_.add(std::move(o));
  }
  if (a.rotary > 0) in_place("attn.rotary", OpKind::rotary, qkv, tokens(), (heads + kv_heads) * a.rotary, 3);
  Core core{.heads = heads, .kv_heads = kv_heads, .qk_width = a.head_dim, .v_width = a.head_dim,
            .window = a.window, .chunk = a.chunk, .causal = a.causal};
  core.whole_sequences = shares_.cuts_context && sharding_.exchange == ContextExchange::ulysses;
  Projected projected = project(a, qkv, core);
  if (a.sinks) projected.queries.push_back(read(vector_parameter("attn.core", "sinks", heads)));
  TensorId attended = attend(core, projected.queries, projected.memory);
  if (core.whole_sequences) attended = swap_heads("attn.result", read(attended), tokens(), q_width);
  return row("attn.out", attended, q_width, a.out_bias, residual);
}

}  // namespace gambrel::models

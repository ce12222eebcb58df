// Multi-head latent attention.
#include "models/layer_builder.hpp"

namespace gambrel::models {
namespace {

/// Attending in the latent space widens every score; expanding keys and values costs a product for each cached token.
/// Fewer FLOPs win: decoding and short steps after a long past absorb, prefill expands.
bool absorbs(const LatentAttention& a, const Step& step) {
  if (a.absorb != Absorb::automatic) return a.absorb == Absorb::always;
  const double pairs = score_pairs(step.new_tokens, step.past_tokens, 0, 0);
  const double projection = a.kv_lora_rank * (a.nope_head_dim + a.v_head_dim);  // a head and token, either way
  const double absorbed = step.new_tokens * projection + pairs * (2 * a.kv_lora_rank + a.rope_head_dim);
  const double expanded =
      (step.past_tokens + step.new_tokens) * projection + pairs * (a.nope_head_dim + a.rope_head_dim + a.v_head_dim);
  return absorbed < expanded;
}

}  // namespace

// The down-projections are too narrow to cut: every rank has them whole. If the stream is cut by tokens, each rank
// compresses its own tokens and the latents are gathered.
TensorId LayerBuilder::compress(const LatentAttention& a, TensorId source) {
  const double rows = shares_.stream_by_tokens ? shares_.stream_rows : tokens();
  return gemm("attn.kv_a", source, rows, a.kv_lora_rank + a.rope_head_dim, model_.hidden, a.qkv_bias, at("attn.core").residual);
}

// Queries' rope parts in one kernel with that of the key, which all heads share.
void LayerBuilder::rotate(const LatentAttention& a, TensorId q, TensorId latent) {
  in_place("attn.rotary", OpKind::rotary, q, tokens(), a.heads / shares_.columns * a.rope_head_dim, 3);
  Op o = op("attn.k_rotary", OpKind::rotary);
  o.dims[Dim::m] = graph_.tensor(latent).shape[0];
  o.dims[Dim::n] = a.rope_head_dim;
  o.dims[Dim::terms] = 3;
  o.fused = true;
  const double elements = o.dims[Dim::m] * a.rope_head_dim;
  o.uses = {read(latent, elements), write(latent, elements)};
  graph_.add(std::move(o));
}

LayerBuilder::Latents LayerBuilder::normed_and_rotated(const LatentAttention& a, TensorId latent) {
  const double rows = graph_.tensor(latent).shape[0];
  const TensorId normed = norm("attn.kv_norm", latent, rows, a.kv_lora_rank, model_.norm, at("attn.core").residual, a.kv_lora_rank);
  return {spread("attn.kv_norm", read(normed), a.kv_lora_rank),
          spread("attn.kv_a", read(latent, rows * a.rope_head_dim), a.rope_head_dim)};
}

// What each rank computed of all tokens, or all ranks alike, becomes the input of matrices cut by columns.
TensorId LayerBuilder::spread(std::string_view path, Use part, double width) {
  if (shares_.stream_by_tokens)
    return exchange(path, CollectiveKind::all_gather, {.ranks = shares_.columns}, {part}, tokens(), width);
  if (!shares_.stream_by_width)  // there what was gathered by width adds up the ranks' gradients
    backward_only(path, CollectiveKind::all_reduce, {.ranks = shares_.columns}, part.tensor);
  return part.tensor;
}

TensorId LayerBuilder::latent_queries(const LatentAttention& a, TensorId h, TensorId source) {
  const DataType residual = at("attn.core").residual;
  auto width = [&](double ranks) { return a.heads / ranks * (a.nope_head_dim + a.rope_head_dim); };
  if (a.q_lora_rank == 0) return column("attn.q", enter("attn", h), model_.hidden, width, a.qkv_bias, residual);
  const double rows = shares_.stream_by_tokens ? shares_.stream_rows : tokens();
  TensorId q = gemm("attn.q_a", source, rows, a.q_lora_rank, model_.hidden, a.qkv_bias, residual);
  q = norm("attn.q_norm", q, rows, a.q_lora_rank, model_.norm, at("attn.q_b").activations, a.q_lora_rank);
  return column("attn.q_b", spread("attn.q_norm", read(q), a.q_lora_rank), a.q_lora_rank, width, false, residual);
}

// Keys and values are expanded from the latent, or the expansion is absorbed into the query and the output (DeepSeek-V2,
// arXiv 2405.04434 section 2.1.2).
TensorId LayerBuilder::latent_attention(const LatentAttention& a, TensorId h) {
  const double cache_width = a.kv_lora_rank + a.rope_head_dim;
  const TensorId source = shares_.stream_by_width ? enter("attn", h) : h;
  const TensorId latent = compress(a, source);  // before the queries enter: its gradient is whole on every rank
  const TensorId q = latent_queries(a, h, source);
  rotate(a, q, latent);
  const Latents latents = normed_and_rotated(a, latent);
  std::vector<KeyPart> memory{{latents.normed, a.kv_lora_rank}, {latents.rotated, a.rope_head_dim}};
  if (!step_.training) {
    const TensorId cache = kv_cache(cache_width, 0);
    kv_append({read(latents.normed), read(latents.rotated, tokens() * a.rope_head_dim)}, cache,
              shares_.cuts_context ? tokens() : tokens() / sharding_.context, cache_width);
    memory = {{cache, cache_width}};
  }
  return !step_.training && absorbs(a, step_) ? attend_absorbed(a, q, memory) : attend_expanded(a, q, memory);
}

TensorId LayerBuilder::attend_absorbed(const LatentAttention& a, TensorId q, std::vector<KeyPart> memory) {
  const double cache_width = a.kv_lora_rank + a.rope_head_dim, heads = a.heads / shares_.columns;
  Core core{.heads = heads, .kv_heads = 1, .qk_width = cache_width, .v_width = a.kv_lora_rank};
  core.key_bytes_share = cache_width / (cache_width + a.kv_lora_rank);
  const DataType residual = at("attn.core").residual;
  const TensorId lifted =
      batched_gemm("attn.q_absorb", "attn.kv_b", q, heads, a.kv_lora_rank, a.nope_head_dim, residual);
  const std::vector<Use> queries{read(lifted), read(q, tokens() * heads * a.rope_head_dim)};
  if (!step_.fused_attention && sharding_.context == 1)
    memory[0].width = cache_width + a.kv_lora_rank;  // scores, then values
  const TensorId attended = attend(core, queries, memory);
  const TensorId values =
      batched_gemm("attn.v_up", "attn.kv_b", attended, heads, a.v_head_dim, a.kv_lora_rank, at("attn.out").activations);
  return row("attn.out", values, heads * a.v_head_dim, a.out_bias, residual);
}

TensorId LayerBuilder::attend_expanded(const LatentAttention& a, TensorId q, const std::vector<KeyPart>& memory) {
  const double heads = a.heads / shares_.columns, width = heads * (a.nope_head_dim + a.v_head_dim);
  const double rows = shares_.sequences * (step_.past_tokens + step_.new_tokens) / sharding_.context;
  const DataType residual = at("attn.core").residual;
  const TensorId expanded =
      gemm("attn.kv_b", memory.front().tensor, rows, width, a.kv_lora_rank, false, residual, shares_.gathered);
  Core core{.heads = heads, .kv_heads = heads, .qk_width = a.nope_head_dim + a.rope_head_dim, .v_width = a.v_head_dim};
  core.key_bytes_share = a.nope_head_dim / (a.nope_head_dim + a.v_head_dim);
  const KeyPart rotated{memory.back().tensor, a.rope_head_dim};  // shared by the heads
  std::vector<Use> inputs{read(q)};
  std::vector<KeyPart> parts{{expanded, width}};
  if (sharding_.context == 1) inputs.push_back(read(rotated.tensor, rows * a.rope_head_dim));
  else parts.push_back(rotated);
  const TensorId attended = attend(core, inputs, parts);
  return row("attn.out", attended, heads * a.v_head_dim, a.out_bias, residual);
}

}  // namespace gambrel::models

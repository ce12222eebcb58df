// The formula, and for each kind of matrix which rows and columns of the whole one a rank holds.
#include "kernels/weights.hpp"

#include <algorithm>
#include <cmath>

namespace gambrel::kernels {
namespace {

using models::LayerSpec;
using models::Tensor;
using Places = std::vector<std::size_t>;

std::uint64_t mix(std::uint64_t x) {
  x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9ull;
  x = (x ^ (x >> 27)) * 0x94D049BB133111EBull;
  return x ^ (x >> 31);
}

std::uint64_t start_of(std::string_view name, std::uint64_t seed) {
  std::uint64_t hash = 0xCBF29CE484222325ull;
  for (char c : name) hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001B3ull;
  return hash ^ mix(seed);
}

double unit_of(std::uint64_t start, std::uint64_t index) {
  return 2 * std::ldexp(static_cast<double>(mix(start + (index + 1) * 0x9E3779B97F4A7C15ull) >> 11), -53) - 1;
}

std::size_t size_of(double extent) { return static_cast<std::size_t>(std::llround(extent)); }

void append(Places& places, std::size_t first, std::size_t count) {
  for (std::size_t i = 0; i < count; ++i) places.push_back(first + i);
}

/// `count` from `first` on, times `stride`.
Places run(std::size_t first, std::size_t count, std::size_t stride = 1) {
  Places places;
  for (std::size_t i = 0; i < count; ++i) places.push_back((first + i) * stride);
  return places;
}

bool is_bias(std::string_view path) { return path.ends_with(".bias"); }

/// Halves, gates and what they gate, each cut alike.
Places halves(std::size_t inner, std::size_t parts, std::size_t part, std::size_t count) {
  Places places;
  for (std::size_t half = 0; half < count; ++half) append(places, half * inner + part * (inner / parts), inner / parts);
  return places;
}

}  // namespace

double unit_value(std::string_view name, std::uint64_t index, std::uint64_t seed) {
  return unit_of(start_of(name, seed), index);
}

std::uint64_t token_at(std::uint64_t sequence, std::uint64_t position, double vocabulary, std::uint64_t seed) {
  return static_cast<std::uint64_t>((unit_value("tokens", (sequence << 32) + position, seed) + 1) / 2 * vocabulary);
}

Weights::Cut Weights::whole(std::string_view path, const Tensor& tensor) const {
  const std::size_t width = size_of(tensor.shape.back());
  if (tensor.shape.size() == 1) return by_rows(path, run(0, width), 1);
  return by_rows(path, run(0, size_of(tensor.elements()) / width), width);
}

// Vectors have a width of 1 here; what they are for says how large their elements are.
Weights::Cut Weights::by_rows(std::string_view path, Places rows, std::size_t width) const {
  Cut cut{.source = std::string(path), .rows = std::move(rows), .columns = run(0, width)};
  for (std::size_t& row : cut.rows) row *= width;
  if (path.ends_with(".gain")) cut.scale = 0.1, cut.offset = 1;
  else if (is_bias(path)) cut.scale = 0.1;
  else if (path.ends_with(".weight")) cut.scale = std::sqrt(3.0 / static_cast<double>(width));
  return cut;
}

Weights::Cut Weights::by_columns(std::string_view path, const Tensor& tensor, RankPlace place) const {
  Cut cut = whole(path, tensor);
  if (is_bias(path)) {
    if (place.tensor > 0) cut.scale = 0;
    return cut;
  }
  const std::size_t mine = size_of(tensor.shape.back()), all = mine * size_of(sharding_.tensor);
  cut.rows = run(0, size_of(tensor.shape[0]), all);
  cut.columns = run(place.tensor * mine, mine);
  cut.scale = std::sqrt(3.0 / static_cast<double>(all));
  return cut;
}

Weights::Cut Weights::grouped_heads(std::string_view path, const models::GroupedAttention& a, RankPlace place) const {
  const std::size_t d = size_of(a.head_dim), ranks = size_of(sharding_.tensor), all_q = size_of(a.heads),
                    all_kv = size_of(a.kv_heads);
  const std::size_t heads = all_q / ranks, kv_heads = std::max<std::size_t>(1, all_kv / ranks),
                    first_kv = place.tensor * all_kv / ranks;
  if (path == "attn.core.sinks") return by_rows(path, run(place.tensor * heads, heads), 1);
  Places rows;
  append(rows, place.tensor * heads * d, heads * d);
  append(rows, (all_q + first_kv) * d, kv_heads * d);
  if (path != "attn.qk_norm.gain") append(rows, (all_q + all_kv + first_kv) * d, kv_heads * d);
  return by_rows(path, std::move(rows), path == "attn.qkv.weight" ? size_of(model_.hidden) : 1);
}

Weights::Cut Weights::latent(std::string_view path, const models::LatentAttention& a, const Tensor& tensor,
                             RankPlace place) const {
  const std::size_t heads = size_of(a.heads / sharding_.tensor), first = place.tensor * heads,
                    lora = size_of(a.kv_lora_rank);
  const std::size_t nope = size_of(a.nope_head_dim), v = size_of(a.v_head_dim);
  if (path != "attn.q_absorb.weight" && path != "attn.v_up.weight") {
    const std::size_t mine = size_of(tensor.shape[0]);
    return by_rows(path, run(place.tensor * mine, mine), tensor.shape.size() > 1 ? size_of(tensor.shape[1]) : 1);
  }
  Cut cut{.source = "attn.kv_b.weight", .scale = std::sqrt(3.0 / a.kv_lora_rank)};
  const bool lifts = path == "attn.q_absorb.weight";  // the transposed keys' part
  for (std::size_t head = first; head < first + heads; ++head)
    for (std::size_t i = 0; i < (lifts ? lora : v); ++i)
      cut.rows.push_back(lifts ? head * (nope + v) * lora + i : (head * (nope + v) + nope + i) * lora);
  cut.columns = lifts ? run(0, nope, lora) : run(0, lora);
  return cut;
}

Weights::Cut Weights::state_space(std::string_view path, const models::Mamba& m, const Tensor& tensor,
                                  RankPlace place) const {
  const std::size_t ranks = size_of(sharding_.tensor), all_heads = size_of(m.heads), d = size_of(m.head_dim),
                    state = size_of(m.state);
  const std::size_t heads = all_heads / ranks, all_groups = size_of(m.groups),
                    groups = std::max<std::size_t>(1, all_groups / ranks);
  const std::size_t first = place.tensor * heads, first_group = place.tensor * all_groups / ranks,
                    inner = all_heads * d;
  Places channels;
  append(channels, first * d, heads * d);
  for (std::size_t half : {0, 1}) append(channels, inner + (half * all_groups + first_group) * state, groups * state);
  if (path == "mamba.conv.weight") return by_rows(path, channels, size_of(m.conv_kernel));
  if (path == "mamba.conv.bias") return by_rows(path, channels, 1);
  if (path == "mamba.gated_norm.gain") return by_rows(path, run(first * d, heads * d), 1);
  Places rows;
  if (path == "mamba.scan.a_d_dt") {
    for (std::size_t part : {0, 1, 2}) append(rows, part * all_heads + first, heads);
    return by_rows(path, rows, 1);
  }
  append(rows, first * d, heads * d);
  for (std::size_t channel : channels) rows.push_back(inner + channel);
  append(rows, 2 * inner + 2 * all_groups * state + first, heads);
  return by_rows(path, std::move(rows), is_bias(path) ? 1 : size_of(tensor.shape[1]));
}

Weights::Cut Weights::gate_up(std::string_view path, double inner, const Tensor& tensor, RankPlace place) const {
  const bool is_gate_up = path.find("gate_up") != path.npos;
  return by_rows(path, halves(size_of(inner), size_of(sharding_.tensor), place.tensor, is_gate_up ? 2 : 1),
                 is_bias(path) ? 1 : size_of(tensor.shape[1]));
}

// [experts, n, k]: rows are those of all experts one after the other.
Weights::Cut Weights::experts(std::string_view path, const models::MoeFfn& f, RankPlace place) const {
  const std::size_t experts = size_of(f.experts() / sharding_.expert), first = place.expert * experts,
                    hidden = size_of(model_.hidden);
  const std::size_t inner = size_of(f.mean_inner()), parts = size_of(sharding_.expert_tensor),
                    wide = is_gated(f.activation) ? 2 : 1;
  const bool up = path.starts_with("moe.experts.up");
  const Places of_one = up ? halves(inner, parts, place.expert_tensor, wide) : run(0, hidden);
  Places rows;
  for (std::size_t e = first; e < first + experts; ++e)
    for (std::size_t row : of_one) rows.push_back(e * (up ? wide * inner : hidden) + row);
  Cut cut = by_rows(path, std::move(rows), is_bias(path) ? 1 : up ? hidden : inner);
  if (!up && is_bias(path) && place.expert_tensor > 0) cut.scale = 0;
  if (!up && !is_bias(path)) cut.columns = run(place.expert_tensor * (inner / parts), inner / parts);
  return cut;
}

Weights::Cut Weights::cut_of(std::string_view path, const LayerSpec* spec, const Tensor& tensor,
                             RankPlace place) const {
  auto starts = [&](std::string_view text) { return path.starts_with(text); };
  if (path == "embed.table" || starts("lm_head.")) {
    const std::size_t mine = size_of(tensor.shape[0]);
    return by_rows(path, run(place.tensor * mine, mine), tensor.shape.size() > 1 ? size_of(tensor.shape[1]) : 1);
  }
  for (std::string_view cut_by_rows : {"attn.out.", "mlp.down.", "moe.shared.down.", "mamba.out."})
    if (starts(cut_by_rows)) return by_columns(path, tensor, place);
  if (!spec) return whole(path, tensor);
  if (starts("attn.qkv") || path == "attn.core.sinks" ||
      (starts("attn.qk_norm") && spec->attention->qk_norm == models::QkNorm::full))
    return grouped_heads(path, *spec->attention, place);
  for (std::string_view cut_by_heads : {"attn.q.", "attn.q_b.", "attn.kv_b.", "attn.q_absorb.", "attn.v_up."})
    if (starts(cut_by_heads)) return latent(path, *spec->latent, tensor, place);
  if (starts("mamba.in.") || starts("mamba.conv") || starts("mamba.scan") || starts("mamba.gated_norm"))
    return state_space(path, *spec->mamba, tensor, place);
  if (starts("mlp.gate_up") || starts("mlp.up")) return gate_up(path, spec->dense->inner, tensor, place);
  if (starts("moe.shared.gate_up") || starts("moe.shared.up"))
    return gate_up(path, spec->moe->shared_inner, tensor, place);
  if (path == "moe.experts.up" || path == "moe.experts.down")
    return experts(std::string(path) + ".weight", *spec->moe, place);
  if (starts("moe.experts.")) return experts(path, *spec->moe, place);
  return whole(path, tensor);
}

std::vector<double> Weights::fill(std::string_view prefix, const Cut& cut) const {
  const std::uint64_t start = start_of(std::string(prefix) + cut.source, seed_);
  std::vector<double> values;
  values.reserve(cut.rows.size() * cut.columns.size());
  for (std::size_t row : cut.rows)
    for (std::size_t column : cut.columns) values.push_back(cut.offset + cut.scale * unit_of(start, row + column));
  return values;
}

// Of each expert the biases of the first product, then those of the second.
std::vector<double> Weights::fused_bias(std::string_view prefix, const models::MoeFfn& f, RankPlace place) const {
  const std::vector<double> up = fill(prefix, experts("moe.experts.up.bias", f, place)),
                            down = fill(prefix, experts("moe.experts.down.bias", f, place));
  const std::size_t experts = size_of(f.experts() / sharding_.expert), wide = up.size() / experts,
                    hidden = down.size() / experts;
  std::vector<double> both;
  for (std::size_t e = 0; e < experts; ++e) {
    both.insert(both.end(), up.begin() + e * wide, up.begin() + (e + 1) * wide);
    both.insert(both.end(), down.begin() + e * hidden, down.begin() + (e + 1) * hidden);
  }
  return both;
}

std::vector<double> Weights::make(std::string_view prefix, std::string_view path, const LayerSpec* spec,
                                  const Tensor& tensor, RankPlace place) const {
  if (path == "moe.experts.bias") return fused_bias(prefix, *spec->moe, place);
  return fill(prefix, cut_of(path, spec, tensor, place));
}

}  // namespace gambrel::kernels

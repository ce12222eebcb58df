// The formula, and for each kind of matrix which rows and columns of the whole one a rank holds.
#include "kernels/weights/weights.hpp"

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

/// Of a norm of the residual stream, "norm.gain" or "attn.norm.bias".
bool is_stream_norm(std::string_view path) {
  const std::string_view norm = path.substr(0, path.rfind('.')), name = norm.substr(norm.rfind('.') + 1);
  return name == "norm" || name == "post_norm";
}

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

UnitValues::UnitValues(std::string_view name, std::uint64_t seed) : start_(start_of(name, seed)) {}
double UnitValues::at(std::uint64_t index) const { return unit_of(start_, index); }

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
  Cut cut{.source = std::string(path), .rows = std::move(rows), .columns = run(0, width), .width = width};
  for (std::size_t& row : cut.rows) row *= width;
  if (path.ends_with(".gain")) cut.scale = 0.1, cut.offset = 1;
  else if (is_bias(path)) cut.scale = 0.1;
  else if (path.ends_with(".weight")) cut.scale = std::sqrt(3.0 / static_cast<double>(width));
  return cut;
}

/// Blocks of the stream's width that a rank of a 2D layout has together with those it gathers from: every split-th.
Places Weights::stream_blocks(RankPlace place, LayerCut layer) const {
  if (layer.split == 1) return run(0, size_of(model_.hidden));
  const std::size_t block = size_of(model_.hidden) / layer.columns;
  Places places;
  for (std::size_t i = place.tensor % layer.split; i < layer.columns; i += layer.split)
    append(places, i * block, block);
  return places;
}

// Inner elements are contracted: a part of them for each rank. Biases count once.
Weights::Cut Weights::by_columns(std::string_view path, const Tensor& tensor, RankPlace place, LayerCut layer) const {
  const std::size_t part = place.tensor % layer.columns / layer.split;
  const Places outputs = stream_blocks(place, layer);
  if (is_bias(path)) {
    Cut cut = by_rows(path, outputs, 1);
    if (part > 0) cut.scale = 0;
    return cut;
  }
  const std::size_t mine = size_of(tensor.shape.back()), all = mine * (layer.columns / layer.split);
  Cut cut = by_rows(path, outputs, all);
  cut.columns = run(part * mine, mine);
  return cut;
}

Weights::Cut Weights::grouped_heads(std::string_view path, const models::GroupedAttention& a, Portion part) const {
  const std::size_t d = size_of(a.head_dim), all_q = size_of(a.heads), all_kv = size_of(a.kv_heads);
  const std::size_t heads = all_q / part.count, kv_heads = std::max<std::size_t>(1, all_kv / part.count),
                    first_kv = part.index * all_kv / part.count;
  if (path == "attn.core.sinks") return by_rows(path, run(part.index * heads, heads), 1);
  Places rows;
  append(rows, part.index * heads * d, heads * d);
  append(rows, (all_q + first_kv) * d, kv_heads * d);
  if (path != "attn.qk_norm.gain") append(rows, (all_q + all_kv + first_kv) * d, kv_heads * d);
  return by_rows(path, std::move(rows), path == "attn.qkv.weight" ? size_of(model_.hidden) : 1);
}

Weights::Cut Weights::latent(std::string_view path, const models::LatentAttention& a, std::size_t width,
                             Portion part) const {
  const std::size_t heads = size_of(a.heads) / part.count, first = part.index * heads, lora = size_of(a.kv_lora_rank);
  const std::size_t nope = size_of(a.nope_head_dim), v = size_of(a.v_head_dim), rope = size_of(a.rope_head_dim);
  if (path != "attn.q_absorb.weight" && path != "attn.v_up.weight") {
    const std::size_t mine = heads * (nope + (path.starts_with("attn.kv_b") ? v : rope));
    return by_rows(path, run(part.index * mine, mine), width);
  }
  Cut cut{.source = "attn.kv_b.weight", .scale = std::sqrt(3.0 / a.kv_lora_rank), .width = lora};
  const bool lifts = path == "attn.q_absorb.weight";  // the transposed keys' part
  for (std::size_t head = first; head < first + heads; ++head)
    for (std::size_t i = 0; i < (lifts ? lora : v); ++i)
      cut.rows.push_back(lifts ? head * (nope + v) * lora + i : (head * (nope + v) + nope + i) * lora);
  cut.columns = lifts ? run(0, nope, lora) : run(0, lora);
  return cut;
}

Weights::Cut Weights::state_space(std::string_view path, const models::Mamba& m, Portion part) const {
  const std::size_t all_heads = size_of(m.heads), d = size_of(m.head_dim), state = size_of(m.state);
  const std::size_t heads = all_heads / part.count, all_groups = size_of(m.groups),
                    groups = std::max<std::size_t>(1, all_groups / part.count);
  const std::size_t first = part.index * heads, first_group = part.index * all_groups / part.count,
                    inner = all_heads * d;
  Places channels;
  append(channels, first * d, heads * d);
  for (std::size_t half : {0, 1}) append(channels, inner + (half * all_groups + first_group) * state, groups * state);
  if (path == "mamba.conv.weight") return by_rows(path, channels, size_of(m.conv_kernel));
  if (path == "mamba.conv.bias") return by_rows(path, channels, 1);
  if (path == "mamba.gated_norm.gain") return by_rows(path, run(first * d, heads * d), 1);
  Places rows;
  if (path == "mamba.scan.a_d_dt") {
    for (std::size_t third : {0, 1, 2}) append(rows, third * all_heads + first, heads);
    return by_rows(path, rows, 1);
  }
  append(rows, first * d, heads * d);
  for (std::size_t channel : channels) rows.push_back(inner + channel);
  append(rows, 2 * inner + 2 * all_groups * state + first, heads);
  return by_rows(path, std::move(rows), is_bias(path) ? 1 : size_of(model_.hidden));
}

Weights::Cut Weights::gate_up(std::string_view path, double inner, Portion part) const {
  const bool is_gate_up = path.find("gate_up") != path.npos;
  return by_rows(path, halves(size_of(inner), part.count, part.index, is_gate_up ? 2 : 1),
                 is_bias(path) ? 1 : size_of(model_.hidden));
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

/// Of the matrices whose outputs the ranks share out, and of what belongs to them. `width`: of latent ones.
std::optional<Weights::Cut> Weights::by_outputs(std::string_view path, const LayerSpec& spec, std::size_t width,
                                                Portion part) const {
  auto starts = [&](std::string_view text) { return path.starts_with(text); };
  if (starts("attn.qkv") || path == "attn.core.sinks" ||
      (starts("attn.qk_norm") && spec.attention->qk_norm == models::QkNorm::full))
    return grouped_heads(path, *spec.attention, part);
  for (std::string_view cut_by_heads : {"attn.q.", "attn.q_b.", "attn.kv_b.", "attn.q_absorb.", "attn.v_up."})
    if (starts(cut_by_heads)) return latent(path, *spec.latent, width, part);
  if (starts("mamba.in.") || starts("mamba.conv") || starts("mamba.scan") || starts("mamba.gated_norm"))
    return state_space(path, *spec.mamba, part);
  if (starts("mlp.gate_up") || starts("mlp.up")) return gate_up(path, spec.dense->inner, part);
  if (starts("moe.shared.gate_up") || starts("moe.shared.up")) return gate_up(path, spec.moe->shared_inner, part);
  return {};
}

Places Weights::outputs_within(std::string_view path, const LayerSpec& spec, Portion outer, Portion inner) const {
  const Cut all = *by_outputs(path, spec, 1, outer), some = *by_outputs(path, spec, 1, inner);
  Places places;
  for (std::size_t row : some.rows)
    places.push_back(size_of(static_cast<double>(std::ranges::find(all.rows, row) - all.rows.begin())));
  return places;
}

// In a 2D layout outputs are shared out among some ranks and the inputs' blocks among the others, whose first has the bias.
// Where weights are gathered before use each rank keeps a slice of the rows.
Weights::Cut Weights::cut_of(std::string_view path, const LayerSpec* spec, const Tensor& tensor, RankPlace place,
                             LayerCut layer) const {
  auto starts = [&](std::string_view text) { return path.starts_with(text); };
  const std::size_t width = tensor.shape.size() > 1 ? size_of(tensor.shape.back()) : 1;
  if (path == "embed.table" || starts("lm_head.")) {
    const std::size_t mine = size_of(tensor.shape[0]);
    return by_rows(path, run(place.tensor * mine, mine), width);
  }
  if (is_stream_norm(path)) {
    const std::size_t mine = size_of(tensor.shape.back());
    return by_rows(path, run(mine < size_of(model_.hidden) ? place.tensor * mine : 0, mine), 1);
  }
  if (!spec) return whole(path, tensor);
  if (path == "moe.experts.up" || path == "moe.experts.down")
    return experts(std::string(path) + ".weight", *spec->moe, place);
  if (starts("moe.experts.")) return experts(path, *spec->moe, place);
  std::optional<Cut> cut;
  for (std::string_view cut_by_rows : {"attn.out.", "mlp.down.", "moe.shared.down.", "mamba.out."})
    if (starts(cut_by_rows)) cut = by_columns(path, tensor, place, layer);
  if (!cut) {
    const std::size_t column = place.tensor % layer.columns;
    const bool of_heads = starts("attn.core.sinks") || starts("attn.qk_norm");  // that were scattered to all
    cut = by_outputs(path, *spec, width,
                     of_heads ? Portion{column, layer.columns} : Portion{column / layer.split, layer.columns / layer.split});
    if (cut && layer.split > 1 && path.ends_with(".weight")) cut->columns = stream_blocks(place, layer);
    if (cut && layer.split > 1 && is_bias(path) && place.tensor % layer.split > 0) cut->scale = 0;
  }
  if (cut && tensor.shape.size() > 1 && layer.gathered > 1) {
    const std::size_t slice = cut->rows.size() / layer.gathered, first = place.tensor / layer.columns * slice;
    cut->rows = {cut->rows.begin() + static_cast<std::ptrdiff_t>(first),
                 cut->rows.begin() + static_cast<std::ptrdiff_t>(first + slice)};
  }
  return cut ? *cut : whole(path, tensor);
}

WeightData Weights::other(const std::string& name, const Cut& cut) const {
  if (!other_ || cut.scale == 0 || cut.rows.empty() || cut.columns.empty()) return nullptr;
  return other_->whole(name, cut.width, std::ranges::max(cut.rows) + std::ranges::max(cut.columns) + 1);
}

std::vector<double> Weights::fill(std::string_view prefix, const Cut& cut) const {
  const std::string name = std::string(prefix) + cut.source;
  const std::uint64_t start = start_of(name, seed_);
  std::vector<double> values;
  values.reserve(cut.rows.size() * cut.columns.size());
  if (const WeightData data = other(name, cut)) {
    for (std::size_t row : cut.rows)
      for (std::size_t column : cut.columns) values.push_back((*data)[row + column]);
    return values;
  }
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
                                  const Tensor& tensor, RankPlace place, LayerCut cut) const {
  if (path == "moe.experts.bias") return fused_bias(prefix, *spec->moe, place);
  return fill(prefix, cut_of(path, spec, tensor, place, cut));
}

// Of weights that are not cut, tensor ranks that work on the same tokens have the same gradient each, and ranks that work on some tokens,
// or on a part of the width behind them, a part of it.
bool Weights::adds_up(std::string_view path, RankPlace place, LayerCut layer) const {
  if (sharding_.tensor <= 1 || place.tensor == 0) return true;
  const std::string_view owner = path.substr(0, path.rfind('.'));
  if (path.starts_with("embed.positions")) return false;
  for (std::string_view part : {"moe.router", "moe.shared.gate", "attn.qk_norm", "moe.experts"})
    if (owner.starts_with(part)) return true;
  const bool by_tokens = sharding_.sequence || layer.gathered > 1, by_width = sharding_.layout == models::Layout::weight_stationary_2d;
  const bool latent = owner == "attn.q_a" || owner == "attn.kv_a" || owner == "attn.q_norm" || owner == "attn.kv_norm";
  return !(latent || is_stream_norm(path)) || by_tokens || by_width ||
         sharding_.layout == models::Layout::weight_gathered;
}

Weights::Placement Weights::places(std::string_view prefix, std::string_view path, const LayerSpec* spec,
                                const Tensor& tensor, RankPlace place, LayerCut layer) const {
  Placement result;
  auto add = [&](const Cut& cut, std::size_t first, std::size_t rows) {
    const std::string name = std::string(prefix) + cut.source;
    const auto known = std::ranges::find(result.names, name);
    const auto which = static_cast<std::size_t>(known - result.names.begin());
    if (known == result.names.end()) result.names.push_back(name);
    for (std::size_t row = first; row < first + rows; ++row)
      for (std::size_t column : cut.columns) {
        result.name.push_back(which);
        result.at.push_back(cut.scale == 0 ? Placement::nowhere : cut.rows[row] + column);
      }
  };
  if (path == "moe.experts.bias") {
    const Cut up = experts("moe.experts.up.bias", *spec->moe, place), down = experts("moe.experts.down.bias", *spec->moe, place);
    const std::size_t count = size_of(spec->moe->experts() / sharding_.expert), wide = up.rows.size() / count, hidden = down.rows.size() / count;
    for (std::size_t e = 0; e < count; ++e) add(up, e * wide, wide), add(down, e * hidden, hidden);
    return result;
  }
  const Cut cut = cut_of(path, spec, tensor, place, layer);
  add(cut, 0, cut.rows.size());
  result.counts = cut.scale != 0 && adds_up(path, place, layer);
  return result;
}

}  // namespace gambrel::kernels

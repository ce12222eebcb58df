#include "sim/kernel_models/attention_model.hpp"

#include <algorithm>
#include <cmath>

#include "sim/kernel_models/kernel_models.hpp"

namespace gambrel::sim {

using models::Dim;

KvPath kv_path(const KernelCall& call, const ChipFigures& chip) {
  const auto index = [](Format f) { return static_cast<std::size_t>(f); };
  const double stored = call.stored.storage_bits() / 8;
  const Format math = DataType(call.op.math).element_bits() < 16 ? Format::bf16 : call.op.math;
  KvPath path{.stored = stored, .wide_peak = chip.peak[index(math)]};
  path.narrow = call.stored.element_bits() <= 8 && is_floating(call.stored.format) &&
                chip.runs_as[index(Format::fp8_e4m3)] == Format::fp8_e4m3;
  path.width = path.narrow ? 1 : std::max(2.0, stored);
  path.peak = path.narrow ? chip.peak[index(Format::fp8_e4m3)] : path.wide_peak;
  return path;
}

std::string_view attention_type(const KernelCall& call, const ChipFigures& chip) { return kv_path(call, chip).narrow ? "fp8" : "bf16"; }

double roofline_floor(const KernelCall& call, const ChipFigures& chip, double peak) {
  const double bytes = call.op.work.bytes();
  return std::max(call.op.work.flops / peak, bytes > chip.cache ? bytes / chip.bandwidth : 0.0);
}

double cache_miss(double bytes, double capacity) {
  const double x = bytes / capacity, x2 = x * x, x4 = x2 * x2;
  return 1 / (1 + 1 / (x4 * x4));
}

double overlap(double a, double b, double p) {
  const double longer = std::max(a, b), shorter = std::min(a, b);
  return longer > 0 ? longer * std::pow(1 + std::pow(shorter / longer, p), 1 / p) : 0;
}

namespace {

/// Steps over the keys: of all query tiles of one head together, and of the longest one.
struct Steps {
  double all, longest;
};

/// Causal. Exact where tile_m is a multiple of tile_n; where it is a part of it, diagonal tiles count in halves, on
/// purpose: a smooth approximation.
Steps steps_of(double queries, double window, double tile_m, double tile_n) {
  const double tiles = std::ceil(queries / tile_m), ratio = tile_m / tile_n, last = std::ceil(queries / tile_n);
  if (window <= 0) return {ratio * tiles * (tiles - 1) / 2 + last, last};
  const double whole = ratio + std::ceil((window - 1) / tile_n);  // of a tile that the sequence's start does not cut
  const double cut = std::min(std::ceil((window - 1) / tile_m), tiles - 1);
  const double skipped = std::floor(std::max(0.0, (tiles - 1) * tile_m - window + 1) / tile_n);
  return {ratio * cut * (cut + 1) / 2 + (tiles - 1 - cut) * whole + last - skipped, std::min(last, whole)};
}

}  // namespace

FlashWork flash_work(const KernelCall& call, const KvPath& path) {
  const double queries = call.dim(Dim::queries);
  return {.batch = call.dim(Dim::batch), .queries = queries, .keys = call.dim(Dim::keys), .heads = call.dim(Dim::heads),
          .kv_heads = call.dim(Dim::kv_heads), .qk_width = call.dim(Dim::qk_width), .v_width = call.dim(Dim::v_width),
          .pairs = call.dim(Dim::pairs), .window = call.window < queries ? call.window : 0, .width = path.width, .peak = path.peak};
}

double flash_seconds(const FlashWork& w, const FlashConstants& c, const ChipFigures& chip) {
  const double tiles = std::ceil(w.queries / c.tile_m), values = w.qk_width + w.v_width;
  // Keys that the average query sees beyond causal self-attention: each tile walks over them as well.
  const double more = std::max(0.0, w.pairs - models::score_pairs(w.queries, 0, w.window, 0)) / w.queries / w.tile_n;
  Steps steps = steps_of(w.queries, w.window, c.tile_m, w.tile_n);
  steps.longest += more;
  steps.all = std::max(steps.all + tiles * more, steps.longest);

  const double products = 2 * c.tile_m * w.tile_n * values / (w.peak * c.matrix_efficiency / chip.cores);
  const double scores = c.tile_m * w.tile_n * w.score_cost / (c.score_rate * chip.clock);
  const double step = std::hypot(products, scores);  // they overlap in part
  const double filled = std::min(w.queries, c.tile_m) * (w.qk_width * w.width + w.v_width * 2) +  // Q in, O out in 16 bits
                        std::min(w.queries, w.tile_n) * values * w.width;                          // first K and V in
  const double fixed = (w.tile_clk + filled / c.fill_rate) / chip.clock;

  const double work = w.batch * w.heads * (tiles * fixed + steps.all * step) / chip.cores;
  const double longest = fixed + steps.longest * step;
  const double moved = w.batch * (w.queries * w.heads * (w.qk_width * w.width + w.v_width * 2) + w.keys * w.kv_heads * values * w.width);
  return std::max({work + c.tail * longest, longest, moved / (chip.bandwidth * c.hbm_efficiency)});
}

namespace {

// ---- prefill: rotary and cache-write kernel, then a flash kernel (TensorRT-LLM's context phase)

constexpr Search linear = Search::linear, logarithmic = Search::logarithmic, fixed = Search::fixed;

constexpr std::array<Constant, 15> prefill_constants{{
    {"launch_s", 9e-6, 1e-6, 3e-5, logarithmic, "s", "launch of the two kernels"},
    {"mixed_type_s", 0, 0, 5e-6, linear, "s", "more, if q is wider than the cache and is quantised on the way"},
    {"odd_width_clk", 7000, 0, 1e4, linear, "clk", "more, if the heads are not 128 wide: a slower rotary kernel"},
    {"hbm_efficiency", 0.95, 0.3, 1, linear, "", "share of the memory bandwidth reached"},
    {"matrix_efficiency", 0.65, 0.1, 1, logarithmic, "", "share of the matrix peak reached inside the loop"},
    {"tile_clk", 1000, 10, 2e4, logarithmic, "clk", "fixed part of a CTA"},
    {"fill_rate", 17, 4, 128, logarithmic, "B/clk", "a core's, while a CTA reads Q and its first K and V and writes O"},
    {"tail", 0.43, 0.01, 1.5, logarithmic, "", "share of the longest CTA that no other hides"},
    {"score_rate", 16 / 1.5, 1, 128, fixed, "1/clk", "scores a core's softmax finishes: 16 exponentials a clock, 1.5 each"},
    {"tile_m", 128, 8, 1024, fixed, "", "queries of a CTA"},
    {"tile_n", 256, 8, 1024, fixed, "", "keys of a step, at most"},
    {"tile_width_clk", 1200, 0, 6000, linear, "clk", "more of a CTA's fixed part, per 256 elements of K and V"},
    {"window_cost", 1.8, 1, 6, logarithmic, "", "of a score under a window's mask over one without"},
    {"window_tile_n", 256, 8, 1024, fixed, "", "keys of a step under a window"},
    {"tile_elements", 16384, 1024, 1 << 20, fixed, "", "elements of K a step holds in a core's memory: bounds tile_n"},
}};

struct PrefillValues {
  double launch_s, mixed_type_s, odd_width_clk;
  FlashConstants flash;
  double tile_width_clk, window_cost, window_tile_n, tile_elements;
};

double predict_prefill(const KernelCall& call, const ChipFigures& chip, std::span<const double> values) {
  const auto c = bind<PrefillValues>(prefill_constants, values);
  const KvPath path = kv_path(call, chip);
  FlashWork w = flash_work(call, path);
  w.tile_n = w.window > 0 ? c.window_tile_n : std::clamp(c.tile_elements / w.qk_width, 16.0, std::max(16.0, c.flash.tile_n));
  w.score_cost = w.window > 0 ? c.window_cost : 1;
  w.tile_clk = c.flash.tile_clk + c.tile_width_clk * (w.qk_width + w.v_width) / 256;
  // Q, K and V read in 16 bits, written in the kernel's type.
  const double prepared = w.batch * w.queries * (w.heads * w.qk_width + w.kv_heads * (w.qk_width + w.v_width)) * (2 + w.width);
  double launch = c.launch_s + prepared / (chip.bandwidth * c.flash.hbm_efficiency);
  if (path.narrow && call.activations.element_bits() > 8) launch += c.mixed_type_s;
  if (w.qk_width != 128) launch += c.odd_width_clk / chip.clock;
  return std::max(launch + flash_seconds(w, c.flash, chip), roofline_floor(call, chip, path.peak));
}

// ---- decode: one query a sequence; two kernels and their split rules as in TensorRT-LLM (computeMultiBlockCount,
// multi_block_grid_setup, decoderXQAConstants.h)

constexpr std::array<Constant, 24> decode_constants{{
    {"hbm_efficiency", 0.88, 0.5, 1, linear, "", "share of the memory bandwidth reached"},
    {"cache_efficiency", 1, 0.1, 1.5, fixed, "", "share of the cache's bandwidth reached"},
    {"cache_share", 0.55, 0.1, 1, fixed, "", "share of the cache that keeps K and V from call to call"},
    {"overlap_exponent", 2.2, 1, 8, fixed, "", "how well a CTA's latency hides behind the bandwidth: 1 not at all"},
    {"split_s", 6e-8, 1e-10, 1e-6, logarithmic, "s", "of a reduction, for each part of a sequence"},
    {"head_launch_s", 3e-6, 1e-6, 2e-5, logarithmic, "s", "launch of the kernel with a CTA per query head"},
    {"head_clk", 1e4, 10, 6e4, logarithmic, "clk", "fixed part of its CTA"},
    {"head_loop_clk", 930, 10, 4e4, logarithmic, "clk", "its first pass over the keys, at 1024 threads"},
    {"head_stream", 34, 1, 300, logarithmic, "B/clk", "a CTA of 1024 threads reads"},
    {"head_reduce_s", 4e-6, 1e-8, 1e-5, logarithmic, "s", "reduction of its parts"},
    {"group_launch_s", 5e-6, 1e-6, 2e-5, logarithmic, "s", "launch of the kernel with a CTA per KV head"},
    {"narrow_head_s", 0, 0, 5e-6, linear, "s", "more, if heads are at most 64 wide"},
    {"group_clk", 5000, 10, 6e4, logarithmic, "clk", "fixed part of its CTA"},
    {"group_width_clk", 2500, 1, 2e4, logarithmic, "clk", "more, per 128 elements of a head"},
    {"group_row_cost", 0.4, 0.001, 2, logarithmic, "", "growth of that by each further 8 query heads"},
    {"token_clk", 0.02, 0.01, 200, logarithmic, "clk", "a CTA, for each token"},
    {"token_width_clk", 6, 0.01, 200, logarithmic, "clk", "more, per 256 B of its key"},
    {"token_row_cost", 0.75, 0.001, 2, logarithmic, "", "growth of both by each further 8 query heads"},
    {"group_reduce_s", 1.3e-6, 1e-8, 1e-5, logarithmic, "s", "reduction of its parts"},
    {"empty_clk", 4000, 1, 2e4, logarithmic, "clk", "a CTA that finds nothing in the window"},
    {"group_ctas", 1, 1, 8, fixed, "", "CTAs that share a core"},
    {"wide_group_ctas", 1, 1, 8, fixed, "", "the same for heads of 256 and more in groups above 8"},
    {"group_from", 0.25, 0, 8, fixed, "", "128-token blocks a core from which it is the kernel per KV head"},
    {"reduces_empty", 1, 0, 1, fixed, "", "1: the reduction reads parts outside the window too"},
}};

struct DecodeValues {
  double hbm_efficiency, cache_efficiency, cache_share, overlap_exponent, split_s;
  double head_launch_s, head_clk, head_loop_clk, head_stream, head_reduce_s;
  double group_launch_s, narrow_head_s, group_clk, group_width_clk, group_row_cost, token_clk, token_width_clk,
      token_row_cost, group_reduce_s, empty_clk, group_ctas, wide_group_ctas, group_from, reduces_empty;
};

struct Decode {
  const DecodeValues& c;
  const ChipFigures& chip;
  double batch, heads, kv_heads, width, context, keys;
  double token_bytes;  ///< K and V of one token and KV head

  double group() const { return heads / kv_heads; }
  bool uses_groups() const {
    return group() > 1 && group() <= 32 && batch * kv_heads * std::max(1.0, std::floor(context / 128)) >= c.group_from * chip.cores;
  }

  double cache_rate() const { return chip.cache_bandwidth * c.cache_efficiency; }
  /// B/s at which the CTAs together are fed; `readers` of them read the same bytes.
  double bandwidth(double readers) const {
    const double miss = cache_miss(batch * kv_heads * keys * token_bytes, c.cache_share * chip.cache);
    return 1 / std::max(miss / readers / (chip.bandwidth * c.hbm_efficiency), 1 / cache_rate());
  }

  /// A wave lasts as long as one CTA takes or as its bytes do.
  double waves(double ctas, double slots, double cta_s, double bytes, double rate) const {
    const double full = std::floor(ctas / slots), rest = ctas - full * slots;
    double seconds = 0;
    if (full > 0) seconds += full * overlap(cta_s, slots * bytes / rate, c.overlap_exponent);
    if (rest > 0) seconds += overlap(cta_s, rest * bytes / rate, c.overlap_exponent);
    return seconds;
  }

  double per_head() const;
  double per_group() const;
};

/// One CTA per sequence, query head and part of the keys.
double Decode::per_head() const {
  const double ctas = batch * heads, fill = std::ceil(4 * chip.cores / ctas);
  const double threads = fill >= 4 ? 1024 : fill >= 2 ? 512 : 256;
  const double pass = 64 * threads / width;  // tokens that a CTA's threads cover at once
  const double parts = ctas < chip.cores ? std::max(1.0, std::min(std::ceil(chip.cores / ctas), std::ceil((context + 1) / pass))) : 1;
  const double tokens = std::ceil(keys / parts), bytes = tokens * token_bytes;
  const double cta_clk = c.head_clk + c.head_loop_clk * std::min(1.0, tokens / 48) * threads / 1024 +
                         bytes / c.head_stream * std::sqrt(1024 / threads);
  const double reduction = parts > 1 ? c.head_reduce_s + c.split_s * parts : 0;
  return c.head_launch_s + reduction + waves(ctas * parts, chip.cores * 1024 / threads, cta_clk / chip.clock, bytes, bandwidth(group()));
}

/// One CTA per sequence, KV head and part of the keys: the query heads of a group are the rows of one tile.
double Decode::per_group() const {
  const double ctas = batch * kv_heads, blocks = std::floor(context / 128);
  double parts = std::max(1.0, std::min(blocks, std::round(std::sqrt(8 * blocks))));
  const double waves_of_8 = ctas * parts / (8 * chip.cores);
  if (waves_of_8 > 1) parts = std::max(1.0, std::floor(parts / waves_of_8));
  const double part = 64 * std::ceil(std::ceil(context / parts) / 64);
  const bool windowed = keys < context;
  const double active = windowed ? std::min(parts, 1 + std::floor(keys / part)) : parts;
  const double tokens = std::min(part, keys), bytes = (windowed ? keys / active : tokens) * token_bytes;

  const double further = std::max(std::ceil(group() / 8), 1.0) - 1;
  const double cta_clk = c.group_clk + c.group_width_clk * width / 128 * (1 + c.group_row_cost * further) +
                         tokens * (c.token_clk + c.token_width_clk * token_bytes / 512) * (1 + c.token_row_cost * further);
  const double slots = chip.cores * (width >= 256 && group() > 8 ? c.wide_group_ctas : c.group_ctas);
  double seconds = c.group_launch_s + (width <= 64 ? c.narrow_head_s : 0) +
                   waves(ctas * active, slots, cta_clk / chip.clock, bytes, bandwidth(1)) +
                   ctas * (parts - active) / slots * c.empty_clk / chip.clock;
  if (parts > 1)  // fp32 partial results written and read
    seconds += 8 * batch * heads * active * width / cache_rate() + c.group_reduce_s + c.split_s * (c.reduces_empty != 0 ? parts : active);
  return seconds;
}

double predict_decode(const KernelCall& call, const ChipFigures& chip, std::span<const double> values) {
  const auto c = bind<DecodeValues>(decode_constants, values);
  const KvPath path = kv_path(call, chip);
  const double widths = call.dim(Dim::qk_width) + call.dim(Dim::v_width), keys = call.dim(Dim::keys);
  // Several queries (speculation) are more heads of the group.
  const Decode d{c, chip, call.dim(Dim::batch), call.dim(Dim::heads) * call.dim(Dim::queries), call.dim(Dim::kv_heads), widths / 2,
                 std::max(call.context, keys), keys, widths * path.stored};
  return std::max(d.uses_groups() ? d.per_group() : d.per_head(), roofline_floor(call, chip, path.peak));
}

}  // namespace

constinit const KernelModel attention_prefill_model{KernelKind::attention_prefill, prefill_constants, predict_prefill, attention_type};
constinit const KernelModel attention_decode_model{KernelKind::attention_decode, decode_constants, predict_decode, attention_type};

}  // namespace gambrel::sim

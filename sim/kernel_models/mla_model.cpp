// Kernel models of multi-head latent attention (DeepSeek-V2, arXiv 2405.04434): prefill on expanded keys and values,
// decode on the latent, which is one KV head whose values are the first part of its keys.
#include <algorithm>
#include <cmath>

#include "sim/kernel_models/attention_model.hpp"
#include "sim/kernel_models/kernel_models.hpp"

namespace gambrel::sim {

using models::Dim;

namespace {

constexpr Search linear = Search::linear, logarithmic = Search::logarithmic, fixed = Search::fixed;

// ---- prefill: cache write and concatenation kernels, then a flash kernel

constexpr std::array<Constant, 10> prefill_constants{{
    {"launch_s", 1.2e-5, 1e-6, 3e-5, logarithmic, "s", "launch of the kernels"},
    {"prepare_share", 0.4, 0.05, 4, logarithmic, "", "bytes that come and go before, over one pass over Q, K and V"},
    {"hbm_efficiency", 0.75, 0.3, 1, linear, "", "share of the memory bandwidth reached"},
    {"matrix_efficiency", 0.6, 0.1, 1, logarithmic, "", "share of the matrix peak reached inside the loop"},
    {"tile_clk", 3000, 10, 2e4, logarithmic, "clk", "fixed part of a CTA"},
    {"fill_rate", 128, 4, 128, fixed, "B/clk", "a core's, while a CTA reads Q and its first K and V and writes O"},
    {"tail", 0.5, 0.01, 1.5, logarithmic, "", "share of the longest CTA that no other hides"},
    {"score_rate", 16 / 1.5, 1, 128, fixed, "1/clk", "scores a core's softmax finishes: 16 exponentials a clock, 1.5 each"},
    {"tile_m", 128, 8, 1024, fixed, "", "queries of a CTA"},
    {"tile_n", 64, 8, 1024, fixed, "", "keys of a step"},
}};

struct PrefillValues {
  double launch_s, prepare_share;
  FlashConstants flash;
};

/// Latent and rotary key of a token, as every published model has them (512 + 64); the expanded operator has lost them.
constexpr double latent_width = 576;

double predict_prefill(const KernelCall& call, const ChipFigures& chip, std::span<const double> values) {
  const auto c = bind<PrefillValues>(prefill_constants, values);
  const KvPath path = kv_path(call, chip);
  FlashWork w = flash_work(call, path);
  w.tile_n = c.flash.tile_n;
  w.tile_clk = c.flash.tile_clk;
  // The latent is read and written to the cache, both in 16 bits, whatever the cache's type.
  const double prepared = w.batch * w.queries * (w.heads * (2 * w.qk_width + w.v_width) * 2 * c.prepare_share + latent_width * 4);
  const double launch = c.launch_s + prepared / (chip.bandwidth * c.flash.hbm_efficiency);
  return std::max(launch + flash_seconds(w, c.flash, chip), roofline_floor(call, chip, path.peak));
}

// ---- decode: two families of kernels, both on tiles of 64 heads and blocks of 64 tokens

constexpr std::array<Constant, 16> decode_constants{{
    {"launch_s", 3.7e-6, 1e-6, 2e-5, logarithmic, "s", "launch of the kernels"},
    {"hbm_efficiency", 0.92, 0.3, 1, linear, "", "share of the memory bandwidth reached"},
    {"matrix_efficiency", 0.87, 0.1, 1, logarithmic, "", "share of the matrix peak reached inside the loop"},
    {"balanced", 1, 0, 1, fixed, "", "1: blocks dealt evenly to all cores (FlashMLA), 0: a CTA walks a whole sequence"},
    {"cta_clk", 4200, 10, 3e4, logarithmic, "clk", "not balanced: fixed part of a CTA"},
    {"block_clk", 1.08e4, 100, 4e4, logarithmic, "clk", "not balanced: least time of a block of keys"},
    {"io_share", 0.47, 0.05, 4, logarithmic, "", "not balanced: bytes of Q and O over one pass"},
    {"step_clk", 2900, 1, 2e4, logarithmic, "clk", "balanced: each of the first four blocks of a part, pipeline fill"},
    {"sequence_clk", 4800, 10, 4e4, logarithmic, "clk", "balanced: each sequence that a part meets"},
    {"cache_share", 0.6, 0.1, 1, fixed, "", "balanced: share of the cache that keeps the latent from call to call"},
    {"cache_efficiency", 1, 0.1, 1.5, fixed, "", "balanced: share of the cache's bandwidth reached"},
    {"overlap_exponent", 3, 1, 8, fixed, "", "balanced: how well arithmetic and movement hide each other: 1 not at all"},
    {"combine_s", 3.9e-6, 1e-8, 1e-5, logarithmic, "s", "balanced: the kernel that adds the parts of a sequence"},
    {"combine_part_s", 7e-8, 1e-10, 1e-6, logarithmic, "s", "balanced: for each part of a sequence"},
    {"mask_s", 3e-7, 1e-8, 3e-6, logarithmic, "s", "balanced: a last block that is not full"},
    {"prepare_share", 1.5, 0.05, 4, logarithmic, "", "balanced: bytes of Q that come and go before, over one pass"},
}};

struct DecodeValues {
  double launch_s, hbm_efficiency, matrix_efficiency, balanced, cta_clk, block_clk, io_share, step_clk, sequence_clk,
      cache_share, cache_efficiency, overlap_exponent, combine_s, combine_part_s, mask_s, prepare_share;
};

struct LatentDecode {
  const DecodeValues& c;
  const ChipFigures& chip;
  double batch, heads, keys, qk_width, v_width;
  double peak;  ///< of the bf16 products: an fp8 latent is widened first
  double token_bytes;

  double blocks() const { return std::ceil(keys / 64); }
  double head_tiles() const { return std::ceil(heads / 64); }
  double memory_rate() const { return chip.bandwidth * c.hbm_efficiency; }
  double tile_seconds(double widths) const { return 2 * 64 * 64 * widths / (peak / chip.cores * c.matrix_efficiency); }
  double latent_bytes() const { return batch * keys * token_bytes; }

  double whole_sequences() const;
  double balanced() const;
};

/// Two CTAs, one for each half of V, per sequence and 64 heads; two CTAs share a core.
double LatentDecode::whole_sequences() const {
  const double ctas = 2 * batch * head_tiles(), slots = 2 * chip.cores;
  const double full = std::floor(ctas / slots), rest = ctas - full * slots;
  const double tile = tile_seconds(qk_width + v_width / 2);
  const auto wave = [&](double share) { return c.cta_clk / chip.clock + blocks() * std::max(c.block_clk / chip.clock, tile * share); };
  const double waves = full * wave(2) + (rest > 0 ? wave(std::ceil(rest / chip.cores)) : 0);
  const double ends = batch * heads * (qk_width + v_width) * 2 * c.io_share / memory_rate();
  return c.launch_s + std::max(waves, latent_bytes() / memory_rate()) + ends;
}

/// Blocks of all sequences dealt evenly to as many parts as cores can take, then a combine.
double LatentDecode::balanced() const {
  const double parts = std::max(1.0, std::floor(chip.cores / head_tiles()));
  const double dealt = std::ceil(batch * (blocks() + 1) / parts);
  const double miss = cache_miss(latent_bytes(), c.cache_share * chip.cache);
  const double moved = std::max(latent_bytes() * miss / memory_rate(), latent_bytes() * head_tiles() / (chip.cache_bandwidth * c.cache_efficiency));
  const double computed = dealt * tile_seconds(qk_width + v_width) + c.step_clk / chip.clock * std::min(dealt, 4.0);
  double seconds = c.launch_s + overlap(computed, moved, c.overlap_exponent) + std::max(1.0, batch / parts) * c.sequence_clk / chip.clock;
  if (dealt < blocks() + 1) seconds += c.combine_s + c.combine_part_s * std::min(blocks(), std::max(1.0, parts / batch));
  if (std::fmod(keys, 64) > 0) seconds += c.mask_s;
  const double rotary = qk_width - v_width;
  return seconds + batch * heads * ((qk_width + rotary) * 2 * c.prepare_share + (qk_width + v_width) * 2) / memory_rate();
}

double predict_decode(const KernelCall& call, const ChipFigures& chip, std::span<const double> values) {
  const auto c = bind<DecodeValues>(decode_constants, values);
  const KvPath path = kv_path(call, chip);
  const double qk_width = call.dim(Dim::qk_width);
  const LatentDecode d{c, chip, call.dim(Dim::batch), call.dim(Dim::heads) * call.dim(Dim::queries), call.dim(Dim::keys), qk_width,
                       call.dim(Dim::v_width), path.wide_peak, qk_width * path.width};
  return std::max(c.balanced != 0 ? d.balanced() : d.whole_sequences(), roofline_floor(call, chip, path.peak));
}

}  // namespace

constinit const KernelModel mla_prefill_model{KernelKind::mla_prefill, prefill_constants, predict_prefill, attention_type};
constinit const KernelModel mla_decode_model{KernelKind::mla_decode, decode_constants, predict_decode, attention_type};

}  // namespace gambrel::sim

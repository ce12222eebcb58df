// Kernel model of a routed FFN on one rank: launches, the row-wise kernels around, and two grouped GEMMs in one of three
// kinds of kernel.
#include <algorithm>
#include <cmath>

#include "sim/kernel_models/attention_model.hpp"
#include "sim/kernel_models/expert_load.hpp"
#include "sim/kernel_models/kernel_models.hpp"

namespace gambrel::sim {

using models::Dim;

namespace {

constexpr Search linear = Search::linear, logarithmic = Search::logarithmic, fixed = Search::fixed;

/// Grouped: the best of many tiles for each GEMM (CUTLASS grouped GEMM under TensorRT-LLM's autotuner). Default_tiles: a
/// fused kernel with its library's fallback tiles (Triton, vLLM and SGLang). Striped: 4-bit weights in 16-bit arithmetic,
/// tiles cut into even shares (Marlin, arXiv 2408.11743).
enum class Library { grouped, default_tiles, striped };

constexpr std::array<Constant, 23> constants{{
    {"library", 0, 0, 2, fixed, "", "kernel: 0 grouped with autotuned tiles, 1 fused with default tiles, 2 striped 4-bit weights"},
    {"remote_to_first_expert", 0, 0, 1, fixed, "", "1: a habit of the measurements, not of the kernel: with expert parallelism their rank computes the choices "
                                                   "that lie on other ranks as well, on its first expert; 0 in whole models"},
    {"launch_s", 2e-5, 5e-6, 9e-5, logarithmic, "s", "launch of all kernels of the layer"},
    {"large_batch_s", 5e-6, 0, 2e-5, linear, "s", "grouped: more above 256 tokens, sorting kernels"},
    {"router_s", 0, 0, 4e-5, linear, "s", "not grouped: the router, timed along where one rank has all experts; 0 in whole models"},
    {"slot_s", 0, 0, 6e-8, linear, "s", "of each token's each choice, on this rank or not"},
    {"expert_scan_s", 1e-8, 0, 3e-7, linear, "s", "grouped: scheduler's walk, a local expert and GEMM"},
    {"matrix_efficiency", 0.95, 0.2, 1, linear, "", "share of the matrix peak reached"},
    {"hbm_efficiency", 0.95, 0.5, 1, linear, "", "share of the memory bandwidth reached by weights"},
    {"overlap_exponent", 1.5, 1, 12, logarithmic, "", "how well arithmetic and weights hide each other: 1 not at all"},
    {"core_load_share", 3.6, 0.5, 8, logarithmic, "", "rate at which a core loads tiles, over its even share of the memory bandwidth"},
    {"tile_s", 1.3e-6, 0, 5e-6, linear, "s", "fill and drain of the pipeline; grouped: a wave's; striped: a GEMM's"},
    {"wave_quantisation", 0.5, 0, 1, linear, "", "grouped: how much a started wave counts as a whole one"},
    {"row_efficiency", 0.65, 0.1, 1, linear, "", "share of the memory bandwidth reached by the row-wise kernels"},
    {"token_efficiency", 0.7, 0.2, 1, linear, "", "grouped: the same where the output of all tokens is written"},
    {"cache_share", 0.35, 0.05, 1.5, logarithmic, "", "share of the cache that keeps weights from call to call"},
    {"half_rows", 0, 0, 100, linear, "", "grouped: rows of a tile that reaches half of the peak"},
    {"half_columns", 0, 0, 100, linear, "", "grouped: columns of such a tile"},
    {"tile_latency", 2.6, 0.5, 5, linear, "", "default tiles: least time of a GEMM, in tiles"},
    {"load_exponent", 3, 1, 12, logarithmic, "", "default tiles: how well a tile's arithmetic and loads hide each other"},
    {"stall", 1, 0, 3, linear, "", "default tiles: how much longer a tile takes, plus one, whose rows the cache cannot hold"},
    {"stall_cache_share", 2, 0.05, 4, logarithmic, "", "default tiles: rows that the cache can hold, over its capacity"},
    {"raster_cache_share", 3, 0.05, 3, logarithmic, "", "default tiles: weights of an expert that it keeps between groups of rows, over its capacity"},
}};

struct MoeValues {
  double library, remote_to_first_expert, launch_s, large_batch_s, router_s, slot_s, expert_scan_s, matrix_efficiency,
      hbm_efficiency, overlap_exponent, core_load_share, tile_s, wave_quantisation, row_efficiency, token_efficiency,
      cache_share, half_rows, half_columns, tile_latency, load_exponent, stall, stall_cache_share, raster_cache_share;
};

std::size_t index(Format format) { return static_cast<std::size_t>(format); }

/// 1 / (1 + (capacity / bytes)^2): the share of `bytes` that a cache cannot hold, as a soft step.
double spilled(double bytes, double capacity) {
  const double x = capacity / bytes;
  return 1 / (1 + x * x);
}

/// The same as a sharper step, fourth power.
double spilled_sharply(double bytes, double capacity) {
  const double x = capacity / bytes, x2 = x * x;
  return 1 / (1 + x2 * x2);
}

/// overlap(a, b, 8) by square roots: it is asked for every tile.
double overlap8(double a, double b) {
  const double longer = std::max(a, b), x = std::min(a, b) / longer, x2 = x * x, x4 = x2 * x2;
  return longer * std::sqrt(std::sqrt(std::sqrt(1 + x4 * x4)));
}

struct Tile {
  int rows, columns;
};

/// One of the two GEMMs: out[rows, n] = in[rows, k] W[n, k]^T, with a W for each expert.
struct Product {
  double n, k;
  double in_bytes;  ///< its rows before they are gathered, in 16 bits
};

struct RoutedFfn {
  const MoeValues& c;
  const ChipFigures& chip;
  ExpertLoad load;
  ExpertRows rows;       ///< that this rank computes
  double tokens, top_k;  ///< entering the layer, of all ranks together
  double here;           ///< tokens that reach this rank
  double experts;        ///< of this rank
  bool alone;            ///< no expert is on another rank
  double hidden, inner, projections;
  double weight_bytes, width;  ///< of an element: stored; as arithmetic reads the activations
  double peak;                 ///< FLOP/s of that arithmetic

  double active() const { return std::max(rows.active, 1e-3); }  // few tokens may leave a rank nothing to do
  std::array<Product, 2> products() const {
    return {{{(projections - 1) * inner, hidden, 2 * here * hidden}, {hidden, inner, 2 * rows.rows * inner}}};
  }

  /// Seconds to read `bytes` of weights; what the cache keeps of all weights of the rank comes at its rate.
  double weight_seconds(double bytes) const {
    const double touched = active() * projections * hidden * inner * weight_bytes;
    const double miss = spilled_sharply(touched, c.cache_share * chip.cache);
    return bytes * (miss / (c.hbm_efficiency * chip.bandwidth) + (1 - miss) / std::max(chip.cache_bandwidth, chip.bandwidth));
  }
  double row_bytes(double gathered_width) const { return rows.rows * (hidden * (2 + gathered_width + 4) + 2 * projections * inner); }

  /// Seconds of one tile: arithmetic, and rows and weights on their way to the core.
  double tile_math(const Product& p, Tile t) const { return 2.0 * t.rows * t.columns * p.k / (peak / chip.cores * c.matrix_efficiency); }
  double tile_load(const Product& p, Tile t) const {
    const double filled = std::min(rows.rows / std::max(rows.tiles(t.rows), 1e-9), static_cast<double>(t.rows));
    return (filled * width + t.columns * weight_bytes) * p.k / (c.core_load_share * chip.bandwidth / chip.cores);
  }
  /// Tiles over cores.
  double rounds(const Product& p, Tile t) const { return std::max(rows.tiles(t.rows) * std::ceil(p.n / t.columns) / chip.cores, 1e-9); }

  double grouped() const;
  double default_tiles() const;
  double striped() const;

  double best_tile(const Product& p) const;
  double in_default_tiles(const Product& p) const;
};

/// Tiles a core's registers hold: at most 128 x 256.
constexpr std::array<Tile, 14> tuned_tiles{{{16, 64}, {16, 128}, {16, 256}, {32, 64}, {32, 128}, {32, 256}, {64, 64}, {64, 128}, {64, 256},
                                            {128, 64}, {128, 128}, {128, 256}, {256, 64}, {256, 128}}};

double RoutedFfn::best_tile(const Product& p) const {
  double best = INFINITY;
  for (const Tile t : tuned_tiles) {
    const double w = rounds(p, t), waves = (1 - c.wave_quantisation) * std::max(w, 1.0) + c.wave_quantisation * std::ceil(w);
    const double math = tile_math(p, t) / (t.rows / (t.rows + c.half_rows)) / (t.columns / (t.columns + c.half_columns));
    best = std::min(best, waves * (overlap8(math, tile_load(p, t)) + c.tile_s));
  }
  return best;
}

double RoutedFfn::grouped() const {
  double seconds = c.launch_s + (tokens > 256 ? c.large_batch_s : 0) + c.slot_s * tokens * top_k;
  for (const Product& p : products())
    seconds += overlap(best_tile(p), weight_seconds(active() * p.n * p.k * weight_bytes), c.overlap_exponent) + c.expert_scan_s * experts;
  return seconds + 2 * tokens * hidden / (c.token_efficiency * chip.bandwidth) + row_bytes(width) / (c.row_efficiency * chip.bandwidth);
}

/// The fused kernel's fallback: 16 x 32 for at most as many tokens as experts, else 64 x 64 in groups of 8 tiles of rows,
/// which read an expert's weights once if the cache holds them (vLLM and SGLang, get_default_config).
double RoutedFfn::in_default_tiles(const Product& p) const {
  const bool few = here <= experts;
  const Tile t = few ? Tile{16, 32} : Tile{64, 64};
  const double stall = 1 + c.stall * spilled(std::max(p.in_bytes, 1.0), c.stall_cache_share * chip.cache);
  const double computed = overlap(rounds(p, t), c.tile_latency, 4) * overlap(tile_math(p, t), tile_load(p, t), c.load_exponent) * stall;
  const double expert_bytes = p.n * p.k * weight_bytes;
  const double again = (rows.tiles(few ? 16 : 512) - active()) * spilled(expert_bytes, c.raster_cache_share * chip.cache);
  return overlap(computed, weight_seconds((active() + again) * expert_bytes), c.overlap_exponent);
}

double RoutedFfn::default_tiles() const {
  double seconds = c.launch_s + (alone ? c.router_s : 0) + c.slot_s * here * top_k;
  for (const Product& p : products()) seconds += in_default_tiles(p);
  return seconds + (2 * here * hidden + row_bytes(0)) / (c.row_efficiency * chip.bandwidth);
}

double RoutedFfn::striped() const {
  const double each = here * top_k / experts;  // rows of an expert, for the library's choice of a tile that they fill by 0.9
  int height = 64;
  for (int candidate : {48, 32, 16, 8})
    if (each / candidate < 0.9) height = candidate;
  double seconds = c.launch_s + (alone ? c.router_s : 0) + c.slot_s * here * top_k;
  for (const Product& p : products()) {
    const double computed = rows.tiles(height) * std::ceil(p.n / 128) * 2 * std::max(height, 16) * 128 * p.k / (peak * c.matrix_efficiency);
    seconds += overlap(computed, weight_seconds(active() * p.n * p.k * weight_bytes), c.overlap_exponent) + c.tile_s;
  }
  return seconds + (2 * here * hidden + row_bytes(0)) / (c.row_efficiency * chip.bandwidth);
}

/// 4-bit integers that name no scales have one of 16 bits for each 128 weights (GPTQ, AWQ).
double stored_width(const DataType& type) {
  const bool bare = type.format == Format::int4 && type.scale.per == Scale::Per::none;
  return (type.storage_bits() + (bare ? 16.0 / 128 : 0)) / 8;
}

RoutedFfn routed_ffn(const MoeValues& c, const KernelCall& call, const ChipFigures& chip) {
  const double ranks = std::max(1.0, call.expert_ranks), all = std::max(call.all_experts, 1.0), top_k = call.dim(Dim::top_k);
  RoutedFfn ffn{.c = c, .chip = chip, .load = expert_load({call.tokens, all, top_k, ranks, call.routing}), .tokens = call.tokens, .top_k = top_k};
  const bool remote = c.remote_to_first_expert != 0 && ranks > 1;
  ffn.rows = remote ? ffn.load.first_takes_all : ffn.load.local;
  ffn.alone = ranks <= 1;
  ffn.here = ffn.alone ? call.tokens : ffn.load.tokens;
  ffn.experts = all / ranks;
  ffn.hidden = call.dim(Dim::k);
  ffn.inner = call.dim(Dim::n);
  ffn.projections = std::max(2.0, call.dim(Dim::projections));
  ffn.weight_bytes = stored_width(call.stored) * call.stored_share;
  ffn.width = DataType(chip.runs_as[index(call.op.math)]).element_bits() / 8;
  ffn.peak = chip.peak[index(call.op.math)] * call.sparse_speed;
  return ffn;
}

double predict(const KernelCall& call, const ChipFigures& chip, std::span<const double> values) {
  const auto c = bind<MoeValues>(constants, values);
  const RoutedFfn ffn = routed_ffn(c, call, chip);
  const double floor = roofline_floor(call, chip, ffn.peak);
  switch (static_cast<Library>(static_cast<int>(c.library))) {
    case Library::grouped: return std::max(ffn.grouped(), floor);
    case Library::default_tiles: return std::max(ffn.default_tiles(), floor);
    case Library::striped: return std::max(ffn.striped(), floor);
  }
  return floor;
}

/// By the arithmetic where the chip has it in at most 8 bits, else by how the weights are stored.
std::string_view type_of(const KernelCall& call, const ChipFigures& chip) {
  if (DataType(chip.runs_as[index(call.op.math)]).element_bits() <= 8) {
    const bool fp8 = call.stored.format == Format::fp8_e4m3 || call.stored.format == Format::fp8_e5m2;
    return fp8 && call.stored.scale.per == Scale::Per::block ? "fp8_block" : "fp8";
  }
  if (call.stored.element_bits() > 4) return "bf16";
  return is_floating(call.stored.format) ? "mxfp4" : "int4";
}

}  // namespace

constinit const KernelModel moe_model{KernelKind::moe, constants, predict, type_of};

}  // namespace gambrel::sim

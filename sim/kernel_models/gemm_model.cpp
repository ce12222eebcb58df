#include "sim/kernel_models/gemm_model.hpp"

#include <algorithm>
#include <bit>
#include <cmath>

#include "sim/kernel_models/attention_model.hpp"
#include "sim/kernel_models/kernel_models.hpp"

namespace gambrel::sim {

using models::Dim;

namespace {

/// As a kernel moves it: scales of groups along k count, those of whole blocks do not.
double operand_bytes(const DataType& type) { return (type.scale.rows > 1 ? type.element_bits() : type.storage_bits()) / 8; }

double element_bits(Format format) { return DataType(format).element_bits(); }

}  // namespace

GemmPath gemm_path(const KernelCall& call, const ChipFigures& chip) {
  const auto index = [](Format f) { return static_cast<std::size_t>(f); };
  const Format math = call.op.math;
  const double bits = call.activations.element_bits();
  if (bits <= 8 && element_bits(math) <= 8 && element_bits(chip.runs_as[index(math)]) <= 8)
    return {.type = call.stored.scale.per == Scale::Per::block && call.stored.scale.rows > 1 ? "fp8_block" : "fp8",
            .activation = operand_bytes(call.activations), .weight = operand_bytes(call.stored) * call.stored_share, .output = 2, .depth = 1024 / bits,
            .math = math, .speed = call.sparse_speed};
  const double wide = std::max(2.0, bits / 8);
  return {.type = "bf16", .activation = wide, .weight = operand_bytes(call.stored) * call.stored_share, .output = wide, .depth = 128 / wide,
          .math = element_bits(math) < 16 ? Format::bf16 : math, .speed = call.sparse_speed};
}

namespace {

constexpr Search linear = Search::linear, logarithmic = Search::logarithmic, fixed = Search::fixed;

// Latencies are in clocks: they transfer to the next generation better than seconds do. weight_copies and the
// quantise_* ones describe how the rows were measured.
constexpr std::array<Constant, 26> constants{{
    {"launch_clk", 4700, 500, 1e5, logarithmic, "clk", "launch and pipeline fill; with a host's timer, the host"},
    {"matrix_efficiency", 0.9, 0.5, 1.05, linear, "", "share of the matrix peak reached inside the loop; above 1: a boost clock"},
    {"core_load", 128, 8, 128, fixed, "B/clk", "a core's, from the cache"},
    {"cold_load", 51, 5, 128, logarithmic, "B/clk", "a core's, from main memory"},
    {"step_clk", 140, 0, 800, linear, "clk", "least time of a step along k"},
    {"epilogue", 20, 3, 200, logarithmic, "B/clk", "a core writes its tile at"},
    {"cache_load", 79, 8, 100, logarithmic, "B/clk", "a core's share of the cache's bandwidth, casts to several cores counted for each"},
    {"hbm_efficiency", 0.88, 0.2, 1, linear, "", "share of the memory bandwidth reached by reads"},
    {"hbm_write_efficiency", 0.9, 0.2, 1.5, fixed, "", "by the output"},
    {"resident_below", 0.56, 0.02, 1.5, linear, "", "share of the cache up to which a working set stays in it"},
    {"cold_above", 0.81, 0.3, 2, linear, "", "share from which nothing stays"},
    {"cold_clk", 0, 0, 6000, fixed, "clk", "more latency if the weights are cold"},
    {"split_s", 1.7e-6, 0, 5e-6, linear, "s", "the kernel that adds the parts of a split k"},
    {"split_efficiency", 2, 0.3, 10, fixed, "", "rate of the fp32 parts over the memory bandwidth: some stay in the cache"},
    {"small_tile_loss", 0.08, -0.3, 1, linear, "", "share of time lost by tiles below 181 x 181"},
    {"split_loss", 0, -0.2, 1, linear, "", "the same for each doubling of the parts"},
    {"idle_loss", 0.2, -1, 1, linear, "", "the same for all cores idle in the last round"},
    {"slowdown", 0.22, 0, 0.4, linear, "", "of kernels much longer than slowdown_from_s"},
    {"slowdown_from_s", 4e-3, 3e-4, 2e-2, fixed, "s", "arithmetic at the peak for so long halves the clock's lead (power, it seems)"},
    {"quantise_s", 9.75e-6, 0, 1.5e-5, fixed, "s", "launches of the kernels that quantise the activations"},
    {"quantise_bytes", 5, 0, 8, fixed, "B", "they move for each activation"},
    {"quantise_efficiency", 0.6, 0.1, 1.5, logarithmic, "", "share of the memory bandwidth they reach"},
    {"quantise_cached", 1, 0.1, 8, logarithmic, "", "the same if the activations stay in the cache"},
    {"padded_load", 12.4, 3, 100, logarithmic, "B/clk", "tile_rule 2: a core's, for rows beyond the last token"},
    {"tile_rule", 1, 0, 2, fixed, "", "0: few tiles, 1: many, chosen by cost; 2: one by rule"},
    {"weight_copies", 5, 0, 100, fixed, "", "sets of weights that were measured in turn: the cache may hold them all; 0: weights are always cold"},
}};

struct Values {
  double launch_clk, matrix_efficiency, core_load, cold_load, step_clk, epilogue, cache_load, hbm_efficiency, hbm_write_efficiency, resident_below, cold_above,
      cold_clk, split_s, split_efficiency, small_tile_loss, split_loss, idle_loss, slowdown, slowdown_from_s, quantise_s, quantise_bytes,
      quantise_efficiency, quantise_cached, padded_load, tile_rule, weight_copies;

  TileRule rule() const { return tile_rule < 0.5 ? TileRule::few : tile_rule < 1.5 ? TileRule::many : TileRule::one; }
  /// Share of a working set that stays in the cache from call to call.
  double resident(double bytes, double cache) const {
    const double above = std::max(cold_above, resident_below + 0.02);
    return std::clamp((above - bytes / cache) / (above - resident_below), 0.0, 1.0);
  }
};

double square(double x) { return x * x; }
double fourth(double x) { return square(square(x)); }
double fourth_root(double x) { return std::sqrt(std::sqrt(x)); }

/// One call under one set of constants and rates: all that does not depend on the tiling, worked out once. Smooth maxima
/// are fourth roots of sums of fourth powers.
struct Rates {
  Rates(const GemmPath& path, const GemmShape& shape, const ChipFigures& chip, const Values& c);

  double seconds(const TilingCosts& t) const;
  /// The slope of `seconds` there. A smooth maximum is convex and of degree one: slope * other <= seconds(other).
  TilingCosts slope(const TilingCosts& t) const;

  double math_s, warm_s, cold_s, step_s, output_s, padded_s, traffic_s, part_s;  ///< seconds of one of each of TilingCosts
  double launch, split_s;
  double memory;     ///< the main memory's time
  bool overlaps;     ///< a rule's one tile loads while it computes; else both weigh in
  double elsewhere;  ///< slowdown and the quantisation's time, whatever the tiling
};

double slowdown(const GemmShape& shape, double peak, const Values& c) {
  const double math = 2 * shape.m * shape.n * shape.k / peak;
  return c.slowdown * math * math / (math + c.slowdown_from_s);
}

/// Activations come in 16 bits and leave in 8: three bytes an element stay in the cache or do not.
double quantise(const GemmShape& shape, const ChipFigures& chip, const Values& c) {
  const double elements = shape.m * shape.k, resident = c.resident(3 * elements, chip.cache);
  return c.quantise_s + c.quantise_bytes * elements / chip.bandwidth * (resident / c.quantise_cached + (1 - resident) / c.quantise_efficiency);
}

double peak_of(const GemmPath& path, const ChipFigures& chip) { return chip.peak[static_cast<std::size_t>(path.math)] * path.speed; }

Rates::Rates(const GemmPath& path, const GemmShape& shape, const ChipFigures& chip, const Values& c) {
  const double weights = shape.n * shape.k * path.weight, inputs = shape.m * shape.k * path.activation, outputs = shape.m * shape.n * path.output;
  const double cold_weights = c.weight_copies > 0 ? 1 - c.resident(c.weight_copies * weights + inputs + outputs, chip.cache) : 1;
  const double cold_inputs = 1 - c.resident(weights + inputs + outputs, chip.cache);
  const double peak = peak_of(path, chip), clk = 1 / chip.clock, load = shape.depth * clk;
  math_s = 2 * shape.depth * chip.cores / (peak * c.matrix_efficiency);
  warm_s = load / c.core_load;
  cold_s = warm_s * (1 - cold_weights) + load / c.cold_load * cold_weights;
  step_s = c.step_clk * clk;
  output_s = path.output / c.epilogue * clk;
  padded_s = load / (c.padded_load * chip.cores);
  traffic_s = load / (c.cache_load * chip.cores);
  memory = (weights * cold_weights + inputs * cold_inputs) / (chip.bandwidth * c.hbm_efficiency) + outputs / (chip.bandwidth * c.hbm_write_efficiency);
  launch = (c.launch_clk + c.cold_clk * cold_weights) * clk;
  split_s = c.split_s;
  part_s = 8 * shape.m * shape.n / (c.split_efficiency * chip.bandwidth);  // fp32, written and read once
  overlaps = c.rule() == TileRule::one;
  elsewhere = slowdown(shape, peak, c) + (path.narrow() ? quantise(shape, chip, c) : 0);
}

double Rates::seconds(const TilingCosts& t) const {
  const double math = t.math * math_s, load = t.warm * warm_s + t.cold * cold_s;
  const double together = overlaps ? fourth(std::max(math, load)) : fourth(math) + fourth(load);
  const double core = fourth_root(together + fourth(t.steps * step_s)) + t.outputs * output_s + t.padded * padded_s;
  return t.whole * launch + fourth_root(fourth(core) + fourth(t.traffic * traffic_s) + fourth(t.whole * memory)) + t.split * split_s + t.parts * part_s;
}

double cube(double x) { return x * x * x; }

TilingCosts Rates::slope(const TilingCosts& t) const {
  const double math = t.math * math_s, load = t.warm * warm_s + t.cold * cold_s, step = t.steps * step_s;
  const double loop = fourth_root(fourth(math) + fourth(load) + fourth(step)), core = loop + t.outputs * output_s + t.padded * padded_s;
  const double traffic = t.traffic * traffic_s, all = fourth_root(fourth(core) + fourth(traffic) + fourth(t.whole * memory));
  const double of_core = cube(core / all), of_load = of_core * cube(load / loop);
  return {.whole = launch + cube(t.whole * memory / all) * memory, .math = of_core * cube(math / loop) * math_s, .warm = of_load * warm_s, .cold = of_load * cold_s,
          .steps = of_core * cube(step / loop) * step_s, .outputs = of_core * output_s, .padded = of_core * padded_s, .traffic = cube(traffic / all) * traffic_s,
          .split = split_s, .parts = part_s};
}

double product(const TilingCosts& a, const TilingCosts& b) {
  return (a.whole * b.whole + a.math * b.math) + (a.warm * b.warm + a.cold * b.cold) + (a.steps * b.steps + a.outputs * b.outputs) +
         (a.padded * b.padded + a.traffic * b.traffic) + (a.split * b.split + a.parts * b.parts);
}

/// The cheapest, by branch and bound. A minimum of times that never rise with a rate never rises either, as the mean over
/// what a library might choose by its own beliefs would.
/// `certain` keeps rounding from passing over the cheapest, so that the result does not depend on the order, nor on tilings
/// that others dominate, to the last bit.
double cheapest(const Rates& rates, std::span<const TilingCosts> costs) {
  constexpr double certain = 1 + 1e-9;
  double best = rates.seconds(costs.front());
  if (costs.size() == 1) return best;
  TilingCosts slope = rates.slope(costs.front());
  for (const TilingCosts& t : costs.subspan(1)) {
    if (product(slope, t) >= certain * best) continue;
    const double seconds = rates.seconds(t);
    if (seconds >= best) continue;
    best = seconds;
    slope = rates.slope(t);
  }
  return best;
}

/// Only the first row of tiles meets cold weights, the others find them in the cache.
TilingCosts costs_of(const GemmTile& tile, const GemmSplit& split, const GemmPath& path, const Values& c) {
  const double loss = (1 + c.small_tile_loss * tile.smallness) * (1 + c.split_loss * split.log2_parts) * (1 + c.idle_loss * (1 - split.filled));
  const double inputs = tile.used_rows * path.activation, weights = tile.used_columns * path.weight, cold = weights / tile.row_blocks;
  const double rounds = loss * split.rounds, steps = rounds * split.steps, divided = split.parts > 1 ? loss : 0;
  return {.whole = loss, .math = steps * tile.rows * tile.columns, .warm = steps * (inputs + weights - cold), .cold = steps * cold, .steps = steps,
          .outputs = rounds * tile.used_rows * tile.used_columns, .padded = 0, .traffic = loss * split.units * split.steps * (inputs + weights),
          .split = divided, .parts = divided * split.parts};
}

/// Costs of all candidates, and how many they are.
std::size_t cost_tilings(const GemmShape& shape, const GemmPath& path, double cores, const Values& c, std::array<TilingCosts, most_splits>& out) {
  Tilings tilings;
  enumerate_tilings(shape, cores, c.rule(), tilings);
  for (int t = 0; t < tilings.tile_count; ++t)
    for (int s = tilings.tiles[t].first; s < tilings.tiles[t].last; ++s) out[static_cast<std::size_t>(s)] = costs_of(tilings.tiles[t], tilings.splits[s], path, c);
  const GemmTile& tile = tilings.tiles[0];
  if (c.rule() == TileRule::one)  // padded rows cost as if loaded one by one; seen, the cause is not known
    out[0].padded = tile.blocks / tile.row_blocks * (tile.row_blocks * tile.rows - shape.m) * out[0].steps / tilings.splits[0].rounds * path.activation;
  return static_cast<std::size_t>(tilings.split_count);
}

/// True if `a` costs no more than `b` in any way: then no rates make b the cheaper one.
bool dominates(const TilingCosts& a, const TilingCosts& b) {
  const auto x = std::bit_cast<TilingFigures>(a), y = std::bit_cast<TilingFigures>(b);
  for (std::size_t i = 0; i < x.size(); ++i)
    if (x[i] > y[i]) return false;
  return true;
}

/// Those that none dominates, the cheapest under `rates` first: what dominates another comes before it, and a search that
/// starts at the cheapest here has close bounds from its start elsewhere, too.
std::vector<TilingCosts> not_dominated(std::span<const TilingCosts> all, const Rates& rates) {
  std::vector<std::pair<double, const TilingCosts*>> order;
  for (const TilingCosts& t : all) order.emplace_back(rates.seconds(t), &t);
  std::ranges::sort(order, {}, [](const auto& timed) { return timed.first; });
  std::vector<TilingCosts> kept;
  for (const auto& [seconds, t] : order)
    if (std::ranges::none_of(kept, [&](const TilingCosts& k) { return dominates(k, *t); })) kept.push_back(*t);
  kept.shrink_to_fit();
  return kept;
}

/// As roofline_floor, of a call that is not at hand any more.
double floor_of(double flops, double bytes, const ChipFigures& chip, double peak) {
  return std::max(flops / peak, bytes > chip.cache ? bytes / chip.bandwidth : 0.0);
}

GemmShape shape_of(const KernelCall& call, const GemmPath& path) { return {call.dim(Dim::m), call.dim(Dim::n), call.dim(Dim::k), path.depth}; }

double predict(const KernelCall& call, const ChipFigures& chip, std::span<const double> values) {
  const auto c = bind<Values>(constants, values);
  const GemmPath path = gemm_path(call, chip);
  const GemmShape shape = shape_of(call, path);
  std::array<TilingCosts, most_splits> costs;  // NOLINT: filled below
  const std::size_t count = cost_tilings(shape, path, chip.cores, c, costs);
  const Rates rates(path, shape, chip, c);
  return std::max(cheapest(rates, {costs.data(), count}) + rates.elsewhere, floor_of(call.op.work.flops, call.op.work.bytes(), chip, peak_of(path, chip)));
}

std::string_view type_of(const KernelCall& call, const ChipFigures& chip) { return gemm_path(call, chip).type; }

}  // namespace

PreparedGemm::PreparedGemm(const KernelCall& call, const ChipFigures& chip, std::span<const double> values)
    : values_(values.begin(), values.end()), path_(gemm_path(call, chip)), shape_(shape_of(call, path_)), flops_(call.op.work.flops), bytes_(call.op.work.bytes()) {
  const auto c = bind<Values>(constants, values);
  std::array<TilingCosts, most_splits> costs;  // NOLINT: filled below
  const std::size_t count = cost_tilings(shape_, path_, chip.cores, c, costs);
  costs_ = not_dominated({costs.data(), count}, Rates(path_, shape_, chip, c));
}

double PreparedGemm::seconds(const ChipFigures& chip) const {
  const Rates rates(path_, shape_, chip, sim::bind<Values>(constants, values_));
  return std::max(cheapest(rates, costs_) + rates.elsewhere, floor_of(flops_, bytes_, chip, peak_of(path_, chip)));
}

constinit const KernelModel gemm_model{KernelKind::gemm, constants, predict, type_of};

}  // namespace gambrel::sim

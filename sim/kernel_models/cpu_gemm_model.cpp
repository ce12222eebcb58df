// Kernel models of a processor's matrix products: passes of an inner kernel over panels, and the grouped one of an expert FFN.
// The form was chosen on oneDNN and OpenBLAS, on one thread: each pass takes the longer of its multiply-adds and its loads,
// softly, and the first one over a panel of weights waits for the cache, or the memory, that holds them.
#include <algorithm>
#include <cmath>

#include "sim/kernel_models/attention_model.hpp"
#include "sim/kernel_models/cpu_caches.hpp"
#include "sim/kernel_models/kernel_models.hpp"
#include "sim/kernel_models/product_loops.hpp"

namespace gambrel::sim {

using models::Dim;
using models::Role;

namespace {

constexpr Search linear = Search::linear, logarithmic = Search::logarithmic;

constexpr double lanes = 16;  // sums of 32 bits in a register, see product_loops.hpp

constexpr double sharpness = 8;  // of the step from a cache to the next

constexpr std::array<Constant, 21> gemm_constants{{
    {"start_s", 3e-7, 1e-8, 1e-5, logarithmic, "s", "of a call before the first product"},
    {"peak_share", 0.97, 0.5, 1, linear, "", "of the peak, reached within a pass"},
    {"load", 1, 0.1, 10, logarithmic, "multiply-adds", "that a vector of weights takes to load from the first cache"},
    {"stream", 1, 0.1, 6, logarithmic, "multiply-adds", "that it takes more from the cache beyond"},
    {"broadcast", 0.2, 0.02, 3, logarithmic, "multiply-adds", "that an input of a row takes to load"},
    {"hiding", 3, 1, 10, logarithmic, "", "norm of multiply-adds and loads: 1 adds them, large ones take the longer"},
    {"pass", 30, 0.5, 200, logarithmic, "multiply-adds", "that a pass over k takes to begin and end"},
    {"result", 0.5, 0.05, 20, logarithmic, "multiply-adds", "that a vector of sums takes to fetch and store"},
    {"inner_share", 0.9, 0.3, 1.3, logarithmic, "", "of the caches before the last, that operands can fill"},
    {"last_share", 0.6, 0.3, 1.3, logarithmic, "", "of the last cache"},
    {"inner_efficiency", 1.2, 0.2, 4, logarithmic, "", "share of the bandwidth of the cache before the last"},
    {"last_efficiency", 1, 0.2, 2, logarithmic, "", "of the last cache"},
    {"main_efficiency", 0.7, 0.2, 1.5, logarithmic, "", "of main memory"},
    {"few_rows", 1, 0.7, 2, logarithmic, "", "time of weights from main memory to one or two rows, over that to more"},
    {"input_weight", 0.3, 0, 2, linear, "", "part of the inputs' way from their cache that a pass waits for"},
    {"pack_efficiency", 0.3, 0.002, 2, logarithmic, "", "share of the first cache's bandwidth at which operands are packed"},
    {"pack_reach", 1, 0.3, 4, logarithmic, "", "time to read what is packed, over a stream's from there"},
    {"aliased", 2, 1, 6, logarithmic, "", "time to pack rows that lie whole 4 KiB apart, over others: they fight for one set of a first cache"},
    {"narrow", 0.5, 0.2, 1, linear, "", "time of a vector that is not filled, over a full one's"},
    {"reduction", 16, 4, 64, logarithmic, "elements", "contracted width that summing up a vector costs, where products go along k"},
    {"loops", 0, 0, 3, Search::choice, "", "of the library: panels packed beforehand (0), copied (1), all packed unless small (2), always (3)"},
}};

struct GemmValues {
  double start_s, peak_share, load, stream, broadcast, hiding, pass, result;
  double inner_share, last_share, inner_efficiency, last_efficiency, main_efficiency, few_rows;
  double input_weight, pack_efficiency, pack_reach, aliased, narrow, reduction, loops;
};

double peak_of(const KernelCall& call, const ChipFigures& chip) { return chip.peak[static_cast<std::size_t>(call.op.math)]; }

/// Share of a full panel's rate that `rows` rows reach: accumulators of few rows wait for each other. Never so much that
/// several rows would take less than one.
double of_rows(double rows, double loss, double power) { return rows / std::max(rows + loss * std::pow(rows, 1 - power), 1 + loss); }

/// OpenBLAS 0.3.21 multiplies in place what is small and deep (sgemm_small_kernel_permit_skylakex.c).
bool is_small(double m, double n, double k) { return m * n <= 1200 && k >= 32 && m * n * k <= 1e6; }

/// The longer of two times that hide each other, softly.
double longer(double a, double b) { return std::cbrt(a * a * a + b * b * b); }

/// One product as the loops see it.
struct Product {
  const GemmValues& c;
  const ChipFigures& chip;
  double m, n, k;
  double group;          ///< products that a multiply-add sums up in each lane: 2 of 16 bits, 4 of 8 bits
  double input, weight;  ///< bytes of an element
  double step_s;         ///< of a vector multiply-add
  CacheConstants caches;
  double weight_s;       ///< a byte of weights from where they lie

  double steps() const { return std::ceil(k / group); }
};

Product product_of(const KernelCall& call, const ChipFigures& chip, const GemmValues& c) {
  const auto& work = call.op.work;
  const double m = call.dim(Dim::m), n = call.dim(Dim::n), k = call.dim(Dim::k), all = work.bytes();
  const double inputs = work.read_bytes[static_cast<std::size_t>(Role::activation)], weights = all - work.bytes(Role::activation);
  const double group = 32 / DataType(call.op.math).element_bits();
  const CacheConstants caches{c.inner_share, c.last_share, sharpness, 1, c.inner_efficiency, c.last_efficiency, c.main_efficiency / (m <= 2 ? c.few_rows : 1)};
  return {c, chip, m, n, k, group, inputs / (m * k), weights / (n * k), 2 * lanes * group / (peak_of(call, chip) * c.peak_share),
          caches, seconds_per_byte(std::max(all, call.between), chip, caches)};
}

/// All passes over k. Their loads are of weights that lie packed, from the first cache or the one beyond; with `waiting`
/// a first pass over a panel brings it from where it lies: nothing fetches ahead of it.
double sweep_seconds(const Product& p, const ProductLoops& loops, bool waiting) {
  const GemmValues& c = p.c;
  const double blocks = std::ceil(p.k / loops.depth), vector_bytes = lanes * loops.depth * p.weight;
  const double between_inputs = std::ceil(p.m / loops.row_blocks) * p.k * p.input + 4 * lanes * p.k * p.weight;
  const double broadcast = c.broadcast + c.input_weight * p.group * p.input * seconds_per_byte(between_inputs, p.chip, p.caches) / p.step_s;
  const double outer = lanes * p.group * p.weight * p.weight_s / p.step_s;
  double steps = 0;
  for (const Sweep& s : loops) {
    const double panel = loops.in_panels ? vector_bytes * s.vectors : vector_bytes * p.n / lanes;
    const double load = c.load + c.stream * missed(panel, p.chip.caches[0].capacity * c.inner_share, sharpness);
    const double sums = s.rows * s.vectors * (s.narrow ? c.narrow : 1), inputs = broadcast * s.rows;
    const double pass = std::pow(std::pow(sums, c.hiding) + std::pow(load * s.vectors + inputs, c.hiding), 1 / c.hiding);
    steps += s.count * (p.steps() * pass + blocks * (c.pass + c.result * sums));
    if (!waiting) continue;
    const double fetched = std::sqrt(std::hypot(load * load, outer * outer));  // the longer of both
    steps += s.first * p.steps() * std::max(0.0, longer(sums, fetched * s.vectors + inputs) - pass);
  }
  return steps * p.step_s;
}

/// Bytes that are copied into panels, or what takes as long: squares of 16 vectors' words are turned at a time, each line
/// touched once (oneDNN); or element by element from 16 rows at a time (OpenBLAS).
double copied_bytes(const Product& p, LoopNest nest, const ProductLoops& loops) {
  constexpr double way = 4096;  // bytes of one way: 32 KiB of 8, 48 KiB of 12
  const auto aliased = [&](double row) { return std::fmod(row, way) == 0 ? p.c.aliased : 1; };
  if (nest != LoopNest::copied_panels) return p.m * p.k * p.input + aliased(p.k * p.weight) * p.n * p.k * p.weight;
  return loops.row_blocks * std::ceil(p.n / lanes) * std::ceil(p.steps() / lanes) * lanes * lanes * p.group * p.weight;
}

/// Products along k, whose vectors are summed up at the end.
double along_depth(const Product& p) { return p.m * p.n * (p.k + p.c.reduction) / (lanes * p.group) * p.step_s; }

double predict_gemm(const KernelCall& call, const ChipFigures& chip, std::span<const double> values) {
  const auto c = bind<GemmValues>(gemm_constants, values);
  const auto nest = static_cast<LoopNest>(static_cast<int>(c.loops));
  const Product p = product_of(call, chip, c);
  const bool in_panels = nest == LoopNest::panels || nest == LoopNest::copied_panels;
  if (!in_panels && p.m <= 1) return c.start_s + along_depth(p) + p.n * p.k * p.weight * p.weight_s;
  if (nest == LoopNest::packed_unless_small && is_small(p.m, p.n, p.k)) return c.start_s + along_depth(p);
  const ProductLoops loops = product_loops(in_panels, p.m, p.n, p.k, p.input);
  const double passes = sweep_seconds(p, loops, nest == LoopNest::panels);
  if (nest == LoopNest::panels) return c.start_s + passes;
  const double copy_s = seconds_per_byte(1, chip, {1, 1, sharpness, 1, 1, 1, 1}) / c.pack_efficiency;
  return c.start_s + passes + copied_bytes(p, nest, loops) * longer(copy_s, c.pack_reach * p.weight_s);
}

// ---- an expert FFN: two or three products for each expert that gets tokens

constexpr std::array<Constant, 13> moe_constants{{
    {"start_s", 1e-6, 1e-8, 1e-4, logarithmic, "s", "of a call"},
    {"expert_s", 1e-6, 1e-8, 1e-4, logarithmic, "s", "of an expert that gets tokens"},
    {"peak_share", 0.85, 0.05, 1, linear, "", "of the peak, reached with many tokens an expert"},
    {"rows_loss", 1, 0.01, 60, logarithmic, "", "time lost at one token, over that of a full panel"},
    {"rows_power", 1.5, 0.5, 5, logarithmic, "", "how fast further tokens make up for it"},
    {"overlap", 2, 1, 8, logarithmic, "", "norm of arithmetic and movement"},
    {"inner_share", 0.8, 0.3, 1.3, logarithmic, "", "of the cache before the last, that operands can fill"},
    {"last_share", 0.8, 0.4, 1.3, logarithmic, "", "of the last cache"},
    {"sharpness", 4, 1.5, 8, logarithmic, "", "of the step from a cache to the next"},
    {"first_efficiency", 0.8, 0.02, 4, logarithmic, "", "share of the first cache's bandwidth"},
    {"inner_efficiency", 1, 0.2, 4, logarithmic, "", "share of the bandwidth of the cache before the last"},
    {"last_efficiency", 1, 0.2, 2, logarithmic, "", "of the last cache"},
    {"main_efficiency", 0.9, 0.2, 1.5, logarithmic, "", "of main memory"},
}};

struct MoeValues {
  double start_s, expert_s, peak_share, rows_loss, rows_power, overlap;
  CacheConstants caches;
};

double predict_moe(const KernelCall& call, const ChipFigures& chip, std::span<const double> values) {
  const auto c = bind<MoeValues>(moe_constants, values);
  const double expert = call.dim(Dim::projections) * call.dim(Dim::n) * call.dim(Dim::k) * call.stored.storage_bits() / 8;
  const double experts = std::max(1.0, call.op.work.bytes(Role::expert_weight) / expert);
  const double rate = peak_of(call, chip) * c.peak_share * of_rows(std::max(1.0, call.dim(Dim::m) / experts), c.rows_loss, c.rows_power);
  const double math = call.op.work.flops / rate + call.op.work.vector_flops / chip.vector_rate;
  return c.start_s + experts * c.expert_s + overlap(math, movement_seconds(call, chip, c.caches), c.overlap);
}

}  // namespace

constinit const KernelModel cpu_gemm_model{KernelKind::gemm, gemm_constants, predict_gemm, processor_type, true};
constinit const KernelModel cpu_moe_model{KernelKind::moe, moe_constants, predict_moe, processor_type};

}  // namespace gambrel::sim

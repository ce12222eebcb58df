// Kernel models of a processor's matrix products: a blocked loop over packed panels, and the grouped one of an expert FFN.
// The form was chosen on oneDNN and OpenBLAS, on one thread: an efficiency curve in each size, columns rounded up to
// vectors, operands from the cache that holds them, and a norm of both times between their maximum and their sum.
#include <algorithm>
#include <cmath>

#include "sim/attention_model.hpp"
#include "sim/cpu_caches.hpp"
#include "sim/kernel_models.hpp"

namespace gambrel::sim {

using models::Dim;
using models::Role;

namespace {

constexpr Search linear = Search::linear, logarithmic = Search::logarithmic;

/// Results of a vector register: 16 sums of 32 bits in AVX-512, and the narrowest panel of columns elsewhere too.
constexpr double lanes = 16;

constexpr std::array<Constant, 18> gemm_constants{{
    {"start_s", 3e-7, 1e-8, 3e-5, logarithmic, "s", "of a call before the first product"},
    {"peak_share", 0.92, 0.2, 1, linear, "", "of the peak, reached by large products"},
    {"rows_loss", 1, 0.01, 60, logarithmic, "", "time lost at one row, over that of a full panel"},
    {"rows_power", 2, 0.5, 5, logarithmic, "", "how fast further rows make up for it"},
    {"columns_half", 0.5, 0.01, 200, logarithmic, "columns", "at which the peak share halves"},
    {"depth_half", 4, 0.1, 300, logarithmic, "", "contracted width at which it halves"},
    {"padded", 0.9, 0, 1, linear, "", "part of the columns that fill up the last vector that is paid for"},
    {"overlap", 4, 1, 16, logarithmic, "", "norm of arithmetic and movement: 1 adds them, large ones take the longer"},
    {"inner_share", 0.8, 0.3, 1.3, logarithmic, "", "of the cache before the last, that operands can fill"},
    {"last_share", 0.8, 0.4, 1.3, logarithmic, "", "of the last cache"},
    {"sharpness", 4, 1.5, 8, logarithmic, "", "of the step from a cache to the next"},
    {"first_efficiency", 0.8, 0.02, 4, logarithmic, "", "share of the first cache's bandwidth"},
    {"inner_efficiency", 1, 0.2, 4, logarithmic, "", "share of the bandwidth of the cache before the last"},
    {"last_efficiency", 1, 0.2, 2, logarithmic, "", "of the last cache"},
    {"main_efficiency", 0.9, 0.2, 1.5, logarithmic, "", "of main memory"},
    {"activation_weight", 0.5, 0, 2, linear, "", "bytes moved for a byte of inputs and results"},
    {"pack_efficiency", 1, 0.002, 2, logarithmic, "", "share of the first cache's bandwidth at which operands are packed"},
    {"unpacked_outputs", 1200, 1, 10000, logarithmic, "", "results of a product up to which none is packed"},
}};

struct GemmValues {
  double start_s, peak_share, rows_loss, rows_power, columns_half, depth_half, padded, overlap;
  CacheConstants caches;
  double activation_weight, pack_efficiency, unpacked_outputs;
};

double peak_of(const KernelCall& call, const ChipFigures& chip) { return chip.peak[static_cast<std::size_t>(call.op.math)]; }

/// Share of a full panel's rate that `rows` rows reach: accumulators of few rows wait for each other. Never so much that
/// several rows would take less than one.
double of_rows(double rows, double loss, double power) { return rows / std::max(rows + loss * std::pow(rows, 1 - power), 1 + loss); }

/// Part of the products of this size that are packed first. OpenBLAS multiplies in place what is small and deep (its
/// sgemm_small_kernel_permit: m n <= 1200, k >= 32, m n k <= 1e6), and one row always.
double packed(double m, double n, double k, double outputs) {
  if (m <= 1) return 0;
  const auto below = [](double x, double limit) { return 1 / (1 + std::pow(x / limit, 8)); };
  return 1 - below(m * n, outputs) * below(32, k) * below(m * n * k, 1e6);
}

double predict_gemm(const KernelCall& call, const ChipFigures& chip, std::span<const double> values) {
  const auto c = bind<GemmValues>(gemm_constants, values);
  const double m = call.dim(Dim::m), n = call.dim(Dim::n), k = call.dim(Dim::k);
  const double columns = n + c.padded * (std::ceil(n / lanes) * lanes - n);
  const double share = c.peak_share * of_rows(m, c.rows_loss, c.rows_power) * n / (n + c.columns_half) * k / (k + c.depth_half);
  const double math = call.op.work.flops * columns / n / (peak_of(call, chip) * share);
  const double all = call.op.work.bytes(), near = call.op.work.bytes(Role::activation), weights = all - near;
  const double move = weights * seconds_per_byte(std::max(all, call.between), chip, c.caches) +
                      c.activation_weight * near * seconds_per_byte(all, chip, c.caches);
  const double inputs = call.op.work.read_bytes[static_cast<std::size_t>(Role::activation)];
  const double pack_s = (weights + inputs) * packed(m, n, k, c.unpacked_outputs) / c.pack_efficiency *
                        seconds_per_byte(1, chip, {1, 1, 8, 1, 1, 1, 1});
  return c.start_s + overlap(math, move, c.overlap) + pack_s;
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

constinit const KernelModel cpu_gemm_model{KernelKind::gemm, gemm_constants, predict_gemm, processor_type};
constinit const KernelModel cpu_moe_model{KernelKind::moe, moe_constants, predict_moe, processor_type};

}  // namespace gambrel::sim

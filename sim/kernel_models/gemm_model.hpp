// The GEMM kernel model, y[m,n] = x[m,k] W[n,k]^T: tiles a library may choose from, what each of them costs, and the
// cheapest under given rates.
#pragma once

#include <array>
#include <span>
#include <string_view>
#include <vector>

#include "sim/kernel_models/kernel_model.hpp"

namespace gambrel::sim {

/// Kernels that a library has, the constant `tile_rule`: a few tiles whose operands each core copies itself, or many
/// whose loads one core casts to several (both chosen by cost), or one tile by rule (DeepGEMM).
enum class TileRule { few, many, one };

struct GemmShape {
  double m, n, k;
  double depth;  ///< of a step of k
};

/// An output tile: `rows` tokens x `columns` weight rows. Nothing here depends on a rate.
struct GemmTile {
  double rows, columns;
  double used_rows, used_columns;  ///< not beyond the matrix
  double row_blocks, blocks;       ///< of rows, and of both
  double smallness;                ///< 0 from 181 x 181 on: sqrt(2 x 128 x 128)
  int first, last;                 ///< its splits in Tilings::splits; the first is the undivided k
};

/// k divided into `parts` for that many cores.
struct GemmSplit {
  double parts, log2_parts;
  double steps;              ///< along k, of one core
  double units;              ///< tiles x parts
  double rounds;             ///< of all cores; whole numbers, at least 1
  double filled;             ///< share of the cores that the rounds keep busy; 1 if there is only one
};

inline constexpr int most_tiles = 23, most_splits = 92;

/// Left uninitialised beyond its counts: this is filled for every cold prediction.
struct Tilings {
  std::array<GemmTile, most_tiles> tiles;
  std::array<GemmSplit, most_splits> splits;
  int tile_count = 0, split_count = 0;
};

/// The candidates of `rule` for that shape and number of cores; always at least one.
void enumerate_tilings(const GemmShape& shape, double cores, TileRule rule, Tilings& out);

/// Rows, columns of DeepGEMM's tile (its published host heuristic, as TensorRT-LLM calls it): fewest rounds, then the
/// fullest last round, then the narrowest tile; operands change places below 32 tokens.
std::array<double, 2> rule_tile(double m, double n, double cores);

/// The smallest whole number that is not less than x >= 0, inline without SSE 4.1: adding 2^52 rounds to the nearest.
inline double round_up(double x) {
  constexpr double whole = 4503599627370496.0;
  const double nearest = (x + whole) - whole;
  return nearest < x ? nearest + 1 : nearest;
}

/// How the operands of a call are read. Quantised activations with a unit for them stay narrow; everything else is
/// widened to 16 bits (weights on the way from memory, which still moves the narrow ones).
struct GemmPath {
  std::string_view type;                    ///< "bf16", "fp8" or "fp8_block" (weights with a scale per block of rows)
  double activation, weight, output;        ///< bytes of an element
  double depth;                             ///< of a step: 128 B of activations
  Format math;                              ///< what it is computed in: ChipFigures::peak
  double speed = 1;                         ///< over that peak: of a unit that skips zeros
  bool narrow() const { return type != "bf16"; }
};
GemmPath gemm_path(const KernelCall& call, const ChipFigures& chip);

/// What rates multiply in the time of one tiling (its loss, see the constants, is a factor of all). Time is the sum of
/// launch, split and the smooth maximum of core, traffic and memory; it never falls when one of these grows.
struct TilingCosts {
  double whole;    ///< the loss itself, times the launch and the main memory's time: at least 0
  double math;     ///< outputs x steps that a core computes
  double warm;     ///< bytes x steps that a core loads from the cache
  double cold;     ///< the same of weights that are from main memory if they are cold
  double steps;    ///< along k of a core, all rounds
  double outputs;  ///< that a core writes
  double padded;   ///< bytes x steps of rows beyond the last token (one tile by rule)
  double traffic;  ///< bytes x steps that all cores load from the cache
  double split, parts;  ///< kernels that add parts, and parts; 0 for an undivided k
};
using TilingFigures = std::array<double, 10>;  ///< TilingCosts in that order

/// One call whose tilings are enumerated: `seconds` is the time under any rates, without a new search. Of the tilings only
/// those are kept that some rates could make the cheapest: none that is beaten in all of its costs. So it is exact.
class PreparedGemm {
 public:
  PreparedGemm(const KernelCall& call, const ChipFigures& chip, std::span<const double> values);

  /// Equal to gemm_model.predict, bit for bit, for a chip with as many cores that has the same formats; rates,
  /// caches and clocks may differ. Nothing is allocated.
  double seconds(const ChipFigures& chip) const;

  std::size_t tilings() const { return costs_.size(); }

 private:
  std::vector<TilingCosts> costs_;
  std::vector<double> values_;
  GemmPath path_;
  GemmShape shape_;
  double flops_, bytes_;
};

}  // namespace gambrel::sim

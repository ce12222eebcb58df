// The figures that every design point of a sweep has: columns of its store, names in expressions.
#pragma once

#include <array>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "hw/technology.hpp"
#include "sim/estimate.hpp"
#include "sim/run.hpp"
#include "sim/sweep/design_point.hpp"

namespace gambrel::sim {

enum class Figure : std::uint8_t {
  time, tokens_per_s, ttft, tpot, batch, roofline, mfu, mbu, bound, bound_share, energy, energy_per_token, power, cost, usd_per_mtoken, tokens_per_s_per_usd, tokens_per_joule,
  memory_peak, max_batch, fits, chips, die_area, tdp, chip_cost, hourly_price, days
};
inline constexpr std::size_t figure_count = 26;

/// One figure: how it is stored, named in expressions and read.
struct FigureRow {
  Figure figure;
  std::string_view column;  ///< "memory_peak_b"
  std::string_view name;    ///< "memory.peak", besides the column's name
  std::string_view label, unit;
  Dimension dimension;      ///< of expressions
  double scale = 1;         ///< base units of one of the column's
  /// How several workloads make one figure: `mean` as the sweep says (geometric, or the worst: the largest, or the smallest
  /// where larger is better), `largest`, `smallest`, `same` on all of them.
  enum class Joined { mean_small, mean_large, largest, smallest, same } joined = Joined::mean_small;
};
const std::array<FigureRow, figure_count>& figure_rows();

/// NaN: the design has no such figure.
using Figures = std::array<double, figure_count>;
inline double& at(Figures& figures, Figure f) { return figures[static_cast<std::size_t>(f)]; }
inline double at(const Figures& figures, Figure f) { return figures[static_cast<std::size_t>(f)]; }

/// What an estimate and its chip say, before ratios are made of it.
struct Measures {
  double seconds = 0, roofline = 0;  ///< s
  double tokens = 0, tokens_per_s = 0, batch = 0;
  double ttft, tpot;                 ///< s; NaN where there is none
  double mfu = 0, mbu = 0;
  double bound = 0, bound_share = 0; ///< index of the bound's name, see BoundNames
  double energy, power;              ///< J of all chips, W of one; NaN where energies are not known
  double cost;                       ///< USD; NaN without a price
  double memory_peak = 0, max_batch = 0;  ///< B of the fullest chip's main memory
  bool fits = true;
  double chips = 1;
  double days;                       ///< of training; NaN
};

/// Numbers of bounds: "compute", "launch", "network", then the memory levels that the sweep's chips have.
class BoundNames {
 public:
  explicit BoundNames(std::vector<std::string> levels = {});
  double index(std::string_view name) const;
  std::string_view name(double index) const;
  /// "0 compute, 1 launch, 2 network, 3 HBM"
  std::string legend() const;

 private:
  std::vector<std::string> names_;
};

/// What a chip itself costs, whatever it computes. Prices of making, not of buying: see hw/silicon.hpp.
struct ChipMeasures {
  double die_area = 0;  ///< m2, stated or else modelled
  double cost = 0;      ///< USD to make; NaN without a process
  double tdp = 0, hourly_price = 0;  ///< W, USD; 0: not stated
};
ChipMeasures measures_of(const hw::Chip& chip, const std::optional<hw::Technology>& technology);

Measures measures_of(const Run& run, const Estimate& estimate, const BoundNames& bounds);
Figures figures_of(const Measures& measures, const ChipMeasures& chip);

enum class Aggregate { geomean, worst };
/// Of several workloads on one design; weights need not sum to 1.
Figures joined(std::span<const Figures> figures, std::span<const double> weights, Aggregate aggregate);

}  // namespace gambrel::sim

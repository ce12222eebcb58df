#include "sim/sweep/figures.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "hw/silicon.hpp"

namespace gambrel::sim {
namespace {

constexpr double none = std::numeric_limits<double>::quiet_NaN();
constexpr Dimension seconds{.second = 1}, joules{.joule = 1}, dollars{.usd = 1}, bytes{.byte = 1}, watts{.second = -1, .joule = 1}, area{.metre = 2}, a_second{.second = -1};

using Joined = FigureRow::Joined;
constexpr std::array<FigureRow, figure_count> rows{{
    {Figure::time, "time_s", "time", "time of a step", "s", seconds, 1, Joined::mean_small},
    {Figure::tokens_per_s, "tokens_per_s", "tokens_per_s", "tokens a second, all chips", "1/s", a_second, 1, Joined::mean_large},
    {Figure::ttft, "ttft_s", "ttft", "time to the first token", "s", seconds, 1, Joined::mean_small},
    {Figure::tpot, "tpot_s", "tpot", "time of a further token", "s", seconds, 1, Joined::mean_small},
    {Figure::batch, "batch", "batch", "sequences at once", "", {}, 1, Joined::smallest},
    {Figure::roofline, "roofline_s", "roofline", "lower bound of the time", "s", seconds, 1, Joined::mean_small},
    {Figure::mfu, "mfu", "mfu", "model FLOP utilisation", "", {}, 1, Joined::mean_large},
    {Figure::mbu, "mbu", "mbu", "memory bandwidth utilisation", "", {}, 1, Joined::mean_large},
    {Figure::bound, "bound", "bound", "what bounds most of the time", "", {}, 1, Joined::same},
    {Figure::bound_share, "bound_share", "bound_share", "share of the time it bounds", "", {}, 1, Joined::same},
    {Figure::energy, "energy_j", "energy", "energy of a step, all chips", "J", joules, 1, Joined::mean_small},
    {Figure::energy_per_token, "energy_per_token_j", "energy_per_token", "energy of a token", "J", joules, 1, Joined::mean_small},
    {Figure::power, "power_w", "power", "mean power of a chip", "W", watts, 1, Joined::mean_small},
    {Figure::cost, "cost_usd", "cost", "rent of a step", "USD", dollars, 1, Joined::mean_small},
    {Figure::usd_per_mtoken, "usd_per_mtoken", "usd_per_mtoken", "rent of a million tokens", "USD", dollars, 1, Joined::mean_small},
    {Figure::tokens_per_s_per_usd, "tokens_per_s_per_usd", "tokens_per_s_per_usd", "tokens a second for a dollar an hour", "", {}, 1, Joined::mean_large},
    {Figure::tokens_per_joule, "tokens_per_j", "tokens_per_joule", "tokens of a joule", "1/J", {.joule = -1}, 1, Joined::mean_large},
    {Figure::memory_peak, "memory_peak_b", "memory.peak", "main memory in use on the fullest chip", "B", bytes, 1, Joined::largest},
    {Figure::max_batch, "max_batch", "max_batch", "largest batch that fits", "", {}, 1, Joined::smallest},
    {Figure::fits, "fits", "fits", "1 if it fits into memory", "", {}, 1, Joined::smallest},
    {Figure::chips, "chips", "chips", "chips in use", "", {}, 1, Joined::largest},
    {Figure::die_area, "die_area_mm2", "die_area", "silicon of a chip", "mm2", area, 1e-6, Joined::same},
    {Figure::tdp, "tdp_w", "tdp", "design power of a chip", "W", watts, 1, Joined::same},
    {Figure::chip_cost, "chip_cost_usd", "chip_cost", "price of making a chip", "USD", dollars, 1, Joined::same},
    {Figure::hourly_price, "chip_hour_usd", "chip_hour", "rent of a chip for an hour", "USD", dollars, 1, Joined::same},
    {Figure::days, "days", "days", "whole training", "d", {}, 1, Joined::mean_small},
}};

constexpr bool in_order() {
  for (std::size_t i = 0; i < rows.size(); ++i)
    if (static_cast<std::size_t>(rows[i].figure) != i) return false;
  return true;
}
static_assert(in_order());

double positive_or_none(double value) { return value > 0 ? value : none; }

/// Tokens that one sequence of a step brings.
double new_tokens(const Run& run) { return std::max(1.0, run.workload.new_tokens); }

double batch_of(const Run& run, const Estimate& estimate) {
  switch (run.workload.phase) {
    case PhaseKind::train: return run.workload.global_batch;
    case PhaseKind::generate: return estimate.phases.front().total.tokens;
    default: return estimate.total.tokens / new_tokens(run);
  }
}

double combine(Joined how, std::span<const Figures> figures, std::span<const double> weights, std::size_t i, Aggregate aggregate) {
  if (how == Joined::same) return figures.front()[i];
  const bool large = how == Joined::largest || (aggregate == Aggregate::worst && how == Joined::mean_small);
  const bool small = how == Joined::smallest || (aggregate == Aggregate::worst && how == Joined::mean_large);
  double extreme = figures.front()[i], logarithms = 0, sum = 0;
  for (std::size_t w = 0; w < figures.size(); ++w) {
    const double value = figures[w][i];
    if (std::isnan(value)) return none;
    extreme = large ? std::max(extreme, value) : std::min(extreme, value);
    logarithms += weights[w] * std::log(value);
    sum += weights[w];
  }
  return large || small ? extreme : std::exp(logarithms / sum);
}

/// The workload that takes the most of the weighted time says what bounds.
std::size_t heaviest(std::span<const Figures> figures, std::span<const double> weights) {
  std::size_t most = 0;
  for (std::size_t w = 1; w < figures.size(); ++w)
    if (weights[w] * at(figures[w], Figure::time) > weights[most] * at(figures[most], Figure::time)) most = w;
  return most;
}

}  // namespace

const std::array<FigureRow, figure_count>& figure_rows() { return rows; }

BoundNames::BoundNames(std::vector<std::string> levels) : names_{"compute", "launch", "network"} {
  for (std::string& level : levels)
    if (!std::ranges::count(names_, level)) names_.push_back(std::move(level));
}

double BoundNames::index(std::string_view name) const {
  const auto found = std::ranges::find(names_, name);
  return found == names_.end() ? none : static_cast<double>(found - names_.begin());
}

std::string_view BoundNames::name(double index) const {
  return index >= 0 && index < static_cast<double>(names_.size()) ? std::string_view(names_[static_cast<std::size_t>(index)]) : std::string_view();
}

std::string BoundNames::legend() const {
  std::string text;
  for (std::size_t i = 0; i < names_.size(); ++i) text += fmt::format("{}{} {}", i ? ", " : "", i, names_[i]);
  return text;
}

ChipMeasures measures_of(const hw::Chip& chip, const std::optional<hw::Technology>& technology) {
  ChipMeasures m{.die_area = chip.die_area.value, .cost = none, .tdp = chip.tdp.value, .hourly_price = chip.hourly_price.value};
  if (!technology || chip.process.value <= 0) return m;
  if (m.die_area <= 0) m.die_area = hw::silicon_of(chip, *technology).total().value;
  m.cost = hw::price_of(chip, SquareMetres{m.die_area}, hw::dies_of(chip), *technology).total().value;
  return m;
}

Measures measures_of(const Run& run, const Estimate& estimate, const BoundNames& bounds) {
  const Total& total = estimate.total;
  const PhaseKind phase = run.workload.phase;
  Measures m{.seconds = total.time.value, .roofline = total.roofline.value, .tokens = total.tokens, .tokens_per_s = total.tokens_per_second, .batch = batch_of(run, estimate), .ttft = none, .tpot = none,
             .mfu = total.mfu, .mbu = total.mbu, .bound = bounds.index(total.bound), .bound_share = total.bound_share,
             .energy = total.energy ? total.energy->value : none, .power = total.power ? total.power->value : none, .cost = total.cost ? total.cost->value : none,
             .max_batch = estimate.memory.max_batch, .fits = estimate.memory.fits, .chips = estimate.chips, .days = none};
  if (phase == PhaseKind::prefill) m.ttft = m.seconds;
  if (phase == PhaseKind::decode) m.tpot = m.seconds / new_tokens(run);
  if (const auto& serving = estimate.serving) m.ttft = serving->ttft.value, m.tpot = positive_or_none(serving->tpot.value), m.tokens_per_s = serving->output_tokens_per_second;
  if (estimate.training && estimate.training->days > 0) m.days = estimate.training->days;
  const std::size_t main = estimate.phases.front().main_level;
  if (main < estimate.memory.tiers.size()) m.memory_peak = estimate.memory.tiers[main].used().value;
  return m;
}

Figures figures_of(const Measures& m, const ChipMeasures& chip) {
  Figures f;
  at(f, Figure::time) = m.seconds;
  at(f, Figure::tokens_per_s) = m.tokens_per_s;
  at(f, Figure::ttft) = m.ttft;
  at(f, Figure::tpot) = m.tpot;
  at(f, Figure::batch) = m.batch;
  at(f, Figure::roofline) = m.roofline;
  at(f, Figure::mfu) = m.mfu;
  at(f, Figure::mbu) = m.mbu;
  at(f, Figure::bound) = m.bound;
  at(f, Figure::bound_share) = m.bound_share;
  at(f, Figure::energy) = m.energy;
  at(f, Figure::energy_per_token) = m.energy / m.tokens;
  at(f, Figure::power) = m.power;
  at(f, Figure::cost) = m.cost;
  at(f, Figure::usd_per_mtoken) = m.cost / m.tokens * 1e6;
  at(f, Figure::tokens_per_s_per_usd) = positive_or_none(chip.hourly_price) > 0 ? m.tokens_per_s / (m.chips * chip.hourly_price) : none;
  at(f, Figure::tokens_per_joule) = m.tokens / m.energy;
  at(f, Figure::memory_peak) = m.memory_peak;
  at(f, Figure::max_batch) = m.max_batch;
  at(f, Figure::fits) = m.fits ? 1 : 0;
  at(f, Figure::chips) = m.chips;
  at(f, Figure::die_area) = positive_or_none(chip.die_area) / rows[static_cast<std::size_t>(Figure::die_area)].scale;
  at(f, Figure::tdp) = positive_or_none(chip.tdp);
  at(f, Figure::chip_cost) = chip.cost;
  at(f, Figure::hourly_price) = positive_or_none(chip.hourly_price);
  at(f, Figure::days) = m.days;
  return f;
}

Figures joined(std::span<const Figures> figures, std::span<const double> weights, Aggregate aggregate) {
  if (figures.size() == 1) return figures.front();
  Figures f;
  for (const FigureRow& row : rows) {
    const auto i = static_cast<std::size_t>(row.figure);
    f[i] = combine(row.joined, figures, weights, i, aggregate);
  }
  const Figures& most = figures[heaviest(figures, weights)];
  at(f, Figure::bound) = at(most, Figure::bound);
  at(f, Figure::bound_share) = at(most, Figure::bound_share);
  return f;
}

}  // namespace gambrel::sim

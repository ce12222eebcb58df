#include "kernels/timing/judge.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <iterator>
#include <numeric>

#include "kernels/timing/statistics.hpp"

namespace gambrel::kernels {

double limit_of(const Limits& limits, bool memory, double spread) {
  const double base = memory ? limits.memory : limits.compute;
  return std::clamp(limits.spreads * spread, base, limits.widest * base);
}

bool is_noisy(const Limits& limits, bool memory, double spread) {
  return limits.spreads * spread > limits.widest * (memory ? limits.memory : limits.compute);
}

Comparison compare(const Measurement& before, const Measurement& now, Pace pace, double limit, double chance) {
  Comparison result{.limit = limit};
  const double then = speed_of(before, pace), here = speed_of(now, pace);
  if (then <= 0 || here <= 0) return result;
  result.slowdown = then / here - 1;
  result.chance = smaller_by_chance(calm_speeds_of(before, pace), calm_speeds_of(now, pace));
  const bool testable = std::ssize(before.clean) >= least_clean && std::ssize(now.clean) >= least_clean;
  result.worse = result.slowdown > limit && (!testable || result.chance < chance);
  return result;
}

Comparison compare(const Measurement& before, const Measurement& now, double limit, double chance) {
  Comparison milder = compare(before, now, Pace::anchor, limit, chance);
  if (!has_clock(before) || !has_clock(now)) return milder;
  const Comparison other = compare(before, now, Pace::clock, limit, chance);
  const bool worse = milder.worse && other.worse;
  if (other.slowdown < milder.slowdown) milder = other;
  milder.worse = worse;
  return milder;
}

std::string_view to_string(Outcome outcome) {
  static constexpr std::array<std::string_view, 8> names{"passed", "improved", "recorded", "unmeasured", "noisy", "regressed", "below_minimum", "drifted"};
  return names[static_cast<std::size_t>(outcome)];
}

std::string percent(double share) { return fmt::format("{:.1f} %", 100 * share); }

bool is_failure(Outcome outcome) {
  return outcome == Outcome::regressed || outcome == Outcome::below_minimum || outcome == Outcome::drifted;
}

bool is_unmeasured(Outcome outcome) { return outcome == Outcome::unmeasured || outcome == Outcome::noisy; }

Finding judge(const Measurement& now, const Standard& standard, const Limits& limits) {
  Finding finding;
  if (std::ssize(now.clean) < limits.least) {
    finding.outcome = Outcome::unmeasured;
    return finding;
  }
  const std::vector<double> efficiencies = calm_speeds_of(now, Pace::anchor);
  const double limit = limit_of(limits, now.memory, standard.spread);
  finding.against_baseline = compare(standard.baseline, now, limit, limits.chance);
  finding.against_best = compare(standard.best, now, limit + limits.drift, limits.chance);
  const bool testable = std::ssize(now.clean) >= least_clean;
  const bool below = standard.minimum > 0 && efficiency_of(now) < standard.minimum && (!testable || below_by_chance(efficiencies, standard.minimum) < limits.chance);
  if (finding.against_baseline.worse) finding.outcome = Outcome::regressed;
  else if (below) finding.outcome = Outcome::below_minimum;
  else if (finding.against_best.worse) finding.outcome = Outcome::drifted;
  else if (!standard.baseline.clean.empty() && compare(now, standard.baseline, limit, limits.chance).worse) finding.outcome = Outcome::improved;
  return finding;
}

double spread_of(std::span<const Measurement> processes, Pace pace) {
  std::vector<double> speeds, squares;
  for (const Measurement& one : processes)
    if (!one.clean.empty()) speeds.push_back(speed_of(one, pace));
  const double middle = median(speeds);
  if (!(middle > 0) || speeds.size() < 2) return 0;
  for (const double speed : speeds) squares.push_back(std::pow(speed / middle - 1, 2));
  constexpr std::size_t enough = 4;
  double share = 1;
  if (squares.size() >= enough) {
    share -= 1.6 / static_cast<double>(squares.size());  // 0.6, 0.68, 0.73 of 4, 5, 6 normal values, by simulation: 0.60, 0.67, 0.71
    squares.erase(std::ranges::max_element(squares));
  }
  return std::sqrt(std::accumulate(squares.begin(), squares.end(), 0.0) / static_cast<double>(squares.size() - 1)) / share;
}

Pace steadier_pace(std::span<const Measurement> processes) {
  const bool clock = std::ranges::all_of(processes, has_clock) && spread_of(processes, Pace::clock) < spread_of(processes, Pace::anchor);
  return clock ? Pace::clock : Pace::anchor;
}

double noise_of(std::span<const double> speeds) {
  constexpr double median_step = 0.954;  // sqrt(2) times the 0.75 quantile of the normal distribution
  const double middle = median(speeds);
  if (speeds.size() < 4 || !(middle > 0)) return 0;
  std::vector<double> steps;
  for (std::size_t i = 1; i < speeds.size(); ++i) steps.push_back(std::abs(speeds[i] - speeds[i - 1]) / middle);
  return median(steps) / median_step;
}

/// Anchors of several processes do not do the same work a run: their times are brought to the first one's that has any; one
/// without samples may not even say which anchor.
Measurement pooled(std::span<const Measurement> processes) {
  if (processes.empty()) return {};
  const auto first = std::ranges::find_if(processes, [](const Measurement& one) { return !one.clean.empty(); });
  Measurement all = first != processes.end() ? *first : processes.front();
  all.sampled = 0, all.clean.clear();
  int process = 0;
  for (const Measurement& one : processes) {
    all.sampled += one.sampled;
    const double scale = one.anchor_work > 0 ? all.anchor_work / one.anchor_work : 1;
    const double clock_scale = one.clock_work > 0 ? all.clock_work / one.clock_work : 1;
    for (const Round& round : one.clean) all.clean.push_back({round.seconds, scale * round.anchor_seconds, clock_scale * round.clock_seconds, process});
    ++process;
  }
  return all;
}

}  // namespace gambrel::kernels

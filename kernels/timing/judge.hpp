// When a kernel counts as slower: an effect that is large and no chance, against a baseline, a minimum or a better past.
#pragma once

#include <optional>
#include <span>
#include <string>

#include "kernels/timing/measurement.hpp"

namespace gambrel::kernels {

struct Limits {
  double compute = 0.03, memory = 0.10;  ///< slowdowns that fail, by what the anchor does
  double spreads = 3;                    ///< but at least this many A/A spreads, and
  double widest = 2;                     ///< at most so many times the above: what varies more is noisy
  double chance = 0.01;                  ///< of the rank test
  double drift = 0.02;                   ///< added to the limit against the best of the past, which luck has picked
  int history = 10;                      ///< passes that are looked back at
  /// Clean samples below which nothing is said. Below `least_clean` there is no test, and the effect alone decides: for
  /// files of measurements that hold one time a kernel.
  int least = least_clean;
};

/// The slowdown that a kernel's limit allows.
double limit_of(const Limits& limits, bool memory, double spread);
/// Processes that differ so much are no baseline: the limit would have to be wider than it may be.
bool is_noisy(const Limits& limits, bool memory, double spread);

/// Two measurements. Slowdown 0.10: 10 % more time for the same work, at the pace of the day.
struct Comparison {
  double slowdown = 0;
  double limit = 0;
  double chance = 1;  ///< of as small speeds by luck
  bool worse = false;
};
/// By one pace: the effect on speeds, the chance by the calm samples. Fewer than `least_clean` samples: no test.
Comparison compare(const Measurement& before, const Measurement& now, Pace pace, double limit, double chance);
/// By every pace that both have, and the milder one is said: what made a kernel slower shows by its anchor and by the clock;
/// where only one of them moved, it is the anchor, or the caches that the anchor shares with others.
Comparison compare(const Measurement& before, const Measurement& now, double limit, double chance);

enum class Outcome { passed, improved, recorded, unmeasured, noisy, regressed, below_minimum, drifted };
std::string_view to_string(Outcome outcome);
std::string percent(double share);    ///< "3.0 %", as verdicts say it
bool is_failure(Outcome outcome);     ///< exit 1
bool is_unmeasured(Outcome outcome);  ///< exit 5

/// What a kernel is held against.
struct Standard {
  Measurement baseline;  ///< without clean rounds: there is no baseline
  double spread = 0;
  Measurement best;    ///< of the past; without clean rounds: none
  double minimum = 0;  ///< of the efficiency; 0: none
};

struct Finding {
  Outcome outcome = Outcome::passed;
  Comparison against_baseline, against_best;
};

/// One process's measurement against its standard. Fewer than `limits.least` rounds: unmeasured. No baseline: passed,
/// unless the minimum is missed.
Finding judge(const Measurement& now, const Standard& standard, const Limits& limits);

/// Standard deviation of the speeds of fresh processes around their middle, relative to it: the A/A spread. Of four
/// or more the furthest is left out (and the rest scaled up to what normal values would have had): one process that met a
/// neighbour's burst does not decide it, for a verdict takes three.
double spread_of(std::span<const Measurement> processes, Pace pace);
/// The pace by which they agree better.
Pace steadier_pace(std::span<const Measurement> processes);

/// How much speeds of the same code vary from run to run, by a series of them, relative to their middle: the median step
/// between neighbours over 0.954 (that of normal values of deviation 1), which a slow drift hardly moves. 0 of fewer than 4.
double noise_of(std::span<const double> speeds);

/// All their clean rounds as one measurement.
Measurement pooled(std::span<const Measurement> processes);

}  // namespace gambrel::kernels

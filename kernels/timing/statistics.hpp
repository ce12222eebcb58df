// What decides whether two sets of measured ratios differ: medians, undisturbed times, a rank test, intervals of shares. Plain arithmetic.
#pragma once

#include <span>
#include <utility>

namespace gambrel::kernels {

/// Middle value, the mean of the two middle ones of an even count; 0 of none.
double median(std::span<const double> values);

/// Times of the same thing, of which disturbances only add to some: the mean of those within 1 % of the least; 0 of none.
double undisturbed(std::span<const double> times);
/// How many lie that near the least.
int undisturbed_count(std::span<const double> times);

/// One-sided probability that values this much smaller than `before` come from the same distribution: Mann-Whitney's U
/// by its normal limit, ties averaged and corrected for, continuity corrected (Mann & Whitney 1947). 1 if either is empty.
double smaller_by_chance(std::span<const double> before, std::span<const double> now);

/// Probability that at least this many of `values` lie below `limit` if their median is `limit`: the sign test.
double below_by_chance(std::span<const double> values, double limit);

/// Interval that holds a share of which `found` of `tried` were seen, with that confidence (Clopper & Pearson 1934).
std::pair<double, double> share_interval(int found, int tried, double confidence = 0.95);

}  // namespace gambrel::kernels

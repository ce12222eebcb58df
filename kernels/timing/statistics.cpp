#include "kernels/timing/statistics.hpp"

#include <algorithm>
#include <boost/math/distributions/beta.hpp>
#include <boost/math/distributions/binomial.hpp>
#include <boost/math/distributions/normal.hpp>
#include <cmath>
#include <vector>

namespace gambrel::kernels {
namespace {

constexpr double near = 1.01;  // times the least: undisturbed

struct Ranks {
  double sum = 0;   ///< of the ranks of `now`, from 1; ties share their mean rank
  double ties = 0;  ///< sum of t^3 - t over groups of t equal values
};

Ranks ranks_of_second(std::span<const double> before, std::span<const double> now) {
  std::vector<std::pair<double, bool>> all;
  for (const double value : before) all.emplace_back(value, false);
  for (const double value : now) all.emplace_back(value, true);
  std::ranges::sort(all);
  Ranks ranks;
  for (std::size_t first = 0, last = 0; first < all.size(); first = last) {
    while (last < all.size() && all[last].first == all[first].first) ++last;
    const auto count = static_cast<double>(last - first);
    const double mean_rank = (static_cast<double>(first + last) + 1) / 2;
    ranks.ties += count * count * count - count;
    for (std::size_t i = first; i < last; ++i) ranks.sum += all[i].second ? mean_rank : 0;
  }
  return ranks;
}

}  // namespace

double median(std::span<const double> values) {
  if (values.empty()) return 0;
  std::vector<double> sorted(values.begin(), values.end());
  std::ranges::sort(sorted);
  const std::size_t half = sorted.size() / 2;
  return sorted.size() % 2 == 1 ? sorted[half] : std::lerp(sorted[half - 1], sorted[half], 0.5);
}

int undisturbed_count(std::span<const double> times) {
  if (times.empty()) return 0;
  const double most = near * std::ranges::min(times);
  return static_cast<int>(std::ranges::count_if(times, [&](double time) { return time <= most; }));
}

double undisturbed(std::span<const double> times) {
  if (times.empty()) return 0;
  const double most = near * std::ranges::min(times);
  double sum = 0;
  for (const double time : times) sum += time <= most ? time : 0;
  return sum / undisturbed_count(times);
}

double smaller_by_chance(std::span<const double> before, std::span<const double> now) {
  if (before.empty() || now.empty()) return 1;
  const auto a = static_cast<double>(before.size()), b = static_cast<double>(now.size()), n = a + b;
  const Ranks ranks = ranks_of_second(before, now);
  const double u = ranks.sum - b * (b + 1) / 2;  // pairs in which now's value is the larger
  const double variance = a * b / 12 * (n + 1 - ranks.ties / (n * (n - 1)));
  if (!(variance > 0)) return 1;  // all values are equal
  return boost::math::cdf(boost::math::normal(), (u + 0.5 - a * b / 2) / std::sqrt(variance));
}

double below_by_chance(std::span<const double> values, double limit) {
  const auto below = std::ranges::count_if(values, [&](double value) { return value < limit; });
  if (below == 0) return 1;
  const boost::math::binomial fair(static_cast<double>(values.size()), 0.5);
  return boost::math::cdf(boost::math::complement(fair, static_cast<double>(below - 1)));
}

std::pair<double, double> share_interval(int found, int tried, double confidence) {
  const double tail = (1 - confidence) / 2, k = found, n = tried;
  if (tried <= 0) return {0, 1};
  const double low = found == 0 ? 0 : boost::math::quantile(boost::math::beta_distribution<>(k, n - k + 1), tail);
  const double high = found == tried ? 1 : boost::math::quantile(boost::math::beta_distribution<>(k + 1, n - k), 1 - tail);
  return {low, high};
}

}  // namespace gambrel::kernels

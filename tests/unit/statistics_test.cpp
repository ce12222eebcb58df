// Medians, undisturbed times, the rank test, the sign test and intervals of shares, against published values.
#include "kernels/timing/statistics.hpp"

#include <doctest/doctest.h>

#include <cmath>
#include <vector>

using namespace gambrel::kernels;

TEST_CASE("statistics: middles") {
  const std::vector<double> odd{3, 1, 2}, even{4, 1, 2, 3};
  CHECK(median(odd) == 2);
  CHECK(median(even) == 2.5);
  CHECK(median({}) == 0);
}

TEST_CASE("statistics: undisturbed times are those near the least") {
  const std::vector<double> times{1.5, 1.009, 1, 1.2, 1.011, 3};
  CHECK(undisturbed_count(times) == 2);
  CHECK(undisturbed(times) == doctest::Approx(1.0045));
  CHECK(undisturbed(std::vector<double>{2}) == 2);
  CHECK(undisturbed(std::vector<double>{}) == 0);
  CHECK(undisturbed_count(std::vector<double>{}) == 0);
}

TEST_CASE("statistics: Mann-Whitney as published") {
  // R 4.2: wilcox.test(c(1.1,2.2,3.3,4.4,5.5,6.6,7.7,8.8), c(0.5,1.5,2.5,3.5,1.0,2.0,3.0,0.1), alternative = "greater",
  // exact = FALSE)$p.value, from U = 53 of 64: z = (53 - 0.5 - 32) / sqrt(64 * 17 / 12).
  const std::vector<double> a{1.1, 2.2, 3.3, 4.4, 5.5, 6.6, 7.7, 8.8}, b{0.5, 1.5, 2.5, 3.5, 1.0, 2.0, 3.0, 0.1};
  int u = 0;
  for (const double x : a)
    for (const double y : b) u += x > y;
  const double z = (u - 0.5 - 32) / std::sqrt(64.0 * 17 / 12);
  CHECK(smaller_by_chance(a, b) == doctest::Approx(std::erfc(z / std::sqrt(2.0)) / 2));
  CHECK(smaller_by_chance(a, b) < 0.05);
  CHECK(smaller_by_chance(b, a) > 0.95);
  CHECK(smaller_by_chance(a, a) > 0.4);
  const std::vector<double> equal(20, 1.0);
  CHECK(smaller_by_chance(equal, equal) == 1);
  CHECK(smaller_by_chance({}, a) == 1);
}

TEST_CASE("statistics: sign test and Clopper-Pearson") {
  const std::vector<double> ten{1, 1, 1, 1, 1, 1, 1, 1, 1, 3};
  CHECK(below_by_chance(ten, 2) == doctest::Approx(11.0 / 1024));
  CHECK(below_by_chance(ten, 0.5) == 1);
  // Exact limits of 0 of 100: 0 and 1 - (0.025)^(1/100).
  CHECK(share_interval(0, 100).first == 0);
  CHECK(share_interval(0, 100).second == doctest::Approx(1 - std::pow(0.025, 0.01)));
  CHECK(share_interval(100, 100).first == doctest::Approx(std::pow(0.025, 0.01)));
  CHECK(share_interval(5, 10).first == doctest::Approx(0.187086).epsilon(1e-5));
  CHECK(share_interval(5, 10).second == doctest::Approx(0.812914).epsilon(1e-5));
  CHECK(share_interval(0, 0).second == 1);
}

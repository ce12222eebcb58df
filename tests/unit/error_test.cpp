#include "kernels/numerics/error.hpp"

#include <doctest/doctest.h>

#include <cmath>
#include <limits>
#include <vector>

using namespace gambrel::kernels;

namespace {

using Floats = std::vector<float>;
constexpr double inf = std::numeric_limits<double>::infinity();

}  // namespace

TEST_CASE("errors by hand") {
  const Floats reference{3, 4}, values{3, 4.5F};
  CHECK(relative_error(reference, values) == doctest::Approx(0.1));
  CHECK(sqnr_db(reference, values) == doctest::Approx(20.0));
  CHECK(largest_error(reference, values) == 0.5);
}

TEST_CASE("errors of equal, zero and empty vectors") {
  CHECK(relative_error(Floats{1, 2}, Floats{1, 2}) == 0.0);
  CHECK(sqnr_db(Floats{0, 0}, Floats{0, 0}) == inf);
  CHECK(relative_error(Floats{0}, Floats{1}) == inf);
  CHECK(sqnr_db(Floats{0}, Floats{1}) == -inf);
  CHECK(relative_error({}, {}) == 0.0);
  CHECK(largest_error({}, {}) == 0.0);
}

TEST_CASE("a NaN is seen, large values do not overflow") {
  const float nan = std::numeric_limits<float>::quiet_NaN();
  CHECK(std::isnan(relative_error(Floats{1, 1}, Floats{1, nan})));
  CHECK(std::isnan(sqnr_db(Floats{1, 1}, Floats{1, nan})));
  CHECK(std::isnan(largest_error(Floats{1, 1}, Floats{nan, 5})));
  CHECK(relative_error(Floats{3e38F, 3e38F}, Floats{0, 0}) == doctest::Approx(1.0));
}

#include "kernels/numerics/sparsity.hpp"

#include <doctest/doctest.h>

#include <cmath>
#include <limits>

using namespace gambrel::kernels;

namespace {

using Floats = std::vector<float>;

}  // namespace

TEST_CASE("2:4 keeps the two largest magnitudes of every four, along the columns") {
  Floats values{1, -5, 3,  2,  //
                0, 0,  -1, 9};
  apply_sparsity(values, 2, 4, 2, 4);
  CHECK(values == Floats{0, -5, 3, 0, 0, 0, -1, 9});
  Floats wide{1, 2, 3, 4, 4, 3, 2, 1};
  apply_sparsity(wide, 1, 8, 2, 4);
  CHECK(wide == Floats{0, 0, 3, 4, 4, 3, 0, 0});
}

TEST_CASE("ties keep the earlier, short groups keep n, rows do not share groups") {
  CHECK(n_of_m_mask(Floats{2, -2, 2, 2}, 1, 4, 2, 4) == Mask{1, 1, 0, 0});
  CHECK(n_of_m_mask(Floats{1, 2, 3, 4, 1, 2, 3}, 1, 7, 2, 4) == Mask{0, 0, 1, 1, 0, 1, 1});
  CHECK(n_of_m_mask(Floats{1, 2, 3, 4, 5, 6}, 2, 3, 1, 4) == Mask{0, 0, 1, 0, 0, 1});
  CHECK(n_of_m_mask(Floats{1, 2}, 1, 2, 0, 4) == Mask{0, 0});
  CHECK(n_of_m_mask(Floats{1, 2}, 1, 2, 4, 4) == Mask{1, 1});
}

TEST_CASE("unstructured pruning ranks all elements together") {
  const Floats values{1, -8, 3, 4, -5, 0};
  CHECK(unstructured_mask(values, 0.5) == Mask{0, 1, 0, 1, 1, 0});
  CHECK(unstructured_mask(values, 0.0) == Mask(6, 0));
  CHECK(unstructured_mask(values, 1.0) == Mask(6, 1));
  CHECK_MESSAGE(unstructured_mask(Floats{1, 2, 3, 4, 5}, 0.5) == (Mask{0, 0, 1, 1, 1}), "2.5 elements are 3");
  CHECK(unstructured_mask({}, 0.5).empty());
}

TEST_CASE("blocks are kept by their sum of squares, edges included") {
  const Floats values{3, 3, 0, 4, 1,  //
                      3, 3, 0, 4, 1,  //
                      0, 0, 9, 0, 0};
  // Sums of squares: 36, 32, 2 / 0, 81, 0.
  CHECK(block_mask(values, 3, 5, 2, 2, 1.0 / 6) == Mask{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 0});
  CHECK(block_mask(values, 3, 5, 2, 2, 0.5) == Mask{1, 1, 1, 1, 0, 1, 1, 1, 1, 0, 0, 0, 1, 1, 0});
}

TEST_CASE("NaN and infinity are never pruned away") {
  const float nan = std::numeric_limits<float>::quiet_NaN(), inf = std::numeric_limits<float>::infinity();
  CHECK(n_of_m_mask(Floats{1e30F, nan, -inf, 5}, 1, 4, 2, 4) == Mask{0, 1, 1, 0});
  CHECK(n_of_m_mask(Floats{inf, nan}, 1, 2, 1, 2) == Mask{0, 1});
  CHECK(block_mask(Floats{1e30F, 1e30F, nan, 0}, 1, 4, 1, 2, 0.5) == Mask{0, 0, 1, 1});
}

TEST_CASE("density counts what is not zero") {
  CHECK(density_of(Floats{0, 1, -0.0F, 2}) == 0.5);
  CHECK(density_of({}) == 1.0);
}

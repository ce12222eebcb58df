// Errors of predictions, and the parts that rows fall into.
#include "sim/calibration/score.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <set>
#include <string>
#include <vector>

using namespace gambrel::sim;

TEST_CASE("errors are relative to what was measured; bias keeps their sign") {
  const std::vector<double> measured{10, 10, 100, 100}, predicted{11, 8, 100, 130};
  const Score s = score(predicted, measured);
  CHECK(s.rows == 4);
  CHECK(s.mean == doctest::Approx((0.1 + 0.2 + 0.0 + 0.3) / 4));
  CHECK(s.bias == doctest::Approx((0.1 - 0.2 + 0.0 + 0.3) / 4));
}

TEST_CASE("quantiles lie between the order statistics") {
  const std::vector<double> measured(11, 1.0);
  std::vector<double> predicted;
  for (int i = 10; i >= 0; --i) predicted.push_back(1 + i / 10.0);  // errors 0 to 1, unsorted
  const Score s = score(predicted, measured);
  CHECK(s.median == doctest::Approx(0.5));
  CHECK(s.p90 == doctest::Approx(0.9));
  const Score two = score(std::vector{1.0, 2.0}, std::vector{1.0, 1.0});
  CHECK(two.median == doctest::Approx(0.5));
  CHECK(two.p90 == doctest::Approx(0.9));  // NumPy: percentile([0, 1], 90)
}

TEST_CASE("no rows have no error, one row has its own") {
  CHECK(score({}, {}).rows == 0);
  CHECK(score({}, {}).mean == 0);
  const Score one = score(std::vector{3.0}, std::vector{2.0});
  CHECK(one.rows == 1);
  for (double figure : {one.mean, one.median, one.p90, one.bias}) CHECK(figure == doctest::Approx(0.5));
}

TEST_CASE("a split's parts hold each row once, and in fair shares") {
  for (std::uint32_t parts : {1u, 2u, 5u}) {
    std::vector<int> held(parts);
    for (int i = 0; i < 2000; ++i) {
      const std::string key = "device|" + std::to_string(i) + "|128";
      int holders = 0;
      for (std::uint32_t part = 0; part < parts; ++part)
        if (Split{part, parts}.holds(key)) ++holders, ++held[part];
      REQUIRE(holders == 1);
    }
    for (int count : held) CHECK(count > 0.8 * 2000 / parts);
  }
}

TEST_CASE("which part holds a row is its key's matter alone") {
  std::vector<std::string> keys;
  for (int i = 0; i < 100; ++i) keys.push_back("row " + std::to_string(i));
  const Split split{1, 3};
  std::set<std::string> forwards, backwards;
  for (const auto& key : keys)
    if (split.holds(key)) forwards.insert(key);
  std::ranges::reverse(keys);
  for (const auto& key : keys)
    if (split.holds(key)) backwards.insert(key);
  CHECK(forwards == backwards);
  CHECK_FALSE(forwards.empty());
  // XXH3-64 of the empty text, xxHash's own test vector: the same part on every machine.
  constexpr std::uint64_t xxh3_of_nothing = 0x2D06800538D394C2;
  for (std::uint32_t part = 0; part < 7; ++part) CHECK(Split{part, 7}.holds("") == (xxh3_of_nothing % 7 == part));
}

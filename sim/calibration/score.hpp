// How far predictions are from measurements.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string_view>

namespace gambrel::sim {

/// Relative errors of predictions, |p - m| / m; bias is the mean of (p - m) / m.
struct Score {
  std::size_t rows = 0;
  double mean = 0, median = 0, p90 = 0, bias = 0;
};
Score score(std::span<const double> predicted, std::span<const double> measured);

/// A share of rows by a hash of each row's key: the same rows on every machine, whatever their order. "hash:K/N".
struct Split {
  std::uint32_t part = 0, parts = 1;
  /// True if the row is in this part: XXH3-64 of the key modulo `parts`.
  bool holds(std::string_view key) const;
};
/// Reads "hash:K/N" with K < N.
std::optional<Split> parse_split(std::string_view text);

}  // namespace gambrel::sim

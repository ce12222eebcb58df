#include "sim/calibration/score.hpp"

#include <xxhash.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <vector>

namespace gambrel::sim {

Score score(std::span<const double> predicted, std::span<const double> measured) {
  Score result{.rows = predicted.size()};
  if (predicted.empty()) return result;
  std::vector<double> errors;
  for (std::size_t i = 0; i < predicted.size(); ++i) {
    const double relative = (predicted[i] - measured[i]) / measured[i];
    errors.push_back(std::abs(relative));
    result.mean += std::abs(relative);
    result.bias += relative;
  }
  const double n = static_cast<double>(errors.size());
  result.mean /= n;
  result.bias /= n;
  std::ranges::sort(errors);
  // Linear between the order statistics, as NumPy's default (Hyndman & Fan 1996, type 7).
  auto quantile = [&](double q) {
    const double at = q * (n - 1);
    const auto low = static_cast<std::size_t>(at), high = std::min(low + 1, errors.size() - 1);
    return errors[low] + (at - std::floor(at)) * (errors[high] - errors[low]);
  };
  result.median = quantile(0.5);
  result.p90 = quantile(0.9);
  return result;
}

bool Split::holds(std::string_view key) const { return XXH3_64bits(key.data(), key.size()) % parts == part; }

std::optional<Split> parse_split(std::string_view text) {
  if (!text.starts_with("hash:")) return std::nullopt;
  Split split;
  const char* end = text.data() + text.size();
  const auto [slash, error] = std::from_chars(text.data() + 5, end, split.part);
  const bool read = error == std::errc{} && slash != end && *slash == '/' && std::from_chars(slash + 1, end, split.parts).ptr == end;
  return read && split.part < split.parts ? std::optional(split) : std::nullopt;
}

}  // namespace gambrel::sim

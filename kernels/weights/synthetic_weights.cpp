// Pairs of Gaussian numbers by Box and Muller (1958) from hashed places.
#include "kernels/weights/synthetic_weights.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <numbers>
#include <numeric>

#include "kernels/numerics/quantise.hpp"

namespace gambrel::kernels {
namespace {

/// In (0, 1]: the logarithm of it is finite.
double open_unit(std::string_view name, std::uint64_t index, std::uint64_t seed) {
  return (1 - unit_value(name, index, seed)) / 2;
}

/// Elements 2 i and 2 i + 1 come from one pair of uniform numbers.
void fill_gaussian(std::vector<float>& values, std::string_view name, std::uint64_t seed, double deviation) {
  const UnitValues unit(name, seed);
  for (std::size_t i = 0; i < values.size(); i += 2) {
    const double radius = deviation * std::sqrt(-2 * std::log((1 - unit.at(i)) / 2)),
                 angle = std::numbers::pi * unit.at(i + 1);
    values[i] = static_cast<float>(radius * std::cos(angle));
    if (i + 1 < values.size()) values[i + 1] = static_cast<float>(radius * std::sin(angle));
  }
}

void enlarge_rows(std::vector<float>& values, std::string_view name, std::size_t width, std::uint64_t seed,
                  const SyntheticStatistics& s) {
  const std::string rows = std::string(name) + ".rows";
  for (std::size_t row = 0; row < values.size() / width; ++row)
    if (open_unit(rows, row, seed) <= s.row_share)
      for (std::size_t i = row * width; i < (row + 1) * width; ++i) values[i] *= static_cast<float>(s.row_factor);
}

/// The channels with the smallest numbers: which they are depends on the seed and how many there are, not on the layer.
std::vector<std::size_t> outlier_channels(std::size_t channels, std::uint64_t seed, double share) {
  if (share <= 0) return {};
  std::vector<std::size_t> order(channels);
  std::iota(order.begin(), order.end(), std::size_t{0});
  const auto count = std::clamp<std::size_t>(
      static_cast<std::size_t>(std::llround(share * static_cast<double>(channels))), 1, channels);
  auto less = [&](std::size_t a, std::size_t b) {
    return unit_value("outlier channels", a, seed) < unit_value("outlier channels", b, seed);
  };
  std::ranges::partial_sort(order, order.begin() + static_cast<std::ptrdiff_t>(count), less);
  order.resize(count);
  return order;
}

std::vector<float> gains(std::string_view name, std::size_t channels, std::uint64_t seed,
                         const SyntheticStatistics& s) {
  std::vector<float> values(channels);
  for (std::size_t i = 0; i < channels; ++i) values[i] = static_cast<float>(1 + unit_value(name, i, seed) / 10);
  for (std::size_t channel : outlier_channels(channels, seed, s.outlier_share))
    values[channel] *= static_cast<float>(s.outlier_factor);
  return values;
}

/// Before a sublayer: its output is what attention and feed-forward layers read.
bool is_input_norm(std::string_view name) {
  return std::ranges::any_of(std::array{".attn.norm.gain", ".mlp.norm.gain", ".moe.norm.gain", ".mamba.norm.gain"},
                             [&](std::string_view ending) { return name.ends_with(ending); });
}

std::vector<float> drawn(std::string_view name, std::size_t width, std::size_t elements, std::uint64_t seed,
                         const SyntheticStatistics& s) {
  if (is_input_norm(name)) return gains(name, elements, seed, s);
  std::vector<float> values(elements);
  const bool table = name == "embed.table";
  fill_gaussian(values, name, seed, table ? s.table_deviation : 1 / std::sqrt(static_cast<double>(width)));
  if (name.starts_with("layers.")) enlarge_rows(values, name, width, seed, s);
  return values;
}

}  // namespace

std::string describe(const SyntheticStatistics& s, std::uint64_t seed) {
  std::string text = "synthetic: Gaussian";
  if (s.outlier_share > 0)
    text +=
        fmt::format(", {:.3g} % of the hidden channels {:g} times the others", 100 * s.outlier_share, s.outlier_factor);
  if (s.row_share > 0) text += fmt::format(", {:.3g} % of the weight rows {:g} times", 100 * s.row_share, s.row_factor);
  return text + fmt::format(", stored as {}, seed {}", to_string(s.stored_as), seed);
}

WeightData SyntheticWeights::whole(std::string_view name, std::size_t width, std::size_t elements) const {
  const bool matrix = (name.ends_with(".weight") && width > 1) || name == "embed.table";
  if (!matrix && !is_input_norm(name)) return nullptr;
  {
    const std::lock_guard lock(mutex_);
    if (const auto held = held_.find(name); held != held_.end() && held->second->size() >= elements)
      return held->second;
  }
  std::vector<float> values = drawn(name, width, elements, seed_, statistics_);
  const auto columns = static_cast<std::int64_t>(width);
  round_in_place(values, static_cast<std::int64_t>(elements) / columns, columns, statistics_.stored_as);
  auto data = std::make_shared<const std::vector<float>>(std::move(values));
  const std::lock_guard lock(mutex_);
  return held_[std::string(name)] = std::move(data);
}

}  // namespace gambrel::kernels

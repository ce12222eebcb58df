#include "kernels/numerics/sparsity.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

namespace gambrel::kernels {
namespace {

/// NaN ranks above infinity, which ranks above every finite magnitude and every sum of their squares.
double rank_of(double magnitude) {
  if (std::isnan(magnitude)) return std::numeric_limits<double>::infinity();
  return std::isinf(magnitude) ? std::numeric_limits<double>::max() : magnitude;
}

/// The positions of the `count` largest ranks.
std::vector<std::size_t> largest_positions(std::span<const double> ranks, std::size_t count) {
  std::vector<std::size_t> order(ranks.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  count = std::min(count, order.size());
  const auto before = [&](std::size_t a, std::size_t b) { return ranks[a] != ranks[b] ? ranks[a] > ranks[b] : a < b; };
  std::ranges::nth_element(order, order.begin() + static_cast<std::ptrdiff_t>(count), before);
  order.resize(count);
  return order;
}

std::vector<double> ranks_of(std::span<const float> values) {
  std::vector<double> ranks;
  for (const float value : values) ranks.push_back(rank_of(std::abs(static_cast<double>(value))));
  return ranks;
}

/// Marks the n largest, one after the other: groups are short.
void keep_largest(std::span<const float> values, int n, std::span<std::uint8_t> mask) {
  for (std::size_t kept = 0; kept < std::min(static_cast<std::size_t>(n), values.size()); ++kept) {
    std::size_t best = 0;
    double best_rank = -1.0;
    for (std::size_t i = 0; i < values.size(); ++i)
      if (const double rank = mask[i] ? -1.0 : rank_of(std::abs(static_cast<double>(values[i]))); rank > best_rank)
        best = i, best_rank = rank;
    mask[best] = 1;
  }
}

std::size_t share(double density, std::size_t whole) {
  return static_cast<std::size_t>(std::llround(std::clamp(density, 0.0, 1.0) * static_cast<double>(whole)));
}

std::int64_t blocks_along(std::int64_t length, std::int64_t block) { return (length + block - 1) / block; }

}  // namespace

Mask n_of_m_mask(std::span<const float> values, std::int64_t rows, std::int64_t columns, int n, int m) {
  Mask mask(values.size(), 0);
  for (std::int64_t row = 0; row < rows; ++row)
    for (std::int64_t column = 0; column < columns; column += m) {
      const auto start = static_cast<std::size_t>(row * columns + column);
      const auto length = static_cast<std::size_t>(std::min<std::int64_t>(m, columns - column));
      keep_largest(values.subspan(start, length), n, std::span(mask).subspan(start, length));
    }
  return mask;
}

Mask unstructured_mask(std::span<const float> values, double density) {
  Mask mask(values.size(), 0);
  for (const std::size_t at : largest_positions(ranks_of(values), share(density, values.size()))) mask[at] = 1;
  return mask;
}

Mask block_mask(std::span<const float> values, std::int64_t rows, std::int64_t columns, std::int64_t block_rows,
                std::int64_t block_columns, double density) {
  const std::int64_t across = blocks_along(columns, block_columns);
  const auto block_of = [&](std::size_t at) {
    const auto row = static_cast<std::int64_t>(at) / columns, column = static_cast<std::int64_t>(at) % columns;
    return static_cast<std::size_t>(row / block_rows * across + column / block_columns);
  };
  std::vector<double> energy(static_cast<std::size_t>(blocks_along(rows, block_rows) * across), 0.0);
  for (std::size_t at = 0; at < values.size(); ++at)
    energy[block_of(at)] += static_cast<double>(values[at]) * values[at];
  std::ranges::transform(energy, energy.begin(), rank_of);
  std::vector<std::uint8_t> kept(energy.size(), 0);
  for (const std::size_t block : largest_positions(energy, share(density, energy.size()))) kept[block] = 1;
  Mask mask(values.size(), 0);
  for (std::size_t at = 0; at < values.size(); ++at) mask[at] = kept[block_of(at)];
  return mask;
}

void apply_mask(std::span<float> values, std::span<const std::uint8_t> mask) {
  for (std::size_t at = 0; at < values.size(); ++at)
    if (mask[at] == 0) values[at] = 0.0F;
}

void apply_sparsity(std::span<float> values, std::int64_t rows, std::int64_t columns, int n, int m) {
  apply_mask(values, n_of_m_mask(values, rows, columns, n, m));
}

double density_of(std::span<const float> values) {
  if (values.empty()) return 1.0;
  const auto zeros = std::ranges::count(values, 0.0F);
  return 1.0 - static_cast<double>(zeros) / static_cast<double>(values.size());
}

}  // namespace gambrel::kernels

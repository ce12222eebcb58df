// Inside sim/sweep/ only: which numbers of a chip each axis changes, found by reading the chip once for each of its values.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "hw/hypothetical.hpp"
#include "sim/sweep/fast_chip.hpp"
#include "sim/sweep/sweep_parts.hpp"

namespace gambrel::sim {

/// Axes that change some number together, so that their values are read in combination.
struct ChipGroup {
  std::vector<std::size_t> axes;
  std::vector<std::size_t> numbers;  ///< which they change
  std::vector<double> values;        ///< [entry * numbers + i]; NaN in all of an entry that cannot be read
  std::vector<bool> readable;        ///< [entry]
  bool compute = false;              ///< some of them belong to units or cores

  std::size_t entry(const std::vector<SweepAxis>& all, std::span<const std::uint32_t> coordinates) const {
    std::size_t index = 0;
    for (std::size_t a : axes) index = index * all[a].size() + coordinates[a];
    return index;
  }
};

/// A machine's first chip under all values of the chip axes, before a hypothetical one is costed.
struct ChipTable {
  std::vector<double> base;  ///< numbers with every chip axis at its first value
  std::string structure;
  std::vector<ChipGroup> groups;
  std::optional<hw::DesignCosts> costs;  ///< of a hypothetical chip
};

/// Whether an axis of chip keys changes numbers of the chip and nothing else of it.
bool is_numeric(const SweepParts& parts, std::size_t axis, std::span<const std::uint32_t> coordinates);

/// `chip_axes`: those that change numbers of the chip and nothing else, as far as is known. Nothing, if that does not hold
/// here, or the table would be too large: then each design is read by itself.
std::shared_ptr<const ChipTable> make_chip_table(const SweepParts& parts, std::size_t workload, const std::vector<std::size_t>& chip_axes, std::span<const std::uint32_t> coordinates);

}  // namespace gambrel::sim

// A chip as a row of numbers, so that a sweep changes those of an axis instead of reading the chip's file again.
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "hw/chip.hpp"

namespace gambrel::sim {

/// Every number of a chip, in a fixed order for chips of equal structure.
std::vector<double> numbers_of(const hw::Chip& chip);

/// Everything else: names, kinds, formats, how many of what. Chips of equal structure differ in numbers alone.
std::string structure_of(const hw::Chip& chip);

/// Addresses of a chip's numbers, as numbers_of lists them; valid as long as the chip stays where it is.
class ChipNumbers {
 public:
  explicit ChipNumbers(hw::Chip& chip);
  void set(std::size_t index, double value) {
    const Slot& slot = slots_[index];
    if (slot.real) *slot.real = value;
    else *slot.whole = static_cast<int>(value);
  }

 private:
  struct Slot {
    double* real = nullptr;
    int* whole = nullptr;
  };
  std::vector<Slot> slots_;
};

/// Parts of a chip that a number belongs to: what has to be derived anew when it changes.
enum class ChipPart : std::uint8_t { compute = 1, memory = 2, rest = 4 };
std::vector<ChipPart> parts_of(const hw::Chip& chip);

}  // namespace gambrel::sim

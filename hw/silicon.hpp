// First-order area and price of a chip from its description, so that no added resource is free.
// Form of the model: Zhang et al. 2023, "LLMCompass", arXiv 2312.03134, section on area and cost; figures are data.
#pragma once

#include <string>
#include <vector>

#include "hw/chip.hpp"
#include "hw/technology.hpp"

namespace gambrel::hw {

/// Areas of all dies together, spare parts that are built but not used included.
struct Silicon {
  SquareMetres matrix{0}, vector{0}, control{0}, registers{0}, interconnect{0};
  std::vector<SquareMetres> sram;  ///< by index of Chip::memory; 0 where the memory is off the chip
  SquareMetres memory{0};          ///< PHYs and controllers of the memories off the chip
  SquareMetres links{0}, host{0};
  double dies = 1;                 ///< equal parts that the area is divided into

  SquareMetres logic() const { return matrix + vector + control + registers + interconnect; }
  SquareMetres total() const;
};

/// Equal dies that the chip is made of.
double dies_of(const Chip& chip);

/// About half a microsecond. A chip that states no process has no silicon: every area is 0.
Silicon silicon_of(const Chip& chip, const Technology& technology);

struct Price {
  double dies_per_wafer = 0;  ///< de Vries 2005: pi d^2 / 4A exp(-2 sqrt(A) / d)
  double yield = 0;           ///< negative binomial, (1 + A D / alpha)^-alpha; 1 for a wafer that routes around defects
  Dollars die{0};             ///< all good dies of the chip
  Dollars memory{0}, package{0};
  Dollars total() const { return die + memory + package; }
};

/// What making `area` of silicon in `dies` dies and the chip's memory costs; no margin, no development, no defective
/// die sold as a smaller chip.
Price price_of(const Chip& chip, SquareMetres area, double dies, const Technology& technology);

/// What everything on the chip together can draw: its units at their hungriest formats, its main memory and links at their
/// bandwidths, and the silicon at rest. Energies as the chip states them: call fill_energy first.
Watts full_power(const Chip& chip, SquareMetres area, const Technology& technology);

/// What one more of a resource takes.
struct Marginal {
  std::string what;  ///< "1 core", "1 MiB of L2", "1 GB/s of HBM"
  SquareMetres area{0};
  Dollars price{0};
  Watts power{0};    ///< at full use: arithmetic or movement, and the area's static power
};

/// Of cores, of each memory on the chip, of the main memory's and the links' bandwidth. Energies as the chip states
/// them: call fill_energy first.
std::vector<Marginal> marginals_of(const Chip& chip, const Technology& technology);

}  // namespace gambrel::hw

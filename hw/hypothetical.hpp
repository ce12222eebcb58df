// Chips that nobody has built: area, power and price follow the design, so that no resource is free in a sweep.
#pragma once

#include "hw/silicon.hpp"

namespace gambrel::hw {

/// What the cost model says of a chip as its file states it. Silicon, full power and price of making are first-order
/// (hw/silicon.hpp); only their ratios to those of the changed chip are used, so that an unchanged chip keeps its figures.
class DesignCosts {
 public:
  /// `stated`: the chip before any --set or sweep, with its energies filled. It must state its process.
  DesignCosts(const Chip& stated, const Technology& technology);

  /// Scales what `chip` states: die and idle power by the silicon's area, the design power by full_power, hourly price and
  /// capex by the price of making. A chip that states no die area or design power gets the model's. About two microseconds.
  void apply(Chip& chip) const;

 private:
  const Technology* technology_;
  SquareMetres modelled_;
  Watts power_;
  Dollars price_;
};

}  // namespace gambrel::hw

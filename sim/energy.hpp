// Inside sim/ only: energy, power and price of an estimate whose times are known.
#pragma once

#include "sim/estimate.hpp"
#include "sim/machine.hpp"
#include "sim/run.hpp"

namespace gambrel::sim {

/// Fills the energy of every operator, and of each phase and the whole: energy, power against the design power, energy
/// and price of a token; adds notes on power that exceeds it and on where energies are from. Nothing where the chip
/// knows neither the energy of what it computes nor that of its main memory.
void add_energy(Estimate& estimate, const Run& run, const Machine& machine);

}  // namespace gambrel::sim

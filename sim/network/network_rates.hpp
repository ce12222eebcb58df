// What messages reach on a network's links, from what a system states or, where it does not, from measurements of
// networks of the same kind. Private to the network model.
#pragma once

#include <string>
#include <vector>

#include "hw/system.hpp"
#include "sim/network/network_algorithms.hpp"

namespace gambrel::sim {

/// What was measured on one kind of level; docs/network.md gives the measurements.
struct LevelRates {
  double latency = 0;     ///< s, of a step or hop
  double efficiency = 1;  ///< share of the nominal rate that large messages reach
  double error = 0;       ///< relative, nine in ten measurements are expected within it
};
/// `outer`: not the innermost level, where a switch joins nodes and no longer chips.
LevelRates usual_rates(hw::TopologyKind topology, bool outer);

/// "network level 'ib' states no efficiency: ..."
std::string efficiency_note(const hw::NetworkLevel& level, const LevelRates& rates);

struct Rates {
  std::vector<RatedAxis> lines;
  std::vector<double> errors;       ///< of each level
  std::vector<Provenance> known;    ///< of each level: analytic if it states all, else transferred, or asserted by the options
  std::vector<std::string> notes;   ///< what was assumed
};
Rates rates_of(const std::vector<hw::NetworkLevel>& levels, const NetworkOptions& options);

/// Launch of a collective and gap between messages of an uncalibrated chip, and its adding of what arrives.
Fabrics fabric_of(const hw::Chip& chip, const NetworkOptions& options, double& launch);

}  // namespace gambrel::sim

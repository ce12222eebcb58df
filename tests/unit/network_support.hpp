// Systems for tests of the network: levels without a file.
#pragma once

#include <string>
#include <vector>

#include "hw/system.hpp"
#include "sim/network/network.hpp"

namespace gambrel::sim {

inline hw::NetworkLevel joined(std::string name, hw::TopologyKind topology, int size, double bandwidth, double latency = 1e-6) {
  hw::NetworkLevel level{.level = std::move(name), .topology = topology, .size = size, .shape = {size}, .bandwidth = BytesPerSecond{bandwidth}, .latency = Seconds{latency}};
  if (topology == hw::TopologyKind::ring) level.wrap = {true};
  return level;
}

/// `bandwidth` of one link; wrapped on every axis if a torus.
inline hw::NetworkLevel grid(hw::TopologyKind topology, std::vector<int> shape, double bandwidth, double latency = 1e-6) {
  hw::NetworkLevel level{.level = "ici", .topology = topology, .size = 1, .shape = std::move(shape), .bandwidth = BytesPerSecond{bandwidth}, .per = hw::NetworkLevel::Per::link, .latency = Seconds{latency}};
  for (const int length : level.shape) level.size *= length;
  level.wrap.assign(level.shape.size(), topology == hw::TopologyKind::torus);
  return level;
}

inline hw::NetworkLevel dragonfly(int each, int groups, double bandwidth, double oversubscription = 1) {
  hw::NetworkLevel level = joined("dragonfly", hw::TopologyKind::dragonfly, each * groups, bandwidth);
  level.shape = {each, groups};
  level.oversubscription = oversubscription;
  return level;
}

/// Levels innermost first; a chip with fast memory, so that adding what arrives is hidden.
inline hw::System system_of(std::vector<hw::NetworkLevel> levels, hw::ChipKind kind = hw::ChipKind::tpu) {
  hw::System system;
  hw::Chip chip;
  chip.kind = kind;
  chip.memory.push_back({.level = "HBM", .capacity = Bytes{8e10}, .bandwidth = BytesPerSecond{1e14}});
  double chips = 1;
  for (hw::NetworkLevel& level : levels) {
    level.chips_each = chips;
    chips *= level.size;
  }
  system.pools.push_back({.name = "", .chip = std::move(chip), .network = std::move(levels)});
  return system;
}

/// Links at their nominal rate, no launches: what textbooks compute.
inline Network ideal(std::vector<hw::NetworkLevel> levels) {
  return Network(system_of(std::move(levels)), 0, nullptr, {.efficiency = 1, .overheads = false});
}

}  // namespace gambrel::sim

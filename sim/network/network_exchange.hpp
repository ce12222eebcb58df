// All-to-all with unequal parts, on routes. Private to the network model.
#pragma once

#include <vector>

#include "hw/topology.hpp"
#include "sim/network/network_algorithms.hpp"

namespace gambrel::sim {

struct ExchangeTime {
  double latency = 0, transfer = 0, floor = 0, sent = 0;
  std::size_t level = 0;
};

/// `traffic[i * ranks + j]` bytes from rank i to rank j of each group; bytes cross only the outermost level on which the
/// two differ. Every group of the same layout sends at the same time.
ExchangeTime exchange_time(const std::vector<double>& traffic, const Stages& group, const std::vector<hw::NetworkLevel>& levels, const Fabrics& fabric);

}  // namespace gambrel::sim

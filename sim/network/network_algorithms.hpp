// Times of the collective algorithms on a laid-out group, alpha-beta with link loads. Private to the network model.
#pragma once

#include <optional>

#include "sim/network/network.hpp"
#include "sim/network/network_group.hpp"

namespace gambrel::sim {

/// Latency and transfer of one algorithm; `level`: where the transfer takes longest.
struct AlgorithmTime {
  double latency = 0, transfer = 0;
  std::size_t level = 0;
  double seconds() const { return latency + transfer; }
};

/// What the algorithms know beside the group.
struct Fabrics {
  double gap = 0;      ///< s between one rank's messages to its peers
  double reduce = 0;   ///< s/B of adding what arrived to what is held, at the chip's memory (two reads, a write)
  NetworkOptions options;
};

/// Nothing if the algorithm does not run there: a power of two, several axes or levels, switches that reduce.
std::optional<AlgorithmTime> time_of(Algorithm algorithm, CollectiveKind kind, const Stages& group, double bytes, const Fabrics& fabric);

/// Bytes that every rank must send over its links at their nominal rate, in seconds. `adds`: a switch may reduce, so
/// that an all-reduce sends the message once.
double floor_of(CollectiveKind kind, const Stages& group, double bytes);

/// Bytes a rank sends in all, over all levels.
double sent_by_rank(Algorithm algorithm, CollectiveKind kind, const Stages& group, double bytes);

}  // namespace gambrel::sim

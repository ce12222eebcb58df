// What groups of chips put on the links of a network, in closed form. hw/routes.hpp defines it, route by route.
#pragma once

#include <cstddef>
#include <vector>

#include "hw/topology.hpp"

namespace gambrel::hw {

/// One axis of the network as a chip sees it. Chips are numbered along the axes, the first one fastest; a mesh or torus
/// is an axis for each of its dimensions, any other level is one.
struct Axis {
  std::size_t level = 0;            ///< index into the levels
  TopologyKind topology = TopologyKind::switched;
  int length = 1;                   ///< positions
  bool wrap = false;                ///< the ends are joined
  bool shared = false;              ///< `per: node`: what one chip leaves of the bandwidth its neighbours can use
  double bandwidth = 0;             ///< B/s of one link, one direction, one chip's share of it
  double stride = 1;                ///< chips from one position to the next
  double oversubscription = 1;
  int leaf = 1;                     ///< positions under a leaf switch (fat-tree) or in a group (dragonfly)
};
std::vector<Axis> axes_of(const std::vector<NetworkLevel>& levels);

/// A group's part of an axis: `size` positions, `stride` apart. Every position is in some such group and all of them
/// send at the same time. A group that covers a wrapped axis uses its closing link; a slice of it does not.
struct Part {
  int size = 1, stride = 1;
};
bool closed(const Axis& axis, const Part& part);
/// Links that one member can send over at the same time, along this axis.
int links_used(const Axis& axis, const Part& part);

/// Seconds for a byte a member, on the busiest link: each member sends it to the next one of its group (`both`: half to
/// either neighbour); ...
double shift_time(const Axis& axis, const Part& part, bool both);
/// ... spreads it evenly over all members, itself included; ...
double uniform_time(const Axis& axis, const Part& part);
/// ... or swaps it with the member whose number differs in one bit, `distance` (a power of two).
double swap_time(const Axis& axis, const Part& part, int distance);

}  // namespace gambrel::hw

// The shape of a network level, as data; routes and link loads are built from it.
#pragma once

#include <string>
#include <vector>

#include "base/quantity.hpp"

namespace gambrel::hw {

enum class TopologyKind { switched, fat_tree, ring, mesh, torus, fully_connected, dragonfly };

/// One level of the network: `size` members of the level below joined in one way.
struct NetworkLevel {
  std::string level;  ///< "nvlink", "infiniband", "metro"
  TopologyKind topology = TopologyKind::switched;
  int size = 1;                                         ///< members; the product of `shape` where there is one
  std::vector<int> shape;                               ///< 1 to 3 axes (mesh, torus); {members of a group, groups} (dragonfly); else {size}
  std::vector<bool> wrap;                               ///< per axis: a wrap-around link closes it
  BytesPerSecond bandwidth{0};                          ///< one direction; see `per`
  enum class Per { chip, node, link } per = Per::chip;  ///< torus and mesh: link
  Seconds latency{0};                                   ///< of one step or hop; 0: not stated
  double oversubscription = 1;                          ///< fat-tree: leaf down-links over up-links; dragonfly: members' links over the group's
  bool in_network_reduction = false;
  int leaf = 0;                                         ///< fat-tree: members under one leaf switch; 0: not stated, each has its own
  double efficiency = 0;                                ///< share of the nominal rate that messages reach; 0: not stated
  double chips_each = 1;  ///< chips in one member: the product of the levels below

  /// Links out of one member: torus 2 an axis (an axis of 2 has 1), switch 1, fully connected size - 1.
  int ports() const;
  /// One direction, all links of one member together, and one link between two members (or a member and its switch).
  BytesPerSecond member_bandwidth() const;
  BytesPerSecond link_bandwidth() const;
  /// Dragonfly (Kim et al., ISCA 2008): its groups, and the links from one of them to another together, one direction.
  /// A group inside is taken not to block; its links outwards are shared evenly by the other groups.
  int groups() const;
  BytesPerSecond trunk_bandwidth() const;
  /// Bytes a second that cross a cut into halves, one direction, links of this level only; mesh and torus:
  /// the weakest plane across one axis (Dally & Towles 2004, section 3.3.1).
  BytesPerSecond bisection_bandwidth() const;
};

std::string_view to_string(TopologyKind kind);  // "switch", "fat-tree", "ring", "mesh", "torus", "fully-connected", "dragonfly"

}  // namespace gambrel::hw

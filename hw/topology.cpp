#include "hw/topology.hpp"

#include <algorithm>
#include <cstddef>
#include <iterator>

namespace gambrel::hw {
namespace {

constexpr std::string_view topology_names[] = {"switch", "fat-tree", "ring", "mesh", "torus", "fully-connected", "dragonfly"};
static_assert(std::size(topology_names) == static_cast<std::size_t>(TopologyKind::dragonfly) + 1);

bool has_axes(TopologyKind kind) {
  return kind == TopologyKind::ring || kind == TopologyKind::mesh || kind == TopologyKind::torus;
}

/// Links from one member along an axis of `length`; both neighbours of an axis of 2 are the same member.
int links_of_axis(int length) { return length > 2 ? 2 : length - 1; }

/// Links cut by the weakest plane that divides the members across one axis.
double links_across(const NetworkLevel& level) {
  double least = 0;
  for (std::size_t axis = 0; axis < level.shape.size(); ++axis) {
    const int length = level.shape[axis];
    if (length < 2) continue;
    const bool closed = length > 2 && axis < level.wrap.size() && level.wrap[axis];
    const double cut = (closed ? 2.0 : 1.0) * level.size / length;
    least = least == 0 ? cut : std::min(least, cut);
  }
  return least;
}

}  // namespace

int NetworkLevel::ports() const {
  if (topology == TopologyKind::fully_connected) return size - 1;
  if (!has_axes(topology)) return 1;
  int links = 0;
  for (const int length : shape) links += links_of_axis(length);
  return links;
}

BytesPerSecond NetworkLevel::member_bandwidth() const {
  if (per == Per::link) return bandwidth * ports();
  return per == Per::node ? bandwidth : bandwidth * chips_each;
}

BytesPerSecond NetworkLevel::link_bandwidth() const {
  if (per == Per::link) return bandwidth;
  return member_bandwidth() / std::max(ports(), 1);
}

int NetworkLevel::groups() const { return topology == TopologyKind::dragonfly && shape.size() == 2 ? shape[1] : 1; }

BytesPerSecond NetworkLevel::trunk_bandwidth() const {
  const int others = groups() - 1;
  return others < 1 ? BytesPerSecond{0} : member_bandwidth() * shape[0] / oversubscription / others;
}

BytesPerSecond NetworkLevel::bisection_bandwidth() const {
  const double half = size / 2;  // the smaller half of an odd number
  switch (topology) {
    case TopologyKind::switched: return member_bandwidth() * half;
    case TopologyKind::fat_tree: return member_bandwidth() * half / oversubscription;
    case TopologyKind::fully_connected: return link_bandwidth() * half * (size - half);
    case TopologyKind::dragonfly: return trunk_bandwidth() * (groups() / 2) * (groups() - groups() / 2);
    case TopologyKind::ring:
    case TopologyKind::mesh:
    case TopologyKind::torus: return link_bandwidth() * links_across(*this);
  }
  return BytesPerSecond{0};
}

std::string_view to_string(TopologyKind kind) { return topology_names[static_cast<std::size_t>(kind)]; }

}  // namespace gambrel::hw

// Loads of shifts, uniform traffic and pairwise swaps on each topology (Dally & Towles 2004, chapter 3; dragonflies:
// Kim et al., ISCA 2008, minimal or Valiant routing, whichever is less loaded).
#include "hw/link_load.hpp"

#include <algorithm>

namespace gambrel::hw {
namespace {

bool is_line(TopologyKind kind) {
  return kind == TopologyKind::ring || kind == TopologyKind::mesh || kind == TopologyKind::torus;
}

/// Members of the group under one leaf switch, or in one group of a dragonfly.
double neighbours(const Axis& axis, const Part& part) {
  return std::clamp(static_cast<double>(axis.leaf) / part.stride, 1.0, static_cast<double>(part.size));
}

/// Time of the links out of a leaf or group, where `out` of all bytes leave it and `to_one` go to a single other group.
double upper_time(const Axis& axis, double out, double to_one) {
  const double base = axis.oversubscription / axis.bandwidth;
  if (axis.topology == TopologyKind::fat_tree) return out * base;
  if (axis.topology != TopologyKind::dragonfly) return 0;
  const double others = static_cast<double>(axis.length) / axis.leaf - 1;
  return std::min(to_one * others, 2 * out) * base;
}

/// Share of a leaf's members that send to the next leaf when every member sends to its next one.
double leaving_share(const Axis& axis, const Part& part) {
  if (part.size * part.stride <= axis.leaf) return 0;
  return std::min(1.0, static_cast<double>(part.stride) / axis.leaf);
}

Axis axis_of(const NetworkLevel& level, std::size_t index, int length, bool wrap, double stride) {
  Axis axis{.level = index, .topology = level.topology, .length = length, .wrap = wrap && length > 2};
  axis.shared = level.per == NetworkLevel::Per::node;
  axis.bandwidth = level.link_bandwidth().value / level.chips_each;
  axis.stride = stride;
  axis.oversubscription = level.oversubscription;
  if (level.topology == TopologyKind::fat_tree) axis.leaf = std::max(level.leaf, 1);
  if (level.topology == TopologyKind::dragonfly) axis.leaf = level.shape.front();
  return axis;
}

}  // namespace

std::vector<Axis> axes_of(const std::vector<NetworkLevel>& levels) {
  std::vector<Axis> axes;
  double stride = 1;
  for (std::size_t i = 0; i < levels.size(); ++i) {
    const NetworkLevel& level = levels[i];
    const bool dimensions = level.topology == TopologyKind::mesh || level.topology == TopologyKind::torus;
    const std::vector<int> lengths = dimensions ? level.shape : std::vector<int>{level.size};
    for (std::size_t d = 0; d < lengths.size(); ++d) {
      const bool wrap = level.topology == TopologyKind::ring || (dimensions && d < level.wrap.size() && level.wrap[d]);
      axes.push_back(axis_of(level, i, lengths[d], wrap, stride));
      stride *= lengths[d];
    }
  }
  return axes;
}

bool closed(const Axis& axis, const Part& part) { return axis.wrap && part.size > 1 && part.size * part.stride == axis.length; }

int links_used(const Axis& axis, const Part& part) {
  if (part.size < 2) return 0;
  if (axis.topology == TopologyKind::fully_connected) return part.size - 1;
  return is_line(axis.topology) && axis.length > 2 ? 2 : 1;
}

double shift_time(const Axis& axis, const Part& part, bool both) {
  const double one = 1 / axis.bandwidth;
  if (part.size < 2) return 0;
  if (is_line(axis.topology)) return part.stride * one * (both && closed(axis, part) ? 0.5 : 1);
  if (axis.topology == TopologyKind::fully_connected) return both && part.size > 2 ? one / 2 : one;
  const double out = leaving_share(axis, part);
  return std::max(one, upper_time(axis, out, out));
}

double uniform_time(const Axis& axis, const Part& part) {
  if (part.size < 2) return 0;
  const double n = part.size, one = 1 / axis.bandwidth, half = part.size / 2;
  if (is_line(axis.topology)) return part.stride * one * half * (n - half) / n * (closed(axis, part) ? 0.5 : 1);
  if (axis.topology == TopologyKind::fully_connected) return one / n;
  const double q = neighbours(axis, part);
  return std::max(one * (n - 1) / n, upper_time(axis, (n - q) / n, n > q ? q / n : 0));
}

double swap_time(const Axis& axis, const Part& part, int distance) {
  if (part.size < 2) return 0;
  const double one = 1 / axis.bandwidth;
  const bool opposite = closed(axis, part) && 2 * distance == part.size;
  if (is_line(axis.topology)) return part.stride * one * distance * (opposite ? 0.5 : 1);
  const bool leaves = distance * part.stride >= axis.leaf;
  return std::max(one, upper_time(axis, leaves ? 1 : 0, leaves ? 1 : 0));
}

}  // namespace gambrel::hw

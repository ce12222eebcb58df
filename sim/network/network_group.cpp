// Mixed-radix arithmetic of rank numbers: the first axis is the fastest.
#include "sim/network/network_group.hpp"

#include <algorithm>
#include <cmath>

namespace gambrel::sim {

Parts parts_of(const RankGroup& group, std::span<const RatedAxis> lines) {
  Parts parts;
  double left = group.size;
  for (std::size_t i = 0; i < lines.size() && left > 1; ++i) {
    const hw::Axis& axis = lines[i].axis;
    // A stride that is no multiple of the axis' own, or does not divide its length, is priced as the next smaller one.
    const double stride = std::max(1.0, std::floor(group.stride / axis.stride));
    const double positions = std::ceil(axis.length / stride);
    if (positions < 2) continue;
    const double size = std::min(std::ceil(left), positions);
    parts[i] = {static_cast<int>(size), static_cast<int>(std::min(stride, std::floor(axis.length / size)))};
    left /= size;
  }
  return parts;
}

void lay_out(const Parts& parts, std::span<const RatedAxis> lines, Stages& out) {
  for (std::size_t i = 0; i < lines.size(); ++i) {
    if (parts[i].size < 2) continue;
    const std::size_t level = lines[i].axis.level;
    if (out.count == 0 || out.top().level != level) out.stage[out.count++] = Stage{.level = level, .lanes = out.ranks};
    Stage& stage = out.stage[out.count - 1];
    stage.line[stage.axes] = &lines[i];
    stage.part[stage.axes++] = parts[i];
    stage.size *= parts[i].size;
    out.ranks *= parts[i].size;
  }
}

}  // namespace gambrel::sim

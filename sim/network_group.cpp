// Mixed-radix arithmetic of rank numbers: the first axis is the fastest.
#include "sim/network_group.hpp"

#include <algorithm>
#include <cmath>

namespace gambrel::sim {

Parts parts_of(const RankGroup& group, std::span<const RatedAxis> lines) {
  Parts parts;
  double left = group.size;
  for (std::size_t i = 0; i < lines.size() && left > 1; ++i) {
    const hw::Axis& axis = lines[i].axis;
    const double stride = std::max(1.0, std::round(group.stride / axis.stride));
    const double positions = std::floor(axis.length / stride);
    if (positions < 2) continue;
    const double size = std::min(std::ceil(left), positions);
    parts[i] = {static_cast<int>(size), static_cast<int>(stride)};
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

// A group of ranks laid out on a network: what part of each axis it has, level by level. Private to the network model.
#pragma once

#include <array>
#include <cstddef>
#include <span>

#include "hw/link_load.hpp"
#include "sim/plan/plan.hpp"

namespace gambrel::sim {

/// An axis with what messages reach on it.
struct RatedAxis {
  hw::Axis axis;          ///< bandwidth: the part of the nominal one that messages reach
  double efficiency = 1;  ///< that part
  double latency = 0;     ///< s of a step (switch) or a hop
  bool adds = false;      ///< switches reduce
};

inline constexpr std::size_t most_levels = 16;  ///< the schema's 8 of a pool and 8 that join the pools
inline constexpr std::size_t most_axes = 3 * most_levels;

using Parts = std::array<hw::Part, most_axes>;

/// A group on one level. The level's part of a message is spread over `lanes`: the group's chips in one member, each
/// with its own share of the member's links.
struct Stage {
  std::size_t level = 0, axes = 0;  ///< axes the group has a part in
  std::array<const RatedAxis*, 3> line{};
  std::array<hw::Part, 3> part{};
  double size = 1, lanes = 1;
};

struct Stages {
  std::array<Stage, most_levels> stage;  ///< innermost first, only levels where the group has more than one member
  std::size_t count = 0;
  double ranks = 1;
  std::span<const Stage> all() const { return {stage.data(), count}; }
  const Stage& top() const { return stage[count - 1]; }
};

/// Fills axes from the innermost one that the stride does not pass over.
Parts parts_of(const RankGroup& group, std::span<const RatedAxis> lines);
void lay_out(const Parts& parts, std::span<const RatedAxis> lines, Stages& out);

}  // namespace gambrel::sim

// What a design's figures hang on: how far each input moves them, and what would have to improve before something else
// holds the design back.
#pragma once

#include <string>
#include <vector>

#include "sim/sweep/run_space.hpp"

namespace gambrel::sim {

/// One input of a design and how the objectives follow it.
struct InputEffect {
  std::string path, value;       ///< "chip.memory.HBM.bandwidth", "3.35 TB/s"
  std::vector<double> percent;   ///< of each objective, for one per cent more of the input: a central difference over 1 %
                                 ///< either way; of whole numbers over at least one either way, upwards alone at the edge
};

/// How a chain of bounds would give way.
struct BoundStep {
  std::string bound;             ///< "HBM", "compute"
  double share = 0;              ///< of the time that it bounds
  std::vector<std::string> resources;  ///< what would improve: paths
  double factor = 0;             ///< by how much before another bound holds most of the time; 0: nothing else does up to `largest_factor`
  std::string next;              ///< that bound
  double time_ratio = 1;         ///< time then over time now
};

struct Sensitivity {
  std::vector<InputEffect> effects;  ///< the largest effect on any objective first; those without any are left out
  std::vector<BoundStep> bounds;     ///< one for each workload
};

inline constexpr double largest_factor = 64;

/// Of one design. Inputs are the numbers of its chip (memories, units, hierarchy, links), of its network and of its
/// workload. Error: the design cannot be read or estimated.
Result<Sensitivity> sensitivity(const RunSpace& space, std::span<const std::uint32_t> coordinates);

}  // namespace gambrel::sim

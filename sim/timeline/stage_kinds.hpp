// Inside sim/ only: which virtual stages of a pipeline are alike, so that each kind is costed once.
#pragma once

#include <vector>

#include "sim/timeline/step_template.hpp"

namespace gambrel::sim {

/// Layers of each of a template's blocks, with or without what stands before the first layer and behind the last.
struct StageKind {
  std::vector<int> layers_of;  ///< [block]
  int layers = 0;
  bool first = false, last = false;
  int example = 0;             ///< the first one of this kind
};

/// Depends on the blocks' places and on stages and chunks only, not on what anything costs.
struct StageKinds {
  int stages = 1, chunks = 1;
  std::vector<StageKind> parts;   ///< of virtual stages
  std::vector<StageKind> wholes;  ///< of stages, all their chunks together
  std::vector<int> part_of;       ///< [stage x chunks + chunk], as PipelineShape::work
  std::vector<int> whole_of;      ///< [stage]
};
StageKinds stage_kinds(const StepTemplate& step, int stages, int chunks);

/// [kind], of one step.
struct StageCosts {
  std::vector<PartCost> parts, wholes;
};
/// Keeps the buffers of `out`.
void cost_stages(const StepTemplate& step, const StageKinds& kinds, StageCosts& out);

}  // namespace gambrel::sim

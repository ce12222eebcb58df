// Virtual stages that are alike are found, and what they cost sums up to the model.
#include "sim/timeline/stage_kinds.hpp"

#include <doctest/doctest.h>

using namespace gambrel::sim;

namespace {

/// Layer i of a block takes `forward` seconds; the embedding takes 0.5 s, the head 0.25 s.
StepTemplate step_of(std::vector<Block> blocks, int layers) {
  StepTemplate step{.blocks = std::move(blocks), .layers = layers};
  step.embedding.forward.compute = 0.5;
  step.head.forward.compute = 0.25;
  return step;
}

Block block(int first, int step, int count, double forward) {
  Block b{first, step, count, {}};
  b.layer.forward.compute = forward;
  b.layer.dense_parameters = 100 * forward;
  return b;
}

double forward_of(const StageCosts& costs, const StageKinds& kinds, int stage, int chunk) { return costs.parts[static_cast<std::size_t>(kinds.part_of[static_cast<std::size_t>(stage * kinds.chunks + chunk)])].forward.compute; }

}  // namespace

TEST_CASE("equal layers: the first stage, those between and the last are three kinds") {
  const StepTemplate step = step_of({block(0, 1, 12, 1)}, 12);
  const StageKinds kinds = stage_kinds(step, 4, 1);
  CHECK(kinds.parts.size() == 3);
  CHECK(kinds.whole_of == std::vector<int>{0, 1, 1, 2});
  StageCosts costs;
  cost_stages(step, kinds, costs);
  CHECK(costs.wholes[0].forward.compute == 3.5);
  CHECK(costs.wholes[1].forward.compute == 3);
  CHECK(costs.wholes[2].forward.compute == 3.25);
  CHECK(kinds.wholes[1].example == 1);
  CHECK(kinds.wholes[1].layers == 3);
}

TEST_CASE("layers that do not divide make a fourth kind, in the middle") {
  const StageKinds kinds = stage_kinds(step_of({block(0, 1, 13, 1)}, 13), 4, 1);
  CHECK(kinds.wholes.size() == 4);
  CHECK(kinds.whole_of == std::vector<int>{0, 1, 2, 3});
  CHECK(kinds.wholes[1].layers == 4);
}

TEST_CASE("chunks: a stage's parts stand side by side, and only the very first and last have the ends") {
  const StepTemplate step = step_of({block(0, 1, 12, 1)}, 12);
  const StageKinds kinds = stage_kinds(step, 2, 3);
  StageCosts costs;
  cost_stages(step, kinds, costs);
  CHECK(kinds.part_of == std::vector<int>{0, 1, 1, 1, 1, 2});
  CHECK(costs.wholes[0].forward.compute == 6.5);
  CHECK(costs.wholes[1].forward.compute == 6.25);
}

TEST_CASE("one stage has both ends") {
  const StepTemplate step = step_of({block(0, 1, 5, 1)}, 5);
  const StageKinds kinds = stage_kinds(step, 1, 1);
  StageCosts costs;
  cost_stages(step, kinds, costs);
  REQUIRE(costs.wholes.size() == 1);
  CHECK(costs.wholes[0].forward.compute == 5.75);
  CHECK(costs.wholes[0].dense_parameters == 500);
}

TEST_CASE("layers that alternate, and others before them: each part has what lies in its range") {
  // 0, 1: 10 s; then 2, 4, 6, 8: 1 s and 3, 5, 7, 9: 2 s.
  const StepTemplate step = step_of({block(0, 1, 2, 10), block(2, 2, 4, 1), block(3, 2, 4, 2)}, 10);
  const StageKinds pairs = stage_kinds(step, 5, 1);
  StageCosts costs;
  cost_stages(step, pairs, costs);
  CHECK(forward_of(costs, pairs, 0, 0) == 20.5);
  for (int stage : {1, 2, 3}) CHECK(forward_of(costs, pairs, stage, 0) == 3);
  CHECK(forward_of(costs, pairs, 4, 0) == 3.25);
  CHECK(pairs.parts.size() == 3);
  const StageKinds singles = stage_kinds(step, 5, 2);
  cost_stages(step, singles, costs);
  CHECK(singles.parts.size() == 5);  // the first, the other 10 s, 1 s, 2 s, the last
  double sum = 0;
  for (int stage = 0; stage < 5; ++stage)
    for (int chunk = 0; chunk < 2; ++chunk) sum += forward_of(costs, singles, stage, chunk);
  CHECK(sum == 32.75);
}

TEST_CASE("costs of another step of the same layers go into the same buffers") {
  StepTemplate step = step_of({block(0, 1, 8, 1)}, 8);
  const StageKinds kinds = stage_kinds(step, 4, 1);
  StageCosts costs;
  cost_stages(step, kinds, costs);
  step.blocks[0].layer.forward.compute = 2;
  cost_stages(step, kinds, costs);
  CHECK(costs.parts.size() == kinds.parts.size());
  CHECK(costs.wholes[1].forward.compute == 4);
}

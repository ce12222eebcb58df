#include "sim/timeline/stage_kinds.hpp"

#include <algorithm>

namespace gambrel::sim {
namespace {

/// Layers of a block before layer `end`.
int layers_before(const Block& block, int end) { return std::clamp((end - block.first + block.step - 1) / block.step, 0, block.count); }

StageKind kind_of(const StepTemplate& step, std::pair<int, int> range) {
  StageKind kind{.layers = range.second - range.first};
  for (const Block& block : step.blocks) kind.layers_of.push_back(layers_before(block, range.second) - layers_before(block, range.first));
  return kind;
}

void add(StageKind& sum, const StageKind& part) {
  sum.layers_of.resize(part.layers_of.size());
  for (std::size_t b = 0; b < part.layers_of.size(); ++b) sum.layers_of[b] += part.layers_of[b];
  sum.layers += part.layers;
  sum.first |= part.first;
  sum.last |= part.last;
}

/// The index of its like, which it becomes if there is none yet.
int index_in(std::vector<StageKind>& kinds, StageKind kind, int example) {
  const auto like = std::ranges::find_if(kinds, [&](const StageKind& k) { return k.first == kind.first && k.last == kind.last && k.layers_of == kind.layers_of; });
  const int index = static_cast<int>(like - kinds.begin());
  if (like != kinds.end()) return index;
  kind.example = example;
  kinds.push_back(std::move(kind));
  return index;
}

PartCost cost_of(const StepTemplate& step, const StageKind& kind) {
  PartCost cost;
  for (std::size_t b = 0; b < step.blocks.size(); ++b)
    if (kind.layers_of[b] > 0) cost = cost + kind.layers_of[b] * step.blocks[b].layer;
  if (kind.first) cost = cost + step.embedding;
  if (kind.last) cost = cost + step.head;
  if (kind.first && kind.last) cost.weights -= step.tied_bytes, cost.dense_parameters -= step.tied_parameters;
  return cost;
}

}  // namespace

StageKinds stage_kinds(const StepTemplate& step, int stages, int chunks) {
  StageKinds out{.stages = stages, .chunks = chunks};
  const auto ranges = layer_ranges(step.layers, stages, chunks);
  for (int s = 0; s < stages; ++s) {
    StageKind whole;
    for (int c = 0; c < chunks; ++c) {
      const int number = c * stages + s;
      StageKind part = kind_of(step, ranges[static_cast<std::size_t>(number)]);
      part.first = number == 0;
      part.last = number + 1 == stages * chunks;
      add(whole, part);
      out.part_of.push_back(index_in(out.parts, std::move(part), s * chunks + c));
    }
    out.whole_of.push_back(index_in(out.wholes, std::move(whole), s));
  }
  return out;
}

void cost_stages(const StepTemplate& step, const StageKinds& kinds, StageCosts& out) {
  out.parts.clear();
  out.wholes.clear();
  for (const StageKind& kind : kinds.parts) out.parts.push_back(cost_of(step, kind));
  for (const StageKind& kind : kinds.wholes) out.wholes.push_back(cost_of(step, kind));
}

}  // namespace gambrel::sim

// Repeated layers written out.
#include "kernels/executor/model_parts.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <set>

namespace gambrel::kernels {

using models::Graph;
using models::LayerSpec;
using models::ModelPart;
using models::Op;
using models::OpId;
using models::Tensor;
using models::Use;

namespace {

bool holds(const Op& op, int layer) {
  const int behind = layer - op.first_layer;
  return op.part == ModelPart::layers && behind >= 0 && behind % op.layer_step == 0 &&
         behind / op.layer_step < op.count;
}

std::vector<const LayerSpec*> layers_of(const models::ModelConfig& model) {
  std::vector<const LayerSpec*> layers;
  for (const models::LayerGroup& group : model.layers)
    for (int i = 0; i < group.count; ++i)
      for (const LayerSpec& spec : group.pattern) layers.push_back(&spec);
  return layers;
}

bool is_weight(const Tensor& t) { return t.role == models::Role::weight || t.role == models::Role::expert_weight; }

}  // namespace

std::vector<Part> parts_of(const Graph& graph, const models::ModelConfig& model) {
  const std::vector<const LayerSpec*> layers = layers_of(model);
  std::vector<Part> parts{Part{}};
  for (std::size_t i = 0; i < layers.size(); ++i) parts.push_back({fmt::format("layers.{}.", i), layers[i], {}});
  parts.emplace_back();
  for (OpId id = 0; id < graph.ops().size(); ++id) {
    const Op& op = graph.op(id);
    if (op.part == ModelPart::embedding) parts.front().ops.push_back(id);
    if (op.part == ModelPart::head) parts.back().ops.push_back(id);
    for (std::size_t i = 0; i < layers.size(); ++i)
      if (holds(op, static_cast<int>(i))) parts[i + 1].ops.push_back(id);
  }
  return parts;
}

std::string_view within_layer(std::string_view name, bool in_layers) {
  return in_layers ? name.substr(name.find('.', name.find('.') + 1) + 1) : name;
}

std::size_t row_count(const Tensor& tensor) {
  return tensor.shape.size() == 1 ? 1 : static_cast<std::size_t>(std::llround(tensor.elements() / tensor.shape.back()));
}

LayerCut cut_of(const models::ModelConfig& model, const models::Shares& shares, const LayerSpec* spec,
                std::string_view path) {
  LayerCut cut{.columns = static_cast<std::size_t>(shares.columns), .gathered = static_cast<std::size_t>(shares.gathered)};
  if (!spec) return cut;
  const bool beside = spec->parallel && (spec->attention || spec->latent || spec->mamba) && (spec->dense || spec->moe);
  const bool mixer = path.starts_with("attn.") || path.starts_with("mamba.");
  cut.split = static_cast<std::size_t>(split_of(model, shares, *spec, beside || mixer, beside || !mixer));
  return cut;
}

Needed::Needed(const Graph& backward) {
  std::set<models::TensorId> written;
  for (const Op& op : backward.ops()) {
    for (const Use& use : op.uses)
      if (const Tensor& t = backward.tensor(use.tensor); !use.write && !written.contains(use.tensor) && !is_weight(t))
        names_[t.name] = true;
    for (const Use& use : op.uses)
      if (use.write) written.insert(use.tensor);
  }
}

bool works_in_place(const Op& op, models::TensorId tensor) {
  return std::ranges::any_of(op.uses, [&](const Use& u) { return !u.write && u.tensor == tensor; });
}

std::string_view value_name(const Graph& graph, const Op& op, const Use& use) {
  return works_in_place(op, use.tensor) ? op.name : graph.tensor(use.tensor).name;
}

}  // namespace gambrel::kernels

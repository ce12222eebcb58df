// Layers are cut off first, then each width is scaled.
#include "kernels/weights/scale_model.hpp"

#include <algorithm>
#include <cmath>

namespace gambrel::kernels {
namespace {

using models::LayerGroup;
using models::LayerSpec;

/// Whole patterns stay one group; what is left of a pattern is written out.
std::vector<LayerGroup> first_layers(const std::vector<LayerGroup>& groups, int layers) {
  std::vector<LayerGroup> kept;
  for (const LayerGroup& group : groups) {
    const int period = static_cast<int>(group.pattern.size()), count = std::min(group.count, layers / period);
    if (count > 0) kept.push_back({count, group.pattern});
    layers -= count * period;
    if (count == group.count) continue;
    for (int place = 0; place < layers; ++place) kept.push_back({1, {group.pattern[static_cast<std::size_t>(place)]}});
    break;
  }
  return kept;
}

class Narrower {
 public:
  explicit Narrower(double fraction) : fraction_(fraction) {}

  void width(double& extent) const {
    if (extent > 0) extent = std::max(1.0, std::round(extent * fraction_));
  }

  void layer(LayerSpec& spec) const {
    if (spec.attention) heads(spec.attention->heads, spec.attention->kv_heads);
    if (spec.latent)
      for (double* extent : {&spec.latent->heads, &spec.latent->q_lora_rank, &spec.latent->kv_lora_rank})
        width(*extent);
    if (spec.mamba) heads(spec.mamba->heads, spec.mamba->groups);
    if (spec.dense) width(spec.dense->inner);
    if (!spec.moe) return;
    for (models::ExpertSize& size : spec.moe->sizes) width(size.inner);
    width(spec.moe->shared_inner);
  }

 private:
  /// `shared`: what several heads have in common.
  void heads(double& all, double& shared) const {
    const double each = all / shared;
    if (shared > 1) width(shared), all = each * shared;
    else width(all);
  }
  double fraction_;
};

}  // namespace

models::ModelConfig scale_model(const models::ModelConfig& model, int layers, double width_fraction) {
  models::ModelConfig scaled = model;
  if (layers > 0) scaled.layers = first_layers(model.layers, layers);
  if (width_fraction == 1) return scaled;
  const Narrower narrower(width_fraction);
  narrower.width(scaled.hidden);
  narrower.width(scaled.vocab);
  for (LayerGroup& group : scaled.layers)
    for (LayerSpec& spec : group.pattern) narrower.layer(spec);
  return scaled;
}

}  // namespace gambrel::kernels

// Inside kernels/ only: which layers stand for a whole model, and that model's precision said of them.
#pragma once

#include <vector>

#include "models/model_config.hpp"

namespace gambrel::kernels {

/// A model of fewer and narrower layers.
struct ErrorCopy {
  models::ModelConfig model;
  std::vector<int> layers;  ///< of the whole model: what the copy's layers stand for, ascending
};

/// `count` of the model's layers: every kind of layer at least once while there is room, else the commonest kinds; more of a kind by
/// its share; those of a kind evenly spread over where it stands.
std::vector<int> sampled_layers(const models::ModelConfig& model, int count);

/// Those layers, each written out, at `width_fraction` (kernels/weights/scale_model.hpp) with `vocabulary` rows.
ErrorCopy error_copy(const models::ModelConfig& model, int layers, double width_fraction, double vocabulary);

/// `precision` of the whole model for a copy whose layer j is `layers[j]`: an override that names layers by index holds for the
/// copy's layers that stand for them.
models::Precision translated(const models::Precision& precision, const std::vector<int>& layers);

}  // namespace gambrel::kernels

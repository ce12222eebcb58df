// A smaller model of the same kind: fewer layers, narrower ones.
#pragma once

#include "models/model_config.hpp"

namespace gambrel::kernels {

/// The first `layers` layers (0: all), every width times `width_fraction` (in (0, 1]), rounded, at least 1: hidden, vocabulary, inner
/// widths, latent ranks, heads (query heads stay a multiple of key/value heads). Widths of a head, experts and how many a token
/// goes to, states, windows and positions stay.
models::ModelConfig scale_model(const models::ModelConfig& model, int layers, double width_fraction);

}  // namespace gambrel::kernels

// Training: the backward pass and the optimizer's step of a forward graph, and what is kept between the two passes.
#pragma once

#include "models/graph.hpp"

namespace gambrel::models {

/// Formats of training besides the forward's (Micikevicius et al. 2018, arXiv 1710.03740).
struct TrainingPrecision {
  DataType gradients = Format::fp32;  ///< accumulated over micro-batches
  DataType reduced = Format::fp32;    ///< as the data-parallel reduction sends them
  DataType master = Format::fp32;     ///< the optimizer's copy of the weights; = weights' type: no copy
  DataType moments = Format::fp32;    ///< both of Adam's
};

/// The backward pass of one micro-batch, recomputation included, of the rank whose forward is `forward` (built with
/// Step::training). A product y = x W^T has two, dx = dy W and dW = dy^T x; a collective of the forward has its
/// conjugate (all-gather and reduce-scatter, all-reduce and nothing; Shoeybi et al. 2019, arXiv 1909.08053 section 3).
/// Operators are named as the forward's with ".dgrad", ".wgrad", ".backward" or ".recompute" behind.
Graph backward(const Graph& forward, Recompute recompute, const TrainingPrecision& precision);

/// Bytes that one micro-batch keeps from its forward to its backward pass on this rank.
struct SavedActivations {
  double per_layer = 0;    ///< mean over the layers
  double embedding = 0, head = 0;
  double working = 0;      ///< largest sum alive while one layer is recomputed or run backward, beyond what was kept
};
/// Korthikanti et al. 2022, arXiv 2205.05198 eq. 1-4 for a GPT layer with dropout.
SavedActivations saved_activations(const Graph& forward, Recompute recompute);

/// Adam on the parameters of `forward`, of which this rank updates the share `dense_share` (experts: `expert_share`).
Graph optimizer_step(const Graph& forward, const TrainingPrecision& precision, double dense_share, double expert_share);

}  // namespace gambrel::models

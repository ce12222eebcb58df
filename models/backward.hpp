// Training: the backward pass and the optimizer's step of a forward graph, and what is kept between the two passes.
#pragma once

#include <utility>

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
/// Operators are named as the forward's with ".dgrad", ".wgrad", ".backward" or ".recompute" behind; ".again" is a gather
/// whose result is not kept, "TENSOR.sum.backward" adds the gradients that a tensor's readers send. Gradients are tensors
/// named ".grad"; a weight's is read and written, for it is summed over micro-batches.
/// A graph without a loss takes the gradients of what nobody reads as inputs.
Graph backward(const Graph& forward, Recompute recompute, const TrainingPrecision& precision);

/// Bytes that one micro-batch keeps from its forward to its backward pass on this rank: what backward reads, each tensor
/// once, weights left out.
struct SavedActivations {
  double per_layer = 0;    ///< mean over the layers
  double embedding = 0, head = 0;
  double working = 0;      ///< largest sum alive while one layer (or the head) is recomputed and run backward, beyond what was kept
};
/// Korthikanti et al. 2022, arXiv 2205.05198 eq. 1-4 for a GPT layer with dropout.
SavedActivations saved_activations(const Graph& forward, Recompute recompute);

/// `backward` and `saved_activations` for the price of one.
std::pair<Graph, SavedActivations> backward_and_saved(const Graph& forward, Recompute recompute, const TrainingPrecision& precision);

/// Gradients are scaled down to a largest norm, over all `ranks` that hold different ones.
struct GradientNorm {
  bool clip = true;
  double ranks = 1;
  MeshAxis axis = MeshAxis::tensor;
};

/// Adam (Kingma and Ba 2015, arXiv 1412.6980) on the parameters of `forward`, of which this rank updates the share
/// `dense_share` (experts: `expert_share`): one operator for each role and format of weights, 12 FLOPs a parameter, 13 if
/// scaled. A parameter reads its gradient, master copy and moments and writes all but the gradient, and the weight: with
/// 16-bit weights and fp32 otherwise 16 + 14 bytes, and 4 for the norm. Where master is the weights' own type, the
/// weight is read and written itself.
Graph optimizer_step(const Graph& forward, const TrainingPrecision& precision, double dense_share, double expert_share,
                     const GradientNorm& norm = {});

}  // namespace gambrel::models

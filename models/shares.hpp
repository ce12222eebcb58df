// Inside models/ and kernels/ only: which part of a step's tokens and widths one rank has, before any layer is looked at.
#pragma once

#include "models/build.hpp"

namespace gambrel::models {

/// Follows from step and sharding alone; all whole and all ones without sharding. The residual stream ("stream") is
/// whole on every tensor rank, cut by tokens (sequence parallelism, gathered weights) or by width (2D layout).
struct Shares {
  bool cuts_context = false;  ///< the new tokens are cut over the context axis; if not, only the keys they look at are
  double gathered = 1;        ///< tensor ranks that share out a weight matrix and gather it before use; each has other sequences
  double columns = 1;         ///< tensor ranks that share out heads and inner widths: tensor / gathered
  bool stream_by_tokens = false, stream_by_width = false;
  double sequences = 1;       ///< that this rank's layers work on
  double queries = 1;         ///< new tokens of each of them on this context rank
  double group_tokens = 1;    ///< of all tensor ranks together: what embedding and lm_head see
  double stream_rows = 1, stream_width = 1;
  double own_tokens = 1;      ///< tokens that no other tensor rank has, were they shared out evenly: what it sends to experts
  double tokens() const { return sequences * queries; }  ///< rows of the matrix products in layers
};

Shares shares_of(const ModelConfig& model, const Step& step, const Sharding& sharding);

/// X of the 2D layout over X x YZ tensor ranks: the divisor that moves least, of activations `hidden` wide cut over X
/// and `wide` elements cut over YZ, both the sum of all gathered or scattered (Pope et al. 2022, section 3.2.2).
double best_split(double tensor, double hidden, double wide);

/// Tensor ranks that gather each other's weights: least of `weights` N / n elements gathered and of activations
/// `hidden` wide, scattered and gathered by `tokens` / N rows; divisors of n from 2 up to `sequences`, 1 if there is
/// none (ibid. section 3.2.3).
double best_gathered(double tensor, double weights, double hidden, double tokens, double sequences);

/// X of a layer's matrices that are cut both ways, of its mixer, its FFN, or both where they lie side by side. Latent
/// projections, state spaces and experts are cut one way only: 1.
double split_of(const ModelConfig& model, const Shares& shares, const LayerSpec& spec, bool mixer, bool ffn);

}  // namespace gambrel::models

// Model + step + precision -> dataflow graph.
#pragma once

#include <string>
#include <vector>

#include "models/graph.hpp"
#include "models/model_config.hpp"
#include "models/precision.hpp"

namespace gambrel::models {

/// How tokens choose experts. balanced: every expert gets the same share; uniform: each token draws its experts at
/// random; power_law: expert r is drawn with probability proportional to r^-alpha.
struct Routing {
  enum class Kind { balanced, uniform, power_law } kind = Kind::uniform;
  double alpha = 1.2;
};

/// Expected number of distinct experts that `tokens` tokens reach: E (1 - (1 - k/E)^tokens) for uniform routing, the sum
/// of 1 - (1 - p_e)^tokens for a power law (p_e: the chance that a token's k experts hold e), min(E, k tokens) balanced.
double experts_hit(double experts, double top_k, double tokens, const Routing& routing);

/// Rows of the busiest of `ranks` that share out the experts, over the mean: 1 if balanced; for uniform routing the expected
/// maximum 1 + sqrt(2 ln(ranks) / mean rows); for a power law the most popular expert's rank, experts dealt to the ranks in
/// turn by popularity. At most what a token can send: each of its k experts to that rank.
double busiest_rank(double experts, double top_k, double tokens, double ranks, const Routing& routing);

/// Share of things that at least one of `choosers` chooses when each takes a share `density` of them by chance.
double chosen_by_any(double density, double choosers);

/// Zeros in the weight matrices of the layers (embedding, router and lm_head stay dense).
struct WeightSparsity {
  enum class Structure { none, n_of_m, block, unstructured } structure = Structure::none;
  enum class Index { bitmap, csr };
  double density = 1;
  int n = 0, m = 0;  ///< of n_of_m
  Index index = Index::bitmap;  ///< of unstructured: how the places of what is kept are stored
  int block = 0;     ///< side of a block; 0 = large ones
  /// Stored bytes over dense ones for elements of `bits`: n of m adds log2(m) bits of index to each kept element,
  /// a bitmap one bit to every element, CSR 16 bits of column to each kept one (its row starts are not worth counting),
  /// blocks 16 bits to each kept block.
  double stored_share(double bits) const;
  /// The density above which the format takes more bytes than dense weights: stored_share is 1 there.
  double break_even(double bits) const;
  /// Kernels skip blocks from this side on (Gray et al. 2017, "GPU kernels for block-sparse weights": 8 to 32).
  static constexpr int least_skipped_block = 32;
  bool skips_blocks() const { return structure == Structure::block && (block == 0 || block >= least_skipped_block); }
};

/// Zeros in what is computed from the tokens, as shares that are not zero. 1: none that are looked for.
struct DataSparsity {
  double activations = 1;  ///< inner activations of feed-forward layers that rectify (relu, relu2) and have no gate
  double attention = 1;    ///< (query, key) blocks of an attention without a window that are computed
};

/// One pass through the model: `new_tokens` of each of `sequences`, after `past_tokens` that are in the KV cache.
struct Step {
  double sequences = 1, new_tokens = 1, past_tokens = 0;
  double logits = 1;             ///< positions of each sequence that lm_head computes
  Routing routing;
  WeightSparsity sparsity;
  DataSparsity data_sparsity;
  bool fused_attention = true;   ///< the scores stay on the chip (FlashAttention)
  bool fused_experts = true;     ///< an expert's inner activations stay on the chip
  bool training = false;         ///< a loss instead of a sampled token, no KV cache; all positions have logits
  bool dropout = false;          ///< training: masks of one byte an element after attention's softmax and each sublayer
  double tokens() const { return sequences * new_tokens; }
};

/// The graph of one rank: its share of every sharded tensor and the collectives between ranks. `step` is what one data
/// rank works on; a context rank takes its part of the new tokens, unless they are fewer than the context ranks: then only
/// the keys they look at are shared out. Uneven shares are means, but routed rows are the busiest rank's (`busiest_rank`)
/// and of a cut context it is the rank with the last tokens that computes logits.
/// Ranks together hold and compute the whole model and, besides, once more on each rank of
///   tensor: key/value heads and state-space groups where they are fewer; latent down-projections and the latent cache;
///   routers where experts are cut like dense layers, shared experts' gates; norms, biases of what is summed and residual
///   additions (their work not, with `sequence`); sampling; positions; experts' routers' weights;
///   context: everything when new tokens are too few to cut, but attention and the cache; always all weights.
Graph build(const ModelConfig& model, const PrecisionPolicy& precision, const Step& step, const Sharding& sharding = {});

/// Parameters of a graph's weights: all, and those that one token multiplies with (lm_head counted, embedding rows
/// looked up not, of the routed experts top_k).
struct ParameterCount {
  double total = 0, active = 0;
};
ParameterCount count_parameters(const Graph& graph);

/// Bytes of all copies of a role's tensors.
double stored_bytes(const Graph& graph, Role role);

}  // namespace gambrel::models

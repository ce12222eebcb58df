// The executing reference path: runs graphs of models/ on this machine, operator by operator, forward, backward and the
// optimizer's step. Right, not fast.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/result.hpp"
#include "models/build.hpp"

namespace gambrel::kernels {

class Numerics;       // kernels/executor/numerics.hpp
struct FastKernels;   // kernels/executor/fast_kernels.hpp

/// What a graph and its model leave open. Rotary embedding turns pairs (i, i + width / 2) of the first `rotary`
/// elements of a head (of latent attention: of its rope part) by position x base^(-2 i / width). A router's weights are
/// the softmax over all experts, and of the chosen ones divided by their sum if `normalise_top_k`. GELU is the tanh
/// form. Unequal experts run with their mean width. Scores are scaled by 1 / sqrt(width of a head's query).
struct ExecutorOptions {
  std::uint64_t seed = 0;
  double rotary_base = 10000;
  double norm_epsilon = 1e-5;
  bool normalise_top_k = true;
  bool count = true;  ///< note every element touched; without it `elements` and `bytes` stay 0 and runs are faster
  bool keep_weights = false;  ///< each weight is drawn once and held; otherwise drawn for every operator that reads it
  std::size_t pipeline = 1;   ///< stages that share out the layers evenly, each with ranks, weights and caches of its own
  const FastKernels* fast = nullptr;   ///< of Executor<float>: kernels that replace the references
  const Numerics* numerics = nullptr;  ///< number formats that operands and results are rounded to
  std::vector<std::uint32_t> prompt;   ///< tokens by position, alike in every sequence; drawn where it ends
};

/// What was really done for one operator of the graph: over all its executions and all ranks.
struct OpCount {
  double executions = 0;
  double flops = 0, vector_flops = 0;  ///< as models::Work counts them
  std::vector<double> elements;        ///< of each use: elements touched
  double bytes = 0;                    ///< those elements in the tensors' formats; hand-overs on the chip left out
  double seconds = 0;                  ///< of the kernels, weights ready
};

struct Execution {
  std::vector<OpCount> ops;    ///< one for each operator of the graph
  std::vector<double> logits;  ///< [rows, vocabulary], all data ranks' sequences one after the other
  std::size_t rows = 0, vocabulary = 0;
  std::vector<double> tokens;  ///< sampled greedily, one a row
  double peak_bytes = 0;       ///< largest sum held at one time, all ranks': weights, activations (until their last use), caches
  double loss = 0;             ///< of a training step's forward pass: mean cross-entropy; targets are the next tokens
};

/// One of the micro-batches that a batch is cut into, each data rank's sequences one after the other.
struct MicroBatch {
  std::size_t index = 0, count = 1;
};

/// Adam (Kingma and Ba 2015, arXiv 1412.6980 algorithm 1) with gradients scaled down to a largest norm; 0: as they are.
struct Adam {
  double learning_rate = 1e-3, beta1 = 0.9, beta2 = 0.999, epsilon = 1e-8, largest_norm = 1;
};

/// A micro-batch's two passes.
struct Trained {
  Execution forward, backward;
};

/// Runs graphs of one model, T = double or float. Weights, tokens and a cache that nobody filled are drawn by formula
/// (kernels/weights/weights.hpp). KV caches and states stay: a graph with past tokens continues where the last one ended. A cache keeps all
/// tokens, that of a window too. All ranks of a sharding run in this process, in step; collectives move their data.
template <class T>
class Executor {
 public:
  Executor(const models::ModelConfig& model, const models::Sharding& sharding = {},
           const ExecutorOptions& options = {});
  Executor(Executor&&) noexcept;
  ~Executor();

  /// `graph` is build(model, any precision, step, sharding): what arithmetic is done does not depend on its formats. Errors: a sharding
  /// that does not divide the model or the tokens, dropout, a token behind the table of positions, decoding on context ranks that swap
  /// heads for tokens (ulysses, state spaces).
  Result<Execution> run(const models::Graph& graph, const models::Step& step);

  /// Forward and backward (models::backward of `graph`, whatever is recomputed); gradients of the batch's mean loss are added to
  /// those held. Needs keep_weights. Errors: as `run`; weights that are not kept.
  Result<Trained> train(const models::Graph& graph, const models::Graph& backward, const models::Step& step,
                        MicroBatch batch = {});

  /// The optimizer's step (`optimizer`: models::optimizer_step of the forward graph that was trained): gradients are reduced over all
  /// ranks that have a part of them, then forgotten. `shards` data ranks share out the update and what it keeps (ZeRO); each
  /// sends its new weights to all.
  Result<Execution> update(const models::Graph& optimizer, const Adam& adam, std::size_t shards = 1);

  using Named = std::map<std::string, std::vector<double>>;
  /// Of the weights that were trained, by their names in the unsharded model ("layers.7.attn.qkv.weight"), whole: all ranks' parts put
  /// together; the gradients that are held, added up.
  Named trained_weights() const;
  Named gradients() const;
  /// Adds to the elements of a trained weight, in all their copies.
  void nudge(const std::string& name, const std::vector<double>& by);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

extern template class Executor<double>;
extern template class Executor<float>;

}  // namespace gambrel::kernels

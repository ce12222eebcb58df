// The executing reference path: runs a forward graph of models/ on this machine, operator by operator. Right, not fast.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "base/result.hpp"
#include "models/build.hpp"

namespace gambrel::kernels {

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
  double loss = 0;             ///< of a training step's forward pass: mean cross-entropy; targets are the next tokens
};

/// Runs graphs of one model, T = double or float. Weights, tokens and a cache that nobody filled are drawn by formula
/// (kernels/weights.hpp). KV caches and states stay: a graph with past tokens continues where the last one ended. A cache keeps all
/// tokens, that of a window too. All ranks of a sharding run in this process, in step; collectives move their data.
template <class T>
class Executor {
 public:
  Executor(const models::ModelConfig& model, const models::Sharding& sharding = {},
           const ExecutorOptions& options = {});
  Executor(Executor&&) noexcept;
  ~Executor();

  /// `graph` is build(model, any precision, step, sharding): what arithmetic is done does not depend on its formats. Errors: an
  /// operator kind without a reference (backward kinds), a sharding that does not divide the model or that is not
  /// executed (2D and gathered layouts, context), dropout, a token behind the table of positions.
  Result<Execution> run(const models::Graph& graph, const models::Step& step);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

extern template class Executor<double>;
extern template class Executor<float>;

}  // namespace gambrel::kernels

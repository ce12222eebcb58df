// Inside kernels/ only: what a reference kernel sees of one execution of an operator on one rank.
#pragma once

#include <algorithm>
#include <cmath>
#include <string>
#include <string_view>
#include <vector>

#include "kernels/executor/buffer.hpp"
#include "kernels/executor/executor.hpp"
#include "kernels/executor/fast_kernels.hpp"
#include "kernels/executor/mesh.hpp"
#include "kernels/weights/weights.hpp"
#include "models/graph.hpp"

namespace gambrel::kernels {

inline std::size_t whole(double extent) { return static_cast<std::size_t>(std::llround(extent)); }

template <class T>
struct OpRun {
  const models::Op& op;
  std::string_view path;       ///< of the operator within its layer, "attn.qkv"
  const models::Graph& graph;  ///< the forward graph
  const models::Op& forward;   ///< the operator there: `op` itself, or whose gradient it computes
  const models::ModelConfig& model;
  const models::LayerSpec* spec;
  const models::Step& step;
  const models::Sharding& sharding;
  const ExecutorOptions& options;
  RankPlace place;
  LayerCut cut;
  const Weights& weights;
  RankTokens tokens;
  std::vector<View<T>> reads, writes;           ///< in the order of the operator's uses
  std::vector<T> sinks;                         ///< of a softmax in memory: one a head
  std::vector<FastKernels::Packed> packed = {};  ///< of the second operand, where a fast product wants it so
  double loss_scale = 1;                        ///< of a loss' gradient: one over the rows of the whole batch
  double products = 0, vector = 0;              ///< FLOPs done: of contractions, and on single elements

  std::size_t dim(models::Dim d) const { return whole(op.dims[d]); }
  std::size_t new_tokens() const { return whole(step.new_tokens); }
  std::size_t past() const { return whole(step.past_tokens); }
  std::size_t total() const { return past() + new_tokens(); }
  View<T>* find(std::string_view ending) {
    for (View<T>& view : reads)
      if (view.is(ending)) return &view;
    return nullptr;
  }
  View<T>* find_write(std::string_view ending) {
    for (View<T>& view : writes)
      if (view.is(ending)) return &view;
    return nullptr;
  }
  /// The first of this rank's rows among all tokens of its data rank: 0, or its part of those that ranks share out.
  std::size_t first_row(std::size_t rows) const {
    const std::size_t all = tokens.all_rows(), ranks = whole(sharding.tensor);
    if (rows >= all) return 0;
    return rows * ranks <= all ? place.tensor * rows : place.tensor / cut.columns * rows;
  }
  Token token(const View<T>& view, std::size_t row) const {
    const Buffer<T>& buffer = view.buffer();
    return buffer.tokens.empty() ? tokens.token(row, first_row(buffer.rows)) : buffer.tokens[row];
  }
  /// Of a vector with an element a head: where this rank's heads start, if context ranks have swapped heads for tokens.
  std::size_t first_head() const {
    const bool swapped = sharding.exchange == models::ContextExchange::ulysses && sharding.context > 1 &&
                         new_tokens() >= whole(sharding.context);
    return swapped ? place.context * dim(models::Dim::heads) : 0;
  }
  /// Whether context ranks have swapped a state space's heads for tokens.
  bool swaps_state() const { return sharding.context > 1 && new_tokens() >= whole(sharding.context); }
  /// First row of this rank's own part of `view`, of which the operator works on `rows` only.
  std::size_t own_row(const View<T>& view, std::size_t rows) const {
    return view.rows() > rows ? place.tensor * rows : 0;
  }
};

/// The reference kernel of a kind; null: there is none.
template <class T>
using Kernel = void (*)(OpRun<T>&);
template <class T>
Kernel<T> kernel_of(models::OpKind kind);
/// Of a backward graph's operator `suffix` ("dgrad") whose forward's is of that kind.
template <class T>
Kernel<T> backward_kernel_of(models::OpKind forward, std::string_view suffix);

// products
template <class T>
void run_gemm(OpRun<T>&);
template <class T>
void run_batched_gemm(OpRun<T>&);
template <class T>
void run_grouped_gemm(OpRun<T>&);
template <class T>
void run_expert_ffn(OpRun<T>&);
// attention
template <class T>
void run_attention(OpRun<T>&);
template <class T>
void run_attention_scores(OpRun<T>&);
template <class T>
void run_softmax(OpRun<T>&);
template <class T>
void run_attention_values(OpRun<T>&);
template <class T>
void run_kv_append(OpRun<T>&);
// rows
template <class T>
void run_norm(OpRun<T>&);
template <class T>
void run_rotary(OpRun<T>&);
template <class T>
void run_elementwise(OpRun<T>&);
template <class T>
void run_activation(OpRun<T>&);
template <class T>
void run_embedding(OpRun<T>&);
template <class T>
void run_sampling(OpRun<T>&);
template <class T>
void run_cross_entropy(OpRun<T>&);
// routing
template <class T>
void run_router_topk(OpRun<T>&);
template <class T>
void run_dispatch(OpRun<T>&);
template <class T>
void run_combine(OpRun<T>&);
// state space
template <class T>
void run_conv1d(OpRun<T>&);
template <class T>
void run_ssm_scan(OpRun<T>&);

/// An activation of `inner` outputs from `in` (2 inner if gated: gates first); returns its FLOPs.
template <class T>
double activate(models::Activation activation, const T* in, T* out, std::size_t inner);


}  // namespace gambrel::kernels

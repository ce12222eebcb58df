// Inside kernels/ only: all ranks of a sharding and what each of them holds; runs single operators and collectives on them.
#pragma once

#include <functional>
#include <list>
#include <map>
#include <string>
#include <vector>

#include "kernels/executor/collectives.hpp"
#include "kernels/executor/executor.hpp"
#include "kernels/executor/model_parts.hpp"
#include "kernels/executor/op_run.hpp"

namespace gambrel::kernels {

template <class T>
using Named = std::map<std::string, Buffer<T>, std::less<>>;

/// So many of a tensor's elements in its own format.
inline double bytes_of(const models::Tensor& tensor, double elements) {
  return tensor.elements() > 0 ? tensor.bytes() * (elements / tensor.elements()) : 0;
}

/// One rank: its place in both meshes and what it holds.
template <class T>
struct Rank {
  RankPlace place;
  MeshPlace mesh;
  RankTokens tokens;
  std::map<models::TensorId, Buffer<T>> values;  ///< activations (or gradients) of the part that runs
  Buffer<T> stream;                              ///< what the part before left
  Named<T> memory;                               ///< caches and states by their name in the layer written out
  Named<T> weights, gradients;                   ///< those that are held
  std::map<std::string, std::vector<FastKernels::Packed>, std::less<>> packed;
  std::vector<Named<T>> kept;                    ///< of each part what its backward pass reads, "" what entered it
};

/// A weight that has a gradient: where it stands, and the forward graph's tensor.
struct Trainable {
  std::string prefix, path;
  const models::LayerSpec* spec;
  models::Tensor tensor;
  LayerCut cut;
  std::size_t stage;
};

/// Where an operator of the running graph stands: the forward's operator that it is, or whose gradient it computes.
struct Running {
  const models::Graph& graph;  ///< that `op` is of
  const models::Op& op;
  models::OpId id;
  const models::Op& forward;
  std::string_view path;   ///< of the forward's within its layer
  std::string_view suffix;  ///< "dgrad"; "" of a forward operator
};

template <class T>
class Machine {
 public:
  Machine(const models::ModelConfig& model, const models::Sharding& sharding, const ExecutorOptions& options);
  Machine(const Machine&) = delete;  // weights refer to the model

  /// Looks up the operand that a use stands for; weights may be put into the list.
  using Lookup = std::function<Buffer<T>&(Rank<T>&, const models::Use&, std::list<Buffer<T>>&)>;

  void begin(const models::Graph& forward, const models::Graph& running, const models::Step& step);
  /// `stage`: that runs the part; the stream is handed over to it.
  void enter(const Part& part, std::size_t stage);
  void run_op(const Running& running, const Lookup& lookup);
  Diagnostics run_collective_op(const Running& running, const Lookup& lookup);
  /// Notes what is held now; `more`: besides what ranks hold.
  void weigh(std::size_t more = 0);
  Execution take();

  bool is_weight(const models::Tensor& t) const;
  std::string_view path_of(std::string_view name) const { return within_layer(name, part->spec); }
  std::string full_name(std::string_view name) const { return part->prefix + std::string(path_of(name)); }
  /// A weight of this rank: held, or drawn into the list.
  Buffer<T>& weight(Rank<T>& rank, const models::Op& op, const models::Tensor& tensor, std::list<Buffer<T>>& drawn);
  Buffer<T>& gradient(Rank<T>& rank, const models::Tensor& weight);
  /// A cache or state of this rank.
  Buffer<T>& memory(Rank<T>& rank, const models::Op& op, const models::Use& use, const models::Tensor& tensor);
  Weights::Placement places(const Trainable& weight, const Rank<T>& rank) const;
  std::vector<Rank<T>>& ranks() { return ranks_of_stage[stage]; }
  /// The pipeline stage of a part.
  std::size_t stage_of(std::size_t index, std::size_t parts) const;

  models::ModelConfig model;
  models::Sharding sharding;
  ExecutorOptions options;
  Weights weights;
  Mesh mesh;
  std::vector<std::vector<Rank<T>>> ranks_of_stage;
  std::size_t stage = 0;
  MicroBatch batch;
  std::map<std::string, Trainable> trainable;  ///< by the name in the layer written out

  // Of the run that goes on.
  const models::Graph* forward = nullptr;
  models::Step step;
  models::Shares shares;
  const Part* part = nullptr;
  Execution result;

 private:
  Buffer<T> drawn_weight(const Rank<T>& rank, const models::Op& op, const models::Tensor& tensor) const;
  void fill_cache(Rank<T>& rank, Buffer<T>& cache, const models::Tensor& tensor, const std::string& name) const;
  void draw(Buffer<T>& buffer, const std::string& name) const;
  void round_drawn(Buffer<T>& buffer, const models::Tensor& tensor) const;
  std::vector<T> sinks(Rank<T>& rank, const models::Op& op);
  void pack(Rank<T>& rank, OpRun<T>& run);
  void note(OpCount& count, const OpRun<T>& run, double seconds) const;
  void keep_results(OpRun<T>& run, const Rank<T>& rank);
  Buffer<T>* value_of(Rank<T>& rank, std::string_view path) const;
  void join_losses(std::vector<std::pair<Rank<T>*, Member<T>>>& group);
  void join_attention(std::vector<std::pair<Rank<T>*, Member<T>>>& group);
  const models::Op& normed_by(const models::Op& statistics) const;

  std::map<Token, std::vector<double>> logits_;
  std::map<Token, double> tokens_, losses_;
};

extern template class Machine<double>;
extern template class Machine<float>;

}  // namespace gambrel::kernels

// The dataflow graph IR: operators as vertices, tensors on the edges from their producer to their consumers.
#pragma once

#include <memory>
#include <vector>

#include "models/op.hpp"

namespace gambrel::models {

/// An edge of the graph: `consumer` reads the tensor that `producer` wrote.
struct Edge {
  OpId producer, consumer;
  TensorId tensor;
};

/// Repeated layers are stored once: their operators carry a count and their tensors the number of copies. The edge that
/// would lead from the end of a repeated layer to its own start is left out, so the graph is acyclic by construction:
/// an operator can only read tensors that were added before it.
class Graph {
 public:
  Graph();
  Graph(const Graph&);
  Graph(Graph&&) noexcept;
  Graph& operator=(Graph) noexcept;
  ~Graph();

  TensorId add(Tensor tensor);
  /// Adds the operator; reading a tensor makes an edge from the operator that wrote it last.
  OpId add(Op op);

  const std::vector<Op>& ops() const { return ops_; }
  const std::vector<Tensor>& tensors() const { return tensors_; }
  const Op& op(OpId id) const { return ops_[id]; }
  const Tensor& tensor(TensorId id) const { return tensors_[id]; }

  std::vector<Edge> edges() const;
  /// Every producer before its consumers.
  std::vector<OpId> topological_order() const;
  /// Largest sum of activations alive at one time when operators run in the order they were added, in bytes.
  double peak_activation_bytes() const;
  /// GraphViz text, operators labelled by name and kind, edges by shape and type.
  std::string to_dot() const;

 private:
  struct Wiring;  // Boost.Graph, in the .cpp only
  std::vector<Op> ops_;
  std::vector<Tensor> tensors_;
  std::unique_ptr<Wiring> wiring_;
};

/// Work of ONE execution of an operator: the only place where bytes come from its operands.
struct Work {
  double flops = 0, vector_flops = 0;
  std::array<double, role_count> read_bytes{}, written_bytes{};
  double conversions = 0;  ///< vector operations that change formats: see work_of
  double narrow = 0;       ///< elements of at most 8 bits that a contraction reads in its own format: a chip without it widens them
  double expanded = 0;     ///< elements of sparse weights to be laid out densely, unless the unit takes them as they are
  double bytes(Role role) const;
  double bytes() const;
};
/// Conversions: two for an element that a contraction reads in fewer bits than it computes in (convert, times the scale;
/// Frantar et al. 2024, arXiv 2408.11743 section 3.2), once an execution; four for an activation or key written in at most
/// 8 bits (magnitude, maximum of the block, times the inverse scale, round).
Work work_of(const Graph& graph, const Op& op);

/// The graph as flat rows for evaluation: one a distinct operator, no strings, no Boost.
struct LoweredOp {
  OpKind kind = OpKind::gemm;
  Format math = Format::bf16;
  bool sparse_weights = false;
  double count = 1;
  Dims dims;
  Work work;
  bool fused = false;
};
std::vector<LoweredOp> lower(const Graph& graph);

}  // namespace gambrel::models

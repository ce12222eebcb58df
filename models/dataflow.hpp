// Inside models/ only: a forward graph seen value by value. A tensor that is written in place holds one value after
// another, and a backward pass may need several of them.
#pragma once

#include <limits>
#include <utility>
#include <vector>

#include "models/graph.hpp"

namespace gambrel::models {

using ValueId = std::uint32_t;
inline constexpr std::uint32_t no_id = std::numeric_limits<std::uint32_t>::max();

struct Value {
  TensorId tensor = no_id;
  OpId writer = no_id;           ///< none: a parameter, or an input of the graph
  bool differentiable = false;  ///< floating, and a parameter or computed from one
  double flows = 0;             ///< reads through which a gradient comes back
  double flowing = 0;           ///< sum of those reads' elements
  bool alone = true;            ///< no gradient that comes back is another tensor's handed on
  bool seed = false;            ///< its gradient is an input of the backward pass
};

struct Dataflow {
  std::vector<Value> values;
  std::vector<std::vector<ValueId>> of_use;  ///< [operator][use]
  std::vector<bool> active;                  ///< of each operator: a gradient comes back through it

  bool is_parameter(const Graph& graph, ValueId v) const;
};

/// The loss is where gradients start; a graph without one (a pipeline stage's) starts at what nobody reads.
Dataflow analyse(const Graph& forward);

bool is_weight(const Tensor& tensor);
bool is_loss(OpKind kind);
/// Reads and writes one tensor.
bool in_place(const Op& op);
/// The index of the use that reads the tensor which use `write` writes; or no_id.
std::uint32_t read_in_place(const Op& op, std::uint32_t write);
/// Its gradient is the one that came back, untouched: a sum's terms, an all-reduce's input.
bool hands_on(const Graph& graph, const Op& op);
/// Adds up statistics over ranks that the operator after it reads: its gradient is that operator's affair.
bool is_statistics(const Op& op);
/// A gradient can come back through this read: not through indices, labels or masks.
bool lets_through(const Graph& graph, const Op& op, std::uint32_t use);
std::vector<std::uint32_t> reads_of(const Op& op);
std::vector<std::uint32_t> writes_of(const Op& op);

/// What an elementwise operator does, from its operands.
enum class Elementwise { sum, product, dropout };
Elementwise elementwise_of(const Graph& graph, const Op& op);

}  // namespace gambrel::models

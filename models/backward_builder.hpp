// Inside models/ only: walks a forward graph from its end to its start and adds what each operator's gradient takes.
#pragma once

#include <initializer_list>
#include <map>
#include <set>
#include <string>
#include <string_view>
#include <tuple>
#include <vector>

#include "models/backward.hpp"
#include "models/dataflow.hpp"

namespace gambrel::models {

/// Equal layers, or the operators before or after them.
struct Run {
  ModelPart part;
  int first, step;
  explicit Run(const Op& op) : part(op.part), first(op.first_layer), step(op.layer_step) {}
  auto operator<=>(const Run&) const = default;
};

class BackwardBuilder {
 public:
  BackwardBuilder(const Graph& forward, Recompute recompute, const TrainingPrecision& precision);
  void run();

  Graph take() { return std::move(out_); }
  const Graph& graph() const { return out_; }

  /// Elements of the forward's values that were read, by the run that read them and the tensor of `graph()` they are in.
  using Kept = std::map<std::pair<Run, TensorId>, double>;
  Kept kept() const;
  bool is_kept(TensorId t) const { return kept_tensors_.contains(t); }
  bool is_weight_gradient(TensorId t) const { return weight_gradients_.contains(t); }

 private:
  struct Gradient {
    TensorId tensor = no_id;
    std::vector<TensorId> terms;  ///< those that came back, where they must be added up
  };

  // What was computed forward.
  Use value(OpId op, std::uint32_t use);
  TensorId stored(ValueId v, OpId reader, std::uint32_t use);
  TensorId copied(ValueId v);
  Tensor tensor_of(ValueId v) const;
  TensorId gathered_again(ValueId v);
  bool is_gathered(ValueId v) const;
  ValueId through_identities(ValueId v) const;
  void recompute(OpId first, OpId last);
  OpId core_begin(OpId values) const;

  // Gradients.
  bool wanted(OpId op, std::uint32_t use) const;
  bool comes_back(OpId op, std::uint32_t use) const;
  Use arrived(OpId op, std::uint32_t use);
  void send(Op& gradient, OpId op, std::uint32_t use);
  void hand_on(OpId op, std::uint32_t to, std::uint32_t from);
  void settle(OpId op);
  bool in_parts(ValueId v) const;
  bool partner(OpId op, std::uint32_t read) const;  ///< is written in place, and that value's gradient comes back
  TensorId new_gradient(ValueId v, std::string_view suffix, double share = 1);
  TensorId weight_gradient(ValueId v);

  // One rule for each kind of operator.
  void differentiate(OpId op);
  void product(OpId op);
  void input_gradient(OpId op, std::uint32_t x, std::uint32_t w, std::uint32_t y);
  void weight_gradient_of(OpId op, std::uint32_t x, std::uint32_t w, std::uint32_t y);
  void bias_gradient(OpId op, std::uint32_t bias, std::uint32_t y);
  void attention_piece(OpId op, std::string_view left, std::string_view right);
  std::size_t left_operands(OpId op) const;
  void loss(OpId op);
  void convolution(OpId op);
  void elementwise(OpId op);
  void dropout(OpId op);
  void collective(OpId op);
  void row_sums(Op& gradient, OpId op);
  /// Which of the forward's values an operator that computes all gradients at once reads.
  struct Needs {
    bool inputs = true, output = false;
    int only_input = -1;  ///< one of the reads alone
  };
  void at_once(OpId op, OpKind kind, Needs needs, double terms_factor = 1);

  Op named(OpId op, std::string_view suffix) const;
  Op named(OpId op, OpKind kind, std::string_view suffix) const;

  const Graph& forward_;
  const Recompute recompute_;
  const TrainingPrecision precision_;
  const Dataflow flow_;
  Graph out_;
  std::vector<Gradient> gradients_;                  // of each value
  std::vector<TensorId> copies_, again_, gathered_;  // of each value: kept by the forward, recomputed, gathered again
  std::map<TensorId, TensorId> of_weight_;
  std::map<std::pair<OpId, std::uint32_t>, ValueId> reads_;  // of kept values, by the forward's reads
  bool recomputing_ = false;
  std::set<TensorId> kept_tensors_, weight_gradients_;
};

}  // namespace gambrel::models

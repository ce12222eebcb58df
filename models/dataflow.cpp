#include "models/dataflow.hpp"

#include <algorithm>

namespace gambrel::models {
namespace {

bool any_loss(const Graph& graph) {
  return std::ranges::any_of(graph.ops(), [](const Op& op) { return is_loss(op.kind); });
}

/// Splits tensors into values: each write starts a new one.
class Values {
 public:
  explicit Values(const Graph& graph) : graph_(graph), current_(graph.tensors().size(), no_id) {
    for (OpId id = 0; id < graph.ops().size(); ++id) add(id);
  }
  Dataflow take() { return std::move(flow_); }

 private:
  void add(OpId id) {
    const Op& op = graph_.op(id);
    std::vector<ValueId> uses(op.uses.size(), no_id);
    bool differentiable = false;
    for (std::uint32_t i : reads_of(op)) {
      uses[i] = read(op.uses[i].tensor);
      differentiable |= flow_.values[uses[i]].differentiable && lets_through(graph_, op, i);
    }
    for (std::uint32_t i : writes_of(op)) uses[i] = write(op.uses[i].tensor, id, differentiable);
    flow_.of_use.push_back(std::move(uses));
  }

  ValueId read(TensorId t) {
    if (current_[t] == no_id) current_[t] = push({.tensor = t, .differentiable = is_weight(graph_.tensor(t))});
    return current_[t];
  }

  ValueId write(TensorId t, OpId writer, bool differentiable) {
    differentiable = differentiable && is_floating(graph_.tensor(t).type.format);
    return current_[t] = push({.tensor = t, .writer = writer, .differentiable = differentiable});
  }

  ValueId push(Value v) {
    flow_.values.push_back(v);
    return static_cast<ValueId>(flow_.values.size() - 1);
  }

  const Graph& graph_;
  std::vector<ValueId> current_;
  Dataflow flow_;
};

void mark_seeds(const Graph& graph, Dataflow& flow) {
  if (any_loss(graph)) return;
  for (Value& v : flow.values) v.seed = v.differentiable && v.writer != no_id && graph.tensor(v.tensor).role == Role::activation;
  for (OpId id = 0; id < graph.ops().size(); ++id)
    for (std::uint32_t i : reads_of(graph.op(id))) flow.values[flow.of_use[id][i]].seed = false;
}

/// Reads all of some rows, which others may read too; several operators that each read some columns share nothing.
bool reads_rows(const Tensor& t, const Op& op) {
  const double width = t.shape.empty() ? 1 : t.shape.back();
  switch (op.kind) {
    case OpKind::gemm: case OpKind::grouped_gemm: case OpKind::expert_ffn: return op.dims[Dim::k] == width;
    case OpKind::batched_gemm: return op.dims[Dim::batch] * op.dims[Dim::k] == width;
    case OpKind::dispatch: return op.dims[Dim::n] == width;
    default: return false;
  }
}

/// From the loss back: which operators a gradient passes, and how many come together at each value.
void mark_flows(const Graph& graph, Dataflow& flow) {
  flow.active.assign(graph.ops().size(), false);
  for (OpId id = static_cast<OpId>(graph.ops().size()); id-- > 0;) {
    const Op& op = graph.op(id);
    const std::vector<std::uint32_t> writes = writes_of(op);
    const bool active = is_loss(op.kind) || std::ranges::any_of(writes, [&](std::uint32_t i) {
                          const Value& v = flow.values[flow.of_use[id][i]];
                          return v.differentiable && (v.seed || v.flows > 0);
                        });
    flow.active[id] = active;
    if (!active) continue;
    for (std::uint32_t i : reads_of(op)) {
      Value& v = flow.values[flow.of_use[id][i]];
      if (!v.differentiable || !lets_through(graph, op, i)) continue;
      v.flows += 1;
      v.flowing += op.uses[i].elements;
      v.alone = v.alone && !hands_on(graph, op) && !in_place(op) && !reads_rows(graph.tensor(v.tensor), op);
    }
  }
}

std::vector<std::uint32_t> uses_of(const Op& op, bool write) {
  std::vector<std::uint32_t> found;
  found.reserve(op.uses.size());
  for (std::uint32_t i = 0; i < op.uses.size(); ++i)
    if (op.uses[i].write == write) found.push_back(i);
  return found;
}

}  // namespace

std::vector<std::uint32_t> reads_of(const Op& op) { return uses_of(op, false); }
std::vector<std::uint32_t> writes_of(const Op& op) { return uses_of(op, true); }

bool is_weight(const Tensor& tensor) { return tensor.role == Role::weight || tensor.role == Role::expert_weight; }
bool is_loss(OpKind kind) { return kind == OpKind::cross_entropy || kind == OpKind::sampling; }

std::uint32_t read_in_place(const Op& op, std::uint32_t write) {
  for (std::uint32_t i = 0; i < op.uses.size(); ++i)
    if (!op.uses[i].write && op.uses[i].tensor == op.uses[write].tensor) return i;
  return no_id;
}

bool in_place(const Op& op) {
  for (std::uint32_t i = 0; i < op.uses.size(); ++i)
    if (op.uses[i].write && read_in_place(op, i) != no_id) return true;
  return false;
}

Elementwise elementwise_of(const Graph& graph, const Op& op) {
  double most = 0, least = std::numeric_limits<double>::max();
  for (const Use& use : op.uses) {
    if (use.write && !is_floating(graph.tensor(use.tensor).type.format)) return Elementwise::dropout;
    if (use.write) continue;
    most = std::max(most, use.elements);
    least = std::min(least, use.elements);
  }
  return least < most ? Elementwise::product : Elementwise::sum;  // a factor is one for each row
}

bool hands_on(const Graph& graph, const Op& op) {
  if (op.kind == OpKind::elementwise) return elementwise_of(graph, op) == Elementwise::sum;
  if (op.kind != OpKind::collective || !op.communication) return false;
  const Communication& c = *op.communication;
  return c.forward_only || (c.kind == CollectiveKind::all_reduce && !c.backward_only);
}

bool is_statistics(const Op& op) {
  return op.communication && op.communication->kind == CollectiveKind::all_reduce && !op.communication->backward_only && !in_place(op);
}

bool lets_through(const Graph& graph, const Op& op, std::uint32_t use) {
  const bool first = std::none_of(op.uses.begin(), op.uses.begin() + use, [](const Use& u) { return !u.write; });
  if (op.kind == OpKind::embedding) return is_weight(graph.tensor(op.uses[use].tensor));
  if (op.kind == OpKind::dispatch || is_loss(op.kind)) return first;
  return !is_statistics(op);
}

bool Dataflow::is_parameter(const Graph& graph, ValueId v) const {
  return values[v].writer == no_id && is_weight(graph.tensor(values[v].tensor));
}

Dataflow analyse(const Graph& forward) {
  Dataflow flow = Values(forward).take();
  mark_seeds(forward, flow);
  mark_flows(forward, flow);
  return flow;
}

}  // namespace gambrel::models

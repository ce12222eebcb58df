// Inside kernels/ only: a forward graph run part by part: layers written out, ranks in step, values freed after their last use.
#pragma once

#include "kernels/executor/machine.hpp"

namespace gambrel::kernels {

/// A forward pass on a machine.
template <class T>
class ForwardPass {
 public:
  ForwardPass(Machine<T>& machine, const models::Graph& graph, const models::Step& step, const Needed& needed)
      : machine_(machine), graph_(graph), needed_(needed), written_(graph.tensors().size(), false) {
    machine.begin(graph, graph, step);
    for (const models::Op& op : graph.ops())
      for (const models::Use& use : op.uses)
        if (use.write) written_[use.tensor] = true;
  }

  Diagnostics run() {
    const std::vector<Part> parts = parts_of(graph_, machine_.model);
    parts_ = parts.size();
    for (auto& ranks : machine_.ranks_of_stage)
      for (Rank<T>& rank : ranks) rank.kept.assign(parts.size(), {});
    for (std::size_t i = 0; i < parts.size(); ++i) {
      machine_.enter(parts[i], machine_.stage_of(i, parts.size()));
      part_ = &parts[i], index_ = i;
      if (Diagnostics failed = run_part(); !failed.empty()) return failed;
    }
    return {};
  }

 private:
  Diagnostics run_part() {
    std::map<models::TensorId, std::size_t> last;
    for (std::size_t k = 0; k < part_->ops.size(); ++k)
      for (const models::Use& use : graph_.op(part_->ops[k]).uses)  // probabilities until ranks have joined their losses
        last[use.tensor] = graph_.op(part_->ops[k]).kind == models::OpKind::cross_entropy ? part_->ops.size() - 1 : k;
    const auto& ending = graph_.op(part_->ops.back()).uses;
    const bool goes_on = index_ + 1 < parts_;
    const models::TensorId leaves = std::ranges::find_if(ending, [](const models::Use& use) { return use.write; })->tensor;
    names_.clear();
    for (Rank<T>& rank : machine_.ranks()) {
      rank.values.clear();
      if (needed_.any()) rank.kept[index_][""] = rank.stream;
    }
    for (std::size_t k = 0; k < part_->ops.size(); ++k) {
      if (Diagnostics failed = run_op(part_->ops[k]); !failed.empty()) return failed;
      for (const auto& [tensor, when] : last)
        if (when == k && (tensor != leaves || !goes_on)) retire(tensor);
    }
    for (Rank<T>& rank : machine_.ranks()) {
      rank.stream = goes_on ? std::move(rank.values[leaves]) : Buffer<T>();
      rank.values.clear();
    }
    return {};
  }

  Diagnostics run_op(models::OpId id) {
    const models::Op& op = graph_.op(id);
    machine_.result.ops[id].executions += 1;
    if (op.communication && op.communication->backward_only) return hand_on(op), Diagnostics{};
    for (const models::Use& use : op.uses)
      if (use.write && works_in_place(op, use.tensor)) keep_copy(use.tensor);
    const Running running{graph_, op, id, op, machine_.path_of(op.name), ""};
    const auto lookup = [&](Rank<T>& rank, const models::Use& use, std::list<Buffer<T>>& drawn) -> Buffer<T>& {
      return operand(rank, op, use, drawn);
    };
    if (op.kind != models::OpKind::collective) machine_.run_op(running, lookup);
    else if (Diagnostics failed = machine_.run_collective_op(running, lookup); !failed.empty()) return failed;
    for (const models::Use& use : op.uses)
      if (use.write) names_[use.tensor] = value_name(graph_, op, use);
    return {};
  }

  /// What stands for a collective of the backward pass alone moves nothing.
  void hand_on(const models::Op& op) {
    const models::Use &in = op.uses.front(), &out = op.uses.back();
    if (in.tensor == out.tensor) return;
    for (Rank<T>& rank : machine_.ranks()) {
      Buffer<T> same = activation(rank, op, in);
      rank.values[out.tensor] = std::move(same);
    }
    names_[out.tensor] = graph_.tensor(out.tensor).name;
  }

  Buffer<T>& operand(Rank<T>& rank, const models::Op& op, const models::Use& use, std::list<Buffer<T>>& drawn) {
    const models::Tensor& tensor = graph_.tensor(use.tensor);
    if (machine_.is_weight(tensor)) return machine_.weight(rank, op, tensor, drawn);
    if (tensor.role == models::Role::kv_cache || tensor.role == models::Role::state) return machine_.memory(rank, op, use, tensor);
    return activation(rank, op, use);
  }

  /// What was not computed in this part is the stream that enters it.
  Buffer<T>& activation(Rank<T>& rank, const models::Op& op, const models::Use& use) {
    const auto found = rank.values.find(use.tensor);
    if (!use.write && found == rank.values.end() && written_[use.tensor]) return rank.stream;
    if (found != rank.values.end() && (!use.write || works_in_place(op, use.tensor))) return found->second;
    const models::Tensor& tensor = graph_.tensor(use.tensor);
    return rank.values[use.tensor] = Buffer<T>(row_count(tensor), whole(tensor.shape.back()));
  }

  bool is_needed(models::TensorId tensor) const {
    const auto name = names_.find(tensor);
    return name != names_.end() && needed_.holds(name->second);
  }

  /// Of what is overwritten, where the backward pass reads the value before.
  void keep_copy(models::TensorId tensor) {
    if (!is_needed(tensor)) return;
    for (Rank<T>& rank : machine_.ranks()) rank.kept[index_][std::string(names_[tensor])] = rank.values[tensor];
  }

  /// After its last use a value is freed, or kept for the backward pass.
  void retire(models::TensorId tensor) {
    for (Rank<T>& rank : machine_.ranks()) {
      const auto found = rank.values.find(tensor);
      if (found == rank.values.end()) continue;
      if (is_needed(tensor)) rank.kept[index_][std::string(names_[tensor])] = std::move(found->second);
      rank.values.erase(found);
    }
  }

  Machine<T>& machine_;
  const models::Graph& graph_;
  const Needed& needed_;
  std::vector<bool> written_;  ///< tensors that some operator writes
  const Part* part_ = nullptr;
  std::size_t index_ = 0, parts_ = 0;
  std::map<models::TensorId, std::string_view> names_;  ///< under which a backward graph knows what tensors hold now
};

}  // namespace gambrel::kernels

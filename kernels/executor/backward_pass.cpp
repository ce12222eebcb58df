// Values are found by the names under which the backward graph knows them.
#include "kernels/executor/backward_pass.hpp"

#include <fmt/format.h>

#include "kernels/executor/norms.hpp"

namespace gambrel::kernels {

using models::Graph;
using models::Op;
using models::OpId;
using models::OpKind;
using models::Tensor;
using models::TensorId;
using models::Use;

namespace {

bool is_weight(const Tensor& t) { return t.role == models::Role::weight || t.role == models::Role::expert_weight; }

/// "layers.0.attn.qkv" of "layers.0.attn.qkv.grad.1".
std::string_view without_gradient(std::string_view name) { return name.substr(0, name.find(".grad")); }

/// The forward operator with the longest name that `name` starts with, and what stands behind it.
template <class Ops>
std::pair<OpId, std::string_view> forward_op(const Ops& ops, std::string_view name) {
  for (std::size_t end = name.size(); (end = name.rfind('.', end - 1)) != name.npos && end > 0;)
    if (const auto found = ops.find(name.substr(0, end)); found != ops.end()) return {found->second, name.substr(end + 1)};
  return {0, name};
}

std::map<std::string, OpId, std::less<>> ops_by_name(const Graph& graph) {
  std::map<std::string, OpId, std::less<>> ops;
  for (OpId id = 0; id < graph.ops().size(); ++id) ops[graph.op(id).name] = id;
  return ops;
}

}  // namespace

template <class T>
Diagnostics check_backward(const Graph& forward, const Graph& backward) {
  const auto ops = ops_by_name(forward);
  for (const Op& op : backward.ops()) {
    const auto [id, suffix] = forward_op(ops, op.name);
    if (op.kind == OpKind::collective || suffix == "recompute" || suffix == "again" || op.name.ends_with(".sum.backward")) continue;
    if (!backward_kernel_of<T>(forward.op(id).kind, suffix))
      return {{{}, fmt::format("there is no reference kernel for {}", op.name), "leave dropout out", Fault::input}};
  }
  return {};
}

template <class T>
BackwardPass<T>::BackwardPass(Machine<T>& machine, const Graph& forward, const Graph& backward, const models::Step& step)
    : machine_(machine), forward_(forward), graph_(backward), ops_(ops_by_name(forward)),
      parts_(parts_of(backward, machine.model)), forward_parts_(parts_of(forward, machine.model)),
      written_(forward.tensors().size(), false) {
  machine.begin(forward, backward, step);
  for (TensorId t = 0; t < forward.tensors().size(); ++t) tensors_[forward.tensor(t).name] = t;
  for (const Op& op : forward.ops())
    for (const Use& use : op.uses)
      if (use.write) written_[use.tensor] = true;
}

template <class T>
const Tensor* BackwardPass<T>::forward_tensor(std::string_view name) const {
  if (const auto found = tensors_.find(without_gradient(name)); found != tensors_.end())
    return &forward_.tensor(found->second);
  const auto op = ops_.find(name);  // written in place
  if (op == ops_.end()) return nullptr;
  for (const Use& use : forward_.op(op->second).uses)
    if (use.write) return &forward_.tensor(use.tensor);
  return nullptr;
}

template <class T>
const Tensor* BackwardPass<T>::weight_of_gradient(std::string_view name) const {
  if (!name.ends_with(".grad")) return nullptr;
  const auto found = tensors_.find(name.substr(0, name.size() - 5));
  return found != tensors_.end() && is_weight(forward_.tensor(found->second)) ? &forward_.tensor(found->second) : nullptr;
}

// The forward's part read one tensor that an operator of another part wrote: the stream. "": the first part.
template <class T>
std::string BackwardPass<T>::entering_gradient(std::size_t part) const {
  std::map<TensorId, bool> here;
  for (OpId id : forward_parts_[part].ops)
    for (const Use& use : forward_.op(id).uses) {
      if (!use.write && !here.contains(use.tensor) && written_[use.tensor]) return forward_.tensor(use.tensor).name + ".grad";
      if (use.write) here[use.tensor] = true;
    }
  return "";
}

template <class T>
Diagnostics BackwardPass<T>::run() {
  for (std::size_t i = parts_.size(); i-- > 0;) {
    machine_.enter(parts_[i], machine_.stage_of(i, parts_.size()));
    index_ = i;
    if (Diagnostics failed = run_part(); !failed.empty()) return failed;
  }
  return {};
}

template <class T>
Diagnostics BackwardPass<T>::run_part() {
  const std::vector<OpId>& ops = parts_[index_].ops;
  const std::string leaves = entering_gradient(index_);
  last_.clear();
  bool goes_on = false;
  for (std::size_t k = 0; k < ops.size(); ++k)
    for (const Use& use : graph_.op(ops[k]).uses) {
      last_[use.tensor] = k;
      if (use.write && graph_.tensor(use.tensor).name == leaves) leaves_ = use.tensor, goes_on = true;
    }
  if (goes_on) last_[leaves_] = ops.size();
  for (Rank<T>& rank : machine_.ranks()) rank.values.clear();
  for (std::size_t k = 0; k < ops.size(); ++k) {
    if (Diagnostics failed = run_op(ops[k]); !failed.empty()) return failed;
    free_after(k);
  }
  for (Rank<T>& rank : machine_.ranks()) {
    if (goes_on) rank.stream = std::move(rank.values[leaves_]);
    rank.values.clear();
    rank.kept[index_].clear();
  }
  return {};
}

template <class T>
void BackwardPass<T>::free_after(std::size_t op) {
  for (const auto& [tensor, when] : last_)
    if (when == op)
      for (Rank<T>& rank : machine_.ranks()) rank.values.erase(tensor);
}

template <class T>
Diagnostics BackwardPass<T>::run_op(OpId id) {
  const Op& op = graph_.op(id);
  machine_.result.ops[id].executions += 1;
  const bool sums = op.name.ends_with(".sum.backward");  // of no operator of the forward's
  const auto [forward_id, behind] = forward_op(ops_, op.name);
  const Op& forward = sums ? op : forward_.op(forward_id);
  const bool again = behind == "recompute" || behind == "again";
  const Running running{graph_, op, id, forward, machine_.path_of(forward.name), sums ? "sum.backward" : again ? "" : behind};
  const auto lookup = [&](Rank<T>& rank, const Use& use, Drawn& drawn) -> Buffer<T>& { return operand(rank, running, use, drawn); };
  if (op.kind != OpKind::collective) {
    machine_.run_op(running, lookup);
    return {};
  }
  if (running.suffix == "backward" && running.forward.name.ends_with(".statistics")) return add_statistics(running), Diagnostics{};
  if (Diagnostics failed = machine_.run_collective_op(running, lookup); !failed.empty()) return failed;
  for (const Use& use : op.uses)  // weights that were gathered: added to what other micro-batches sent
    if (const Tensor* weight = weight_of_gradient(graph_.tensor(use.tensor).name); use.write && weight)
      for (Rank<T>& rank : machine_.ranks()) {
        Buffer<T>&sum = machine_.gradient(rank, *weight), &term = rank.values[use.tensor];
        std::transform(sum.data.begin(), sum.data.end(), term.data.begin(), sum.data.begin(), std::plus<>());
      }
  return {};
}

template <class T>
Buffer<T>& BackwardPass<T>::operand(Rank<T>& rank, const Running& running, const Use& use, Drawn& drawn) {
  const Tensor& tensor = graph_.tensor(use.tensor);
  if (is_weight(tensor)) return machine_.weight(rank, running.op, tensor, drawn);
  if (const Tensor* weight = weight_of_gradient(tensor.name)) {
    Buffer<T>& sum = machine_.gradient(rank, *weight);
    if (running.op.kind != OpKind::collective) return sum;
    return rank.values[use.tensor] = Buffer<T>(sum.rows, sum.width);
  }
  if (const auto found = rank.values.find(use.tensor); found != rank.values.end()) return found->second;
  return use.write ? write(rank, running, use, drawn) : read(rank, tensor, use.tensor);
}

template <class T>
Buffer<T>* BackwardPass<T>::value(Rank<T>& rank, std::string_view name) {
  const auto kept = rank.kept[index_].find(name);
  if (kept != rank.kept[index_].end()) return &kept->second;
  for (auto& [id, buffer] : rank.values)
    if (graph_.tensor(id).name == name) return &buffer;
  return nullptr;
}

// Not computed in this part: kept by the forward pass, the stream that entered it or the gradient that came back to its end. Indices
// and labels have no elements that anyone looks at.
template <class T>
Buffer<T>& BackwardPass<T>::read(Rank<T>& rank, const Tensor& tensor, TensorId id) {
  if (tensor.name.find(".grad") != tensor.name.npos) return rank.stream;
  if (Buffer<T>* found = value(rank, tensor.name)) return *found;
  if (!is_floating(tensor.type.format))
    return rank.values[id] = Buffer<T>(row_count(tensor), whole(tensor.shape.back()));
  return rank.kept[index_].find("")->second;
}

// As large as the tensor that it is the gradient of, or that is computed once more; what is done in place starts from what was there.
template <class T>
Buffer<T>& BackwardPass<T>::write(Rank<T>& rank, const Running& running, const Use& use, Drawn& drawn) {
  const Tensor& tensor = graph_.tensor(use.tensor);
  if (running.suffix.empty() && &running.op != &running.forward) {
    const auto& uses = running.op.uses;
    const auto which = static_cast<std::size_t>(&use - uses.data());
    const auto& forward = running.forward.uses;
    for (std::size_t i = 0; i < uses.size() && which < forward.size() && forward.size() == uses.size(); ++i)
      if (!uses[i].write && forward[i].tensor == forward[which].tensor) {
        Buffer<T> copy = operand(rank, running, uses[i], drawn);
        return rank.values[use.tensor] = std::move(copy);
      }
  }
  const std::string_view name = without_gradient(tensor.name);
  const Tensor* shape = forward_tensor(name);
  if (!shape) shape = &tensor;
  const Buffer<T>* known = value(rank, name);  // what went round a ring has as many rows as it has, whatever is reached
  Buffer<T> fresh(known ? known->rows : row_count(*shape), whole(shape->shape.back()));
  if (known) {
    fresh.know(*known);
    if (tensor.name.find(".grad") != tensor.name.npos) fresh.notes = known->notes;
  }
  return rank.values[use.tensor] = std::move(fresh);
}

// Of a norm over a row that ranks share: sums of dy gain x, and of dy gain if it centres. The operator stands for them; x and gain
// are the norm's.
template <class T>
void BackwardPass<T>::add_statistics(const Running& running) {
  const std::string_view norm_name = std::string_view(running.forward.name).substr(0, running.forward.name.rfind('.'));
  const Op& norm = forward_.op(ops_.find(norm_name)->second);
  const bool centres = norm.kind == OpKind::layer_norm;
  const auto path = machine_.path_of(norm.name);
  const auto sections = norm_sections(path, machine_.model, machine_.part->spec,
                                      cut_of(machine_.model, machine_.shares, machine_.part->spec, path),
                                      whole(norm.dims[models::Dim::n]));
  const Op& gradient = *std::ranges::find_if(graph_.ops(), [&](const Op& op) { return op.name == norm.name + ".backward"; });
  const Running of_norm{graph_, gradient, running.id, norm, path, "backward"};
  const TensorId sums = running.op.uses.back().tensor;
  Buffer<T> all;
  std::map<std::size_t, Buffer<T>> groups;
  const models::Communication& c = *running.op.communication;
  for (std::size_t r = 0; r < machine_.ranks().size(); ++r) {
    Rank<T>& rank = machine_.ranks()[r];
    Drawn drawn;
    const Buffer<T>&x = operand(rank, of_norm, gradient.uses[0], drawn), &gain = operand(rank, of_norm, gradient.uses[1], drawn),
          &dy = operand(rank, running, running.op.uses[0], drawn);
    Buffer<T> mine(x.rows, centres ? 2 : sections.size());
    for (std::size_t row = 0; row < x.rows; ++row)
      for (std::size_t s = 0; s < sections.size(); ++s)
        for (std::size_t i = 0; i < sections[s].width; ++i) {
          const T slope = dy.row(row)[sections[s].first + i] * gain.data[sections[s].gain + i];
          if (centres) mine.row(row)[0] += slope;
          mine.row(row)[centres ? 1 : s] += slope * x.row(row)[sections[s].first + i];
        }
    Buffer<T>& sum = groups[machine_.mesh.group(c.axis, whole(c.ranks), whole(c.stride), r)];
    if (sum.rows == 0) sum = std::move(mine);
    else std::transform(sum.data.begin(), sum.data.end(), mine.data.begin(), sum.data.begin(), std::plus<>());
  }
  for (std::size_t r = 0; r < machine_.ranks().size(); ++r)
    machine_.ranks()[r].values[sums] = groups[machine_.mesh.group(c.axis, whole(c.ranks), whole(c.stride), r)];
}

template class BackwardPass<double>;
template class BackwardPass<float>;
template Diagnostics check_backward<double>(const Graph&, const Graph&);
template Diagnostics check_backward<float>(const Graph&, const Graph&);

}  // namespace gambrel::kernels

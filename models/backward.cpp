// The walk: values that backward reads, gradients that come back and are added up, and layers that are run again.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "models/backward_builder.hpp"

namespace gambrel::models {
namespace {

/// Gradients of activations keep at least 16 bits, whatever the activations were rounded to.
DataType gradient_type(const DataType& type) { return type.element_bits() < 16 ? DataType(Format::bf16) : type; }

/// Keys and values that went round the context axis are sent again, everything that was gathered is gathered again.
bool is_sent_again(const Communication& c) {
  return c.kind == CollectiveKind::all_gather || (c.kind == CollectiveKind::point_to_point && c.axis == MeshAxis::context);
}

}  // namespace

BackwardBuilder::BackwardBuilder(const Graph& forward, Recompute recompute, const TrainingPrecision& precision)
    : forward_(forward), recompute_(recompute), precision_(precision), flow_(analyse(forward)) {
  const std::size_t values = flow_.values.size();
  gradients_.resize(values);
  for (auto* tensors : {&copies_, &again_, &gathered_}) tensors->assign(values, no_id);
}

void BackwardBuilder::run() {
  auto last = static_cast<OpId>(forward_.ops().size());
  while (last > 0) {
    const Run run(forward_.op(last - 1));
    OpId first = last - 1;
    while (first > 0 && Run(forward_.op(first - 1)) == run) --first;
    if (recompute_ == Recompute::full && run.part == ModelPart::layers) this->recompute(first, last);
    for (OpId op = last; op-- > first;) {
      if (!flow_.active[op]) continue;
      if (recompute_ == Recompute::selective && forward_.op(op).kind == OpKind::attention_values) this->recompute(core_begin(op), op + 1);
      differentiate(op);
      settle(op);
    }
    last = first;
  }
}

Op BackwardBuilder::named(OpId op, std::string_view suffix) const { return named(op, forward_.op(op).kind, suffix); }

Op BackwardBuilder::named(OpId op, OpKind kind, std::string_view suffix) const {
  Op result = forward_.op(op);
  result.name += suffix;
  result.kind = kind;
  result.uses.clear();
  result.communication.reset();
  result.sparse_weights = result.fused = false;  // zeros lie along the forward's contracted axis
  result.skipped = 0;
  return result;
}

// The value that was computed, where the forward's operator only stands for a collective of the backward pass.
ValueId BackwardBuilder::through_identities(ValueId v) const {
  for (OpId w = flow_.values[v].writer; w != no_id; w = flow_.values[v].writer) {
    const Op& op = forward_.op(w);
    if (!op.communication || !op.communication->backward_only) break;
    v = flow_.of_use[w][reads_of(op).front()];
  }
  return v;
}

bool BackwardBuilder::is_gathered(ValueId v) const {
  const OpId writer = flow_.values[v].writer;
  return writer != no_id && forward_.op(writer).communication && is_sent_again(*forward_.op(writer).communication);
}

Use BackwardBuilder::value(OpId op, std::uint32_t use) {
  return {stored(through_identities(flow_.of_use[op][use]), op, use), false, forward_.op(op).uses[use].elements};
}

TensorId BackwardBuilder::stored(ValueId v, OpId reader, std::uint32_t use) {
  const bool computed = again_[v] != no_id;
  if (is_gathered(v) && !(recomputing_ && computed)) return gathered_again(v);
  if (computed) return again_[v];
  if (!flow_.is_parameter(forward_, v)) reads_[{reader, use}] = v;
  return copied(v);
}

TensorId BackwardBuilder::copied(ValueId v) {
  if (copies_[v] != no_id) return copies_[v];
  copies_[v] = out_.add(tensor_of(v));
  if (!flow_.is_parameter(forward_, v)) kept_tensors_.insert(copies_[v]);
  return copies_[v];
}

// What is written in place has the name of the operator that wrote it last.
Tensor BackwardBuilder::tensor_of(ValueId v) const {
  const Value& value = flow_.values[v];
  Tensor t = forward_.tensor(value.tensor);
  if (value.writer != no_id && in_place(forward_.op(value.writer))) t.name = forward_.op(value.writer).name;
  return t;
}

TensorId BackwardBuilder::gathered_again(ValueId v) {
  if (gathered_[v] != no_id) return gathered_[v];
  const OpId writer = flow_.values[v].writer;
  Op op = named(writer, ".again");
  op.communication = forward_.op(writer).communication;
  for (std::uint32_t i : reads_of(forward_.op(writer))) op.uses.push_back(value(writer, i));
  gathered_[v] = out_.add(tensor_of(v));
  op.uses.push_back({gathered_[v], true, out_.tensor(gathered_[v]).elements()});
  out_.add(std::move(op));
  return gathered_[v];
}

// Operators [first, last) once more; what only stands for the backward pass' collectives costs nothing and is left out.
void BackwardBuilder::recompute(OpId first, OpId last) {
  recomputing_ = true;
  for (OpId id = first; id < last; ++id) {
    const Op& forward = forward_.op(id);
    if (forward.communication && forward.communication->backward_only) continue;
    Op op = forward;
    op.name += ".recompute";
    for (std::uint32_t i : reads_of(forward)) op.uses[i].tensor = value(id, i).tensor;
    for (std::uint32_t i : writes_of(forward)) {
      const ValueId v = flow_.of_use[id][i];
      op.uses[i].tensor = again_[v] = out_.add(tensor_of(v));
    }
    out_.add(std::move(op));
  }
  recomputing_ = false;
}

// Scores, softmax, dropout, values: what Korthikanti et al. 2022 (arXiv 2205.05198 section 5) run again.
OpId BackwardBuilder::core_begin(OpId values) const {
  OpId first = values;
  while (first > 0 && forward_.op(first).kind != OpKind::attention_scores) --first;
  return first;
}

bool BackwardBuilder::wanted(OpId op, std::uint32_t use) const {
  return flow_.values[flow_.of_use[op][use]].differentiable && lets_through(forward_, forward_.op(op), use);
}

bool BackwardBuilder::comes_back(OpId op, std::uint32_t use) const {
  const Value& v = flow_.values[flow_.of_use[op][use]];
  return v.differentiable && (v.seed || v.flows > 0);
}

// Several readers fill a part each, or each sends a gradient of the whole and they are added.
bool BackwardBuilder::in_parts(ValueId v) const {
  const Value& value = flow_.values[v];
  return value.flows == 1 || (value.alone && std::abs(value.flowing / forward_.tensor(value.tensor).elements() - 1) < 1e-9);
}

TensorId BackwardBuilder::new_gradient(ValueId v, std::string_view suffix, double share) {
  Tensor t = forward_.tensor(flow_.values[v].tensor);
  if (!t.shape.empty()) t.shape.back() *= share;
  t.name += suffix;
  t.type = is_weight(t) ? precision_.gradients : gradient_type(t.type);
  t.role = Role::activation;
  t.stored_share = t.active_share = 1;
  return out_.add(std::move(t));
}

TensorId BackwardBuilder::weight_gradient(ValueId v) {
  const auto [it, added] = of_weight_.try_emplace(flow_.values[v].tensor, no_id);
  if (added) it->second = *weight_gradients_.insert(new_gradient(v, ".grad")).first;
  return it->second;
}

Use BackwardBuilder::arrived(OpId op, std::uint32_t use) {
  const ValueId v = flow_.of_use[op][use];
  TensorId& t = gradients_[v].tensor;
  if (t == no_id) t = new_gradient(v, ".grad");  // an input of this pass
  return {t, false, forward_.op(op).uses[use].elements};
}

void BackwardBuilder::send(Op& gradient, OpId op, std::uint32_t use) {
  const ValueId v = flow_.of_use[op][use];
  const double elements = forward_.op(op).uses[use].elements;
  if (flow_.is_parameter(forward_, v)) {  // added to that of the micro-batches before
    const TensorId t = weight_gradient(v);
    gradient.uses.insert(gradient.uses.end(), {{t, false, elements}, {t, true, elements}});
    return;
  }
  Gradient& g = gradients_[v];
  const double all = forward_.tensor(flow_.values[v].tensor).elements();
  if (!in_parts(v)) g.terms.push_back(new_gradient(v, fmt::format(".grad.{}", g.terms.size()), std::min(1.0, elements / all)));
  else if (g.tensor == no_id) g.tensor = new_gradient(v, ".grad");
  gradient.uses.push_back({in_parts(v) ? g.tensor : g.terms.back(), true, elements});
}

void BackwardBuilder::hand_on(OpId op, std::uint32_t to, std::uint32_t from) {
  const ValueId v = flow_.of_use[op][to];
  const TensorId t = arrived(op, from).tensor;
  if (in_parts(v)) gradients_[v].tensor = t;
  else gradients_[v].terms.push_back(t);
}

// After the operator's own gradients: adds up those of values whose readers have all been passed.
void BackwardBuilder::settle(OpId op) {
  for (std::uint32_t i : reads_of(forward_.op(op))) {
    const ValueId v = flow_.of_use[op][i];
    if (!wanted(op, i) || flow_.is_parameter(forward_, v) || in_parts(v)) continue;
    Gradient& g = gradients_[v];
    if (static_cast<double>(g.terms.size()) < flow_.values[v].flows || g.tensor != no_id) continue;
    Op sum = named(op, OpKind::elementwise, "");
    const Tensor& t = forward_.tensor(flow_.values[v].tensor);
    sum.name = t.name + ".sum.backward";
    sum.math = Format::fp32;
    sum.dims = {};
    sum.dims[Dim::n] = t.shape.empty() ? 1 : t.shape.back();
    sum.dims[Dim::m] = t.elements() / sum.dims[Dim::n];
    sum.dims[Dim::terms] = std::max(0.0, flow_.values[v].flowing / t.elements() - 1);
    for (TensorId term : g.terms) sum.uses.push_back({term, false, std::min(t.elements(), out_.tensor(term).elements())});
    g.tensor = new_gradient(v, ".grad");
    sum.uses.push_back({g.tensor, true, t.elements()});
    out_.add(std::move(sum));
  }
}

BackwardBuilder::Kept BackwardBuilder::kept() const {
  Kept sums;
  for (const auto& [read, v] : reads_) {
    const TensorId t = copies_[v];
    if (flow_.values[v].writer == no_id && !is_floating(out_.tensor(t).type.format)) continue;  // token ids come from elsewhere
    double& elements = sums[{Run(forward_.op(read.first)), t}];
    elements = std::min(elements + forward_.op(read.first).uses[read.second].elements, out_.tensor(t).elements());
  }
  return sums;
}

Graph backward(const Graph& forward, Recompute recompute, const TrainingPrecision& precision) {
  BackwardBuilder builder(forward, recompute, precision);
  builder.run();
  return builder.take();
}

}  // namespace gambrel::models

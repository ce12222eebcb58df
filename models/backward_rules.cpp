// One rule for each kind of operator: which values its gradients need, and what computing them takes.
#include <fmt/format.h>

#include <algorithm>

#include "models/backward_builder.hpp"

namespace gambrel::models {
namespace {

CollectiveKind conjugate(CollectiveKind kind) {
  switch (kind) {
    case CollectiveKind::all_gather: return CollectiveKind::reduce_scatter;
    case CollectiveKind::reduce_scatter: return CollectiveKind::all_gather;
    case CollectiveKind::broadcast:  // a reduction to its root sends as much; there is no kind of that name
    case CollectiveKind::all_reduce:
    case CollectiveKind::all_to_all:
    case CollectiveKind::point_to_point: return kind;
  }
  return kind;
}

Dims input_gradient_dims(const Op& forward) {
  Dims d = forward.dims;
  std::swap(d[Dim::n], d[Dim::k]);
  d[Dim::terms] = 0;
  return d;
}

// dW = dy^T x. In groups: n rows of each, and a group's own tokens are contracted.
Dims weight_gradient_dims(const Op& forward) {
  Dims d = forward.dims;
  const double groups = forward.kind == OpKind::grouped_gemm ? d[Dim::groups] : 1;
  d[Dim::m] = groups * forward.dims[Dim::n];
  d[Dim::n] = forward.dims[Dim::k];
  d[Dim::k] = forward.dims[Dim::m] / groups;
  d[Dim::terms] = 0;
  return d;
}

/// A norm's offset: its gradient and the others' do not depend on it.
bool is_offset(const Op& op, const Tensor& t) { return op.kind == OpKind::layer_norm && is_weight(t) && t.name.ends_with(".bias"); }

}  // namespace

void BackwardBuilder::differentiate(OpId op) {
  using enum OpKind;
  switch (forward_.op(op).kind) {
    case gemm: case batched_gemm: case grouped_gemm: return product(op);
    case attention: return at_once(op, attention_backward, {.inputs = true, .output = true});
    case attention_scores: return attention_piece(op, "query", "key");
    case attention_values: return attention_piece(op, "weights", "value");
    case softmax: return at_once(op, softmax, {.inputs = false, .output = true});
    case rms_norm: case layer_norm: return at_once(op, forward_.op(op).kind, {}, 2);
    case activation: return at_once(op, activation, {}, 2);
    case rotary: case kv_append: return at_once(op, forward_.op(op).kind, {.inputs = false});
    case embedding: return at_once(op, embedding, {.inputs = false, .only_input = 0});
    case router_topk: return at_once(op, router_topk, {.inputs = true, .output = true});
    case dispatch: return at_once(op, combine, {.inputs = false, .only_input = 1});
    case combine: return at_once(op, dispatch, {});
    case expert_ffn: return at_once(op, expert_ffn_backward, {}, 3);  // the activation again, and its derivative
    case ssm_scan: return at_once(op, ssm_scan_backward, {});
    case conv1d: return convolution(op);
    case OpKind::elementwise: return this->elementwise(op);
    case OpKind::collective: return this->collective(op);
    case sampling: case cross_entropy: return loss(op);
    case attention_backward: case expert_ffn_backward: case ssm_scan_backward: return;  // of no forward graph
  }
}

void BackwardBuilder::at_once(OpId op, OpKind kind, Needs needs, double terms_factor) {
  const Op& forward = forward_.op(op);
  Op gradient = named(op, kind, ".backward");
  gradient.dims[Dim::terms] *= terms_factor;
  const std::vector<std::uint32_t> reads = reads_of(forward), writes = writes_of(forward);
  for (std::size_t i = 0; i < reads.size(); ++i)
    if ((needs.inputs && !is_offset(forward, forward_.tensor(forward.uses[reads[i]].tensor))) || needs.only_input == static_cast<int>(i))
      gradient.uses.push_back(value(op, reads[i]));
  row_sums(gradient, op);
  for (std::uint32_t w : writes) {
    if (needs.output && comes_back(op, w)) gradient.uses.push_back(value(op, w));
    if (comes_back(op, w)) gradient.uses.push_back(arrived(op, w));
  }
  for (std::uint32_t r : reads)
    if (wanted(op, r) && !partner(op, r)) send(gradient, op, r);
  for (std::uint32_t w : writes)
    if (const std::uint32_t r = read_in_place(forward, w); r != no_id && comes_back(op, w)) {
      gradient.uses.push_back({arrived(op, w).tensor, true, forward.uses[w].elements});
      hand_on(op, r, w);
    }
  out_.add(std::move(gradient));
}

// y = x W^T + b: operands in the builders' order.
void BackwardBuilder::product(OpId op) {
  const Op& forward = forward_.op(op);
  const std::vector<std::uint32_t> reads = reads_of(forward);
  const std::uint32_t x = reads[0], w = reads[1], y = writes_of(forward).front();
  if (wanted(op, x)) input_gradient(op, x, w, y);
  if (wanted(op, w)) weight_gradient_of(op, x, w, y);
  for (std::size_t i = 2; i < reads.size(); ++i) bias_gradient(op, reads[i], y);
}

void BackwardBuilder::input_gradient(OpId op, std::uint32_t x, std::uint32_t w, std::uint32_t y) {
  Op gradient = named(op, ".dgrad");
  gradient.dims = input_gradient_dims(forward_.op(op));
  gradient.uses = {arrived(op, y), value(op, w)};
  send(gradient, op, x);
  out_.add(std::move(gradient));
}

void BackwardBuilder::weight_gradient_of(OpId op, std::uint32_t x, std::uint32_t w, std::uint32_t y) {
  Op gradient = named(op, ".wgrad");
  gradient.dims = weight_gradient_dims(forward_.op(op));
  gradient.uses = {arrived(op, y), value(op, x)};
  send(gradient, op, w);
  out_.add(std::move(gradient));
}

// The sum of dy over its rows.
void BackwardBuilder::bias_gradient(OpId op, std::uint32_t bias, std::uint32_t y) {
  const Op& forward = forward_.op(op);
  Op gradient = named(op, OpKind::elementwise, ".bias.wgrad");
  gradient.math = Format::fp32;
  gradient.dims = {};
  gradient.dims[Dim::m] = forward.dims[Dim::m];
  gradient.dims[Dim::n] = forward.dims[Dim::n];
  gradient.dims[Dim::terms] = 1;
  gradient.uses = {arrived(op, y)};
  send(gradient, op, bias);
  out_.add(std::move(gradient));
}

// Of the reads of a piece of attention: queries (or weights) first, then keys (or values). The operator that reads the
// values knows how many tensors these are.
std::size_t BackwardBuilder::left_operands(OpId op) const {
  OpId values = op;
  while (values + 1 < forward_.ops().size() && forward_.op(values).kind != OpKind::attention_values) ++values;
  const std::size_t keys = reads_of(forward_.op(values)).size() - 1;
  return reads_of(forward_.op(op)).size() - keys;
}

// Either operand's gradient is a product of the result's with the other operand: as many FLOPs as the forward each.
void BackwardBuilder::attention_piece(OpId op, std::string_view left, std::string_view right) {
  const std::vector<std::uint32_t> reads = reads_of(forward_.op(op));
  const std::uint32_t y = writes_of(forward_.op(op)).front();
  Op first = named(op, fmt::format(".{}.dgrad", left)), second = named(op, fmt::format(".{}.dgrad", right));
  first.uses = second.uses = {arrived(op, y)};
  const std::size_t lefts = left_operands(op);
  for (std::size_t i = 0; i < reads.size(); ++i) {
    if (i < lefts) second.uses.push_back(value(op, reads[i]));
    if (i >= lefts || lefts > 1) first.uses.push_back(value(op, reads[i]));  // several: the rotated key that all heads share
  }
  for (std::size_t i = 0; i < reads.size(); ++i)
    if (wanted(op, reads[i])) send(i < lefts ? first : second, op, reads[i]);
  out_.add(std::move(first));
  out_.add(std::move(second));
}

// Probabilities less one at the target; where they were not written, softmax again.
void BackwardBuilder::loss(OpId op) {
  const Op& forward = forward_.op(op);
  Op gradient = named(op, ".backward");
  const std::vector<std::uint32_t> reads = reads_of(forward), writes = writes_of(forward);
  const bool written = writes.size() > 1;
  gradient.uses = {written ? value(op, writes.front()) : value(op, reads.front())};
  if (written) gradient.dims[Dim::terms] = 2;
  for (std::size_t i = 1; i < reads.size(); ++i) gradient.uses.push_back(value(op, reads[i]));
  if (wanted(op, reads.front())) send(gradient, op, reads.front());
  out_.add(std::move(gradient));
}

void BackwardBuilder::convolution(OpId op) {
  const Op& forward = forward_.op(op);
  const std::uint32_t x = reads_of(forward).front(), y = writes_of(forward).front();
  Op input = named(op, ".dgrad"), weight = named(op, ".wgrad");
  input.uses = {arrived(op, y)};
  weight.uses = {arrived(op, y), value(op, x)};
  for (std::uint32_t r : reads_of(forward)) {
    const Tensor& t = forward_.tensor(forward.uses[r].tensor);
    if (is_weight(t) && !t.name.ends_with(".bias")) input.uses.push_back(value(op, r));
    if (is_weight(t)) send(weight, op, r);
  }
  if (wanted(op, x)) send(input, op, x), out_.add(std::move(input));
  out_.add(std::move(weight));
}

void BackwardBuilder::elementwise(OpId op) {
  const Op& forward = forward_.op(op);
  const std::vector<std::uint32_t> reads = reads_of(forward), writes = writes_of(forward);
  switch (elementwise_of(forward_, forward)) {
    case Elementwise::sum:
      for (std::uint32_t r : reads)
        if (wanted(op, r)) hand_on(op, r, writes.front());
      return;
    case Elementwise::product: return at_once(op, OpKind::elementwise, {}, 3);  // dy b; dy a summed over the row
    case Elementwise::dropout: return dropout(op);
  }
}

// dx = mask dy / (1 - p).
void BackwardBuilder::dropout(OpId op) {
  const Op& forward = forward_.op(op);
  Op gradient = named(op, ".backward");
  const std::uint32_t x = reads_of(forward).front();
  std::uint32_t y = no_id;
  for (std::uint32_t w : writes_of(forward)) {
    if (comes_back(op, w)) y = w;
    else gradient.uses.push_back(value(op, w));
  }
  gradient.uses.push_back(arrived(op, y));
  if (read_in_place(forward, y) == x) {
    gradient.uses.push_back({arrived(op, y).tensor, true, forward.uses[y].elements});
    hand_on(op, x, y);
  } else {
    send(gradient, op, x);
  }
  out_.add(std::move(gradient));
}

void BackwardBuilder::collective(OpId op) {
  const Op& forward = forward_.op(op);
  const std::uint32_t x = reads_of(forward).front(), y = writes_of(forward).front();
  if (!wanted(op, x)) return;
  if (hands_on(forward_, forward)) return hand_on(op, x, y);
  Op gradient = named(op, ".backward");
  const bool stands_for = forward.communication->backward_only;
  gradient.uses = {arrived(op, y)};
  gradient.communication = forward.communication;
  Communication& c = *gradient.communication;
  c.backward_only = false;
  if (!stands_for) c.kind = conjugate(c.kind);
  const TensorId sent = arrived(op, y).tensor;
  c.bytes *= out_.tensor(sent).type.storage_bits() / forward_.tensor(forward.uses[y].tensor).type.storage_bits();
  if (c.kind == CollectiveKind::all_reduce) {  // works in place
    gradient.uses.push_back({sent, true, forward.uses[y].elements});
    hand_on(op, x, y);
  } else {
    for (std::uint32_t r : reads_of(forward))
      if (wanted(op, r)) send(gradient, op, r);
  }
  out_.add(std::move(gradient));
}

// Statistics that ranks added up before the forward's operator: its gradient needs as many of its own.
void BackwardBuilder::row_sums(Op& gradient, OpId op) {
  for (std::uint32_t r : reads_of(forward_.op(op))) {
    const OpId writer = flow_.values[flow_.of_use[op][r]].writer;
    if (writer == no_id || !is_statistics(forward_.op(writer))) continue;
    Op sums = named(writer, ".backward");
    sums.communication = forward_.op(writer).communication;
    for (std::uint32_t w : writes_of(forward_.op(op)))
      if (comes_back(op, w)) sums.uses.push_back({arrived(op, w).tensor, false, forward_.op(writer).uses.front().elements, true});
    const TensorId t = new_gradient(flow_.of_use[op][r], ".grad");
    sums.uses.push_back({t, true, out_.tensor(t).elements()});
    out_.add(std::move(sums));
    gradient.uses.push_back({t, false, out_.tensor(t).elements()});
  }
}

bool BackwardBuilder::partner(OpId op, std::uint32_t read) const {
  const Op& forward = forward_.op(op);
  return std::ranges::any_of(writes_of(forward), [&](std::uint32_t w) { return read_in_place(forward, w) == read && comes_back(op, w); });
}

}  // namespace gambrel::models

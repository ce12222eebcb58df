// Between the ranks: collectives and what lies around them, in every layout of the tensor axis.
#include <fmt/format.h>

#include "models/dataflow.hpp"
#include "models/layer_builder.hpp"

namespace gambrel::models {
namespace {

double bytes_of(const Graph& graph, const std::vector<Use>& uses) {
  double sum = 0;
  for (const Use& use : uses) {
    const Tensor& t = graph.tensor(use.tensor);
    if (t.elements() > 0) sum += t.bytes() * (use.elements / t.elements());
  }
  return sum;
}

/// The whole message from what one rank puts in and what it gets out. An all-to-all takes as long as the rank that gets most.
double message(CollectiveKind kind, double in, double out) {
  if (kind == CollectiveKind::all_to_all) return std::max(in, out);
  return kind == CollectiveKind::all_gather ? out : in;
}

}  // namespace

TensorId LayerBuilder::exchange(std::string_view path, CollectiveKind kind, Group group, const std::vector<Use>& in,
                                double rows, double width, bool forward_only) {
  if (group.ranks <= 1) return in.front().tensor;
  const std::string full = fmt::format("{}.{}", path, to_string(kind));
  const TensorId result = value(full, rows, width, graph_.tensor(in.front().tensor).type);
  Op o = op(full, OpKind::collective);
  o.dims[Dim::m] = rows;
  o.dims[Dim::n] = width;
  const double bytes = message(kind, bytes_of(graph_, in), graph_.tensor(result).bytes());
  o.communication = {.kind = kind,
                     .axis = group.axis,
                     .ranks = group.ranks,
                     .bytes = bytes,
                     .stride = group.stride,
                     .forward_only = forward_only};
  o.uses = in;
  o.uses.push_back(write(result));
  graph_.add(std::move(o));
  return result;
}

void LayerBuilder::all_reduce(std::string_view path, Group group, TensorId x, double steps) {
  if (group.ranks <= 1) return;
  const Tensor& t = graph_.tensor(x);
  Op o = op(fmt::format("{}.all_reduce", path), OpKind::collective);
  o.dims[Dim::m] = t.shape[0];
  o.dims[Dim::n] = t.shape[1];
  o.communication = {.kind = CollectiveKind::all_reduce,
                     .axis = group.axis,
                     .ranks = group.ranks,
                     .bytes = t.bytes() / steps,
                     .stride = group.stride,
                     .steps = steps};
  o.uses = {read(x), write(x)};
  graph_.add(std::move(o));
}

// Whoever reads the same tensor otherwise must not have its gradient summed too: what is entered then stands apart, under the same name.
TensorId LayerBuilder::backward_only(std::string_view path, CollectiveKind kind, Group group, TensorId x, bool apart) {
  if (!step_.training || group.ranks <= 1) return x;
  Tensor t = graph_.tensor(x);
  for (const Op& writer : graph_.ops())  // what was written in place is known by the name of who did
    if (writer.communication && !writer.communication->backward_only && models::in_place(writer) && writer.uses.back().tensor == x) t.name = writer.name;
  const TensorId inside = apart ? graph_.add(t) : x;
  Op o = op(fmt::format("{}.{}", path, to_string(kind)), OpKind::collective);
  o.dims[Dim::m] = t.shape[0];
  o.dims[Dim::n] = t.shape[1];
  o.communication = {.kind = kind,
                     .axis = group.axis,
                     .ranks = group.ranks,
                     .bytes = t.bytes(),
                     .stride = group.stride,
                     .backward_only = true};
  o.uses = {{x, false, t.elements(), true}, {inside, true, t.elements(), true}};
  graph_.add(std::move(o));
  return inside;
}

// A 2D layout gathers over YZ what is cut over all ranks by width, and leaves the cut over X.
TensorId LayerBuilder::enter(std::string_view path, TensorId x, double width) {
  if (entered_ && entered_->stream == x && entered_->split == split_) return entered_->inside;
  TensorId inside = x;
  const std::string in = fmt::format("{}.in", path);
  if (shares_.stream_by_width)
    inside = exchange(in, CollectiveKind::all_gather, {.ranks = shares_.columns / split_, .stride = split_}, x,
                      tokens(), width / split_);
  else if (shares_.stream_by_tokens)
    inside = exchange(in, CollectiveKind::all_gather, {.ranks = shares_.columns}, x, tokens(), width);
  else inside = backward_only(in, CollectiveKind::all_reduce, {.ranks = shares_.columns}, x, apart_);
  entered_ = {x, inside, split_};
  return inside;
}

TensorId LayerBuilder::leave(std::string_view path, TensorId partial) {
  const std::string out = fmt::format("{}.out", path);
  if (shares_.stream_by_width)
    return exchange(out, CollectiveKind::reduce_scatter, {.ranks = shares_.columns / split_, .stride = split_}, partial,
                    tokens(), shares_.stream_width);
  if (shares_.stream_by_tokens)
    return exchange(out, CollectiveKind::reduce_scatter, {.ranks = shares_.columns}, partial, shares_.stream_rows,
                    model_.hidden);
  all_reduce(out, {.ranks = shares_.columns}, partial);
  return partial;
}

TensorId LayerBuilder::row(std::string_view path, TensorId in, double k, bool bias, DataType out, double used) {
  const TensorId wide =
      exchange(fmt::format("{}.in", path), CollectiveKind::all_gather, {.ranks = split_}, in, tokens(), k * split_);
  return gemm(path, wide, tokens(), model_.hidden / split_, k * split_, bias, out, shares_.gathered, used);
}

TensorId LayerBuilder::matrix(std::string_view path, std::vector<double> shape, DataType type, double gathered) {
  if (gathered <= 1) return parameter(path, "weight", std::move(shape), type);
  std::vector<double> part = shape;
  part[0] /= gathered;
  const TensorId stored = parameter(path, "weight", std::move(part), type);
  const std::string full = fmt::format("{}.weight.all_gather", path);
  Tensor whole = graph_.tensor(stored);
  whole.name = name(full);
  whole.shape = std::move(shape);
  whole.role = Role::activation;
  const TensorId result = graph_.add(std::move(whole));
  Op o = op(full, OpKind::collective);
  o.dims[Dim::m] = graph_.tensor(result).elements() / graph_.tensor(result).shape.back();
  o.dims[Dim::n] = graph_.tensor(result).shape.back();
  o.communication = {.kind = CollectiveKind::all_gather,
                     .axis = MeshAxis::tensor,
                     .ranks = gathered,
                     .bytes = graph_.tensor(result).bytes(),
                     .stride = shares_.columns};
  o.uses = {read(stored), write(result)};
  graph_.add(std::move(o));
  return result;
}

// A norm over a width that several ranks hold adds up their sums first: of squares, and of the elements too if it centres.
std::optional<TensorId> LayerBuilder::statistics(std::string_view path, TensorId x, double rows, NormKind kind,
                                                 bool whole, double widths) {
  if (whole) return {};
  const std::string full = fmt::format("{}.statistics", path);
  const TensorId sums = value(full, rows, widths * (kind == NormKind::rms_norm ? 1 : 2), Format::fp32);
  Op o = op(full, OpKind::collective);
  o.dims[Dim::m] = rows;
  o.dims[Dim::n] = graph_.tensor(sums).shape[1];
  o.communication = {.kind = CollectiveKind::all_reduce,
                     .axis = MeshAxis::tensor,
                     .ranks = shares_.columns,
                     .bytes = graph_.tensor(sums).bytes()};
  o.uses = {{x, false, rows, true}, write(sums)};
  graph_.add(std::move(o));
  return sums;
}

TensorId LayerBuilder::stream_norm(std::string_view path, TensorId x, double rows, DataType out) {
  const double width = shares_.stream_width;
  return norm(path, x, rows, width, model_.norm, out, width,
              statistics(path, x, rows, model_.norm, !shares_.stream_by_width));
}

TensorId LayerBuilder::dropout(std::string_view path, TensorId x, double rows, double width) {
  if (!step_.training || !step_.dropout) return x;
  Op o = op(path, OpKind::elementwise);
  o.dims[Dim::m] = rows;
  o.dims[Dim::n] = width;
  o.dims[Dim::terms] = 2;  // a draw compared, a product
  const TensorId mask = value(fmt::format("{}.mask", path), rows, width, Format::int8);
  const TensorId result = value(path, rows, width, graph_.tensor(x).type);
  o.uses = {read(x), write(result), write(mask)};
  graph_.add(std::move(o));
  return result;
}

}  // namespace gambrel::models

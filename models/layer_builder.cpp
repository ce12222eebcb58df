// The building blocks: tensors, operators and the naming of both.
#include "models/layer_builder.hpp"

#include <fmt/format.h>

namespace gambrel::models {

std::string LayerBuilder::name(std::string_view path) const {
  return scope_.label.empty() ? std::string(path) : fmt::format("{}.{}", scope_.label, path);
}

OpPrecision LayerBuilder::at(std::string_view path) const {
  return policy_.at(scope_.probe.empty() ? std::string(path) : fmt::format("{}.{}", scope_.probe, path));
}

Op LayerBuilder::op(std::string_view path, OpKind kind) const {
  Op result;
  result.name = name(path);
  result.kind = kind;
  result.count = scope_.count;
  result.part = scope_.part;
  result.first_layer = scope_.first;
  result.layer_step = scope_.step;
  result.math = Format::fp32;
  return result;
}

TensorId LayerBuilder::value(std::string_view path, double rows, double width, DataType type) {
  return graph_.add(Tensor{.name = name(path), .shape = {rows, width}, .type = type, .role = Role::activation, .copies = scope_.count});
}

TensorId LayerBuilder::parameter(std::string_view path, std::string_view part, std::vector<double> shape, DataType type, Role role, double active_share) {
  Tensor t{.name = fmt::format("{}.{}", name(path), part), .shape = std::move(shape), .type = type, .role = role, .copies = scope_.count, .active_share = active_share};
  const bool prunable = t.shape.size() > 1 && part != "bias" && !scope_.label.empty() && path != "moe.router";
  if (prunable) t.stored_share = step_.sparsity.stored_share(type.element_bits());
  return graph_.add(std::move(t));
}

TensorId LayerBuilder::table(std::string_view path, std::string_view part, double rows, DataType type, bool multiplied) {
  return graph_.add(Tensor{.name = fmt::format("{}.{}", name(path), part), .shape = {rows, model_.hidden}, .type = type, .role = Role::weight,
                           .looked_up = !multiplied});
}

TensorId LayerBuilder::vector_parameter(std::string_view path, std::string_view part, double length) {
  return parameter(path, part, {length}, at(path).residual);
}

// What of a product with pruned weights need not be computed.
void LayerBuilder::thin(Op& o, bool pruned) const {
  o.sparse_weights = pruned && step_.sparsity.structure == WeightSparsity::Structure::n_of_m;
  if (pruned && step_.sparsity.skips_blocks()) o.skipped = 1 - step_.sparsity.density;
}

TensorId LayerBuilder::gemm(std::string_view path, TensorId in, double rows, double n, double k, bool bias, DataType out, double gathered, double used) {
  const OpPrecision p = at(path);
  Op o = op(path, OpKind::gemm);
  o.dims[Dim::m] = rows;
  o.dims[Dim::n] = n;
  o.dims[Dim::k] = k;
  o.dims[Dim::terms] = bias ? 1 : 0;
  o.math = math_format(p.activations.format, p.weights.format);
  const TensorId weight = matrix(path, {n, k}, p.weights, gathered);
  thin(o, graph_.tensor(weight).stored_share != 1);
  o.uses = {read(in, rows * k), read(weight, graph_.tensor(weight).elements() * used)};
  if (used < 1) o.skipped = 1 - (1 - o.skipped) * used;
  if (bias) o.uses.push_back(read(vector_parameter(path, "bias", n)));
  const TensorId result = value(path, rows, n, out);
  o.uses.push_back(write(result));
  graph_.add(std::move(o));
  return result;
}

TensorId LayerBuilder::batched_gemm(std::string_view path, std::string_view stored_as, TensorId in, double batch, double n, double k, DataType out) {
  const OpPrecision p = at(stored_as);
  Op o = op(path, OpKind::batched_gemm);
  o.dims[Dim::batch] = batch;
  o.dims[Dim::m] = tokens();
  o.dims[Dim::n] = n;
  o.dims[Dim::k] = k;
  o.math = math_format(p.activations.format, p.weights.format);
  const TensorId weight = matrix(path, {batch, n, k}, p.weights, shares_.gathered);
  const TensorId result = value(path, tokens(), batch * n, out);
  o.uses = {read(in, tokens() * batch * k), read(weight), write(result)};
  graph_.add(std::move(o));
  return result;
}

TensorId LayerBuilder::norm(std::string_view path, TensorId in, double rows, double width, NormKind kind, DataType out, double gain_width,
                            std::optional<TensorId> statistics) {
  Op o = op(path, kind == NormKind::rms_norm ? OpKind::rms_norm : OpKind::layer_norm);
  o.dims[Dim::m] = rows;
  o.dims[Dim::n] = width;
  o.dims[Dim::terms] = kind == NormKind::rms_norm ? 4 : 7;
  const TensorId result = value(path, rows, width, out);
  o.uses = {read(in, rows * width), read(vector_parameter(path, "gain", gain_width)), write(result)};
  if (kind == NormKind::layer_norm) o.uses.push_back(read(vector_parameter(path, "bias", gain_width)));
  if (statistics) o.uses.push_back(read(*statistics));
  graph_.add(std::move(o));
  return result;
}

double activation_terms(Activation activation) {
  switch (activation) {
    case Activation::swiglu: return 5;
    case Activation::geglu: return 9;
    case Activation::silu: return 4;
    case Activation::gelu: return 8;
    case Activation::relu: return 1;
    case Activation::relu2: return 2;
  }
  return 1;
}

TensorId LayerBuilder::activate(std::string_view path, Activation activation, TensorId in, double rows, double inner, DataType out) {
  Op o = op(path, OpKind::activation);
  o.dims[Dim::m] = rows;
  o.dims[Dim::n] = inner;
  o.dims[Dim::terms] = activation_terms(activation);
  const TensorId result = value(path, rows, inner, out);
  o.uses = {read(in), write(result)};
  graph_.add(std::move(o));
  return result;
}

TensorId LayerBuilder::add(std::string_view path, std::initializer_list<TensorId> terms, double rows, double width) {
  Op o = op(path, OpKind::elementwise);
  o.dims[Dim::m] = rows;
  o.dims[Dim::n] = width;
  o.dims[Dim::terms] = static_cast<double>(terms.size()) - 1;
  for (TensorId t : terms) o.uses.push_back(read(t, rows * width));
  const TensorId result = value(path, rows, width, at(path).residual);
  o.uses.push_back(write(result));
  graph_.add(std::move(o));
  return result;
}

TensorId LayerBuilder::in_place(std::string_view path, OpKind kind, TensorId x, double rows, double width, double terms) {
  Op o = op(path, kind);
  o.dims[Dim::m] = rows;
  o.dims[Dim::n] = width;
  o.dims[Dim::terms] = terms;
  o.uses = {read(x, rows * width), write(x, rows * width)};
  graph_.add(std::move(o));
  return x;
}

}  // namespace gambrel::models

// Feed-forward sublayers: dense, and the experts that one rank holds.
#include <fmt/format.h>

#include "models/layer_builder.hpp"

namespace gambrel::models {

TensorId LayerBuilder::dense_ffn(const DenseFfn& f, TensorId h, std::string_view path) {
  const std::string up = fmt::format("{}.{}", path, is_gated(f.activation) ? "gate_up" : "up");
  const std::string act = fmt::format("{}.act", path), down = fmt::format("{}.down", path);
  const double whole = is_gated(f.activation) ? 2 * f.inner : f.inner, inner = f.inner / shares_.columns;
  auto width = [&](double ranks) { return whole / ranks; };
  const TensorId wide = column(up, enter(path, h), model_.hidden, width, f.bias, at(up).residual);
  const TensorId activated = activate(act, f.activation, wide, tokens(), inner, at(down).activations);
  const bool rectified = f.activation == Activation::relu || f.activation == Activation::relu2;
  const double used = rectified ? chosen_by_any(step_.data_sparsity.activations, tokens()) : 1;
  return row(down, activated, inner, f.bias, at(down).residual, used);
}

TensorId LayerBuilder::fused_experts(const MoeFfn& f, TensorId rows, const ExpertRows& share) {
  const OpPrecision p = at("moe.experts");
  const double experts = share.groups, inner = share.inner, projections = is_gated(f.activation) ? 3 : 2;
  const double routed = share.rows, active = f.top_k / f.experts();
  Op o = op("moe.experts", OpKind::expert_ffn);
  o.math = math_format(p.activations.format, p.weights.format);
  o.dims[Dim::m] = routed;
  o.dims[Dim::n] = inner;
  o.dims[Dim::k] = model_.hidden;
  o.dims[Dim::projections] = projections;
  o.dims[Dim::terms] = activation_terms(f.activation);
  o.dims[Dim::groups] = experts;
  o.dims[Dim::top_k] = f.top_k;
  thin(o, true);
  const TensorId up = parameter("moe.experts", "up", {experts, (projections - 1) * inner, model_.hidden}, p.weights, Role::expert_weight, active);
  const TensorId down = parameter("moe.experts", "down", {experts, model_.hidden, inner}, p.weights, Role::expert_weight, active);
  const TensorId result = value("moe.experts", routed, model_.hidden, share.out);
  o.uses = {read(rows), write(result)};
  for (TensorId weight : {up, down}) o.uses.push_back(read(weight, graph_.tensor(weight).elements() * share.hit_share));
  if (f.bias) {
    const double width = (projections - 1) * inner + model_.hidden;
    const TensorId bias = parameter("moe.experts", "bias", {experts, width}, p.residual, Role::expert_weight, active);
    o.uses.push_back(read(bias, experts * share.hit_share * width));
  }
  graph_.add(std::move(o));
  return result;
}

TensorId LayerBuilder::grouped_experts(const MoeFfn& f, TensorId rows, const ExpertRows& share) {
  const OpPrecision p = at("moe.experts");
  const double experts = share.groups, inner = share.inner, wide = is_gated(f.activation) ? 2 * inner : inner;
  const double routed = share.rows, active = f.top_k / f.experts();
  auto grouped = [&](std::string_view path, TensorId in, double n, double k, DataType out) {
    Op o = op(path, OpKind::grouped_gemm);
    o.math = math_format(p.activations.format, p.weights.format);
    o.dims[Dim::m] = routed;
    o.dims[Dim::n] = n;
    o.dims[Dim::k] = k;
    o.dims[Dim::groups] = experts;
    o.dims[Dim::top_k] = f.top_k;
    o.dims[Dim::terms] = f.bias ? 1 : 0;
    thin(o, true);
    const TensorId weight = parameter(path, "weight", {experts, n, k}, p.weights, Role::expert_weight, active);
    const TensorId result = value(path, routed, n, out);
    o.uses = {read(in), read(weight, experts * share.hit_share * n * k), write(result)};
    if (f.bias) o.uses.push_back(read(parameter(path, "bias", {experts, n}, p.residual, Role::expert_weight, active), experts * share.hit_share * n));
    graph_.add(std::move(o));
    return result;
  };
  const TensorId up = grouped("moe.experts.up", rows, wide, model_.hidden, p.residual);
  const TensorId activated = activate("moe.experts.act", f.activation, up, routed, inner, p.activations);
  return grouped("moe.experts.down", activated, model_.hidden, inner, share.out);
}

}  // namespace gambrel::models

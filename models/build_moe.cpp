// Mixture of experts: choosing, sending tokens to the ranks of their experts and back, the shared expert.
#include "models/layer_builder.hpp"

namespace gambrel::models {

// The shared expert's output times the sigmoid of its gate, one value a token.
TensorId LayerBuilder::gated(TensorId x, TensorId gate) {
  Op o = op("moe.shared.scale", OpKind::elementwise);
  o.dims[Dim::m] = tokens();
  o.dims[Dim::n] = model_.hidden;
  o.dims[Dim::terms] = 1;
  const TensorId result = value("moe.shared.scale", tokens(), model_.hidden, at("moe.shared").residual);
  o.uses = {read(x), read(gate), write(result)};
  graph_.add(std::move(o));
  return result;
}

TensorId LayerBuilder::shared_expert(const MoeFfn& f, TensorId h) {
  const TensorId y = dense_ffn({f.shared_inner, f.activation, f.bias}, h, "moe.shared");
  if (!f.shared_gate) return y;
  return gated(
      y, gemm("moe.shared.gate", enter("moe.shared", h), tokens(), 1, model_.hidden, false, at("moe.shared").residual));
}

/// The tokens' experts and their weights.
TensorId LayerBuilder::choose(const MoeFfn& f, TensorId in, double tokens) {
  const TensorId logits =
      gemm("moe.router", in, tokens, f.experts(), model_.hidden, f.router_bias, at("moe.router").residual);
  Op select = op("moe.topk", OpKind::router_topk);
  select.dims[Dim::m] = tokens;
  select.dims[Dim::groups] = f.experts();
  select.dims[Dim::top_k] = f.top_k;
  const TensorId chosen = value("moe.topk", tokens, 2 * f.top_k, Format::fp32);  // an index and a weight each
  select.uses = {read(logits), write(chosen)};
  graph_.add(std::move(select));
  return chosen;
}

// A tensor that holds this rank's own tokens in its first rows. Ranks that all hold the same tokens take a part each.
TensorId LayerBuilder::own_part(TensorId h) {
  const Group group{.ranks = sharding_.tensor};
  if (shares_.stream_by_width)
    return exchange("moe.own", CollectiveKind::all_to_all, group, h, shares_.own_tokens, model_.hidden);
  if (!shares_.stream_by_tokens) backward_only("moe.own", CollectiveKind::all_gather, group, h);
  return h;
}

TensorId LayerBuilder::whole_again(TensorId combined) {
  const Group group{.ranks = sharding_.tensor};
  if (shares_.stream_by_width)
    return exchange("moe.combine", CollectiveKind::all_to_all, group, combined, tokens(), shares_.stream_width);
  if (shares_.stream_by_tokens || group.ranks <= 1) return combined;
  return exchange("moe.combine", CollectiveKind::all_gather, group, {read(combined)}, tokens(), model_.hidden, true);
}

// Tokens go to the ranks that hold their experts and are gathered there by the ranks that share an expert's width; the
// outputs go back the same way (Singh et al. 2023, arXiv 2303.06318). Where the tensor ranks themselves share every expert's width
// and nothing else, the experts are cut like a dense layer and nothing is sent.
std::pair<TensorId, bool> LayerBuilder::routed_experts(const MoeFfn& f, TensorId h) {
  const double experts = f.experts(), width_ranks = sharding_.expert_tensor, ranks = sharding_.expert;
  const bool like_dense = ranks == 1 && width_ranks > 1 && width_ranks == sharding_.tensor &&
                          sharding_.layout == Layout::weight_stationary_1d;
  const DataType residual = at("moe.experts").residual;
  const TensorId in = like_dense ? enter("moe", h) : own_part(h);
  const double mine = like_dense ? tokens() : shares_.own_tokens,
               gathered = like_dense ? mine : mine * ranks * width_ranks;
  const TensorId chosen = choose(f, in, mine);

  Op dispatch = op("moe.dispatch", OpKind::dispatch);
  dispatch.dims[Dim::m] = mine;
  dispatch.dims[Dim::n] = model_.hidden;
  dispatch.dims[Dim::top_k] = f.top_k;
  TensorId rows = value("moe.dispatch", mine * f.top_k, model_.hidden,
                        at("moe.dispatch").dispatch.value_or(at("moe.experts").activations));
  dispatch.uses = {read(in, mine * model_.hidden), read(chosen), write(rows)};
  graph_.add(std::move(dispatch));

  const double received =
      mine * f.top_k * (like_dense ? 1 : busiest_rank(experts, f.top_k, gathered, ranks, step_.routing));
  const Group among{MeshAxis::expert, ranks}, across{MeshAxis::expert_tensor, like_dense ? 1 : width_ranks};
  rows = exchange("moe.dispatch", CollectiveKind::all_to_all, among, rows, received, model_.hidden);
  rows = exchange("moe.dispatch", CollectiveKind::all_gather, across, rows, received * across.ranks, model_.hidden);
  const ExpertRows share{received * across.ranks, experts / ranks, f.mean_inner() / width_ranks,
                         experts_hit(experts, f.top_k, gathered, step_.routing) / experts,
                         ranks * across.ranks > 1 ? at("moe.combine").combine.value_or(residual) : residual};
  TensorId computed = step_.fused_experts ? fused_experts(f, rows, share) : grouped_experts(f, rows, share);
  computed = exchange("moe.experts", CollectiveKind::reduce_scatter, across, computed, received, model_.hidden);
  computed = exchange("moe.combine", CollectiveKind::all_to_all, among, computed, mine * f.top_k, model_.hidden);

  Op combine = op("moe.combine", OpKind::combine);
  combine.dims[Dim::m] = mine;
  combine.dims[Dim::n] = model_.hidden;
  combine.dims[Dim::top_k] = f.top_k;
  const TensorId combined = value("moe.combine", mine, model_.hidden, at("moe.combine").residual);
  combine.uses = {read(computed), read(chosen), write(combined)};
  graph_.add(std::move(combine));
  return {like_dense ? combined : whole_again(combined), like_dense};
}

std::pair<TensorId, bool> LayerBuilder::moe(const MoeFfn& f, TensorId h) {
  const auto [routed, partial] = routed_experts(f, h);
  if (f.shared_inner == 0) return {routed, partial};
  const TensorId shared = shared_expert(f, h);
  if (partial) return {add("moe.add_shared", {routed, shared}, tokens(), model_.hidden), true};
  return {stream_add("moe.add_shared", {routed, leave("moe.shared", shared)}), false};
}

}  // namespace gambrel::models

// The Mamba-2 mixer: input projection, short convolution, state-space scan, gated norm, output projection.
#include <algorithm>

#include "models/layer_builder.hpp"

namespace gambrel::models {

// Heads are cut over the tensor ranks, and over the context ranks too while these work on whole sequences: all-to-alls
// swap heads for tokens before and after. Groups (the B and C that heads share) replicate where there are too few.
TensorId LayerBuilder::mamba(const Mamba& m, TensorId h) {
  const DataType residual = at("mamba.in").residual;
  auto channels_of = [&](double ranks) { return m.heads / ranks * m.head_dim + 2 * std::max(1.0, m.groups / ranks) * m.state; };
  auto width = [&](double ranks) { return m.heads / ranks * m.head_dim + channels_of(ranks) + m.heads / ranks; };
  TensorId projected = column("mamba.in", enter("mamba", h), model_.hidden, width, m.proj_bias, residual);
  const double swapped = shares_.cuts_context ? sharding_.context : 1, ranks = shares_.columns * swapped, rows = tokens() * swapped;
  projected = exchange("mamba.in", CollectiveKind::all_to_all, {MeshAxis::context, swapped}, projected, rows, width(ranks));
  const double heads = m.heads / ranks, inner = heads * m.head_dim, channels = channels_of(ranks);
  auto state = [&](std::string_view what, double wide, DataType type) {
    return graph_.add(Tensor{.name = name(what), .shape = {shares_.sequences, wide}, .type = type, .role = Role::state, .copies = scope_.count});
  };
  const bool keeps = !step_.training, resumes = keeps && step_.past_tokens > 0;

  // A context rank reads its own part of small parameters that all context ranks hold.
  Op conv = op("mamba.conv", OpKind::conv1d);
  conv.dims[Dim::m] = rows;
  conv.dims[Dim::n] = channels;
  conv.dims[Dim::k] = m.conv_kernel;
  const TensorId window = keeps ? state("mamba.conv_state", channels * (m.conv_kernel - 1), residual) : projected;
  const TensorId convolved = value("mamba.conv", rows, channels, residual);
  conv.uses = {read(projected, rows * channels), read(parameter("mamba.conv", "weight", {channels_of(shares_.columns) * m.conv_kernel}, residual), channels * m.conv_kernel), write(convolved)};
  if (keeps) conv.uses.push_back(write(window));
  if (m.conv_bias) conv.uses.push_back(read(vector_parameter("mamba.conv", "bias", channels_of(shares_.columns)), channels));
  if (resumes) conv.uses.push_back(read(window));
  graph_.add(std::move(conv));

  Op scan = op("mamba.scan", OpKind::ssm_scan);
  scan.dims[Dim::m] = rows;
  scan.dims[Dim::n] = inner;
  scan.dims[Dim::state] = m.state;
  const TensorId memory = keeps ? state("mamba.ssm_state", inner * m.state, Format::fp32) : projected;
  const TensorId scanned = value("mamba.scan", rows, inner, residual);
  // A, D and the step size's bias: one of each a head. The step sizes come straight from the projection.
  scan.uses = {read(convolved), read(projected, rows * heads), read(vector_parameter("mamba.scan", "a_d_dt", 3 * heads * swapped), 3 * heads), write(scanned)};
  if (keeps) scan.uses.push_back(write(memory));
  if (resumes) scan.uses.push_back(read(memory));
  graph_.add(std::move(scan));

  const bool own_groups = shares_.columns == 1 || m.groups >= ranks;  // the norm is over a group
  const auto sums = statistics("mamba.gated_norm", scanned, rows, NormKind::rms_norm, own_groups);
  Op gate = op("mamba.gated_norm", OpKind::rms_norm);
  gate.dims[Dim::m] = rows;
  gate.dims[Dim::n] = inner;
  gate.dims[Dim::terms] = 4 + activation_terms(Activation::silu) + 1;
  const TensorId gated = value("mamba.gated_norm", rows, inner, at("mamba.out").activations);
  gate.uses = {read(scanned), read(projected, rows * inner), read(vector_parameter("mamba.gated_norm", "gain", inner * swapped), inner), write(gated)};
  if (sums) gate.uses.push_back(read(*sums));
  graph_.add(std::move(gate));
  const double mine = inner * swapped;
  return row("mamba.out", exchange("mamba.result", CollectiveKind::all_to_all, {MeshAxis::context, swapped}, gated, tokens(), mine), mine, m.proj_bias, residual);
}

}  // namespace gambrel::models

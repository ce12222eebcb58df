// Fractional shapes, layouts and kinds that have no reference kernel: errors, not wrong numbers.
#include "kernels/executor/check_executable.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "kernels/executor/op_run.hpp"
#include "models/shares.hpp"

namespace gambrel::kernels {
namespace {

using models::LayerSpec;

class Checker {
 public:
  void require(bool holds, std::string message, std::string hint) {
    if (holds) return;
    if (std::ranges::none_of(found, [&](const Diagnostic& d) { return d.message == message; }))
      found.push_back({{}, std::move(message), std::move(hint), Fault::input});
  }
  void divides(double part, double whole_extent, std::string_view what) {
    require(std::fmod(whole_extent, part) == 0, fmt::format("{} ranks do not divide {} {}", part, whole_extent, what),
            "a rank executes whole rows and heads");
  }
  Diagnostics found;
};

void check_kinds(Checker& check, const models::Graph& graph) {
  for (const models::Op& op : graph.ops())
    check.require(op.kind == models::OpKind::collective || kernel_of<double>(op.kind),
                  fmt::format("there is no reference kernel for {}", to_string(op.kind)),
                  "forward graphs can be executed");
}

/// What shares out heads, inner widths and experts: ranks of the tensor axis (`columns` of them) and, of whole sequences, context ranks.
/// `goes_on`: with new tokens too few to cut, after others.
void check_layer(Checker& check, const models::ModelConfig& model, const LayerSpec& layer, const models::Sharding& s,
                 const models::Shares& shares, bool goes_on) {
  const double columns = shares.columns, swapped = shares.cuts_context ? s.context : 1,
               heads = columns * (s.exchange == models::ContextExchange::ulysses ? swapped : 1);
  if (layer.attention) {
    check.divides(heads, layer.attention->heads, "heads");
    check.divides(std::min(heads, layer.attention->kv_heads), std::max(heads, layer.attention->kv_heads),
                  "key/value heads");
    check.require(swapped == 1 || layer.attention->causal, "a cut context that is not causal is not executed",
                  "plan: {context: 1}");
  }
  if (layer.latent) {
    check.divides(columns, layer.latent->heads, "heads");
    check.divides(shares.gathered, layer.latent->heads / columns, "heads of a rank that are gathered");
    check.require(s.exchange != models::ContextExchange::ulysses || swapped == 1,
                  "latent attention whose heads are swapped for tokens is not executed", "plan: {context_exchange: ring}");
  }
  if (layer.mamba) {
    check.divides(columns * swapped, layer.mamba->heads, "heads");
    check.divides(columns * swapped, layer.mamba->groups, "state-space groups");
  }
  const bool swaps = layer.mamba || (layer.attention && s.exchange == models::ContextExchange::ulysses);
  check.require(!goes_on || !swaps || s.context == 1,
                "what context ranks remember of heads swapped for tokens does not go on token by token",
                "plan: {context: 1}, or a ring");
  if (layer.dense) check.divides(columns * shares.gathered, layer.dense->inner, "inner elements");
  if (layer.moe) {
    check.divides(s.expert, layer.moe->experts(), "experts");
    check.require(layer.moe->mean_inner() == std::round(layer.moe->mean_inner()),
                  "experts of unequal widths have no whole mean", "execute a model of equal experts");
    check.divides(s.expert_tensor, layer.moe->mean_inner(), "inner elements of an expert");
    check.divides(columns * shares.gathered, layer.moe->shared_inner, "inner elements of the shared expert");
  }
  if (shares.stream_by_width || shares.gathered > 1) check.divides(s.tensor, model.hidden, "hidden elements");
}

void check_step(Checker& check, const models::ModelConfig& model, const models::Step& step, const models::Sharding& s) {
  for (double extent : {step.sequences, step.new_tokens, step.past_tokens, step.logits})
    check.require(extent == std::round(extent), fmt::format("{} sequences or tokens are not a whole number", extent),
                  "execute whole ones");
  check.require(!step.dropout, "dropout is not executed", "leave it out");
  check.require(model.learned_positions == 0 || step.past_tokens + step.new_tokens <= model.learned_positions,
                fmt::format("position {} is behind the table of {} positions", step.past_tokens + step.new_tokens,
                            model.learned_positions),
                "take fewer tokens");
  const bool routed = std::ranges::any_of(model.layers, [](const models::LayerGroup& group) {
    return std::ranges::any_of(group.pattern, [](const LayerSpec& layer) { return layer.moe.has_value(); });
  });
  const models::Shares shares = shares_of(model, step, s);
  if (shares.cuts_context) check.divides(2 * s.context, step.new_tokens, "new tokens");
  if (shares.stream_by_tokens || routed) check.divides(s.tensor, shares.group_tokens, "tokens");
  check.require(step.data_sparsity.activations == 1 && step.data_sparsity.attention == 1,
                "zeros that are only expected are not executed", "leave data_sparsity out");
}

}  // namespace

Diagnostics check_executable(const models::ModelConfig& model, const models::Sharding& sharding,
                             const models::Graph& graph, const models::Step& step) {
  Checker check;
  check.divides(sharding.tensor, model.vocab, "tokens of the vocabulary");
  for (const models::LayerGroup& group : model.layers)
    for (const LayerSpec& layer : group.pattern)
      check_layer(check, model, layer, sharding, shares_of(model, step, sharding),
                  step.past_tokens > 0 && step.new_tokens < sharding.context);
  check_step(check, model, step, sharding);
  check_kinds(check, graph);
  return check.found;
}

}  // namespace gambrel::kernels

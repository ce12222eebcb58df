// Fractional shapes, layouts and kinds that have no reference kernel: errors, not wrong numbers.
#include "kernels/check_executable.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "kernels/op_run.hpp"

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

void check_layer(Checker& check, const LayerSpec& layer, const models::Sharding& s) {
  if (layer.attention) {
    check.divides(s.tensor, layer.attention->heads, "heads");
    check.divides(std::min(s.tensor, layer.attention->kv_heads), std::max(s.tensor, layer.attention->kv_heads),
                  "key/value heads");
    check.require(s.tensor == 1 || layer.attention->qk_norm != models::QkNorm::full,
                  "a norm over all heads is executed on one tensor rank only", "run without tensor ranks");
  }
  if (layer.latent) check.divides(s.tensor, layer.latent->heads, "heads");
  if (layer.mamba) {
    check.divides(s.tensor, layer.mamba->heads, "heads");
    check.divides(s.tensor, layer.mamba->groups, "state-space groups");
  }
  if (layer.dense) check.divides(s.tensor, layer.dense->inner, "inner elements");
  if (layer.moe) {
    check.divides(s.expert, layer.moe->experts(), "experts");
    check.require(layer.moe->mean_inner() == std::round(layer.moe->mean_inner()),
                  "experts of unequal widths have no whole mean", "execute a model of equal experts");
    check.divides(s.expert_tensor, layer.moe->mean_inner(), "inner elements of an expert");
    check.divides(s.tensor, layer.moe->shared_inner, "inner elements of the shared expert");
  }
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
  if (s.sequence || routed) check.divides(s.tensor, step.tokens(), "tokens");
}

}  // namespace

Diagnostics check_executable(const models::ModelConfig& model, const models::Sharding& sharding,
                             const models::Graph& graph, const models::Step& step) {
  Checker check;
  check.require(sharding.layout == models::Layout::weight_stationary_1d, "only the one-dimensional layout is executed",
                "plan: {layout: 1d}");
  check.require(sharding.context == 1, "a cut context is not executed", "plan: {context: 1}");
  check.require(sharding.tensor == 1 || !step.training, "a loss over a cut vocabulary is not executed",
                "run without tensor ranks");
  check.divides(sharding.tensor, model.vocab, "tokens of the vocabulary");
  for (const models::LayerGroup& group : model.layers)
    for (const LayerSpec& layer : group.pattern) check_layer(check, layer, sharding);
  check_step(check, model, step, sharding);
  check_kinds(check, graph);
  return check.found;
}

}  // namespace gambrel::kernels

// Random models that the executor can run, whole or cut, and the comparison of what it counts with the operator table.
#pragma once

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <string>

#include "kernels/executor/executor.hpp"
#include "tests/laws/random_model.hpp"

namespace gambrel::test {

/// Small enough to run a hundred of them, with positions and experts that can be executed.
inline models::ModelConfig executable_model(bool experts = true) {
  models::ModelConfig model = random_model(experts);
  if (model.learned_positions > 0) model.learned_positions = 200;
  for (models::LayerGroup& group : model.layers) group.count = std::min(group.count, 2);
  return model;
}

/// Everything that ranks share out is a multiple of 4; key/value heads may be fewer than the ranks.
inline models::LayerSpec divisible_layer() {
  models::LayerSpec layer = random_layer(true);
  if (layer.attention) {
    layer.attention->kv_heads = one_of<double>({1, 2, 4, 8});
    layer.attention->heads = layer.attention->kv_heads * (layer.attention->kv_heads < 4 ? 4 : draw(1, 2));
  }
  if (layer.latent) layer.latent->heads = 4 * draw(1, 2);
  if (layer.mamba) layer.mamba->groups = 4, layer.mamba->heads = 4 * draw(1, 2);
  if (layer.dense) layer.dense->inner = 4 * draw(1, 8);
  if (layer.moe) {
    layer.moe->sizes = {{4 * draw(1, 3), 4 * draw(1, 5)}};
    layer.moe->top_k = draw(1, 4);
    if (layer.moe->shared_inner > 0) layer.moe->shared_inner = 4 * draw(1, 4);
  }
  return layer;
}

inline models::ModelConfig divisible_model() {
  models::ModelConfig model = random_model(false);
  model.vocab = 4 * draw(1, 20);
  if (model.learned_positions > 0) model.learned_positions = 100;
  model.layers.clear();
  for (int i = static_cast<int>(draw(1, 2)); i > 0; --i)
    model.layers.push_back({static_cast<int>(draw(1, 2)), {divisible_layer()}});
  return model;
}

/// What a failing case prints.
inline std::string describe(const models::ModelConfig& model, const models::Step& step, const models::Sharding& sharding = {}) {
  std::string text = fmt::format("hidden {} vocab {} norm {}; {} x {} + {} tokens, fused {} {}; tensor {} context {} data {} experts {} x {}{}\n",
                                 model.hidden, model.vocab, static_cast<int>(model.norm), step.sequences, step.past_tokens, step.new_tokens,
                                 step.fused_attention, step.fused_experts, sharding.tensor, sharding.context, sharding.data,
                                 sharding.expert, sharding.expert_tensor, sharding.sequence ? " sequence" : "");
  for (const models::LayerSpec& layer : all_layers(model)) {
    text += fmt::format("  norms {}{}{}", static_cast<int>(layer.norms), layer.parallel ? " parallel" : "", layer.shared_norm ? " shared" : "");
    if (const auto& a = layer.attention)
      text += fmt::format(" gqa {}/{}x{} rotary {} qk {} window {} chunk {} bias {}{} sinks {}", a->heads, a->kv_heads, a->head_dim, a->rotary,
                          static_cast<int>(a->qk_norm), a->window, a->chunk, a->qkv_bias, a->out_bias, a->sinks);
    if (const auto& a = layer.latent)
      text += fmt::format(" mla {} q {} kv {} rope {} nope {} v {}", a->heads, a->q_lora_rank, a->kv_lora_rank, a->rope_head_dim, a->nope_head_dim, a->v_head_dim);
    if (const auto& m = layer.mamba) text += fmt::format(" mamba {}x{} groups {} state {}", m->heads, m->head_dim, m->groups, m->state);
    if (const auto& f = layer.dense) text += fmt::format(" dense {} act {} bias {}", f->inner, static_cast<int>(f->activation), f->bias);
    if (const auto& f = layer.moe)
      text += fmt::format(" moe {}/{} inner {} shared {} gate {} bias {}", f->top_k, f->experts(), f->mean_inner(), f->shared_inner, f->shared_gate, f->bias);
    text += "\n";
  }
  return text;
}

/// Functions that are not smooth: a step may lie across a corner, or change which experts are chosen.
inline bool crosses_a_kink(const models::ModelConfig& model) {
  for (const models::LayerSpec& layer : all_layers(model)) {
    if (layer.moe) return true;
    if (layer.dense && (layer.dense->activation == models::Activation::relu)) return true;
  }
  return false;
}

/// Executions, FLOPs and elements of each use are those of the graph. Which experts are hit is an expectation there and a fact here.
inline void check_counted(const models::Graph& graph, const kernels::Execution& done) {
  auto near = [](double a, double b) { return std::abs(a - b) <= 1e-9 * std::max(1.0, std::abs(b)); };
  for (models::OpId id = 0; id < graph.ops().size(); ++id) {
    const models::Op& op = graph.op(id);
    const models::Work work = work_of(graph, op);
    RC_LOG() << op.name << ": " << done.ops[id].flops << " FLOPs, not " << op.count * work.flops << "\n";
    RC_ASSERT(done.ops[id].executions == op.count);
    RC_ASSERT(near(done.ops[id].flops, op.count * work.flops));
    RC_ASSERT(near(done.ops[id].vector_flops, op.count * work.vector_flops));
    for (std::size_t i = 0; i < op.uses.size(); ++i) {
      const models::Tensor& t = graph.tensor(op.uses[i].tensor);
      RC_LOG() << "  " << t.name << ": " << done.ops[id].elements[i] << " elements, not " << op.count * op.uses[i].elements << "\n";
      const bool expert = t.role == models::Role::expert_weight || (t.name.find("moe.experts.") != t.name.npos && t.name.ends_with(".grad"));
      if (expert) RC_ASSERT(done.ops[id].elements[i] <= op.count * t.elements() * (1 + 1e-9));
      else RC_ASSERT(near(done.ops[id].elements[i], op.count * op.uses[i].elements));
    }
  }
}

}  // namespace gambrel::test

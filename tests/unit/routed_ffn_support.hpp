// Calls of a routed FFN for tests of its kernel model.
#pragma once

#include "attention_support.hpp"
#include "sim/kernel_models/expert_load.hpp"

namespace gambrel::sim {

struct RoutedShape {
  double tokens = 64, hidden = 2048, inner = 1024, top_k = 4, experts = 64, ranks = 1;
  models::Routing routing{models::Routing::Kind::balanced};
  double projections = 3;
};

inline KernelCall routed_call(const RoutedShape& s, DataType activations = Format::bf16, DataType weights = Format::bf16) {
  KernelCall call{.kind = KernelKind::moe, .activations = activations, .stored = weights, .routing = s.routing};
  call.tokens = s.tokens;
  call.all_experts = s.experts;
  call.expert_ranks = s.ranks;
  const double hit = models::experts_hit(s.experts, s.top_k, s.tokens, s.routing) / s.ranks;
  call.op = models::single_expert_ffn({.routed = s.tokens * s.top_k / s.ranks, .hidden = s.hidden, .inner = s.inner, .experts = s.experts / s.ranks,
                                       .hit = hit, .top_k = s.top_k, .projections = s.projections}, activations, weights);
  return call;
}

inline ExpertLoad load_of(const RoutedShape& s) { return expert_load({s.tokens, s.experts, s.top_k, s.ranks, s.routing}); }

}  // namespace gambrel::sim

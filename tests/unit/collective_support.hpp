// Calls of collectives and exchanges for tests of their models.
#pragma once

#include "attention_support.hpp"
#include "sim/kernel_models/collective_model.hpp"

namespace gambrel::sim {

inline ChipFigures chip_with_link(double link, double clock = 1.8e9) {
  ChipFigures chip = chip_with(1e15, 0);
  chip.link = link;
  chip.clock = clock;
  return chip;
}

inline KernelCall collective_call(CollectiveKind kind, double ranks, double bytes, DataType type = Format::bf16, bool custom = false) {
  KernelCall call{.kind = KernelKind::collective, .activations = type, .stored = type};
  call.op.kind = models::OpKind::collective;
  call.message = {.kind = kind, .custom = custom, .ranks = ranks, .bytes = bytes};
  return call;
}

struct Exchange {
  double hidden = 7168, tokens = 128, top_k = 8, experts = 256, cores = 20, nodes = 1;
};

inline KernelCall exchange_call(KernelKind kind, const Exchange& e) {
  KernelCall call{.kind = kind};
  call.op.kind = kind == KernelKind::moe_dispatch ? models::OpKind::dispatch : models::OpKind::combine;
  call.message = {.ranks = e.nodes * full_node, .nodes = e.nodes, .hidden = e.hidden, .tokens = e.tokens, .top_k = e.top_k, .experts = e.experts, .cores = e.cores};
  return call;
}

}  // namespace gambrel::sim

// What the tests of build() share: a model of one layer, and its parameters counted by hand.
#pragma once

#include <string>

#include "tests/unit/model_support.hpp"

namespace gambrel::test {

inline double total(const models::Graph& graph) { return models::count_parameters(graph).total; }
inline double active(const models::Graph& graph) { return models::count_parameters(graph).active; }

// hidden 16, vocab 100: the embedding, lm_head and the final norm's gain.
inline constexpr double table = 100 * 16, frame = 2 * table + 16;

inline const std::string dense_layer =
    "  - {attention: {kind: gqa, heads: 4, kv_heads: 2, head_dim: 8}, ffn: {kind: dense, inner: 40}}\n";
inline constexpr double attention_weights = 16 * (4 + 2 * 2) * 8 + 4 * 8 * 16, ffn_weights = 3 * 16 * 40;

inline std::string mla(const std::string& more) {
  return "attention: {kind: mla, heads: 4, kv_lora_rank: 12, rope_head_dim: 2, nope_head_dim: 6, v_head_dim: 5" + more +
         "}";
}

inline models::Graph layer_graph(const std::string& layer, const models::Step& step = {}) {
  return graph_of(model_with("  - {" + layer + "}\n"), step);
}

}  // namespace gambrel::test

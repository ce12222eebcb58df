// Whole recipes of number formats, and short forms of sparsity, as sections of a run file.
#pragma once

#include <string>
#include <vector>

#include "base/node.hpp"
#include "base/result.hpp"

namespace gambrel::sim {

/// A `precision:` section for `value` laid over the run's own section (`under`; null: it has none).
/// A mapping stands for itself. A text is parts joined by "+":
/// - bf16, fp16, fp32 ...: weights, activations and KV cache of the whole model, whatever its checkpoint stores;
/// - a narrower format F: weights and activations of all products in attention, feed-forward layers, experts and mixers;
///   embedding, lm_head, routers, norms, residual stream and KV cache keep theirs, as shipped quantised models do;
/// - F_wo: those weights alone (int2 and sign1 always so);
/// - weights=F, activations=F, kv=F, accumulate=F, lm_head=F: that alone, over what stands so far.
/// Integers get the scales that recipes give them: int8 one a channel (of activations one a token), int4 and int2 one fp16 for
/// each 128 and 64 elements (Frantar et al. 2023, arXiv 2210.17323; Lin et al. 2024, arXiv 2306.00978).
/// Errors: an unknown format or part, at the value.
Result<Node> precision_section(const Node& value, const Node* under);

/// One item of `overrides:` that puts the operators which `match` names into a whole recipe (fp8, int4_wo); of an attention's core
/// ("layers.*.attn.core") it is the KV cache's format. Errors: as precision_section, and parts joined by "+".
Result<Node> precision_override(std::string_view match, const Node& recipe);

/// A `sparsity:` section: of a text ("2:4", "none") or of a mapping with `density` the weights' sparsity; else the section itself.
Node sparsity_section(const Node& value);

}  // namespace gambrel::sim

// A pure graph transform: operators that run in one kernel hand their tensors over on the chip.
#pragma once

#include "models/graph.hpp"

namespace gambrel::models {

/// Which activations run in the epilogue of the product before them.
enum class Epilogue : std::uint8_t {
  none,
  simple,  ///< those of one input; engines run gated ones (silu_and_mul) as a kernel of their own
  all
};

/// What an inference engine runs as one kernel. Biases are part of their product, and a norm or an activation writes in
/// the format that its reader takes (its quantisation), whatever is chosen here: build() makes it so.
struct Fusion {
  bool norms = true;   ///< a residual addition and the norm after it; the sum is still written for the next addition
  Epilogue activation = Epilogue::simple;
  bool rotary = true;  ///< rotary embedding and the copy into the KV cache: rotated keys go to the cache alone
};

/// The same operators and tensors under the same ids. FLOPs stay as they are, bytes only fall: what a fused operator
/// reads from the kernel it joins is no memory traffic, and neither is its writing where nobody else reads it.
/// A norm at the start of a repeated layer follows the addition of the layer before; the first of those layers may
/// follow something else, and then its read counts as its share of the executions (its launch does not).
Graph fuse(const Graph& graph, const Fusion& fusion);

}  // namespace gambrel::models

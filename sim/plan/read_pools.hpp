// Inside sim/ only: `plan: {prefill: {...}, decode: {...}}`.
#pragma once

#include "base/node.hpp"
#include "base/result.hpp"
#include "sim/run.hpp"

namespace gambrel::sim {

/// The plan speaks of pools, or a generation runs on a system that has them.
bool on_pools(const Node& document, const Run& run);

/// Fills `run.pools`, whose other sections are read: a prefill, and a generation whose prompts are prefilled. Errors: a
/// pool that the system lacks or the plan leaves out, another phase than generate, keys beside the two plans.
Result<void> read_pools(const Node& document, Run& run);

}  // namespace gambrel::sim

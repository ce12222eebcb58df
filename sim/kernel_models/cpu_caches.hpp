// What the models of a processor's kernels share: bytes that come from the cache that still holds them.
#pragma once

#include <string_view>

#include "sim/kernel_models/kernel_model.hpp"

namespace gambrel::sim {

/// Shares of what the chip file states, as a kernel reaches them. Shares of capacities say where a kernel's own misses
/// begin; efficiencies are of the streams' bandwidths.
struct CacheConstants {
  double inner_share, last_share, sharpness, first_efficiency, inner_efficiency, last_efficiency, main_efficiency;
};

/// Share of touches after `distance` other bytes that a cache of this capacity no longer answers: a Hill curve in them.
double missed(double distance, double capacity, double sharpness);

/// Seconds a byte that is touched again after `distance` other bytes: soft steps from a chip's first cache to
/// the one before the last, the last, and on to main memory, since replacement is not exact and pages lie where they like
/// (a step in log distance: Hill curve of power `sharpness`).
double seconds_per_byte(double distance, const ChipFigures& chip, const CacheConstants& c);

/// Seconds to bring a call's operands in and its results out. Weights and KV cache come back after all that a model
/// touches in between (KernelCall::between), activations after the call's own bytes: the operator before wrote them.
double movement_seconds(const KernelCall& call, const ChipFigures& chip, const CacheConstants& c);

/// "fp32", or "fp32-int4" where weights are stored in another format than activations.
std::string_view operand_name(const DataType& activations, const DataType& stored);

/// What a processor's row was measured as, else what its operands are.
std::string_view processor_type(const KernelCall& call, const ChipFigures& chip);

}  // namespace gambrel::sim

// Transfers between the chips of one node: what cannot be beaten, shared by the models of collectives and exchanges.
#pragma once

#include "sim/kernel_models/kernel_model.hpp"

namespace gambrel::sim {

/// Chips of a node in the measurements that these models were found on.
inline constexpr double full_node = 8;

/// A transfer between chips: its time is the network's, arithmetic and memory hide behind it.
bool is_transfer(KernelKind kind);

/// Seconds below which no algorithm comes: the bytes that each rank must send over its link. All-reduce counts the
/// message once, not 2 (n-1)/n times, since a switch may add (Klenk et al., ISCA 2020); measured on 8 H100s: 4 %
/// faster than the ring's bound. 0 for kernels that are no transfer, and over one rank.
double transfer_floor(const KernelCall& call, const ChipFigures& chip);

/// Ranks that a token of an exchange reaches on average, its own included: `top_k` distinct experts, all equally likely.
double ranks_reached(const Message& exchange);

/// Bytes that one rank sends in an exchange, to itself not counted.
double exchanged_bytes(KernelKind kind, const Message& exchange);

}  // namespace gambrel::sim

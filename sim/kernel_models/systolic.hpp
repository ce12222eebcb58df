// A GEMM on a systolic array, folds one after the other.
#pragma once

#include "hw/chip.hpp"

namespace gambrel::sim {

/// Cycles of m x n x k on rows x columns processing elements, operands always at hand. Each fold pays its own fill and
/// drain: output stationary ceil(m/R) ceil(n/C) (k + R + C - 2) - 1; weight stationary ceil(k/R) ceil(n/C) (m + 2R + C - 2) - 1;
/// input stationary ceil(k/R) ceil(m/C) (n + 2R + C - 2) - 1. These are SCALE-Sim v3's counts (Samajdar et al. 2020,
/// arXiv 1811.02883); an array that overlaps a fold's fill with the drain before it is faster: `overlapped_cycles`.
double systolic_cycles(double m, double n, double k, double rows, double columns, hw::Dataflow dataflow);

/// The same with fill and drain paid once and the next fold's operands loaded while this one computes, as TPUs do.
double overlapped_cycles(double m, double n, double k, double rows, double columns, hw::Dataflow dataflow);

/// The same for `items` equal products on `arrays` such arrays: the folds are shared out, or each fold's stream is cut
/// into one piece an array, whichever is faster.
double shared_cycles(double items, double m, double n, double k, double rows, double columns, hw::Dataflow dataflow, double arrays);

}  // namespace gambrel::sim

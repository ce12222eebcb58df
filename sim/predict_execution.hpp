// What a chip is predicted to take for a graph that `execute` runs: operator by operator, nothing fused.
#pragma once

#include <vector>

#include "hw/chip.hpp"
#include "models/graph.hpp"
#include "sim/calibration/kernel_predictor.hpp"

namespace gambrel::sim {

/// Of an operator of the graph, over all its executions.
struct PredictedOp {
  double flops = 0, bytes = 0;   ///< by the operator table
  double seconds = 0;            ///< of its kernel's model; 0: no model covers it
  double roofline = 0;           ///< max(T_math, T_mem), main memory charged for all bytes
  std::string_view bound;
  Provenance provenance = Provenance::analytic;
};

struct PredictedGraph {
  std::vector<PredictedOp> ops;
};

/// Bytes that are held at the same time at the most, on any machine.
struct HeldMemory {
  double weights = 0, cache = 0, activations = 0;
  double peak() const { return weights + cache + activations; }
};
HeldMemory held_memory(const models::Graph& graph);

/// What a chip reaches now over what its file states: of all arithmetic (and the clock that first caches run at), and of each
/// memory in the order of Chip::memory.
struct PeakRatios {
  double arithmetic = 1;
  std::vector<double> memory;
};

/// The chip at other peaks: a calibration's constants are shares of peaks, so that they hold for it too.
hw::Chip at_peaks(hw::Chip chip, const PeakRatios& ratios);

/// B/s that a chip's memories give to reads of a working set of so many bytes, again and again, by soft steps from level to level
/// as they were fitted (sim/calibration/this_machine.hpp). Memories of the chip's file, outermost first.
double calibrated_read_rate(const hw::Chip& chip, double bytes);

/// `graph` in the formats that are executed. Weights and KV cache come back after one pass over the whole graph, a residual
/// after what was touched since it was used last.
PredictedGraph predict_execution(const models::Graph& graph, const models::Routing& routing, const hw::Chip& chip, const CalibrationBook& book);

}  // namespace gambrel::sim

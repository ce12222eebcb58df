// What an executed graph did and how long it took, operator by operator.
#pragma once

#include <optional>
#include <string>

#include "kernels/executor/measure_graph.hpp"
#include "reports/report.hpp"
#include "sim/predict_execution.hpp"

namespace gambrel::reports {

/// A peak taken in the seconds of the run.
struct PeakBeside {
  std::string name;       ///< "FMA fp32", or the memory level that was read
  double bytes = 0;       ///< of the working set; 0: arithmetic
  double rate = 0;        ///< FLOP/s or B/s now
  double calibrated = 0;  ///< by the chip's file
};

struct ExecutionReport {
  std::string run, model;
  std::string scaling;  ///< what was executed instead of the whole run, one sentence
  int layers = 0;
  double width_fraction = 1;
  kernels::MeasuredGraph measured;
  std::string kernels;            ///< whose times these are: "reference kernels"
  std::string chip;               ///< that predicts; "" if none does
  std::string note;               ///< why there is no prediction, or what to know of it
  std::optional<sim::PredictedGraph> predicted;  ///< in the executed formats, its operators in the order of `measured`
  std::vector<PeakBeside> peaks;                 ///< empty: none were taken
  std::optional<sim::PredictedGraph> scaled;     ///< `predicted` at the peaks of these seconds
  sim::HeldMemory memory;         ///< predicted
  double process_peak_bytes = 0;  ///< of the whole process, as the system counts (VmHWM); 0: not known
};

/// Table, CSV, or JSON: {schema_version, run, model, scaling, layers, width_fraction, parameters, kernels, runs, chip, memory, covered,
/// peaks[], total, ops[]}, units in the names. Predicted times only where there is a prediction: predicted_s, ratio (predicted /
/// measured), roofline_fraction (plain roofline of main memory / measured), beside intensity (FLOP/B) and measured_s. scaled_s, scaled_ratio: at the peaks of
/// these seconds. `covered`: share of the measured time of operators whose kernel was measured by a calibration.
std::string write_execution(const ExecutionReport& report, TextFormat format);

}  // namespace gambrel::reports

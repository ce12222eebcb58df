// What an executed graph did and how long it took, operator by operator.
#pragma once

#include <string>

#include "kernels/measure_graph.hpp"
#include "reports/report.hpp"

namespace gambrel::reports {

struct ExecutionReport {
  std::string run, model;
  std::string scaling;  ///< what was executed instead of the whole run, one sentence
  int layers = 0;
  double width_fraction = 1;
  kernels::MeasuredGraph measured;
};

/// Table, or JSON: {schema_version, run, model, scaling, layers, width_fraction, parameters, total, ops[]}, units in the names.
std::string write_execution(const ExecutionReport& report, TextFormat format);

}  // namespace gambrel::reports

// Writer of a suite: published measurements of whole runs beside their predictions.
#pragma once

#include <string>
#include <vector>

#include "reports/report.hpp"
#include "reports/validation.hpp"
#include "sim/calibration/suite.hpp"

namespace gambrel::reports {

/// Table and Markdown: the errors of each set beside what one constant per chip reaches, then every set's rows and why
/// rows were not predicted. CSV: one line a row, times in seconds. JSON: both.
std::string write_suite(std::string_view name, const std::vector<sim::SuiteSet>& sets, TextFormat format);

/// The predicted rows as a validation, a group a set: for write_validation_html.
Validation parity_of(std::string_view name, const std::vector<sim::SuiteSet>& sets);

}  // namespace gambrel::reports

// Writer of a validation: predicted beside measured.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "reports/report.hpp"
#include "sim/calibration/score.hpp"

namespace gambrel::reports {

struct ValidationRow {
  std::string key, type, bound;
  double predicted = 0, measured = 0;  ///< seconds
  bool fitted = false;                 ///< the fit saw it: listed, never counted
};

struct ValidationGroup {
  std::string name;  ///< a type, or a type and what bounds
  sim::Score score;
};

struct Validation {
  std::string title, provenance;
  std::vector<ValidationGroup> groups;  ///< "all" first
  std::vector<ValidationRow> rows;
};

/// Table and Markdown: the groups, then the ten worst rows; CSV: every row; JSON: both.
std::string write_validation(const Validation& validation, TextFormat format);

/// A parity plot, measured against predicted, as one offline HTML file.
std::string write_validation_html(const Validation& validation);

}  // namespace gambrel::reports

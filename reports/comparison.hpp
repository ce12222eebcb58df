// Writer of a comparison: variants of a run side by side, speed beside error.
#pragma once

#include <string>

#include "reports/report.hpp"
#include "sim/compare/compare.hpp"

namespace gambrel::reports {

/// Table and Markdown: a row a variant, what was found by a search, how the error was measured. CSV: a row a variant, bare numbers.
/// JSON: all of it, each operator's error included.
std::string write_comparison(const sim::ComparisonResult& comparison, TextFormat format);

/// One offline HTML file without a script: time bars split into arithmetic and movement, error against speed, the roofline with
/// each format's roof and operators moving between variants, the table, how the error was measured.
std::string write_comparison_html(const sim::ComparisonResult& comparison);

}  // namespace gambrel::reports

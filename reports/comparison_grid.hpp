// Inside reports/ only: what text and HTML of a comparison share.
#pragma once

#include <string>
#include <vector>

#include "reports/grid.hpp"
#include "reports/summary.hpp"
#include "sim/compare/compare.hpp"

namespace gambrel::reports {

/// A row a variant; columns that no variant has a figure for are left out.
Grid variants_grid(const sim::ComparisonResult& comparison);
/// Groups of operators that a search gave a narrower format, in the order in which it took them, those that it changed again left
/// out; empty if there was none.
Grid found_grid(const sim::ComparisonResult& comparison);

/// The sentences below the table: what was compared, how the error was measured and how it relates to the whole model, notes.
std::vector<Line> comparison_lines(const sim::ComparisonResult& comparison);

/// Model, machine and workload.
std::string comparison_title(const sim::ComparisonResult& comparison);

/// "HBM", or "HBM to compute" where the bound is not the baseline's any more.
std::string moved_bound(const sim::ComparisonResult& comparison, const sim::VariantResult& variant);

/// "31.5 dB"; "exact" where nothing differs.
std::string decibels(double sqnr_db);

}  // namespace gambrel::reports

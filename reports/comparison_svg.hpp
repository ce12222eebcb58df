// Inside reports/ only: the charts of a comparison, static SVG that takes its colours from report.css.
#pragma once

#include <string>

#include "sim/compare/compare.hpp"

namespace gambrel::reports {

/// Speed to the right, error of the logits upwards (logarithmic): what no variant beats in both is joined by steps.
/// "" if fewer than two variants have an error above 0.
std::string pareto_svg(const sim::ComparisonResult& comparison);

/// The roofs of all variants' formats and the operators that take most of the baseline's time, each a colour; a line leads from
/// where it stands in the baseline to where a variant moves it.
std::string moves_svg(const sim::ComparisonResult& comparison);

}  // namespace gambrel::reports

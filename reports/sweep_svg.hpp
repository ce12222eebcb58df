// The charts of a sweep's page. Marks carry data-p: the design's index, by which the page's script finds it.
#pragma once

#include <string>
#include <string_view>

#include "reports/sweep_page.hpp"

namespace gambrel::reports {

/// Two objectives against each other: sampled designs, the front as steps, the knee. "" without two objectives.
std::string front_svg(const SweepPage& page, std::size_t across, std::size_t up);
/// Best value for each pair of two axes' values; "" if less than half of the pairs have a design.
std::string heat_svg(const SweepPage& page, const HeatMap& map);
/// Axes and objectives side by side, a line a design: the front over a part of the sample.
std::string parallel_svg(const SweepPage& page);
/// Per cent of each objective for one per cent of each input.
std::string tornado_svg(const SweepPage& page);

/// "2.828x" of "2.82842712466x": figures for a label; short values stay as they were written.
std::string short_value(std::string_view value);
/// "chip.memory.HBM.bandwidth" as its last two keys.
std::string axis_title(const sim::SweepAxis& axis);
std::string objective_title(const sim::DesignSpace& space, const sim::Objective& objective);
/// "HBM.bandwidth 2x, batch 32": what a design's axes are set to.
std::string design_text(const sim::DesignSpace& space, std::uint64_t index);

}  // namespace gambrel::reports

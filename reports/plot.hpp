// What every SVG chart is made of: axes that turn values into pixels, ticks on round values, text and lines.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace gambrel::reports {

/// Values from `low` to `high` on pixels from `from` to `to`.
struct PlotAxis {
  double low = 0, high = 1, from = 0, to = 1;
  bool logarithmic = false;

  double at(double value) const;
  /// Round values within: 1, 2 and 5 of each decade where few decades are shown, else the decades; or steps of 1, 2, 2.5 or 5.
  std::vector<double> ticks() const;
};

/// An axis around values with some room; logarithmic if all are positive and differ more than fivefold.
PlotAxis axis_of(const std::vector<double>& values, double from, double to);

/// "12k", "3.4M", "0.05", "2e-6": short enough for a tick.
std::string tick_text(double value);

std::string svg_text(double x, double y, std::string_view anchor, std::string_view cls, std::string_view text);
std::string svg_line(std::string_view cls, double x0, double y0, double x1, double y1);
/// A whole <svg> that names itself to screen readers.
std::string svg_drawing(double width, double height, std::string_view description, const std::string& content);

}  // namespace gambrel::reports

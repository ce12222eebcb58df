#include "reports/plot.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <span>
#include <utility>

#include "reports/format.hpp"

namespace gambrel::reports {
namespace {

constexpr double few_decades = 2.2, room = 0.05;

std::vector<double> logarithmic_ticks(double low, double high) {
  static constexpr std::array<double, 3> all{1, 2, 5};
  const bool few = std::log10(high / low) <= few_decades;
  std::vector<double> ticks;
  for (double e = std::floor(std::log10(low)); std::pow(10, e) <= high * 1.0001; ++e)
    for (double step : few ? std::span<const double>(all) : std::span<const double>(all).first(1))
      if (const double tick = step * std::pow(10, e); tick >= low * 0.9999 && tick <= high * 1.0001) ticks.push_back(tick);
  return ticks;
}

double round_step(double span) {
  const double rough = span / 7, power = std::pow(10, std::floor(std::log10(rough)));
  for (const double step : {1.0, 2.0, 2.5, 5.0})
    if (step * power >= rough) return step * power;
  return 10 * power;
}

}  // namespace

double PlotAxis::at(double value) const {
  const double share = logarithmic ? std::log(value / low) / std::log(high / low) : (value - low) / (high - low);
  return from + (to - from) * share;
}

std::vector<double> PlotAxis::ticks() const {
  if (logarithmic) return logarithmic_ticks(low, high);
  std::vector<double> ticks;
  const double step = round_step(high - low);
  for (double tick = std::ceil(low / step) * step; tick <= high + 1e-9 * step; tick += step) ticks.push_back(std::abs(tick) < 1e-9 * step ? 0 : tick);
  return ticks;
}

PlotAxis axis_of(const std::vector<double>& values, double from, double to) {
  PlotAxis axis{.from = from, .to = to};
  if (values.empty()) return axis;
  const auto [low, high] = std::ranges::minmax(values);
  axis.logarithmic = low > 0 && high > 5 * low;
  if (axis.logarithmic) {
    const double margin = std::pow(high / low, room);
    axis.low = low / margin, axis.high = high * margin;
  } else {
    const double margin = high > low ? room * (high - low) : std::max(0.5 * std::abs(high), 1e-12);
    axis.low = low - margin, axis.high = high + margin;
  }
  return axis;
}

std::string tick_text(double value) {
  const double size = std::abs(value);
  for (const auto& [factor, prefix] : {std::pair{1e12, "T"}, {1e9, "G"}, {1e6, "M"}, {1e4, "k"}})
    if (size >= factor && size < 1e15) return fmt::format("{:.4g}{}", value / (factor == 1e4 ? 1e3 : factor), prefix);
  return fmt::format("{:.4g}", value);
}

std::string svg_text(double x, double y, std::string_view anchor, std::string_view cls, std::string_view text) {
  return fmt::format("<text x=\"{:.1f}\" y=\"{:.1f}\" text-anchor=\"{}\" class=\"{}\">{}</text>\n", x, y, anchor, cls, escape_xml(text));
}

std::string svg_line(std::string_view cls, double x0, double y0, double x1, double y1) {
  return fmt::format("<path class=\"{}\" fill=\"none\" d=\"M{:.1f} {:.1f}L{:.1f} {:.1f}\"/>\n", cls, x0, y0, x1, y1);
}

std::string svg_drawing(double width, double height, std::string_view description, const std::string& content) {
  return fmt::format("<svg viewBox=\"0 0 {} {}\" role=\"img\" aria-label=\"{}\">\n{}</svg>\n", width, height, escape_xml(description), content);
}

}  // namespace gambrel::reports

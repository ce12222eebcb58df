// The static roofline: logarithmic axes, roofs, a mark for each operator. Colours are attributes for a file that stands
// alone; inside the HTML report its style sheet overrides them by class, so that the chart follows the colour scheme.
#include "reports/svg.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <numbers>

#include "reports/report.hpp"
#include "reports/summary.hpp"

namespace gambrel::reports {
namespace {

constexpr double left = 84, right = 24, upper = 64, lower = 104;
constexpr double plot_width = svg_width - left - right, plot_height = svg_height - upper - lower;

struct ClassStyle {
  std::string_view bound_class, colour;
};
/// Okabe & Ito's palette, told apart with any colour vision; shapes say it again.
constexpr std::array<ClassStyle, 8> styles{{{"compute", "#0072b2"},
                                            {"network", "#b0508f"},
                                            {"launch", "#6b7280"},
                                            {"memory0", "#d55e00"},
                                            {"memory1", "#b98500"},
                                            {"memory2", "#00805f"},
                                            {"memory3", "#2b8cbe"},
                                            {"other", "#6b7280"}}};

std::string_view colour_of(std::string_view bound_class) {
  const auto found = std::ranges::find(styles, bound_class, &ClassStyle::bound_class);
  return found == styles.end() ? styles.back().colour : found->colour;
}

struct Pixels {
  const Chart& chart;
  double top;
  double x(double value) const {
    return left + plot_width * std::log(value / chart.x_min) / std::log(chart.x_max / chart.x_min);
  }
  double y(double value) const {
    return top + upper + plot_height * (1 - std::log(value / chart.y_min) / std::log(chart.y_max / chart.y_min));
  }
};

std::string text_at(double x, double y, std::string_view cls, std::string_view attributes, const std::string& text) {
  return fmt::format("<text x=\"{:.1f}\" y=\"{:.1f}\" class=\"{}\" {}>{}</text>\n", x, y, cls, attributes,
                     escape_xml(text));
}

constexpr std::string_view ink = "fill=\"#1f2328\"", soft_ink = "fill=\"#59636e\"";

std::string decade_label(int exponent) {
  static constexpr std::array<std::string_view, 9> prefix{"", "k", "M", "G", "T", "P", "E", "Z", "Y"};
  if (exponent < 0 || exponent > 26)
    return exponent >= -3 && exponent < 0 ? fixed(std::pow(10, exponent), -exponent) : fmt::format("1e{}", exponent);
  return fmt::format("{:.0f}{}{}", std::pow(10, exponent % 3), exponent < 3 ? "" : " ",
                     prefix[static_cast<std::size_t>(exponent / 3)]);
}

std::string grid_lines(const Pixels& px) {
  const Chart& c = px.chart;
  const double bottom = px.top + svg_height - lower, end = svg_width - right;
  std::string out = "<g class=\"grid\" stroke=\"#d8dee4\" stroke-width=\"1\">\n", labels;
  const auto first = [](double v) { return static_cast<int>(std::ceil(std::log10(v) - 1e-9)); };
  for (int e = first(c.x_min); std::pow(10, e) <= c.x_max; ++e) {
    const double x = px.x(std::pow(10, e));
    out += fmt::format("<path d=\"M{:.1f} {:.1f}V{:.1f}\"/>", x, px.top + upper, bottom);
    labels += text_at(x, bottom + 20, "soft", fmt::format("{} text-anchor=\"middle\"", soft_ink), decade_label(e));
  }
  for (int e = first(c.y_min); std::pow(10, e) <= c.y_max; ++e) {
    const double y = px.y(std::pow(10, e));
    out += fmt::format("<path d=\"M{:.1f} {:.1f}H{:.1f}\"/>", left, y, end);
    labels += text_at(left - 8, y + 4, "soft", fmt::format("{} text-anchor=\"end\"", soft_ink), decade_label(e));
  }
  out += fmt::format(
      "\n</g>\n<path class=\"axis\" fill=\"none\" stroke=\"#8c959f\" d=\"M{:.1f} {:.1f}V{:.1f}H{:.1f}\"/>\n", left,
      px.top + upper, bottom, end);
  const double middle = px.top + upper + plot_height / 2;
  labels += text_at(left + plot_width / 2, bottom + 42, "ink", fmt::format("{} text-anchor=\"middle\"", ink),
                    fmt::format("arithmetic intensity, FLOP per byte of {}", display_name(c.main_level, 32)));
  labels +=
      text_at(22, middle, "ink",
              fmt::format("{} text-anchor=\"middle\" transform=\"rotate(-90 22 {:.1f})\"", ink, middle), "FLOP/s");
  return out + labels;
}

/// Slopes so near to each other that their names would overlap write them one behind the other.
double along(const Chart& chart, const ChartLine& line) {
  constexpr double near = 1.45, step = 0.24;
  double share = 0.06;
  for (const ChartLine& other : chart.lines)
    if (other.memory && !other.name_below && !line.name_below && other.y0 > line.y0 && other.y0 / line.y0 < near) share += step;
  return std::min(share, 0.8);
}

std::string slope_name(const ChartLine& line, std::string_view style, double share, double x0, double y0, double x1, double y1) {
  const double angle = std::atan2(y1 - y0, x1 - x0) * 180 / std::numbers::pi;
  return fmt::format("<g transform=\"translate({:.1f} {:.1f}) rotate({:.1f})\">", x0 + share * (x1 - x0),
                     y0 + share * (y1 - y0), angle) +
         text_at(0, line.name_below ? 15 : -6, "halo fill-" + line.bound_class, style, line.label) + "</g>\n";
}

/// At the roof's right end, or right of its ridge where no slope crosses it.
std::string flat_name(const ChartLine& line, std::string_view style, double ridge_x, double x1, double y1) {
  const bool at_ridge = line.name_at_ridge && ridge_x + 10 + 6.5 * static_cast<double>(line.label.size()) < x1;
  const std::string anchored = fmt::format("{} text-anchor=\"{}\"", style, at_ridge ? "start" : "end");
  return text_at(at_ridge ? ridge_x + 10 : x1 - 4,
                 line.name_below    ? y1 + 15
                 : line.name_raised ? y1 - 24
                                    : y1 - 8,
                 "halo fill-compute", anchored, line.label);
}

std::string roof(const Pixels& px, const ChartLine& line) {
  const double x0 = px.x(line.x0), y0 = px.y(line.y0), x1 = px.x(line.x1), y1 = px.y(line.y1);
  const auto colour = colour_of(line.bound_class);
  const std::string path = fmt::format(
      "<path class=\"roof line-{}\" fill=\"none\" stroke=\"{}\" stroke-width=\"2\" d=\"M{:.1f} {:.1f}L{:.1f} {:.1f}\"/>\n",
      line.bound_class, colour, x0, y0, x1, y1);
  const std::string style = fmt::format("fill=\"{}\" font-size=\"12\"", colour);
  if (line.memory) return path + slope_name(line, style, along(px.chart, line), x0, y0, x1, y1);
  const auto ridge = std::ranges::find(px.chart.ridges, line.y0, &Ridge::y);
  return path + flat_name(line, style, ridge == px.chart.ridges.end() ? x0 : px.x(ridge->x), x1, y1);
}

std::string shape(std::string_view bound_class, double x, double y, double r) {
  if (bound_class == "compute")
    return fmt::format("<rect x=\"{:.1f}\" y=\"{:.1f}\" width=\"{:.1f}\" height=\"{:.1f}\"", x - 0.89 * r, y - 0.89 * r,
                       1.78 * r, 1.78 * r);
  if (bound_class == "network")
    return fmt::format("<path d=\"M{:.1f} {:.1f}l{:.1f} {:.1f} {:.1f} {:.1f} {:.1f} {:.1f}z\"", x, y - 1.25 * r,
                       1.25 * r, 1.25 * r, -1.25 * r, 1.25 * r, -1.25 * r, -1.25 * r);
  if (bound_class == "launch")
    return fmt::format("<path d=\"M{:.1f} {:.1f}l{:.1f} {:.1f}h{:.1f}z\"", x, y - 1.3 * r, 1.3 * r, 2.2 * r, -2.6 * r);
  return fmt::format("<circle cx=\"{:.1f}\" cy=\"{:.1f}\" r=\"{:.1f}\"", x, y, r);
}

double radius(double share) { return 4 + 20 * std::sqrt(std::clamp(share, 0.0, 1.0)); }

std::string mark(const Pixels& px, const ChartPoint& p) {
  const std::string hover = escape_xml(display_name(p.row.op->name, 64)) + "\n" +
                            escape_xml(fmt::format("{}", fmt::join(point_lines(p), "; ")));
  return fmt::format(
      "{} class=\"mark fill-{}\" fill=\"{}\" fill-opacity=\"0.75\" stroke=\"#ffffff\"><title>{}</title></{}>\n",
      shape(p.bound_class, px.x(p.x), px.y(p.y), radius(p.share)), p.bound_class, colour_of(p.bound_class), hover,
      p.bound_class == "compute"                                ? "rect"
      : p.bound_class == "network" || p.bound_class == "launch" ? "path"
                                                                : "circle");
}

/// Right of a mark on a slope, below one under a flat roof: there no line runs through it.
std::string mark_label(const Pixels& px, const ChartPoint& p) {
  if (p.label.empty()) return {};
  const double x = px.x(p.x), y = px.y(p.y), r = radius(p.share);
  const std::string text = fmt::format("{} {}", p.label, percent(p.share));
  if (p.bound_class == "compute") {
    const double half = 3.4 * static_cast<double>(display_width(text));
    return text_at(std::clamp(x, left + half, svg_width - right - half), y + r + 15, "ink halo",
                   fmt::format("{} font-size=\"12\" text-anchor=\"middle\"", ink), text);
  }
  const bool at_edge = x > svg_width - right - 180;
  return text_at(at_edge ? x - r - 5 : x + r + 5, y + 5, "ink halo",
                 fmt::format("{} font-size=\"12\" text-anchor=\"{}\"", ink, at_edge ? "end" : "start"), text);
}

std::string ridge_mark(const Pixels& px, const Ridge& ridge) {
  return fmt::format(
      "<circle class=\"ridge\" cx=\"{:.1f}\" cy=\"{:.1f}\" r=\"4\" fill=\"#ffffff\" stroke=\"#1f2328\" stroke-width=\"1.5\"><title>{}</title></circle>\n",
      px.x(ridge.x), px.y(ridge.y), escape_xml(ridge.label));
}

/// Kernels measured one by one have no shares of a run.
bool has_shares(const Chart& chart) { return std::ranges::any_of(chart.bounds, [](const BoundShare& b) { return b.share > 0; }); }

/// Which colour and shape is which bound, with its share of the time; what does not fit stands on a second line.
std::string legend(const Pixels& px) {
  std::string out;
  double x = left + 8, y = px.top + svg_height - 22;
  const auto wrap = [&](double needed) {
    if (x + needed > svg_width - right + 30 && x > left + 8) x = left + 8, y += 18;
  };
  for (const BoundShare& b : px.chart.bounds) {
    const std::string text = has_shares(px.chart) ? fmt::format("bound by {}: {} of the time", display_name(b.bound, 20), percent(b.share)) : fmt::format("bound by {}", display_name(b.bound, 20));
    const double needed = 50 + 6.6 * static_cast<double>(display_width(text));
    wrap(needed);
    out += shape(b.bound_class, x, y - 4, 6) +
           fmt::format(" class=\"fill-{}\" fill=\"{}\"/>\n", b.bound_class, colour_of(b.bound_class));
    out += text_at(x + 14, y, "ink", fmt::format("{} font-size=\"13\"", ink), text);
    x += needed;
  }
  if (px.chart.left_out > 0) {
    const std::string text = fmt::format("{} operators without arithmetic not drawn", px.chart.left_out);
    wrap(6.2 * static_cast<double>(text.size()));
    out += text_at(svg_width - right, y, "soft", fmt::format("{} font-size=\"12\" text-anchor=\"end\"", soft_ink), text);
  }
  return out;
}

constexpr std::string_view svg_attributes =
    "xmlns=\"http://www.w3.org/2000/svg\" font-family=\"system-ui, 'Segoe UI', Helvetica, Arial, sans-serif\" font-size=\"13\"";
constexpr std::string_view svg_style =
    "<style>.halo{paint-order:stroke;stroke:#fff;stroke-width:3px;stroke-linejoin:round}</style>\n";

}  // namespace

namespace {

std::string accessible_group(const Chart& chart, const std::string& title, const std::string& id) {
  return fmt::format(
      "<g role=\"img\" aria-labelledby=\"{0}-title {0}-desc\">\n<title id=\"{0}-title\">{1}</title>\n<desc id=\"{0}-desc\">"
      "Log-log roofline with {2} roofs and {3} operators; a mark's area is its share of the time.</desc>\n",
      id, escape_xml("Roofline: " + title), chart.lines.size(), chart.points.size());
}

std::string plot(const Pixels& px) {
  std::string out = grid_lines(px);
  for (const ChartLine& line : px.chart.lines) out += roof(px, line);
  for (const Ridge& ridge : px.chart.ridges) out += ridge_mark(px, ridge);
  for (const ChartPoint& p : px.chart.points) out += mark(px, p);
  for (const ChartPoint& p : px.chart.points) out += mark_label(px, p);
  return out;
}

}  // namespace

std::string svg_chart(const Chart& chart, const std::string& title, const std::string& id, double top) {
  const Pixels px{chart, top};
  std::string out = accessible_group(chart, title, id);
  out += text_at(left, top + 28, "ink", fmt::format("{} font-size=\"18\" font-weight=\"600\"", ink),
                 display_name(title, 80));
  out += text_at(left, top + 48, "soft", soft_ink,
                 has_shares(chart) ? "Each mark is an operator: where it stands under the roofs; its area is its share of the time"
                                   : "Each mark is a kernel at one size: where it stands under the roofs");
  return out + plot(px) + legend(px) + "</g>\n";
}

std::string svg_figure(const Chart& chart, const std::string& title, const std::string& id) {
  return fmt::format("<svg {} viewBox=\"0 {} {} {}\">\n", svg_attributes, upper - 8, svg_width,
                     svg_height - upper - lower + 62) +
         accessible_group(chart, title, id) + plot({chart, 0}) + "</g>\n</svg>\n";
}

std::string write_svg(const Report& report) {
  const auto charts = make_charts(report.runs);
  const double height = svg_height * static_cast<double>(std::max<std::size_t>(1, charts.size()));
  std::string out = fmt::format("<svg {0} viewBox=\"0 0 {1} {2}\" width=\"{1}\" height=\"{2}\" role=\"group\">\n",
                                svg_attributes, svg_width, height);
  out += fmt::format("<title>{}</title>\n<desc>Roofline charts, one for each run</desc>\n", escape_xml(report.title));
  out += svg_style;
  out += fmt::format("<rect width=\"{}\" height=\"{}\" fill=\"#ffffff\"/>\n", svg_width, height);
  for (std::size_t i = 0; i < charts.size(); ++i)
    out +=
        svg_chart(charts[i], run_title(report.runs[i]), fmt::format("chart{}", i), svg_height * static_cast<double>(i));
  return out + "</svg>\n";
}

}  // namespace gambrel::reports

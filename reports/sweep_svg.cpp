#include "reports/sweep_svg.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>

#include "reports/format.hpp"
#include "reports/plot.hpp"

namespace gambrel::reports {
namespace {

using sim::DesignSpace, sim::Objective, sim::PointResult, sim::SweepAxis;

constexpr double width = 960, height = 520, left = 84, right = 28, upper = 24, lower = 60;
constexpr std::size_t most_lines = 250;  ///< of parallel coordinates, beside the front
constexpr std::size_t most_bars = 14;

double goal(const PointResult& point, const Objective& objective) { return point.figures[objective.figure]; }

std::string title_element(const SweepPage& page, const PointResult& point) {
  std::string text = design_text(page.space(), point.index);
  for (const Objective& objective : page.space().objectives()) text += fmt::format("\n{}: {:.5g}", objective_title(page.space(), objective), goal(point, objective));
  return fmt::format("<title>{}</title>", escape_xml(text));
}

std::string frame(const PlotAxis& x, const PlotAxis& y, const std::string& across, const std::string& up) {
  std::string out;
  for (double tick : x.ticks()) {
    out += svg_line("grid", x.at(tick), upper, x.at(tick), height - lower);
    out += svg_text(x.at(tick), height - lower + 20, "middle", "soft", tick_text(tick));
  }
  for (double tick : y.ticks()) {
    out += svg_line("grid", left, y.at(tick), width - right, y.at(tick));
    out += svg_text(left - 8, y.at(tick) + 4, "end", "soft", tick_text(tick));
  }
  out += svg_text((left + width - right) / 2, height - 12, "middle", "ink", across);
  return out + fmt::format("<text transform=\"translate(18 {:.1f}) rotate(-90)\" text-anchor=\"middle\" class=\"ink\">{}</text>\n", (upper + height - lower) / 2, escape_xml(up));
}

/// The border of what the front's points dominate; only of two objectives is it a line.
std::string steps(std::vector<std::pair<double, double>> pixels, bool right_is_better) {
  std::ranges::sort(pixels);
  std::string path;
  for (const auto& [x, y] : pixels)
    path += path.empty() ? fmt::format("M{:.1f} {:.1f}", x, y) : right_is_better ? fmt::format("V{:.1f}H{:.1f}", y, x) : fmt::format("H{:.1f}V{:.1f}", x, y);
  return path.empty() ? "" : fmt::format("<path class=\"front\" fill=\"none\" d=\"{}\"/>\n", path);
}

std::string mark(const SweepPage& page, const PointResult& point, std::string_view cls, double x, double y, double radius) {
  return fmt::format("<circle class=\"{}\" data-p=\"{}\" cx=\"{:.1f}\" cy=\"{:.1f}\" r=\"{}\">{}</circle>\n", cls, point.index, x, y, radius, title_element(page, point));
}

/// Dark to light through blue and green to yellow: light is best. Stops of viridis (van der Walt & Smith 2015).
std::string colour(double share) {
  static constexpr std::array<std::array<double, 3>, 5> stops{{{68, 1, 84}, {59, 82, 139}, {33, 145, 140}, {94, 201, 98}, {253, 231, 37}}};
  const double place = std::clamp(share, 0.0, 1.0) * (stops.size() - 1);
  const auto from = std::min(static_cast<std::size_t>(place), stops.size() - 2);
  const double part = place - static_cast<double>(from);
  std::array<int, 3> c{};
  for (std::size_t i = 0; i < c.size(); ++i) c[i] = static_cast<int>(std::lround(stops[from][i] + part * (stops[from + 1][i] - stops[from][i])));
  return fmt::format("#{:02x}{:02x}{:02x}", c[0], c[1], c[2]);
}

std::string value_text(const SweepAxis& axis, std::size_t value) { return display_name(short_value(axis.values[value].front()), 14); }

/// Every so many of a list of labels, so that at most `most` stand there.
std::size_t every(std::size_t count, std::size_t most) { return (count + most - 1) / std::max<std::size_t>(most, 1); }

std::string heat_axes(const SweepAxis& across, const SweepAxis& down, double cell_width, double cell_height, double bottom) {
  std::string out;
  for (std::size_t i = 0; i < across.size(); i += every(across.size(), 12))
    out += svg_text(left + cell_width * (static_cast<double>(i) + 0.5), bottom + 18, "middle", "soft", value_text(across, i));
  for (std::size_t i = 0; i < down.size(); i += every(down.size(), 24))
    out += svg_text(left - 8, bottom - cell_height * (static_cast<double>(i) + 0.5) + 4, "end", "soft", value_text(down, i));
  out += svg_text((left + width - right) / 2, bottom + 42, "middle", "ink", axis_title(across));
  return out + fmt::format("<text transform=\"translate(14 {:.1f}) rotate(-90)\" text-anchor=\"middle\" class=\"ink\">{}</text>\n", (upper + bottom) / 2, escape_xml(axis_title(down)));
}

// ---- parallel coordinates

/// One upright scale: an axis by its values' places, or an objective.
struct Scale {
  std::string title;
  PlotAxis pixels;
  const SweepAxis* axis = nullptr;
  std::size_t which = 0;  ///< of the axes or the objectives
};

std::vector<Scale> scales_of(const SweepPage& page, double top, double bottom) {
  std::vector<Scale> scales;
  const auto& axes = page.space().axes();
  for (std::size_t a = 0; a < axes.size(); ++a)
    if (axes[a].size() > 1) scales.push_back({axis_title(axes[a]), {0, static_cast<double>(axes[a].size() - 1), bottom, top, false}, &axes[a], a});
  for (std::size_t o = 0; o < page.space().objectives().size(); ++o) {
    const Objective& objective = page.space().objectives()[o];
    std::vector<double> values;
    for (const auto* points : {&page.front, &page.sample()})
      for (const PointResult& point : *points) values.push_back(goal(point, objective));
    scales.push_back({objective_title(page.space(), objective), axis_of(values, bottom, top), nullptr, o});
  }
  return scales;
}

std::string trace(const SweepPage& page, const std::vector<Scale>& scales, const std::vector<double>& x, const PointResult& point, std::string_view cls) {
  const sim::Coordinates at = page.space().coordinates_of(point.index);
  std::string path;
  for (std::size_t i = 0; i < scales.size(); ++i) {
    const double value = scales[i].axis ? at[scales[i].which] : goal(point, page.space().objectives()[scales[i].which]);
    path += fmt::format("{}{:.1f} {:.1f}", i ? "L" : "M", x[i], scales[i].pixels.at(value));
  }
  return fmt::format("<path class=\"{}\" fill=\"none\" data-p=\"{}\" d=\"{}\">{}</path>\n", cls, point.index, path, title_element(page, point));
}

std::string scale_labels(const Scale& scale, double x, bool second_row) {
  std::string out = svg_line("axis", x, scale.pixels.to, x, scale.pixels.from);
  out += svg_text(x, scale.pixels.to - (second_row ? 30 : 14), "middle", "ink", display_name(scale.title, 26));
  if (scale.axis) {
    const std::size_t n = scale.axis->size();
    for (std::size_t i = 0; i < n; i += every(n, 10)) out += svg_text(x + 6, scale.pixels.at(static_cast<double>(i)) + 4, "start", "soft halo", value_text(*scale.axis, i));
  } else {
    for (double tick : scale.pixels.ticks()) out += svg_text(x + 6, scale.pixels.at(tick) + 4, "start", "soft halo", tick_text(tick));
  }
  return out;
}

}  // namespace

std::string short_value(std::string_view value) {
  double figure = 0;
  const auto end = std::from_chars(value.data(), value.data() + value.size(), figure).ptr;
  const auto length = static_cast<std::size_t>(end - value.data());
  if (length <= 6 || !std::isfinite(figure)) return std::string(value);
  return fmt::format("{:.4g}{}", figure, value.substr(length));
}

std::string axis_title(const SweepAxis& axis) {
  const std::string& path = axis.paths.front();
  const std::size_t last = path.rfind('.');
  const std::size_t before = last == std::string::npos || last == 0 ? std::string::npos : path.rfind('.', last - 1);
  const std::string tail = before == std::string::npos ? path : path.substr(before + 1);
  return display_name(tail + (axis.paths.size() > 1 ? fmt::format(" (+{})", axis.paths.size() - 1) : ""), 40);
}

std::string objective_title(const DesignSpace& space, const Objective& objective) {
  const sim::FigureColumn& column = space.columns()[objective.figure];
  const std::string& name = column.label.empty() ? column.name : column.label;
  return display_name(column.unit.empty() ? name : fmt::format("{}, {}", name, column.unit), 48);
}

std::string design_text(const DesignSpace& space, std::uint64_t index) {
  const sim::Coordinates at = space.coordinates_of(index);
  std::string text;
  for (std::size_t a = 0; a < at.size(); ++a) text += fmt::format("{}{} {}", a ? ", " : "", axis_title(space.axes()[a]), value_text(space.axes()[a], at[a]));
  return text;
}

std::string front_svg(const SweepPage& page, std::size_t across, std::size_t up) {
  const auto& objectives = page.space().objectives();
  if (objectives.size() <= std::max(across, up) || page.front.empty()) return "";
  const Objective &ox = objectives[across], &oy = objectives[up];
  std::vector<double> xs, ys;
  for (const auto* points : {&page.front, &page.sample()})
    for (const PointResult& p : *points) xs.push_back(goal(p, ox)), ys.push_back(goal(p, oy));
  const PlotAxis x = axis_of(xs, left, width - right), y = axis_of(ys, height - lower, upper);
  std::string out = frame(x, y, fmt::format("{} ({} is better)", objective_title(page.space(), ox), ox.maximise ? "right" : "left"),
                          fmt::format("{} ({} is better)", objective_title(page.space(), oy), oy.maximise ? "up" : "down"));
  for (const PointResult& p : page.sample()) out += mark(page, p, "beaten", x.at(goal(p, ox)), y.at(goal(p, oy)), 2.5);
  std::vector<std::pair<double, double>> pixels;
  for (const PointResult& p : page.front) pixels.emplace_back(x.at(goal(p, ox)), y.at(goal(p, oy)));
  if (objectives.size() == 2) out += steps(pixels, ox.maximise);
  for (std::size_t i = 0; i < page.front.size(); ++i) {
    const bool knee = page.knee == i;
    out += mark(page, page.front[i], knee ? "best knee" : "best", pixels[i].first, pixels[i].second, knee ? 8 : 5);
    if (knee) out += svg_text(pixels[i].first + 12, pixels[i].second - 8, "start", "ink halo", "knee");
  }
  return svg_drawing(width, height, "Designs between two objectives, with the Pareto front", out);
}

std::string heat_svg(const SweepPage& page, const HeatMap& map) {
  const auto& axes = page.space().axes();
  const SweepAxis &across = axes[map.across], &down = axes[map.down];
  std::vector<double> values;
  for (double value : map.best)
    if (!std::isnan(value)) values.push_back(value);
  if (2 * values.size() < map.best.size() || values.empty()) return "";
  const Objective& objective = page.space().objectives()[map.objective];
  const PlotAxis shade = axis_of(values, objective.maximise ? 0 : 1, objective.maximise ? 1 : 0);
  const double cell_width = (width - left - right) / static_cast<double>(across.size());
  const double cell_height = std::min(34.0, (height - upper - lower) / static_cast<double>(down.size()));
  const double bottom = upper + cell_height * static_cast<double>(down.size());
  std::string out = heat_axes(across, down, cell_width, cell_height, bottom);
  for (std::size_t d = 0; d < down.size(); ++d) {
    for (std::size_t a = 0; a < across.size(); ++a) {
      const std::size_t cell = d * across.size() + a;
      if (std::isnan(map.best[cell])) continue;
      out += fmt::format("<rect data-p=\"{}\" x=\"{:.1f}\" y=\"{:.1f}\" width=\"{:.1f}\" height=\"{:.1f}\" fill=\"{}\"><title>{}\n{}: {:.5g}</title></rect>\n", map.index[cell],
                         left + cell_width * static_cast<double>(a), bottom - cell_height * static_cast<double>(d + 1), cell_width, cell_height, colour(shade.at(map.best[cell])),
                         escape_xml(design_text(page.space(), map.index[cell])), escape_xml(objective_title(page.space(), objective)), map.best[cell]);
    }
  }
  return svg_drawing(width, bottom + lower, "Best value for each pair of two axes' values", out);
}

std::string parallel_svg(const SweepPage& page) {
  const double top = upper + 40, bottom = height - 30;
  const std::vector<Scale> scales = scales_of(page, top, bottom);
  if (scales.size() < 3 || page.front.empty()) return "";
  std::vector<double> x;
  for (std::size_t i = 0; i < scales.size(); ++i) x.push_back(left + (width - left - 2 * right - 60) * static_cast<double>(i) / static_cast<double>(scales.size() - 1));
  std::string out;
  const std::size_t step = every(page.sample().size(), most_lines);
  for (std::size_t i = 0; i < page.sample().size(); i += std::max<std::size_t>(step, 1)) out += trace(page, scales, x, page.sample()[i], "thread");
  for (std::size_t i = 0; i < page.front.size(); ++i) out += trace(page, scales, x, page.front[i], page.knee == i ? "thread best knee" : "thread best");
  for (std::size_t i = 0; i < scales.size(); ++i) out += scale_labels(scales[i], x[i], i % 2 == 1 && scales.size() > 5);
  return svg_drawing(width, height, "Parallel coordinates of the designs", out);
}

std::string tornado_svg(const SweepPage& page) {
  if (!page.sensitivity || page.sensitivity->effects.empty()) return "";
  const auto& effects = page.sensitivity->effects;
  const std::size_t rows = std::min(effects.size(), most_bars), objectives = page.space().objectives().size();
  double largest = 0;
  for (const auto& effect : effects)
    for (double percent : effect.percent) largest = std::max(largest, std::abs(percent));
  const double name_width = 330, row_height = 14.0 * static_cast<double>(objectives) + 12, bottom = upper + row_height * static_cast<double>(rows);
  const PlotAxis x{-largest * 1.1, largest * 1.1, name_width, width - right, false};
  std::string out;
  for (double tick : x.ticks()) {
    out += svg_line("grid", x.at(tick), upper, x.at(tick), bottom);
    out += svg_text(x.at(tick), bottom + 18, "middle", "soft", fmt::format("{:+.3g}%", tick));
  }
  for (std::size_t r = 0; r < rows; ++r) {
    const double y = upper + row_height * static_cast<double>(r);
    out += svg_text(name_width - 10, y + row_height / 2 + 2, "end", "ink", display_name(fmt::format("{} ({})", effects[r].path, effects[r].value), 44));
    for (std::size_t o = 0; o < objectives; ++o) {
      const double percent = effects[r].percent[o], from = std::min(x.at(0), x.at(percent)), to = std::max(x.at(0), x.at(percent));
      out += fmt::format("<rect class=\"bar{}\" x=\"{:.1f}\" y=\"{:.1f}\" width=\"{:.1f}\" height=\"12\"><title>{} {:+.4f}%</title></rect>\n", o % 4, from, y + 6 + 14.0 * static_cast<double>(o), std::max(to - from, 0.5),
                         escape_xml(objective_title(page.space(), page.space().objectives()[o])), percent);
    }
  }
  out += svg_line("axis", x.at(0), upper, x.at(0), bottom);
  return svg_drawing(width, bottom + 30, "Sensitivity of the knee", out);
}

}  // namespace gambrel::reports

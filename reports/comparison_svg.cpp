#include "reports/comparison_svg.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <map>

#include "reports/chart.hpp"
#include "reports/comparison_grid.hpp"
#include "reports/format.hpp"
#include "reports/plot.hpp"

namespace gambrel::reports {
namespace {

using sim::ComparisonResult, sim::VariantResult;

constexpr double width = 960, height = 520, left = 76, right = 24, upper = 20, lower = 56;

using Axis = PlotAxis;

std::string figure(std::string_view description, const std::string& content) { return svg_drawing(width, height, description, content); }

// ---- error against speed

struct Mark {
  double x, y;
  const VariantResult* variant;
};

std::vector<double> decades(double low, double high) {
  std::vector<double> ticks;
  for (double e = std::floor(std::log10(low)); std::pow(10, e) <= high * 1.0001; ++e)
    for (const double step : {1.0, 2.0, 5.0})
      if (const double tick = step * std::pow(10, e); tick >= low * 0.9999 && tick <= high * 1.0001) ticks.push_back(tick);
  return ticks;
}

double round_step(double span) {
  const double rough = span / 7, power = std::pow(10, std::floor(std::log10(rough)));
  for (const double step : {1.0, 2.0, 2.5, 5.0})
    if (step * power >= rough) return step * power;
  return 10 * power;
}

std::string pareto_axes(const Axis& x, const Axis& y) {
  std::string out;
  const double step = round_step(x.high - x.low);
  for (double tick = std::ceil(x.low / step) * step; tick <= x.high + 1e-9; tick += step) {
    out += svg_line("grid", x.at(tick), upper, x.at(tick), height - lower);
    out += svg_text(x.at(tick), height - lower + 20, "middle", "soft", fmt::format("{:.3g}x", tick));
  }
  for (const double tick : decades(y.low, y.high)) {
    out += svg_line("grid", left, y.at(tick), width - right, y.at(tick));
    out += svg_text(left - 8, y.at(tick) + 4, "end", "soft", fmt::format("{:.3g}%", 100 * tick));
  }
  out += svg_text((left + width - right) / 2, height - 12, "middle", "ink", "speed over the baseline");
  return out + fmt::format("<text transform=\"translate(18 {:.1f}) rotate(-90)\" text-anchor=\"middle\" class=\"ink\">relative error of the logits</text>\n", (upper + height - lower) / 2);
}

std::string front_steps(std::vector<Mark> marks, const Axis& x, const Axis& y) {
  std::erase_if(marks, [](const Mark& m) { return !m.variant->front; });
  std::ranges::sort(marks, {}, &Mark::x);
  std::string path;
  for (const Mark& m : marks)
    path += path.empty() ? fmt::format("M{:.1f} {:.1f}", x.at(m.x), y.at(m.y)) : fmt::format("H{:.1f}V{:.1f}", x.at(m.x), y.at(m.y));
  return path.empty() ? "" : fmt::format("<path class=\"front\" fill=\"none\" d=\"{}\"/>\n", path);
}

/// Names beside their marks: left of those near the right edge, and below a name that is already there.
std::string pareto_marks(const std::vector<Mark>& marks, const Axis& x, const Axis& y) {
  std::string out;
  struct Taken {
    double x0, x1, y;
  };
  std::vector<Taken> taken;
  for (const Mark& m : marks) {
    const double px = x.at(m.x), py = y.at(m.y);
    const std::string name = display_name(m.variant->name, 40);
    const double length = 6.6 * static_cast<double>(display_width(name));
    const bool before = px + 10 + length > width - right;
    const double x0 = before ? px - 10 - length : px + 10;
    double at = py + 4;
    const auto clashes = [&] { return std::ranges::any_of(taken, [&](const Taken& t) { return t.x0 < x0 + length && x0 < t.x1 && std::abs(t.y - at) < 13; }); };
    for (int tries = 0; tries < 12 && clashes(); ++tries) at += 14;
    taken.push_back({x0, x0 + length, at});
    out += fmt::format("<circle class=\"{}\" cx=\"{:.1f}\" cy=\"{:.1f}\" r=\"6\"><title>{}: {:.2f}x, {}</title></circle>\n", m.variant->front ? "best" : "beaten", px, py, escape_xml(name), m.x,
                       decibels(m.variant->error->sqnr_db));
    out += svg_text(before ? px - 10 : px + 10, at, before ? "end" : "start", "ink halo", name);
  }
  return out;
}

// ---- roofline

constexpr std::size_t most_traces = 5;
constexpr std::array<std::string_view, most_traces> trace_classes{"t0", "t1", "t2", "t3", "t4"};

std::string roofline_axes(const Chart& c, const Axis& x, const Axis& y) {
  std::string out;
  for (double e = std::ceil(std::log10(c.x_min)); std::pow(10, e) <= c.x_max; ++e) {
    out += svg_line("grid", x.at(std::pow(10, e)), upper, x.at(std::pow(10, e)), height - lower);
    out += svg_text(x.at(std::pow(10, e)), height - lower + 20, "middle", "soft", fmt::format("{:g}", std::pow(10, e)));
  }
  for (double e = std::ceil(std::log10(c.y_min)); std::pow(10, e) <= c.y_max; ++e) {
    out += svg_line("grid", left, y.at(std::pow(10, e)), width - right, y.at(std::pow(10, e)));
    out += svg_text(left - 8, y.at(std::pow(10, e)) + 4, "end", "soft", fmt::format("{:g}T", std::pow(10, e - 12)));
  }
  out += svg_text((left + width - right) / 2, height - 12, "middle", "ink", fmt::format("arithmetic intensity, FLOP per byte of {}", display_name(c.main_level, 24)));
  return out + fmt::format("<text transform=\"translate(18 {:.1f}) rotate(-90)\" text-anchor=\"middle\" class=\"ink\">FLOP/s</text>\n", (upper + height - lower) / 2);
}

/// Rates that read the same are the same roof.
std::string rate_text(double rate) { return spoken(FlopsPerSecond{rate}); }

/// "bf16 matrix sparse, int8 matrix 1.98 PFLOP/s": all formats of that rate.
std::string flat_name(const ComparisonResult& c, double rate) {
  std::vector<std::string> names;
  for (const VariantResult& v : c.variants)
    for (const sim::Roof& roof : v.estimate.roofs)
      if (!roof.memory && rate_text(roof.value) == rate_text(rate) && !std::ranges::count(names, display_name(roof.name))) names.push_back(display_name(roof.name));
  return fmt::format("{} {}", fmt::join(names, ", "), rate_text(rate));
}

std::string slope_name(const ChartLine& l, double x0, double y0, double x1, double y1) {
  constexpr double degrees = 57.29578;
  return fmt::format("<text class=\"soft halo\" transform=\"translate({:.1f} {:.1f}) rotate({:.1f})\">{}</text>\n", x0 + 0.05 * (x1 - x0), y0 + 0.05 * (y1 - y0) + (l.name_below ? 15 : -5),
                     std::atan2(y1 - y0, x1 - x0) * degrees, escape_xml(l.label));
}

/// Each roof once, whichever variants have it; those of one rate share a name. Names go over the lines.
std::string roofs(const ComparisonResult& c, const std::vector<Chart>& charts, const Axis& x, const Axis& y) {
  std::map<std::string, const ChartLine*> lines;
  for (const Chart& chart : charts)
    for (const ChartLine& l : chart.lines) lines.emplace(l.memory ? l.label : rate_text(l.y0), &l);
  std::string out, names;
  for (const auto& [key, l] : lines) {
    const double x0 = x.at(l->x0), y0 = y.at(l->y0), x1 = x.at(l->x1), y1 = y.at(l->y1);
    out += svg_line(l->memory ? "slope" : "roof", x0, y0, x1, y1);
    names += l->memory ? slope_name(*l, x0, y0, x1, y1) : svg_text(x1 - 4, y1 - 5, "end", "soft halo", flat_name(c, l->y0));
  }
  return out + names;
}

std::string short_row(const Row& row) { return row.phase->name + " " + short_name(row.op->name); }

const ChartPoint* point_of(const Chart& chart, const std::string& name) {
  const auto found = std::ranges::find_if(chart.points, [&](const ChartPoint& p) { return short_row(p.row) == name; });
  return found == chart.points.end() ? nullptr : &*found;
}

/// One operator: a large mark in the baseline, a small one in every variant that moves it.
std::string trace(const ComparisonResult& c, const std::vector<Chart>& charts, const std::string& name, std::string_view cls, const Axis& x, const Axis& y) {
  const ChartPoint* start = point_of(charts.front(), name);
  std::string out;
  for (std::size_t i = 1; i < charts.size(); ++i) {
    const ChartPoint* p = point_of(charts[i], name);
    if (!p || (p->x == start->x && p->y == start->y)) continue;
    const double px = x.at(p->x), py = y.at(p->y);
    out += svg_line(fmt::format("move {}", cls), x.at(start->x), y.at(start->y), px, py);
    out += fmt::format("<circle class=\"{}\" cx=\"{:.1f}\" cy=\"{:.1f}\" r=\"4\"><title>{} in {}: {:.3g} FLOP/B, {:.3g} TFLOP/s</title></circle>\n", cls, px, py, escape_xml(display_name(name)),
                       escape_xml(display_name(c.variants[i].name)), p->x, p->y * 1e-12);
  }
  out += fmt::format("<circle class=\"{} start\" cx=\"{:.1f}\" cy=\"{:.1f}\" r=\"8\"><title>{} in {}</title></circle>\n", cls, x.at(start->x), y.at(start->y), escape_xml(display_name(name)),
                     escape_xml(display_name(c.variants.front().name)));
  return out;
}

/// The key stands in the lower right corner, where no roof is.
std::string key(const std::vector<std::string>& names) {
  std::string out;
  for (std::size_t i = 0; i < names.size(); ++i) {
    const double y = height - lower - 14 - 18 * static_cast<double>(names.size() - 1 - i);
    out += fmt::format("<circle class=\"{} start\" cx=\"{:.1f}\" cy=\"{:.1f}\" r=\"6\"/>\n", trace_classes[i], width - right - 12, y - 4);
    out += svg_text(width - right - 26, y, "end", "ink halo", display_name(names[i], 40));
  }
  return out;
}

}  // namespace

std::string pareto_svg(const ComparisonResult& c) {
  std::vector<Mark> marks;
  for (const VariantResult& v : c.variants)
    if (v.error && v.error->relative_error > 0 && std::isfinite(v.error->relative_error)) marks.push_back({v.speedup, v.error->relative_error, &v});
  if (marks.size() < 2) return "";
  std::ranges::stable_partition(marks, [](const Mark& m) { return !m.variant->front; });  // the front is drawn last, on top
  const auto [x0, x1] = std::ranges::minmax(marks, {}, &Mark::x);
  const auto [y0, y1] = std::ranges::minmax(marks, {}, &Mark::y);
  const double margin = std::max(0.05, 0.08 * (x1.x - x0.x));
  const Axis x{std::max(0.0, x0.x - margin), x1.x + margin, left, width - right, false}, y{y0.y / 1.5, y1.y * 1.5, height - lower, upper, true};
  return figure("Relative error of the logits against speed, one mark a variant", pareto_axes(x, y) + front_steps(marks, x, y) + pareto_marks(marks, x, y));
}

std::string moves_svg(const ComparisonResult& c) {
  std::vector<sim::Estimate> runs;
  for (const VariantResult& v : c.variants) runs.push_back(v.estimate);
  const std::vector<Chart> charts = make_charts(runs);
  std::vector<std::string> names;
  for (const ChartPoint& p : charts.front().points)
    if (names.size() < most_traces && !std::ranges::count(names, short_row(p.row))) names.push_back(short_row(p.row));
  const Chart& first = charts.front();
  const Axis x{first.x_min, first.x_max, left, width - right, true}, y{first.y_min, first.y_max, height - lower, upper, true};
  std::string out = roofline_axes(first, x, y) + roofs(c, charts, x, y);
  for (std::size_t i = 0; i < names.size(); ++i) out += trace(c, charts, names[i], trace_classes[i], x, y);
  return figure("Roofline: operators of the baseline and where variants move them", out + key(names));
}

}  // namespace gambrel::reports

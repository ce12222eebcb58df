#include "reports/chart.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "base/text.hpp"

namespace gambrel::reports {
namespace {

constexpr double least_share_of_a_label = 0.01;
constexpr std::size_t most_labels = 6;

bool is_positive(double value) { return std::isfinite(value) && value > 0; }

struct Roofs {
  double top = 0;       ///< the highest compute roof
  double steepest = 0;  ///< the fastest memory
};

Roofs extremes(const sim::Estimate& run) {
  Roofs roofs;
  for (const auto& roof : run.roofs)
    if (is_positive(roof.value))
      (roof.memory ? roofs.steepest : roofs.top) = std::max(roof.memory ? roofs.steepest : roofs.top, roof.value);
  return roofs;
}

double bandwidth_of(const sim::Estimate& run, const std::string& level) {
  for (const auto& roof : run.roofs)
    if (roof.memory && roof.name == level && is_positive(roof.value)) return roof.value;
  return 0;
}

void add_points(Chart& chart, const sim::Estimate& run) {
  const std::vector<Row> rows = op_rows(run);
  for (const Row& row : longest(rows, rows.size())) {
    // What a fused operator adds to its kernel may be less than it would take alone, which is where its mark stands.
    const double alone = std::max({row.op->time.value, row.op->t_math.value, row.op->t_mem.value});
    const double x = row.op->intensity.value, y = row.op->flops.value / alone;
    if (!is_positive(x) || !is_positive(y)) {
      ++chart.left_out;
      continue;
    }
    chart.points.push_back({row, x, y, share_of(run, total_time(*row.op)), bound_class(*row.phase, row.op->bound), ""});
  }
}

void add_bounds(Chart& chart, const sim::Estimate& run) {
  const std::vector<Row> rows = op_rows(run);
  for (const Row& row : longest(rows, rows.size())) {
    const std::string& bound = row.op->bound;
    auto found = std::ranges::find(chart.bounds, bound, &BoundShare::bound);
    if (found == chart.bounds.end()) found = chart.bounds.insert(found, {bound, bound_class(*row.phase, bound)});
    found->share += share_of(run, total_time(*row.op));
  }
}

void set_ranges(Chart& chart, const sim::Estimate& run) {
  const Roofs roofs = extremes(run);
  const double main = bandwidth_of(run, chart.main_level);
  const double slope = main > 0 ? main : roofs.steepest;
  if (roofs.top > 0 && slope > 0) {
    chart.x_min = roofs.top / slope / 1000;
    chart.x_max = roofs.top / slope * 10;
  }
  for (const auto& p : chart.points) {
    chart.x_min = std::min(chart.x_min, p.x / 2);
    chart.x_max = std::max(chart.x_max, p.x * 2);
  }
  if (roofs.top > 0) chart.y_max = 3 * roofs.top;
  chart.y_min = slope > 0 ? std::min(slope * chart.x_min / 2, chart.y_max / 1000) : chart.y_max / 1e6;
  for (const auto& p : chart.points) {
    chart.y_min = std::min(chart.y_min, p.y / 2);
    chart.y_max = std::max(chart.y_max, p.y * 2);
  }
}

/// A slope from the chart's edge up to the highest compute roof; nothing is left of one that lies above the chart.
bool clip_slope(ChartLine& line, const Chart& chart, double bandwidth, double top) {
  const double end = top > 0 ? top : chart.y_max;
  line.x0 = std::max(chart.x_min, chart.y_min / bandwidth);
  line.x1 = std::min(chart.x_max, end / bandwidth);
  line.y0 = bandwidth * line.x0;
  line.y1 = bandwidth * line.x1;
  return line.x0 < line.x1;
}

/// Marks near a flat roof's name, if that starts at `from` (parts of the chart's width).
std::size_t marks_near(const Chart& chart, const ChartLine& line, double from) {
  constexpr double name_width = 0.2, name_height = 0.08, mark_name = 0.06;  // of a chart some 900 pixels wide
  const double width = std::log10(chart.x_max / chart.x_min), height = std::log10(chart.y_max / chart.y_min);
  return static_cast<std::size_t>(std::ranges::count_if(chart.points, [&](const ChartPoint& p) {
    const double x = std::log10(p.x / chart.x_min) / width, y = std::log10(p.y / line.y0) / height;
    return x > from - mark_name && x < from + name_width + mark_name && std::abs(y) < name_height;
  }));
}

/// Names go where marks seldom are: outside the space between the roofs, and at a flat roof's right end or its ridge.
/// Above the highest roof there is room for one.
void place_names(Chart& chart, double main_bandwidth) {
  ChartLine *lowest = nullptr, *highest = nullptr;
  for (ChartLine& line : chart.lines) {
    if (line.memory && (!lowest || line.y0 / line.x0 < lowest->y0 / lowest->x0)) lowest = &line;
    if (!line.memory && (!highest || line.y0 > highest->y0)) highest = &line;
    if (line.memory || main_bandwidth <= 0) continue;
    const double ridge = std::log10(line.y0 / main_bandwidth / chart.x_min) / std::log10(chart.x_max / chart.x_min);
    line.name_at_ridge = marks_near(chart, line, 0.8) > marks_near(chart, line, ridge);
  }
  for (ChartLine& line : chart.lines) line.name_below = line.memory ? &line == lowest : &line != highest;
  if (!highest) return;
  highest->name_at_ridge = false;
  highest->name_raised = marks_near(chart, *highest, 0.8) > 0;
}

void add_lines(Chart& chart, const sim::Estimate& run) {
  const Roofs roofs = extremes(run);
  const sim::Phase none;
  const sim::Phase& phase = run.phases.empty() ? none : run.phases.front();
  chart.lines.clear();
  for (const auto& roof : run.roofs) {
    if (!is_positive(roof.value)) continue;
    const std::string value = roof.memory ? spoken(BytesPerSecond{roof.value}) : spoken(FlopsPerSecond{roof.value});
    ChartLine line{fmt::format("{}  {}", display_name(roof.name, 32), value), roof.memory,
                   roof.memory ? bound_class(phase, roof.name) : "compute"};
    if (roof.memory) {
      if (!clip_slope(line, chart, roof.value, roofs.top)) continue;
    } else {
      line.x0 = std::max(chart.x_min, roofs.steepest > 0 ? roof.value / roofs.steepest : 0);
      line.x1 = std::max(chart.x_max, line.x0);
      line.y0 = line.y1 = roof.value;
    }
    chart.lines.push_back(std::move(line));
  }
  place_names(chart, bandwidth_of(run, chart.main_level));
}

void add_ridges(Chart& chart, const sim::Estimate& run) {
  const double main = bandwidth_of(run, chart.main_level);
  if (main <= 0) return;
  for (const auto& roof : run.roofs) {
    if (roof.memory || !is_positive(roof.value)) continue;
    const double x = roof.value / main;
    chart.ridges.push_back({fmt::format("{} meets {} at {} FLOP/B", display_name(roof.name, 32),
                                        display_name(chart.main_level, 32), fixed(x, x < 10 ? 1 : 0)),
                            x, roof.value});
  }
}

/// Names the marks that take most time and lie apart from those already named.
void add_labels(Chart& chart) {
  std::vector<const ChartPoint*> named;
  const double width = std::log10(chart.x_max / chart.x_min), height = std::log10(chart.y_max / chart.y_min);
  for (ChartPoint& p : chart.points) {
    const bool apart = std::ranges::all_of(named, [&](const ChartPoint* other) {
      const bool left_or_right = std::abs(std::log10(p.x / other->x)) > 0.16 * width;
      return left_or_right || std::abs(std::log10(p.y / other->y)) > 0.07 * height;
    });
    if (named.size() == most_labels || p.share < least_share_of_a_label || !apart) continue;
    p.label = display_name(short_name(p.row.op->name), 24);
    named.push_back(&p);
  }
}

}  // namespace

std::string bound_class(const sim::Phase& phase, const std::string& bound) {
  if (bound == "compute" || bound == "network" || bound == "launch") return bound;
  const auto found = std::ranges::find(phase.levels, bound);
  if (found == phase.levels.end()) return "other";
  const auto level = static_cast<std::size_t>(found - phase.levels.begin());
  if (level == phase.main_level) return "memory0";
  const std::size_t place = level < phase.main_level ? level : level - 1;
  return fmt::format("memory{}", 1 + place % 3);
}

std::string short_name(const std::string& name) {
  const std::size_t last = name.rfind('.');
  if (last == std::string::npos || last == 0) return name;
  const std::size_t before = name.rfind('.', last - 1);
  return before == std::string::npos ? name : name.substr(before + 1);
}

std::string row_name(const Row& row) {
  return display_name(row.run->phases.size() > 1 ? row.phase->name + ": " + row.op->name : row.op->name, 56);
}

Chart make_chart(const sim::Estimate& run) {
  Chart chart;
  if (!run.phases.empty()) chart.main_level = main_level(run.phases.front());
  add_points(chart, run);
  add_bounds(chart, run);
  set_ranges(chart, run);
  add_lines(chart, run);
  add_ridges(chart, run);
  add_labels(chart);
  return chart;
}

std::vector<Chart> make_charts(const std::vector<sim::Estimate>& runs) {
  std::vector<Chart> charts;
  for (const auto& run : runs) charts.push_back(make_chart(run));
  Chart all;
  for (std::size_t i = 0; i < charts.size(); ++i) {
    const Chart& c = charts[i];
    all.x_min = i ? std::min(all.x_min, c.x_min) : c.x_min;
    all.x_max = i ? std::max(all.x_max, c.x_max) : c.x_max;
    all.y_min = i ? std::min(all.y_min, c.y_min) : c.y_min;
    all.y_max = i ? std::max(all.y_max, c.y_max) : c.y_max;
  }
  for (std::size_t i = 0; i < charts.size(); ++i) {
    Chart& c = charts[i];
    c.x_min = all.x_min;
    c.x_max = all.x_max;
    c.y_min = all.y_min;
    c.y_max = all.y_max;
    add_lines(c, runs[i]);  // they reach the new edges
  }
  return charts;
}

std::vector<std::string> point_lines(const ChartPoint& point) {
  const sim::OpEstimate& op = *point.row.op;
  const std::string level = display_name(main_level(*point.row.phase), 24);
  return {
      fmt::format("{}  ({}, x {})", display_name(op.kind, 32), to_string(op.math), spoken_count(op.count)),
      fmt::format("time {} each, {} in all, {} of the run", spoken(op.time), spoken(total_time(op)),
                  percent(point.share)),
      fmt::format("arithmetic {}, movement {}", spoken(op.t_math), spoken(op.t_mem)),
      fmt::format("{}, {} of {}", spoken(op.flops), spoken(Bytes{level_bytes(op.levels, point.row.phase->main_level)}),
                  level),
      fmt::format("{} FLOP/B, reaches {}", fixed(point.x, 2), spoken(FlopsPerSecond{point.y})),
      fmt::format("bound by {} ({})", display_name(op.bound, 32), to_string(op.provenance)),
  };
}

}  // namespace gambrel::reports

// Gathers points for the page, and writes it. Its script is inline, allowed by its hash; nothing is fetched.
#include "reports/sweep_page.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>

#include "base/node.hpp"
#include "base/text.hpp"
#include "base/version.hpp"
#include "embedded/report.hpp"
#include "reports/format.hpp"
#include "reports/json.hpp"
#include "reports/sha256.hpp"
#include "reports/sweep_svg.hpp"

namespace gambrel::reports {
namespace {

using sim::Objective, sim::PointResult, sim::PointState;

constexpr std::size_t most_sampled = 1500, most_cells = 1600, mapped_axes = 3, most_rows = 200;
constexpr double none = std::numeric_limits<double>::quiet_NaN();

/// The axes with most values, each with more than one, in the sweep's order.
std::vector<std::size_t> widest_axes(const sim::DesignSpace& space) {
  std::vector<std::size_t> axes;
  for (std::size_t a = 0; a < space.axes().size(); ++a)
    if (space.axes()[a].size() > 1) axes.push_back(a);
  std::ranges::stable_sort(axes, std::greater{}, [&](std::size_t a) { return space.axes()[a].size(); });
  if (axes.size() > mapped_axes) axes.resize(mapped_axes);
  return axes;
}

std::vector<HeatMap> empty_maps(const sim::DesignSpace& space) {
  std::vector<HeatMap> maps;
  if (space.objectives().empty()) return maps;
  const std::vector<std::size_t> axes = widest_axes(space);
  const auto add = [&](std::size_t across, std::size_t down, std::size_t objective) {
    const std::size_t cells = space.axes()[across].size() * space.axes()[down].size();
    if (cells <= most_cells) maps.push_back({across, down, objective, std::vector<double>(cells, none), std::vector<std::uint64_t>(cells, 0)});
  };
  for (std::size_t i = 0; i < axes.size(); ++i)
    for (std::size_t j = i + 1; j < axes.size(); ++j) add(axes[i], axes[j], 0);
  if (axes.size() > 1 && space.objectives().size() > 1) add(axes[0], axes[1], 1);
  return maps;
}

bool complete(const sim::DesignSpace& space, const PointResult& point) {
  return std::ranges::none_of(space.objectives(), [&](const Objective& o) { return !std::isfinite(point.figures[o.figure]); });
}

std::string embedded_file(std::string_view wanted) {
  for (const auto& [name, content] : embedded::report())
    if (name == wanted) return std::string(content);
  return "";
}

// ---- what the script knows

/// Every design that a mark stands for, with the part of its command that is its own.
class Designs {
 public:
  explicit Designs(const SweepPage& page) : page_(page) {
    for (const auto* points : {&page.front, &page.sample()})
      for (const PointResult& p : *points) add(p.index, &p);
    for (const HeatMap& map : page.maps())
      for (std::size_t i = 0; i < map.index.size(); ++i)
        if (!std::isnan(map.best[i])) add(map.index[i], nullptr);
  }

  /// {front, axes, figures, points: {index: [values, figures, command]}}; holds no "<", so that no name ends the script.
  std::string json() const {
    const std::string shared = shared_front();
    Node root = Node::mapping();
    root.set("command", Node::of(shared));
    Node& axes = root.set("axes", Node::sequence());
    for (const auto& axis : page_.space().axes())
      for (const std::string& path : axis.paths) axes.append(Node::of(printable(path)));
    Node& figures = root.set("figures", Node::sequence());
    for (const auto& column : page_.space().columns()) figures.append(Node::of(printable(column.name)));
    Node& points = root.set("points", Node::mapping());
    for (const auto& [index, design] : designs_) points.set(std::to_string(index), point_node(index, design, shared.size()));
    std::string text = to_json(root, -1), safe;
    for (char c : text) safe += c == '<' ? std::string("\\u003c") : std::string(1, c);
    return safe;
  }

 private:
  struct Design {
    std::string command;
    const PointResult* point;
  };

  void add(std::uint64_t index, const PointResult* point) {
    auto [at, fresh] = designs_.try_emplace(index, Design{"", point});
    if (fresh) at->second.command = page_.space().command(page_.space().coordinates_of(index));
    if (point) at->second.point = point;
  }

  std::string shared_front() const {
    if (designs_.empty()) return "";
    std::string front = designs_.begin()->second.command;
    for (const auto& [index, design] : designs_) {
      const auto differ = std::mismatch(front.begin(), front.end(), design.command.begin(), design.command.end());
      front.erase(differ.first, front.end());
    }
    while (!front.empty() && (front.back() & 0xC0) == 0x80) front.pop_back();  // whole characters only
    return front;
  }

  Node point_node(std::uint64_t index, const Design& design, std::size_t shared) const {
    Node node = Node::sequence();
    Node& values = node.append(Node::sequence());
    const sim::Coordinates at = page_.space().coordinates_of(index);
    for (std::size_t a = 0; a < at.size(); ++a)
      for (const std::string& value : page_.space().axes()[a].values[at[a]]) values.append(Node::of(printable(value)));
    Node& figures = node.append(Node::sequence());
    if (design.point)
      for (double figure : design.point->figures) figures.append(number(figure));
    node.append(Node::of(std::string_view(design.command).substr(shared)));
    return node;
  }

  const SweepPage& page_;
  std::map<std::uint64_t, Design> designs_;
};

// ---- the page's parts

std::string panel(std::string_view heading, std::string_view lead, const std::string& content) {
  if (content.empty()) return "";
  return fmt::format("<section class=\"panel\"><h2>{}</h2><p class=\"lead\">{}</p>{}</section>\n", escape_xml(heading), escape_xml(lead), content);
}

std::string pairs(const std::vector<std::pair<std::string, std::string>>& lines) {
  std::string out = "<div class=\"scroll\"><table class=\"grid pairs\"><tbody>";
  for (const auto& [name, text] : lines) out += fmt::format("<tr><th scope=\"row\">{}</th><td>{}</td></tr>", escape_xml(printable(name)), escape_xml(printable(text)));
  return out + "</tbody></table></div>";
}

std::string cell(const std::string& text) { return fmt::format("<td class=\"num\">{}</td>", escape_xml(text)); }

std::string front_row(const SweepPage& page, std::size_t i) {
  const PointResult& point = page.front[i];
  const sim::Coordinates at = page.space().coordinates_of(point.index);
  std::string out = fmt::format("<tr data-p=\"{}\" tabindex=\"0\"{}>", point.index, page.knee == i ? " class=\"front\"" : "");
  for (std::size_t a = 0; a < at.size(); ++a) out += cell(display_name(short_value(page.space().axes()[a].values[at[a]].front()), 24));
  for (const Objective& o : page.space().objectives()) out += cell(fmt::format("{:.5g}", point.figures[o.figure]));
  if (!page.bounds.empty()) out += fmt::format("<td>{}</td>", escape_xml(display_name(page.bounds[i], 24)));
  return out + fmt::format("<td>{}</td></tr>", page.knee == i ? "knee" : "");
}

std::string front_table(const SweepPage& page) {
  std::string out = "<div class=\"scroll\" tabindex=\"0\" role=\"region\" aria-label=\"Pareto front\"><table class=\"grid\"><thead><tr>";
  for (const auto& axis : page.space().axes()) out += fmt::format("<th scope=\"col\" class=\"num\">{}</th>", escape_xml(axis_title(axis)));
  for (const Objective& o : page.space().objectives()) out += fmt::format("<th scope=\"col\" class=\"num\">{} {}</th>", o.maximise ? "max" : "min", escape_xml(objective_title(page.space(), o)));
  out += page.bounds.empty() ? "<th></th></tr></thead><tbody>" : "<th scope=\"col\">bound</th><th></th></tr></thead><tbody>";
  for (std::size_t i = 0; i < std::min(page.front.size(), most_rows); ++i) out += front_row(page, i);
  out += "</tbody></table></div>";
  if (page.front.size() > most_rows) out += fmt::format("<p class=\"soft\">{} more are in the result file.</p>", page.front.size() - most_rows);
  return out;
}

std::string charts(const SweepPage& page) {
  std::string out;
  const auto& objectives = page.space().objectives();
  const std::string sampled = page.sample().size() < page.added() ? fmt::format(" Of {} designs, {} are drawn beside the front.", page.added(), page.sample().size()) : "";
  for (std::size_t up = 1; up < std::min<std::size_t>(objectives.size(), 4); ++up)
    out += panel("Pareto front", "Designs on the front are beaten by none in every objective." + sampled, front_svg(page, 0, up));
  for (const HeatMap& map : page.maps())
    out += panel(fmt::format("{} over {} and {}", objective_title(page.space(), objectives[map.objective]), axis_title(page.space().axes()[map.across]), axis_title(page.space().axes()[map.down])),
                 "The best design for each pair, whatever the other axes: light is best, empty has no design.", heat_svg(page, map));
  out += panel("Designs side by side", "A line a design; the front is drawn heavy.", parallel_svg(page));
  return out + panel("What the knee hangs on", "How far each objective moves for one per cent more of an input.", tornado_svg(page));
}

constexpr std::string_view style =
    "svg{width:100%;height:auto;font:13px system-ui,sans-serif}svg .grid{stroke:var(--line)}svg .axis{stroke:var(--soft)}svg .ink{fill:var(--ink)}svg .soft{fill:var(--soft)}"
    "svg .halo{paint-order:stroke;stroke:var(--panel);stroke-width:4px;stroke-linejoin:round}svg .front{stroke:var(--accent);stroke-width:1.5;stroke-dasharray:6 4}"
    "svg circle.best{fill:var(--accent)}svg circle.beaten{fill:var(--soft);opacity:.45}svg circle.knee{fill:var(--memory0)}"
    "svg .thread{stroke:var(--soft);opacity:.18}svg .thread.best{stroke:var(--accent);opacity:.75;stroke-width:1.6}svg .thread.knee{stroke:var(--memory0);stroke-width:3;opacity:1}"
    "svg .bar0{fill:var(--compute)}svg .bar1{fill:var(--memory0)}svg .bar2{fill:var(--memory2)}svg .bar3{fill:var(--network)}"
    "[data-p]{cursor:pointer}svg [data-p].chosen{stroke:var(--ink);stroke-width:2.5;opacity:1}tr.chosen td{background:var(--hover)}tr.front td{font-weight:600}"
    "#chosen{position:sticky;bottom:0;border-color:var(--accent);max-height:45vh;overflow:auto}#chosen pre{white-space:pre-wrap;background:var(--page);padding:10px;border-radius:8px;margin:8px 0}";

constexpr std::string_view chosen =
    "<section class=\"panel\" id=\"chosen\" hidden aria-live=\"polite\"><h2>This design</h2><pre id=\"command\"></pre><button type=\"button\" class=\"quiet\" id=\"copy\">Copy the command</button>"
    "<div class=\"scroll\"><table class=\"grid pairs\"><tbody id=\"figures\"></tbody></table></div></section>\n";

}  // namespace

SweepPage::SweepPage(const sim::DesignSpace& space, std::string title) : space_(&space), title_(std::move(title)), maps_(empty_maps(space)) {}

void SweepPage::add(const PointResult& point) {
  if (point.state != PointState::ok || !complete(*space_, point)) return;
  ++added_;
  const sim::Coordinates at = space_->coordinates_of(point.index);
  for (HeatMap& map : maps_) {
    const Objective& objective = space_->objectives()[map.objective];
    const std::size_t place = at[map.down] * space_->axes()[map.across].size() + at[map.across];
    const double value = point.figures[objective.figure], best = map.best[place];
    const bool better = std::isnan(best) || (objective.maximise ? value > best : value < best);
    if (better || (value == best && point.index < map.index[place])) map.best[place] = value, map.index[place] = point.index;
  }
  if (seen_++ % stride_ != 0) return;
  sample_.push_back(point);
  if (sample_.size() < 2 * most_sampled) return;
  for (std::size_t i = 0; i < most_sampled; ++i) sample_[i] = std::move(sample_[2 * i]);
  sample_.resize(most_sampled);
  stride_ *= 2;
}

std::string write_sweep_html(const SweepPage& page) {
  const std::string script = "const data=" + Designs(page).json() + ";\n" + embedded_file("sweep.js");
  return fmt::format(
      "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">"
      "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-{0}'\"><meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">"
      "<meta name=\"color-scheme\" content=\"light dark\"><meta name=\"referrer\" content=\"no-referrer\"><title>{1}</title><style>{2}{3}</style></head>\n"
      "<body><header class=\"page-head\"><div class=\"brand\"><span>gambrel <small>sweep</small></span></div></header><main><h1>{1}</h1>\n{4}{5}{6}{7}</main>"
      "<footer>gambrel {8}. This file holds everything it shows and opens no connection.</footer><script>{9}</script></body></html>\n",
      sha256_base64(script), escape_xml(printable(page.title())), embedded_file("report.css"), style, panel("The sweep", "", pairs(page.facts)), charts(page),
      panel("The front", "Choose a row, a mark or a cell: the command that computes this design alone, bit for bit, appears below.", page.front.empty() ? "" : front_table(page)), chosen, escape_xml(version()), script);
}

}  // namespace gambrel::reports

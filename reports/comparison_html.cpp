// The comparison as one page: charts, table, how the error was measured. No script, nothing is fetched.
#include <fmt/format.h>

#include <algorithm>

#include "base/text.hpp"
#include "base/version.hpp"
#include "embedded/report.hpp"
#include "reports/comparison.hpp"
#include "reports/comparison_grid.hpp"
#include "reports/comparison_svg.hpp"
#include "reports/format.hpp"

namespace gambrel::reports {
namespace {

using sim::ComparisonResult, sim::VariantResult;

/// Beside report.css: the charts' own classes.
constexpr std::string_view chart_style =
    "svg{width:100%;height:auto;font:13px system-ui,sans-serif}svg .grid{stroke:var(--line)}svg .ink{fill:var(--ink)}svg .soft{fill:var(--soft)}"
    "svg .halo{paint-order:stroke;stroke:var(--panel);stroke-width:4px;stroke-linejoin:round}svg .front{stroke:var(--accent);stroke-width:2;stroke-dasharray:6 4}"
    "svg .best{fill:var(--accent)}svg .beaten{fill:var(--free);stroke:var(--soft);stroke-width:1.5}svg .roof{stroke:var(--compute);stroke-width:2}svg .slope{stroke:var(--memory0);stroke-width:2}"
    "svg .move{stroke-width:1.5;opacity:.45}svg .start{stroke:var(--panel);stroke-width:2}"
    "svg circle.t0{fill:var(--compute)}svg circle.t1{fill:var(--memory0)}svg circle.t2{fill:var(--memory2)}svg circle.t3{fill:var(--network)}svg circle.t4{fill:var(--launch)}"
    "svg path.t0{stroke:var(--compute)}svg path.t1{stroke:var(--memory0)}svg path.t2{stroke:var(--memory2)}svg path.t3{stroke:var(--network)}svg path.t4{stroke:var(--launch)}"
    ".times.one{grid-template-columns:1fr}tr.front td{font-weight:600}";

std::string css() {
  for (const auto& [name, content] : embedded::report())
    if (name == "report.css") return std::string(content);
  return "";
}

std::string panel(std::string_view heading, std::string_view lead, const std::string& content) {
  return fmt::format("<section class=\"panel\"><h2>{}</h2><p class=\"lead\">{}</p>{}</section>\n", heading, lead, content);
}

/// `front`: rows to print bold.
std::string table(const Grid& grid, const std::vector<bool>& front) {
  std::string out = "<div class=\"scroll\" tabindex=\"0\" role=\"region\"><table class=\"grid\"><thead><tr>";
  for (const auto& heading : grid.headings) out += fmt::format("<th scope=\"col\"{}>{}</th>", heading.right ? " class=\"num\"" : "", escape_xml(heading.text));
  out += "</tr></thead><tbody>";
  for (std::size_t r = 0; r < grid.rows.size(); ++r) {
    out += r < front.size() && front[r] ? "<tr class=\"front\">" : "<tr>";
    for (std::size_t i = 0; i < grid.rows[r].size(); ++i) out += fmt::format("<td{}>{}</td>", grid.headings[i].right ? " class=\"num\"" : "", escape_xml(grid.rows[r][i]));
    out += "</tr>";
  }
  return out + "</tbody></table></div>";
}

std::string track_bar(std::string_view cls, Seconds part, double longest) {
  return fmt::format("<i class=\"{}\" style=\"width:{:.2f}%\"></i>", cls, longest > 0 ? std::clamp(100 * part.value / longest, 0.0, 100.0) : 0.0);
}

std::string bars(const ComparisonResult& c) {
  double longest = 0;
  bool network = false;
  for (const VariantResult& v : c.variants) {
    longest = std::max({longest, v.estimate.total.time.value, v.arithmetic.value, v.movement.value, v.network.value});
    network |= v.network.value > 0;
  }
  std::string out = fmt::format(
      "<ul class=\"legend\"><li><i class=\"swatch arithmetic\"></i>arithmetic</li><li><i class=\"swatch movement\"></i>movement</li>{}<li><i class=\"swatch tick\"></i>predicted time</li></ul><ol class=\"times one\">",
      network ? "<li><i class=\"swatch network\"></i>network</li>" : "");
  for (const VariantResult& v : c.variants) {
    out += fmt::format("<li><div class=\"row-head\"><span class=\"name\">{}</span><span>{} <b>{:.2f}x</b></span></div><div class=\"track\">", escape_xml(printable(v.name)),
                       escape_xml(spoken(v.estimate.total.time)), v.speedup);
    out += track_bar("arithmetic", v.arithmetic, longest) + track_bar("movement", v.movement, longest) + (network ? track_bar("network", v.network, longest) : "");
    out += fmt::format("<u style=\"left:{:.2f}%\"></u></div></li>", longest > 0 ? 100 * v.estimate.total.time.value / longest : 0.0);
  }
  return out + "</ol>";
}

std::string lines_table(const std::vector<Line>& lines) {
  std::string out = "<div class=\"scroll\"><table class=\"grid pairs\"><tbody>";
  for (const auto& [name, text] : lines) out += fmt::format("<tr><th scope=\"row\">{}</th><td>{}</td></tr>", escape_xml(printable(name)), escape_xml(printable(text)));
  return out + "</tbody></table></div>";
}

std::vector<bool> fronts(const ComparisonResult& c) {
  std::vector<bool> front;
  const bool measured = std::ranges::any_of(c.variants, [](const VariantResult& v) { return v.error.has_value(); });
  for (const VariantResult& v : c.variants) front.push_back(measured && v.front);
  return front;
}

std::string body(const ComparisonResult& c) {
  std::string out = panel("Variants", "Ratios are to the first row; marked rows are beaten by none in speed and error at once.", table(variants_grid(c), fronts(c)));
  if (const Grid found = found_grid(c); !found.rows.empty())
    out += panel("Formats found", "Changes of one group of operators each, in the order in which they were worth most time for the error they add.", table(found, {}));
  out += panel("Where the time goes", "Bars: what arithmetic alone and movement alone would take at peak rates; the tick is the predicted time.", bars(c));
  if (const std::string chart = pareto_svg(c); !chart.empty()) out += panel("Error against speed", "Right and down is better. Variants on the dashed line are beaten by none in both.", chart);
  out += panel("Roofline", "Each format's roof, and the operators that take most of the baseline's time: a large mark in the baseline, small ones where variants move it. Fewer bytes move it right, a faster format up.", moves_svg(c));
  return out + panel("How this is known", "", lines_table(comparison_lines(c)));
}

}  // namespace

std::string write_comparison_html(const ComparisonResult& c) {
  return fmt::format(
      "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">"
      "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\"><meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">"
      "<meta name=\"color-scheme\" content=\"light dark\"><meta name=\"referrer\" content=\"no-referrer\"><title>{0}</title><style>{1}{2}</style></head>\n"
      "<body><header class=\"page-head\"><div class=\"brand\"><span>gambrel <small>comparison</small></span></div></header><main><h1>{0}</h1>\n{3}</main>"
      "<footer>gambrel {4}. This file holds everything it shows and opens no connection.</footer></body></html>\n",
      escape_xml(printable(comparison_title(c))), css(), chart_style, body(c), escape_xml(version()));
}

}  // namespace gambrel::reports

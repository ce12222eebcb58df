// The empirical roofline as one page. No script, nothing is fetched; light and dark by the reader's choice.
#include "reports/machine.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "base/version.hpp"
#include "embedded/report.hpp"
#include "reports/chart.hpp"
#include "reports/format.hpp"
#include "reports/svg.hpp"

namespace gambrel::reports {
namespace {

using Cells = std::vector<std::string>;

/// Beside report.css.
constexpr std::string_view own_style = "th.num,td.num{text-align:right}td.name{font-family:ui-monospace,Menlo,Consolas,monospace;font-size:.82rem}.grid{min-width:34rem}.roofs .grid{min-width:0}"
                                       ".roofs{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,340px),1fr));gap:0 18px}";

std::string css() {
  for (const auto& [name, content] : embedded::report())
    if (name == "report.css") return std::string(content);
  return "";
}

/// The first column is a name, the last `words` columns are text, the others are numbers.
std::string table(const Cells& headings, const std::vector<Cells>& rows, std::size_t words = 0) {
  const auto is_number = [&](std::size_t column) { return column > 0 && column + words < headings.size(); };
  std::string out = "<div class=\"scroll\" tabindex=\"0\" role=\"region\"><table class=\"grid\"><thead><tr>";
  for (std::size_t i = 0; i < headings.size(); ++i) out += fmt::format("<th scope=\"col\"{}>{}</th>", is_number(i) ? " class=\"num\"" : "", escape_xml(headings[i]));
  out += "</tr></thead><tbody>\n";
  for (const Cells& row : rows) {
    out += "<tr>";
    for (std::size_t i = 0; i < row.size(); ++i) out += fmt::format("<td{}>{}</td>", i == 0 ? " class=\"name\"" : is_number(i) ? " class=\"num\"" : "", escape_xml(row[i]));
    out += "</tr>\n";
  }
  return out + "</tbody></table></div>";
}

std::string panel(std::string_view heading, std::string_view lead, const std::string& content) {
  return fmt::format("<section class=\"panel\"><h2>{}</h2><p class=\"lead\">{}</p>{}</section>\n", heading, lead, content);
}

std::string peaks(const sim::MachineFigures& m) {
  std::vector<Cells> rows;
  for (const auto& [format, rate] : m.peaks) rows.push_back({std::string(to_string(format)), fixed(rate / 1e9, 1)});
  return panel("Arithmetic", "Multiply-adds on registers, two operations each.", table({"format", "GFLOP/s (int8: GOP/s)"}, rows));
}

std::string levels(const sim::MachineFigures& m) {
  std::vector<Cells> rows;
  for (const sim::FittedLevel& level : m.levels)
    rows.push_back({level.name, fixed(level.bandwidth / 1e9, 1), level.capacity > 0 ? fixed(level.capacity / 1024, 0) : spoken(Bytes{m.memory})});
  for (std::size_t i = 0; i + 1 < rows.size(); ++i) rows[i][2] += " KiB";
  const std::string lead = fmt::format("Fitted to {} working sets that were read again and again; capacities of one thread.", m.points.size());
  return panel("Memory", lead, table({"level", "GB/s", "usable"}, rows));
}

std::string legend(const Chart& chart) {
  std::string out = "<ul class=\"legend\">";
  for (const BoundShare& b : chart.bounds)
    out += fmt::format("<li><i class=\"swatch {} mark-{}\"></i>{}</li>", b.bound_class == "compute" ? "square" : "round", b.bound_class,
                       escape_xml(b.bound == "compute" ? "bound by arithmetic" : "works from " + b.bound));
  if (chart.left_out > 0) out += fmt::format("<li>{} kernel{} without arithmetic not drawn</li>", chart.left_out, chart.left_out > 1 ? "s" : "");
  return out + "</ul>";
}

std::string drawing(const sim::Estimate& roofline) {
  const Chart chart = make_chart(roofline);
  return panel("Roofline", "Each mark is a kernel at one size, under the roofs that were measured beside it.",
               fmt::format("<div class=\"scroll\" tabindex=\"0\" role=\"region\"><div class=\"static\">{}</div></div>{}", svg_figure(chart, roofline.chip_name, "machine"), legend(chart)));
}

std::string kernels(const sim::Estimate& roofline) {
  std::vector<Cells> rows;
  for (const sim::Phase& phase : roofline.phases)
    for (const sim::OpEstimate& op : phase.ops) {
      const double bytes = op.levels.empty() ? 0 : op.levels.front().bytes.value, seconds = op.time.value;
      const auto rate = [&](double work) { return work > 0 ? fixed(1e-9 * work / seconds, 1) : std::string("-"); };
      rows.push_back({display_name(op.name, 80), fixed(1e6 * seconds, 2), rate(op.flops.value), rate(bytes), op.intensity.value > 0 ? fixed(op.intensity.value, 2) : "-",
                      percent(op.roofline.value / seconds), op.bound == "compute" ? "arithmetic" : op.bound});
    }
  return panel("Kernels", "A time is the least of samples spread over the whole survey, each at the fastest clock; bytes are compulsory, each operand once.",
               table({"kernel", "time us", "GFLOP/s", "GB/s", "FLOP/B", "of its roof", "bound by"}, rows, 1));
}

std::string sources(const sim::Estimate& roofline) {
  std::string items;
  for (const auto& [what, source] : roofline.sources) items += fmt::format("<li>{}</li>", escape_xml(source));
  for (const std::string& note : roofline.notes) items += fmt::format("<li>{}</li>", escape_xml(note));
  return panel("How it was measured", "", "<ul class=\"notes\">" + items + "</ul>");
}

}  // namespace

std::string write_machine_html(const sim::MachineFigures& machine, const sim::Estimate& roofline) {
  const std::string title = "The roofline of this machine, measured";
  std::string page = fmt::format(
      "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">"
      "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\"><title>{0}</title><style>{1}{2}</style></head>\n"
      "<body><main><h1>{0}</h1><p class=\"lead\">{3}, {4} thread{5}, {6}</p>\n",
      title, css(), own_style, escape_xml(machine.cpu), machine.threads, machine.threads > 1 ? "s" : "", escape_xml(machine.date));
  page += fmt::format("<div class=\"roofs\">{}{}</div>\n", peaks(machine), levels(machine));
  page += drawing(roofline) + kernels(roofline) + sources(roofline);
  return page + fmt::format("</main><footer>gambrel {}</footer></body></html>\n", version());
}

}  // namespace gambrel::reports

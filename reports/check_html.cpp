// The gate's verdicts as one offline page: a table and, for each kernel, its efficiency over time.
#include <fmt/format.h>

#include <algorithm>

#include "reports/check.hpp"
#include "reports/format.hpp"

namespace gambrel::reports {
namespace {

using kernels::Verdict;

constexpr double width = 420, height = 110, margin = 34;

constexpr std::string_view style = R"css(
body{font:15px/1.45 system-ui,sans-serif;margin:2rem auto;max-width:70rem;padding:0 1rem;color:#1f2328;background:#fff}
table{border-collapse:collapse;width:100%}th,td{padding:.35rem .6rem;border-bottom:1px solid #d1d9e0;text-align:left}
td.n{text-align:right;font-variant-numeric:tabular-nums}.bad{color:#b3261e;font-weight:600}.unsure{color:#8a6100}
.plots{display:flex;flex-wrap:wrap;gap:1.5rem}figure{margin:0}figcaption{font-size:13px;max-width:26rem;overflow-wrap:anywhere}
@media(prefers-color-scheme:dark){body{color:#e6edf3;background:#0d1117}th,td{border-color:#30363d}.bad{color:#ff7b72}.unsure{color:#e3b341}svg text{fill:#9198a1}}
)css";

std::string_view css_class(kernels::Outcome outcome) { return is_failure(outcome) ? "bad" : is_unmeasured(outcome) ? "unsure" : ""; }

/// Efficiencies, a mark a measurement, the baseline as a dashed line.
std::string plot(const Verdict& v) {
  double low = v.efficiency, high = v.efficiency;
  for (const kernels::Past& past : v.history) low = std::min(low, past.efficiency), high = std::max(high, past.efficiency);
  if (v.baseline > 0) low = std::min(low, v.baseline), high = std::max(high, v.baseline);
  const double room = std::max(0.1 * (high - low), 0.02 * high);
  low -= room, high += room;
  const auto y = [&](double value) { return 8 + (height - 28) * (high - value) / (high - low); };
  const double step = (width - margin - 12) / static_cast<double>(std::max<std::size_t>(v.history.size(), 2) - 1);
  std::string points, marks;
  for (std::size_t i = 0; i < v.history.size(); ++i) {
    const double x = margin + step * static_cast<double>(i), at = y(v.history[i].efficiency);
    points += fmt::format("{:.1f},{:.1f} ", x, at);
    marks += fmt::format("<circle cx=\"{:.1f}\" cy=\"{:.1f}\" r=\"3\" fill=\"#0072b2\"><title>{} {}</title></circle>", x, at, escape_xml(v.history[i].date), percent(v.history[i].efficiency));
  }
  const auto label = [&](double value) { return fmt::format("<text x=\"{:.1f}\" y=\"{:.1f}\" font-size=\"10\" text-anchor=\"end\" fill=\"#59636e\">{}</text>", margin - 4, y(value) + 3, percent(value)); };
  std::string lines = v.baseline > 0 ? fmt::format("<line x1=\"{}\" x2=\"{}\" y1=\"{:.1f}\" y2=\"{:.1f}\" stroke=\"#d55e00\" stroke-dasharray=\"5 3\"/>{}", margin, width - 8, y(v.baseline), y(v.baseline), label(v.baseline))
                                     : label(v.efficiency);
  const std::string dates = v.history.empty() ? "" : fmt::format("<text x=\"{}\" y=\"{}\" font-size=\"10\" fill=\"#59636e\">{}</text><text x=\"{}\" y=\"{}\" font-size=\"10\" text-anchor=\"end\" fill=\"#59636e\">{}</text>", margin, height - 4, escape_xml(v.history.front().date), width - 8, height - 4, escape_xml(v.history.back().date));
  return fmt::format("<svg role=\"img\" aria-label=\"efficiency over time\" viewBox=\"0 0 {0} {1}\" width=\"{0}\" height=\"{1}\">{2}<polyline points=\"{3}\" fill=\"none\" stroke=\"#0072b2\"/>{4}{5}</svg>", width, height, lines, points, marks, dates);
}

std::string row(const Verdict& v) {
  const auto number = [](double value) { return value > 0 ? percent(value) : std::string("-"); };
  return fmt::format("<tr><td>{}</td><td class=\"{}\">{}</td><td class=\"n\">{}</td><td class=\"n\">{}</td><td class=\"n\">{}</td><td>{}</td></tr>\n", escape_xml(v.measurement.name), css_class(v.outcome),
                     to_string(v.outcome), number(v.efficiency), number(v.baseline), v.baseline > 0 ? fmt::format("{:+.1f}%", 100 * v.against_baseline.slowdown) : "-", escape_xml(v.reason));
}

}  // namespace

std::string write_check_html(const kernels::GateReport& report) {
  const std::string title = escape_xml(report.title.empty() ? "Kernel efficiency" : report.title);
  std::string text = fmt::format(
      "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">"
      "<meta name=\"viewport\" content=\"width=device-width\"><title>{0}</title><style>{1}</style></head><body>\n<h1>{0}</h1>\n<p>{2}</p>\n"
      "<table><thead><tr><th>kernel</th><th>verdict</th><th>efficiency</th><th>baseline</th><th>slower by</th><th>why</th></tr></thead><tbody>\n",
      title, style, escape_xml(check_summary(report)));
  for (const Verdict& v : report.verdicts) text += row(v);
  text += "</tbody></table>\n<h2>Over time</h2>\n<p>Efficiency of what passed, oldest first; the dashed line is the baseline.</p>\n<div class=\"plots\">\n";
  for (const Verdict& v : report.verdicts)
    if (!v.history.empty()) text += fmt::format("<figure>{}<figcaption>{}</figcaption></figure>\n", plot(v), escape_xml(v.measurement.name));
  text += "</div>\n<h2>Where</h2>\n<table><tbody>\n";
  for (const kernels::Fact& fact : report.context) text += fmt::format("<tr><td>{}</td><td>{}</td></tr>\n", escape_xml(fact.name), escape_xml(fact.value));
  return text + "</tbody></table>\n</body></html>\n";
}

}  // namespace gambrel::reports

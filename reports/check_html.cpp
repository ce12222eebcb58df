// The gate's verdicts as one offline page: a table and, for each kernel, its efficiency over time.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "reports/check.hpp"
#include "reports/format.hpp"

namespace gambrel::reports {
namespace {

using kernels::Verdict;

constexpr double width = 420, height = 132, margin = 46, top = 12, lower = 28;

constexpr std::string_view style = R"css(
:root{color-scheme:light dark;--ink:#1f2328;--soft:#59636e;--line:#d1d9e0;--page:#fff;--bad:#b3261e;--unsure:#8a6100;--mark:#0072b2;--base:#c04a00}
@media(prefers-color-scheme:dark){:root{--ink:#e6edf3;--soft:#9198a1;--line:#30363d;--page:#0d1117;--bad:#ff7b72;--unsure:#e3b341;--mark:#4ba6e0;--base:#f2864a}}
body{font:15px/1.45 system-ui,sans-serif;margin:2rem auto;max-width:70rem;padding:0 1rem;color:var(--ink);background:var(--page);overflow-wrap:anywhere}
.scroll{overflow-x:auto}table{border-collapse:collapse;width:100%}.wide{min-width:62rem}
th,td{padding:.35rem .6rem;border-bottom:1px solid var(--line);text-align:left;vertical-align:top}.n{text-align:right;font-variant-numeric:tabular-nums;white-space:nowrap}
th{color:var(--soft);font-weight:600}.wide td,.wide th{white-space:nowrap}.wide td:first-child,.wide td:last-child{white-space:normal;min-width:14rem}.bad{color:var(--bad);font-weight:600}.unsure{color:var(--unsure)}
.bar{position:relative;width:7rem;height:.7rem;background:var(--line);border-radius:3px;margin-top:.4rem}.bar i{display:block;height:100%;background:var(--mark);border-radius:3px}
.bar u{position:absolute;top:-3px;bottom:-3px;width:2px;background:var(--base)}
.plots{display:grid;grid-template-columns:repeat(auto-fill,minmax(min(100%,24rem),1fr));gap:1.5rem}figure{margin:0}figcaption{font-size:13px}
svg{width:100%;height:auto;max-width:30rem;display:block;font:11px system-ui,sans-serif}svg text{fill:var(--soft)}svg .axis{stroke:var(--line)}svg .mark{fill:var(--mark)}
svg .line{stroke:var(--mark);fill:none}svg .base{stroke:var(--base)}svg .failed{fill:var(--bad)}svg .named{fill:var(--base)}p.soft{color:var(--soft)}
)css";

std::string_view css_class(kernels::Outcome outcome) { return is_failure(outcome) ? "bad" : is_unmeasured(outcome) ? "unsure" : ""; }

std::string words(kernels::Outcome outcome) {
  std::string text(to_string(outcome));
  std::ranges::replace(text, '_', ' ');
  return text;
}

/// "2026-11-22 12:50" of "2026-11-22T12:50:07Z".
std::string minute(std::string date) {
  if (date.size() < 16 || date[10] != 'T') return date;
  date[10] = ' ';
  return date.substr(0, 16);
}

/// What a plot shows: what passed, oldest first, then this measurement where it failed.
struct Shown {
  std::vector<kernels::Past> past;
  bool failed = false;
  double low = 0, high = 1;

  double x(std::size_t i) const { return margin + (width - margin - 14) * static_cast<double>(i) / static_cast<double>(std::max<std::size_t>(past.size(), 2) - 1); }
  double y(double efficiency) const { return top + (height - top - lower) * (high - efficiency) / (high - low); }
};

Shown shown_of(const Verdict& v) {
  Shown s{.past = v.history, .failed = is_failure(v.outcome)};
  if (s.failed) s.past.push_back({.date = "this run", .efficiency = v.efficiency});
  std::vector<double> values;
  for (const kernels::Past& past : s.past) values.push_back(past.efficiency);
  if (v.baseline > 0) values.push_back(v.baseline);
  const auto [low, high] = std::ranges::minmax(values);
  const double room = std::max(0.1 * (high - low), 0.02 * high);
  s.low = std::max(0.0, low - room), s.high = high + room;
  return s;
}

std::string text_at(double x, double y, std::string_view anchor, std::string_view cls, std::string_view text) {
  return fmt::format("<text x=\"{:.1f}\" y=\"{:.1f}\" text-anchor=\"{}\" class=\"{}\">{}</text>", x, y, anchor, cls, escape_xml(text));
}

/// The range at the left, the baseline as a dashed line with its value, unless it stands on the range's end.
std::string scale(const Shown& s, const Verdict& v) {
  std::string out = fmt::format("<path class=\"axis\" fill=\"none\" d=\"M{0} {1}V{2}H{3}\"/>", margin - 6, top - 4, height - lower + 4, width - 8);
  const double base = v.baseline > 0 ? s.y(v.baseline) : -1e3;
  for (const double end : {s.low, s.high})
    if (std::abs(s.y(end) - base) > 13) out += text_at(margin - 10, s.y(end) + 4, "end", "soft", percent(end));
  if (v.baseline > 0)
    out += fmt::format("<path class=\"base\" stroke-dasharray=\"5 3\" d=\"M{} {:.1f}H{}\"/>", margin - 6, base, width - 8) + text_at(margin - 10, base + 4, "end", "named", percent(v.baseline));
  return out;
}

/// Efficiencies, a mark a measurement.
std::string plot(const Verdict& v) {
  const Shown s = shown_of(v);
  std::string line, marks;
  for (std::size_t i = 0; i < s.past.size(); ++i) {
    const double x = s.x(i), y = s.y(s.past[i].efficiency);
    const bool failed = s.failed && i + 1 == s.past.size();
    line += fmt::format("{:.1f},{:.1f} ", x, y);
    marks += fmt::format("<circle cx=\"{:.1f}\" cy=\"{:.1f}\" r=\"{}\" class=\"{}\"><title>{} {}</title></circle>", x, y, failed ? 5 : 3, failed ? "failed" : "mark", escape_xml(s.past[i].date),
                         percent(s.past[i].efficiency));
  }
  const std::string dates = text_at(margin, height - 8, "start", "soft", minute(s.past.front().date)) + (s.past.size() > 1 ? text_at(width - 8, height - 8, "end", "soft", minute(s.past.back().date)) : "");
  return fmt::format("<svg role=\"img\" aria-label=\"efficiency over time\" viewBox=\"0 0 {} {}\">{}<polyline points=\"{}\" class=\"line\"/>{}{}</svg>", width, height, scale(s, v), line, marks, dates);
}

/// The efficiency between 0 and 100 %, the baseline as a stroke.
std::string bar(const Verdict& v) {
  if (!has_reference(v.measurement)) return "";
  const auto share = [](double value) { return std::clamp(100 * value, 0.0, 100.0); };
  const std::string base = v.baseline > 0 ? fmt::format("<u style=\"left:{:.1f}%\"></u>", share(v.baseline)) : "";
  return fmt::format("<div class=\"bar\"><i style=\"width:{:.1f}%\"></i>{}</div>", share(v.efficiency), base);
}

std::string row(const Verdict& v) {
  const auto number = [&](double value) { return value > 0 && has_reference(v.measurement) ? percent(value) : std::string("-"); };
  const bool compared = v.baseline > 0;
  return fmt::format("<tr><td>{}</td><td class=\"{}\">{}</td><td>{}</td><td class=\"n\">{}</td><td class=\"n\">{}</td><td class=\"n\">{}</td><td class=\"n\">{}</td><td>{}</td></tr>\n", escape_xml(v.measurement.name),
                     css_class(v.outcome), words(v.outcome), bar(v), number(v.efficiency), number(v.baseline), compared ? fmt::format("{:+.1f}%", 100 * v.against_baseline.slowdown) : "-",
                     compared ? percent(v.against_baseline.limit) : "-", escape_xml(v.reason));
}

/// A table that scrolls sideways where the window is narrow.
std::string scrolling(const std::string& table) { return "<div class=\"scroll\" tabindex=\"0\" role=\"region\">" + table + "</div>\n"; }

}  // namespace

std::string write_check_html(const kernels::GateReport& report) {
  const std::string title = escape_xml(report.title.empty() ? "Kernel efficiency" : report.title);
  std::string text = fmt::format(
      "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">"
      "<meta name=\"viewport\" content=\"width=device-width,initial-scale=1\"><title>{0}</title><style>{1}</style></head><body>\n<h1>{0}</h1>\n<p>{2}</p>\n",
      title, style, escape_xml(check_summary(report)));
  std::string rows, plots, facts;
  std::vector<kernels::Measurement> named;
  for (const Verdict& v : report.verdicts) {
    rows += row(v);
    if (!v.history.empty()) plots += fmt::format("<figure>{}<figcaption>{}</figcaption></figure>\n", plot(v), escape_xml(v.measurement.name));
    named.push_back({.library = v.measurement.library});
  }
  text += scrolling("<table class=\"wide\"><thead><tr><th>kernel</th><th>verdict</th><th colspan=\"2\">efficiency</th><th class=\"n\">baseline</th><th class=\"n\">slower by</th><th class=\"n\">limit</th><th>why</th></tr></thead><tbody>\n" +
                    rows + "</tbody></table>");
  text += "<p class=\"soft\">Efficiency: the kernel's rate over that of a reference measured in the same seconds. A stroke marks the baseline.</p>\n";
  if (!plots.empty())
    text += "<h2>Over time</h2>\n<p class=\"soft\">Efficiency of what passed, oldest first, and in red of this run where it failed; the dashed line is the baseline.</p>\n<div class=\"plots\">\n" + plots + "</div>\n";
  if (const std::string libraries = libraries_of(named); !libraries.empty()) facts += fmt::format("<tr><td>libraries</td><td>{}</td></tr>\n", escape_xml(libraries));
  for (const kernels::Fact& fact : report.context) facts += fmt::format("<tr><td>{}</td><td>{}</td></tr>\n", escape_xml(fact.name), escape_xml(fact.value));
  return text + "<h2>Where</h2>\n" + scrolling("<table><tbody>\n" + facts + "</tbody></table>") + "</body></html>\n";
}

}  // namespace gambrel::reports

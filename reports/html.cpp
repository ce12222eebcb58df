// The HTML report: reports/web/report.html filled in. Every name goes through printable() and the template's escape.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <kainjow/mustache.hpp>

#include "base/text.hpp"
#include "base/version.hpp"
#include "embedded/plotly.hpp"
#include "embedded/report.hpp"
#include "reports/chart.hpp"
#include "reports/chart_data.hpp"
#include "reports/plan.hpp"
#include "reports/report.hpp"
#include "reports/sha256.hpp"
#include "reports/summary.hpp"
#include "reports/svg.hpp"

namespace gambrel::reports {
namespace {

using kainjow::mustache::data;
using kainjow::mustache::mustache;

constexpr std::size_t most_bars = 12;  ///< operators shown in "where the time goes"
constexpr double least_share_of_a_bar = 0.002;

std::string embedded_file(std::span<const std::pair<std::string_view, std::string_view>> files, std::string_view name) {
  const auto found = std::ranges::find(files, name, &std::pair<std::string_view, std::string_view>::first);
  return found == files.end() ? "" : std::string(found->second);
}

data text(std::string_view value) { return data(printable(value)); }

data list() { return data(data::type::list); }

data label_text(const std::string& label, const std::string& value) {
  data item;
  item.set("label", text(label));
  item.set("text", text(value));
  return item;
}

data lines_data(const std::vector<Line>& lines) {
  data items = list();
  for (const auto& [label, value] : lines) items.push_back(label_text(label, value));
  return items;
}

std::string width_of(double part, double whole) {
  return fmt::format("{:.3f}", whole > 0 && std::isfinite(part) ? std::clamp(100 * part / whole, 0.0, 100.0) : 0.0);
}

// ---- headline cards

data card(std::string_view label, const std::string& value, const std::string& note, const std::string& mark = "") {
  data item;
  item.set("label", text(label));
  item.set("value", text(value));
  item.set("note", text(note));
  item.set("mark", mark);
  return item;
}

std::string phases_text(const sim::Estimate& run) {
  std::string out;
  for (const auto& phase : run.phases)
    out += fmt::format("{}{}{}", out.empty() ? "" : ", ", phase.name,
                       run.phases.size() > 1 ? " " + spoken(phase.total.time) : "");
  return display_name(out, 80);
}

void add_serving_cards(data& cards, const sim::Serving& serving) {
  cards.push_back(card("First token", spoken(serving.ttft), "TTFT"));
  cards.push_back(card("Each further token", spoken(serving.tpot), "TPOT"));
  cards.push_back(card("Output", fixed(serving.output_tokens_per_second, 0), "tokens/s of the whole batch"));
}

data cards_data(const sim::Estimate& run) {
  const sim::Total& t = run.total;
  const sim::Phase none;
  const sim::Phase& phase = run.phases.empty() ? none : run.phases.front();
  const std::string level = display_name(main_level(phase), 20);
  const Bytes moved{level_bytes(t.levels, phase.main_level)};
  data cards = list();
  cards.push_back(card("Time", spoken(t.time), phases_text(run)));
  if (run.serving) add_serving_cards(cards, *run.serving);
  else cards.push_back(card("Throughput", fixed(t.tokens_per_second, t.tokens_per_second < 100 ? 2 : 0), "tokens/s"));
  cards.push_back(card("Bound by", display_name(t.bound, 24), percent(t.bound_share) + " of the time",
                       bound_class(phase, t.bound)));
  cards.push_back(card("MFU", percent(t.mfu), "of the arithmetic's dense peak"));
  cards.push_back(card("MBU", percent(t.mbu), fmt::format("of {}'s bandwidth, weights and KV cache", level)));
  cards.push_back(card("Intensity", fixed(t.intensity.value, 1),
                       fmt::format("FLOP/B: {} over {}", spoken(t.flops), spoken(moved))));
  if (t.energy) cards.push_back(card("Energy", spoken(*t.energy), "arithmetic, data movement and idle power"));
  if (t.power) cards.push_back(card("Power", spoken(*t.power), t.power_share > 0 ? percent(t.power_share) + " of a chip's design power" : "average of a chip"));
  if (t.cost) {
    const auto per_million = dollars_per_million_tokens(t);
    cards.push_back(card("Cost", fmt::format("{:.3g} USD", per_million ? *per_million : t.cost->value),
                         per_million ? "per million tokens" : "of the run"));
  }
  cards.push_back(card("Parameters", spoken_count(run.parameters.total),
                       spoken_count(run.parameters.active) + " active for a token"));
  return cards;
}

// ---- memory

data part_data(std::string_view part, std::string_view label, Bytes bytes, double whole) {
  data item;
  item.set("part", std::string(part));
  item.set("label", std::string(label));
  item.set("bytes", spoken(bytes));
  item.set("width", width_of(bytes.value, whole));
  return item;
}

data tier_data(const sim::TierUse& tier) {
  const double used = tier.used().value, capacity = tier.capacity.value, whole = std::max(used, capacity);
  data parts = list();
  parts.push_back(part_data("weights", "weights", tier.weights, whole));
  parts.push_back(part_data("kv_cache", "KV cache", tier.kv_cache, whole));
  parts.push_back(part_data("activations", "activations", tier.activations, whole));
  if (tier.gradients.value > 0) parts.push_back(part_data("gradients", "gradients", tier.gradients, whole));
  if (tier.optimizer.value > 0) parts.push_back(part_data("optimizer", "optimizer", tier.optimizer, whole));
  if (capacity > used) parts.push_back(part_data("free", "free", tier.capacity - tier.used(), whole));
  data item;
  item.set("level", text(display_name(tier.level, 32)));
  item.set("used", spoken(tier.used()));
  item.set("parts", parts);
  item.set("description", text(fmt::format("{}: weights {}, KV cache {}, activations {}", display_name(tier.level, 32),
                                           spoken(tier.weights), spoken(tier.kv_cache), spoken(tier.activations))));
  if (capacity > 0) {
    item.set("capacity", spoken(tier.capacity));
    item.set("full", percent(used / capacity));
  } else {
    item.set("capacity", false);
  }
  if (capacity > 0 && used > capacity) item.set("limit", width_of(capacity, used));
  else item.set("limit", false);
  return item;
}

void set_memory(data& page, const sim::MemoryUse& memory) {
  data tiers = list();
  for (const auto& tier : memory.tiers) tiers.push_back(tier_data(tier));
  page.set("tiers", tiers);
  page.set("memory", text(memory_limit_text(memory)));
  page.set("fit", std::string(memory.fits ? "fits" : "does not fit"));
  page.set("fit_class", std::string(memory.fits ? "good" : "bad"));
}

// ---- charts

std::string shape_of(const std::string& bound_class) {
  return bound_class == "compute"   ? "square"
         : bound_class == "network" ? "diamond"
         : bound_class == "launch"  ? "triangle"
                                    : "round";
}

data bounds_data(const Chart& chart) {
  data items = list();
  for (const BoundShare& b : chart.bounds) {
    data item;
    item.set("bound", text(display_name(b.bound, 32)));
    item.set("bound_class", b.bound_class);
    item.set("shape", shape_of(b.bound_class));
    item.set("share", percent(b.share));
    items.push_back(item);
  }
  return items;
}

data time_data(const Row& row, double longest_time) {
  const sim::OpEstimate& op = *row.op;
  data item;
  item.set("name", text(row_name(row)));
  item.set("time", spoken(total_time(op)));
  item.set("share", percent(share_of(*row.run, total_time(op))));
  item.set("arithmetic", width_of((op.count * op.t_math).value, longest_time));
  item.set("movement", width_of((op.count * op.t_mem).value, longest_time));
  if (op.t_net.value > 0) item.set("network", width_of((op.count * op.t_net).value, longest_time));
  else item.set("network", false);
  item.set("at", width_of(total_time(op).value, longest_time));
  return item;
}

void set_times(data& page, const sim::Estimate& run) {
  std::vector<Row> rows = longest(op_rows(run), most_bars);
  const std::vector<Row> all = op_rows(run);
  while (rows.size() > 4 && share_of(run, total_time(*rows.back().op)) < least_share_of_a_bar) rows.pop_back();
  double longest_time = 0, shown = 0;
  for (const Row& row : rows) {
    const sim::OpEstimate& op = *row.op;
    longest_time =
        std::max(longest_time, op.count * std::max({op.time.value, op.t_math.value, op.t_mem.value, op.t_net.value}));
    shown += share_of(run, total_time(op));
  }
  data items = list();
  for (const Row& row : rows) items.push_back(time_data(row, longest_time));
  page.set("times", items);
  page.set("has_network", std::ranges::any_of(all, [](const Row& row) { return row.op->t_net.value > 0; }));
  if (all.size() > rows.size())
    page.set("rest", fmt::format("{} further operators: {} of the time", all.size() - rows.size(),
                                 percent(std::max(0.0, 1 - shown))));
  else page.set("rest", false);
}

// ---- tables

data grid_data(const Grid& grid, const std::vector<Row>& rows) {
  data headings = list(), body = list();
  for (const auto& heading : grid.headings) {
    data item;
    item.set("text", text(heading.text));
    item.set("right", heading.right);
    headings.push_back(item);
  }
  for (std::size_t r = 0; r < grid.rows.size(); ++r) {
    data cells = list();
    for (std::size_t c = 0; c < grid.rows[r].size(); ++c) {
      data cell;
      cell.set("text", text(grid.rows[r][c]));
      cell.set("right", grid.headings[c].right);
      if (!grid.numbers.empty())
        cell.set("value", shortest(std::isfinite(grid.numbers[r][c]) ? grid.numbers[r][c] : 0));
      const bool bound = !rows.empty() && grid.headings[c].text == "bound";
      if (bound) {
        const std::string cls = bound_class(*rows[r].phase, rows[r].op->bound);
        cell.set("mark", fmt::format("{} mark-{}", shape_of(cls), cls));
      } else {
        cell.set("mark", false);
      }
      cells.push_back(cell);
    }
    data row;
    row.set("cells", cells);
    body.push_back(row);
  }
  data table;
  table.set("headings", headings);
  table.set("rows", body);
  return table;
}

void set_layers(data& page, const sim::Estimate& run) {
  data phases = list();
  for (const auto& phase : run.phases) {
    if (phase.layers.empty()) continue;
    data item;
    item.set("phase", text(display_name(phase.name, 32)));
    item.set("grid", grid_data(layer_grid(phase), {}));
    phases.push_back(item);
  }
  page.set("has_layers", !phases.list_value().empty());
  page.set("layers", phases);
}

/// Of several chips and of training: where the step goes, and what the network carries.
void set_plan(data& page, const sim::Estimate& run) {
  const std::vector<Line> lines = plan_lines(run);
  const Grid network = network_grid(run);
  page.set("has_plan", !lines.empty());
  page.set("plan", lines_data(lines));
  page.set("has_collectives", !network.rows.empty());
  page.set("collectives", grid_data(network, {}));
}

std::vector<Line> roof_lines(const sim::Estimate& run) {
  std::vector<Line> lines;
  for (const auto& roof : run.roofs)
    lines.emplace_back(display_name(roof.name),
                       roof.memory ? spoken(BytesPerSecond{roof.value}) : spoken(FlopsPerSecond{roof.value}));
  return lines;
}

void set_inputs(data& page, const sim::Estimate& run) {
  std::vector<Line> settings{{"run", run.run}, {"model", run.model}, {"system", run.system}, {"chip", run.chip}};
  settings.insert(settings.end(), run.settings.begin(), run.settings.end());
  settings.emplace_back("inputs' hash", run.config_hash);
  page.set("settings", lines_data(settings));
  page.set("roofs", lines_data(roof_lines(run)));
  page.set("has_sources", !run.sources.empty());
  page.set("sources", lines_data(run.sources));
  std::vector<Line> notes{{"", "how figures are known: " + provenance_text(run)}};
  for (const std::string& note : run.notes) notes.emplace_back("", note);
  page.set("notes", lines_data(notes));
}

std::string workload_text(const sim::Estimate& run) {
  for (const auto& [key, value] : run.settings)
    if (key == "workload") return value;
  return {};
}

/// `alone`: the page's title already says what the run is.
data run_data(const sim::Estimate& run, const Chart& chart, std::size_t index, bool alone) {
  data page;
  page.set("index", std::to_string(index));
  page.set("title", text(run_title(run)));
  page.set("headed", !alone);
  page.set("workload", text(workload_text(run)));
  page.set("cards", cards_data(run));
  set_memory(page, run.memory);
  page.set("svg", svg_figure(chart, run_title(run), fmt::format("chart{}", index)));
  page.set("bounds", bounds_data(chart));
  if (chart.left_out > 0)
    page.set("left_out", fmt::format("{} operators without arithmetic are not drawn", chart.left_out));
  else page.set("left_out", false);
  set_plan(page, run);
  set_times(page, run);
  page.set("ops", grid_data(op_grid(op_rows(run)), op_rows(run)));
  set_layers(page, run);
  set_inputs(page, run);
  return page;
}

/// Nothing may be fetched or sent, and of scripts only these run. Plotly writes style elements.
std::string policy(const std::string& script, const std::string& plotly) {
  std::string scripts = fmt::format("'sha256-{}'", sha256_base64(script));
  if (!plotly.empty()) scripts += fmt::format(" 'sha256-{}'", sha256_base64(plotly));
  return fmt::format(
      "default-src 'none'; script-src {}; style-src 'unsafe-inline'; img-src data: blob:; base-uri 'none'; form-action 'none'",
      scripts);
}

}  // namespace

bool has_plotly() { return !embedded::plotly().empty(); }

std::string write_html(const Report& report) {
  const std::string script = embedded_file(embedded::report(), "report.js");
  const std::string plotly = embedded_file(embedded::plotly(), "plotly-basic.min.js");
  const std::vector<Chart> charts = make_charts(report.runs);
  data runs = list();
  for (std::size_t i = 0; i < report.runs.size(); ++i)
    runs.push_back(
        run_data(report.runs[i], charts[i], i, report.runs.size() == 1 && report.title == run_title(report.runs[i])));
  data page;
  page.set("csp", policy(script, plotly));
  page.set("title", text(report.title));
  page.set("version", text(version()));
  page.set("css", embedded_file(embedded::report(), "report.css"));
  page.set("several", report.runs.size() > 1);
  page.set("compare", grid_data(runs_grid(report.runs), {}));
  page.set("runs", runs);
  page.set("data", chart_data(charts));
  page.set("script", script);
  if (plotly.empty()) page.set("plotly", false);
  else page.set("plotly", plotly);
  return mustache(embedded_file(embedded::report(), "report.html")).render(page);
}

}  // namespace gambrel::reports

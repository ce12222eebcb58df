#include "reports/columns.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>

#include "base/text.hpp"

namespace gambrel::reports {
namespace {

using Value = std::variant<std::string, double>;
using Level = const std::string&;

Value bytes_at(const Row& row, Level level) {
  const auto found = std::ranges::find(row.phase->levels, level);
  return level_bytes(row.op->levels, static_cast<std::size_t>(found - row.phase->levels.begin()));
}

struct ColumnRow {
  std::string_view name, header;
  Show show;
  bool in_table;
  Value (*value)(const Row&, Level);
};

/// `bytes` stands for as many columns as there are levels.
constexpr std::array<ColumnRow, 20> table{{
    {"run", "run", Show::text, false, [](const Row& r, Level) -> Value { return r.run->run; }},
    {"name", "operator", Show::text, true, [](const Row& r, Level) -> Value { return r.op->name; }},
    {"phase", "phase", Show::text, false, [](const Row& r, Level) -> Value { return r.phase->name; }},
    {"kind", "kind", Show::text, true, [](const Row& r, Level) -> Value { return r.op->kind; }},
    {"count", "count", Show::count, true, [](const Row& r, Level) -> Value { return r.op->count; }},
    {"math", "math", Show::text, false,
     [](const Row& r, Level) -> Value { return std::string(to_string(r.op->math)); }},
    {"flops", "FLOP", Show::prefixed, true, [](const Row& r, Level) -> Value { return r.op->flops.value; }},
    {"vector_flops", "vector", Show::prefixed, false,
     [](const Row& r, Level) -> Value { return r.op->vector_flops.value; }},
    {"bytes", "bytes", Show::bytes, true, bytes_at},
    {"intensity_flop_per_byte", "FLOP/B", Show::intensity, true,
     [](const Row& r, Level) -> Value { return r.op->intensity.value; }},
    {"t_math_s", "T_math", Show::step_time, true, [](const Row& r, Level) -> Value { return r.op->t_math.value; }},
    {"t_mem_s", "T_mem", Show::step_time, true, [](const Row& r, Level) -> Value { return r.op->t_mem.value; }},
    {"t_net_s", "T_net", Show::step_time, false, [](const Row& r, Level) -> Value { return r.op->t_net.value; }},
    {"roofline_s", "roofline", Show::step_time, false,
     [](const Row& r, Level) -> Value { return r.op->roofline.value; }},
    {"time_s", "time", Show::step_time, false, [](const Row& r, Level) -> Value { return r.op->time.value; }},
    {"total_time_s", "time", Show::total_time, true,
     [](const Row& r, Level) -> Value { return total_time(*r.op).value; }},
    {"share", "share", Show::share, true,
     [](const Row& r, Level) -> Value { return share_of(*r.run, total_time(*r.op)); }},
    {"bound", "bound", Show::text, true, [](const Row& r, Level) -> Value { return r.op->bound; }},
    {"energy_j", "J", Show::prefixed, false,
     [](const Row& r, Level) -> Value { return r.op->energy ? r.op->energy->total().value : std::nan(""); }},
    {"provenance", "provenance", Show::text, false,
     [](const Row& r, Level) -> Value { return std::string(to_string(r.op->provenance)); }},
}};

std::vector<std::string> levels_of(std::span<const sim::Estimate> runs) {
  std::vector<std::string> levels;
  for (const auto& run : runs)
    for (const auto& phase : run.phases)
      for (const auto& level : phase.levels)
        if (std::ranges::find(levels, level) == levels.end()) levels.push_back(level);
  return levels;
}

struct Units {
  TimeUnit step, total;
};

/// Communication is rare enough that its column would mostly be empty: it is shown only where it takes time.
bool has_network(const std::vector<Row>& rows) {
  return std::ranges::any_of(rows, [](const Row& r) { return r.op->t_net.value > 0; });
}

bool has_several_phases(const std::vector<Row>& rows) {
  return std::ranges::any_of(rows, [&](const Row& r) { return r.phase != rows.front().phase; });
}

Units units_of(const std::vector<Row>& rows) {
  double step = 0, total = 0;
  for (const Row& r : rows) {
    step = std::max({step, r.op->t_math.value, r.op->t_mem.value, r.op->t_net.value});
    total = std::max(total, total_time(*r.op).value);
  }
  return {time_unit(step), time_unit(total)};
}

std::string cell(const Column& column, const Row& row, const Units& units) {
  const Value value = column.value(row, column.level);
  if (const auto* text = std::get_if<std::string>(&value)) return display_name(*text, 40);
  const double number = std::get<double>(value);
  switch (column.show) {
    case Show::text: break;
    case Show::count: return std::isfinite(number) ? shortest(std::round(number * 100) / 100) : "-";
    case Show::prefixed: return prefixed(number);
    case Show::bytes: return bytes_cell(Bytes{number});
    case Show::intensity: return fixed(number, 1);
    case Show::step_time: return fixed(number / units.step.seconds, 2);
    case Show::total_time: return fixed(number / units.total.seconds, 3);
    case Show::share: return percent(number);
  }
  return {};
}

std::string heading(const Column& column, const Units& units) {
  if (column.show == Show::step_time) return fmt::format("{} {}", column.header, units.step.name);
  if (column.show == Show::total_time) return fmt::format("{} {}", column.header, units.total.name);
  return display_name(column.header, 16);
}

/// A total in the shape of an operator, for the last row; how often and the terms of one execution have no sum.
sim::OpEstimate summed(const sim::Total& total) {
  sim::OpEstimate op;
  op.name = "total";
  op.flops = total.flops;
  op.levels = total.levels;
  op.intensity = total.intensity;
  op.time = total.time;
  op.bound = total.bound;
  return op;
}

/// The columns a person sees: of the bytes only the main level's, the network's time and the phase only if they tell
/// rows apart.
std::vector<Column> shown_columns(const std::vector<Row>& rows) {
  std::vector<Column> columns;
  const std::string main = main_level(*rows.front().phase);
  for (Column& column : op_columns({rows.front().run, 1})) {
    const bool network = column.name == "t_net_s" && has_network(rows);
    const bool phase = column.name == "phase" && has_several_phases(rows);
    const bool other_level = column.show == Show::bytes && column.level != main;
    if ((column.in_table || network || phase) && !other_level) columns.push_back(std::move(column));
  }
  return columns;
}

}  // namespace

std::vector<Column> op_columns(std::span<const sim::Estimate> runs) {
  std::vector<Column> columns;
  for (const ColumnRow& row : table) {
    Column column{std::string(row.name), std::string(row.header), row.show, row.in_table, row.value, {}};
    if (row.show != Show::bytes) {
      columns.push_back(column);
      continue;
    }
    for (const std::string& level : levels_of(runs)) {
      column.name = fmt::format("{}_{}", row.name, level);
      column.header = column.level = level;
      columns.push_back(column);
    }
  }
  return columns;
}

std::vector<Row> op_rows(const sim::Estimate& run, const sim::Phase& phase) {
  std::vector<Row> rows;
  for (const auto& op : phase.ops) rows.push_back({&run, &phase, &op});
  return rows;
}

std::vector<Row> op_rows(const sim::Estimate& run) {
  std::vector<Row> rows;
  for (const auto& phase : run.phases)
    for (const auto& op : phase.ops) rows.push_back({&run, &phase, &op});
  return rows;
}

std::vector<Row> longest(std::vector<Row> rows, std::size_t count) {
  std::ranges::stable_sort(rows, std::ranges::greater{}, [](const Row& r) { return total_time(*r.op).value; });
  rows.resize(std::min(rows.size(), count));
  return rows;
}

std::string main_level(const sim::Phase& phase) {
  return phase.main_level < phase.levels.size() ? phase.levels[phase.main_level] : "";
}

double level_bytes(const std::vector<sim::LevelCost>& costs, std::size_t level) {
  return level < costs.size() ? costs[level].bytes.value : 0;
}

Seconds total_time(const sim::OpEstimate& op) { return op.count * op.time; }

double share_of(const sim::Estimate& run, Seconds time) { return run.total.operators.value > 0 ? time / run.total.operators : 0; }

std::string bytes_cell(Bytes bytes) {
  const std::string number = prefixed(bytes.value);
  return number == "-" ? number : number + "B";
}

Grid op_grid(std::vector<Row> rows, const sim::Total* sum) {
  Grid grid;
  if (rows.empty()) return grid;
  const sim::OpEstimate last = sum ? summed(*sum) : sim::OpEstimate{};
  if (sum) rows.push_back({rows.front().run, rows.front().phase, &last});
  grid.total_row = sum != nullptr;
  const Units units = units_of(rows);
  const std::vector<Column> columns = shown_columns(rows);
  for (const Column& column : columns) grid.headings.push_back({heading(column, units), column.show != Show::text});
  for (const Row& row : rows) {
    std::vector<std::string>& cells = grid.rows.emplace_back();
    std::vector<double>& numbers = grid.numbers.emplace_back();
    for (const Column& column : columns) {
      const Value value = column.value(row, column.level);
      numbers.push_back(std::holds_alternative<double>(value) ? std::get<double>(value) : 0);
      const bool says_nothing = row.op == &last && (column.show == Show::count || column.show == Show::step_time);
      cells.push_back(says_nothing ? "" : cell(column, row, units));
    }
  }
  return grid;
}

Grid layer_grid(const sim::Phase& phase) {
  Grid grid;
  grid.headings = {{"one layer", false},
                   {"of them"},
                   {"FLOP"},
                   {display_name(main_level(phase), 16)},
                   {"activations"},
                   {"FLOP/B"},
                   {"keeps weights"},
                   {"KV a token"},
                   {"time"}};
  for (const auto& layer : phase.layers)
    grid.rows.push_back({display_name(layer.name), fixed(layer.count, 0), prefixed(layer.flops.value),
                         bytes_cell(layer.bytes), bytes_cell(layer.activation_bytes), fixed(layer.intensity.value, 1),
                         bytes_cell(layer.weight_bytes), bytes_cell(layer.kv_per_token), spoken(layer.time)});
  return grid;
}

Grid memory_grid(const sim::MemoryUse& memory) {
  Grid grid;
  grid.headings = {{"memory", false}, {"capacity"}, {"weights"}, {"KV cache"},
                   {"activations"}};
  const bool trains = std::ranges::any_of(memory.tiers, [](const sim::TierUse& t) { return t.optimizer.value > 0; });
  if (trains) grid.headings.insert(grid.headings.end(), {{"gradients"}, {"optimizer"}});
  grid.headings.insert(grid.headings.end(), {{"used"}, {"free"}, {"full"}});
  for (const auto& tier : memory.tiers) {
    const bool stated = tier.capacity.value > 0;
    const Bytes left = tier.capacity - tier.used();
    auto& row = grid.rows.emplace_back(std::vector{display_name(tier.level, 20), stated ? bytes_cell(tier.capacity) : "-",
                                                   bytes_cell(tier.weights), bytes_cell(tier.kv_cache), bytes_cell(tier.activations)});
    if (trains) row.insert(row.end(), {bytes_cell(tier.gradients), bytes_cell(tier.optimizer)});
    row.insert(row.end(), {bytes_cell(tier.used()), stated ? bytes_cell(left) : "-", stated ? percent(tier.used() / tier.capacity) : "-"});
  }
  return grid;
}

}  // namespace gambrel::reports

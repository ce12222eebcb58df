// The tables of a sweep's file, and its two views for people.
#include "sim/sweep/store_schema.hpp"

#include <fmt/format.h>

#include <algorithm>

namespace gambrel::sim {
namespace {

/// `text` between quotes: ' for a value, " for a name.
std::string quoted(std::string_view text, char quote) {
  std::string out(1, quote);
  for (const char c : text) out += c == quote ? std::string(2, c) : std::string(1, c);
  return out + quote;
}
std::string value(std::string_view text) { return quoted(text, '\''); }
std::string name(std::string_view text) { return quoted(text, '"'); }

constexpr std::string_view tables = R"(
CREATE TABLE context(name TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE sessions(number INTEGER PRIMARY KEY, started TEXT NOT NULL, host TEXT NOT NULL, command TEXT NOT NULL,
  config_hash TEXT NOT NULL, sweep TEXT NOT NULL, ended TEXT, computed INTEGER, elapsed_s REAL) STRICT;
CREATE TABLE axes(axis INTEGER, part INTEGER, path TEXT NOT NULL, PRIMARY KEY(axis, part)) STRICT, WITHOUT ROWID;
CREATE TABLE axis_values(axis INTEGER, number INTEGER, part INTEGER, text TEXT NOT NULL,
  PRIMARY KEY(axis, number, part)) STRICT, WITHOUT ROWID;
CREATE TABLE figures(number INTEGER PRIMARY KEY, name TEXT NOT NULL, label TEXT NOT NULL, unit TEXT NOT NULL) STRICT;
CREATE TABLE objectives(number INTEGER PRIMARY KEY, name TEXT NOT NULL, figure INTEGER NOT NULL,
  maximise INTEGER NOT NULL) STRICT;
CREATE TABLE constraints(number INTEGER PRIMARY KEY, text TEXT NOT NULL) STRICT;
CREATE TABLE messages(id INTEGER PRIMARY KEY, text TEXT NOT NULL) STRICT;
CREATE TABLE front(idx INTEGER PRIMARY KEY, knee INTEGER NOT NULL, command TEXT NOT NULL) STRICT;
CREATE TABLE finished(first INTEGER PRIMARY KEY, last INTEGER NOT NULL CHECK(last > first),
  ok INTEGER, violates INTEGER, impossible INTEGER) STRICT;
)";

std::string points_table(const SweepDescription& sweep) {
  std::string figures;
  for (std::size_t i = 0; i < sweep.columns.size(); ++i) figures += fmt::format(", f{} REAL", i);
  return fmt::format("CREATE TABLE points(idx INTEGER PRIMARY KEY, key BLOB NOT NULL UNIQUE CHECK(length(key) = 16),\n"
                     "  state INTEGER NOT NULL CHECK(state BETWEEN 0 AND 2), reason INTEGER{}) STRICT;\n", figures);
}

/// A column for each path, its text found by the point's coordinate on that axis.
std::string axis_columns(const SweepDescription& sweep) {
  std::uint64_t stride = 1;
  for (const SweepAxis& axis : sweep.axes) stride *= std::max<std::uint64_t>(axis.size(), 1);
  std::string columns;
  for (std::size_t a = 0; a < sweep.axes.size(); ++a) {
    const SweepAxis& axis = sweep.axes[a];
    stride /= std::max<std::uint64_t>(axis.size(), 1);
    for (std::size_t p = 0; p < axis.paths.size(); ++p)
      columns += fmt::format(",\n  (SELECT text FROM axis_values WHERE axis = {} AND number = (p.idx / {}) % {} AND part = {}) AS {}", a, stride, axis.size(), p, name(axis.paths[p]));
  }
  return columns;
}

std::string views(const SweepDescription& sweep) {
  std::string figures;
  for (std::size_t i = 0; i < sweep.columns.size(); ++i) figures += fmt::format(", p.f{} AS {}", i, name(sweep.columns[i].name));
  const std::string axes = axis_columns(sweep);
  return fmt::format("CREATE VIEW designs AS SELECT p.idx AS point{},\n"
                     "  CASE p.state WHEN 0 THEN 'ok' WHEN 1 THEN 'violates' ELSE 'impossible' END AS state,\n"
                     "  CASE p.state WHEN 1 THEN (SELECT text FROM constraints WHERE number = p.reason)\n"
                     "    WHEN 2 THEN (SELECT text FROM messages WHERE id = p.reason) END AS reason{}\nFROM points p;\n"
                     "CREATE VIEW pareto AS SELECT p.idx AS point{}{}, front.knee AS knee, front.command AS command\n"
                     "FROM front JOIN points p ON p.idx = front.idx;\n", axes, figures, axes, figures);
}

std::string axis_rows(const SweepDescription& sweep) {
  std::string sql;
  for (std::size_t a = 0; a < sweep.axes.size(); ++a) {
    const SweepAxis& axis = sweep.axes[a];
    for (std::size_t p = 0; p < axis.paths.size(); ++p) {
      sql += fmt::format("INSERT INTO axes VALUES({}, {}, {});\n", a, p, value(axis.paths[p]));
      for (std::size_t v = 0; v < axis.size(); ++v) sql += fmt::format("INSERT INTO axis_values VALUES({}, {}, {}, {});\n", a, v, p, value(axis.values[v][p]));
    }
  }
  return sql;
}

std::string rows(const SweepDescription& sweep) {
  std::string sql = axis_rows(sweep);
  for (std::size_t i = 0; i < sweep.columns.size(); ++i) {
    const FigureColumn& c = sweep.columns[i];
    sql += fmt::format("INSERT INTO figures VALUES({}, {}, {}, {});\n", i, value(c.name), value(c.label), value(c.unit));
  }
  for (std::size_t i = 0; i < sweep.objectives.size(); ++i) {
    const Objective& o = sweep.objectives[i];
    sql += fmt::format("INSERT INTO objectives VALUES({}, {}, {}, {});\n", i, value(o.name), o.figure, o.maximise ? 1 : 0);
  }
  for (std::size_t i = 0; i < sweep.constraints.size(); ++i) sql += fmt::format("INSERT INTO constraints VALUES({}, {});\n", i, value(sweep.constraints[i]));
  for (const auto& [key, text] : {std::pair<std::string_view, std::string>{"first_design", sweep.first_design}, {"search", sweep.search}, {"learns", sweep.learns ? "yes" : "no"},
                                  {"keep", to_string(sweep.keep)}, {"version", sweep.version}})
    sql += fmt::format("INSERT INTO context VALUES({}, {});\n", value(key), value(text));
  return sql;
}

/// All rows of a query, each given to `use`.
template <class Use>
Result<void> each_row(Database& database, std::string_view sql, Use use) {
  auto query = database.prepare(sql);
  if (!query) return fail(std::move(query.error()));
  for (;;) {
    auto row = query->step();
    if (!row) return fail(std::move(row.error()));
    if (!*row) return {};
    use(*query);
  }
}

Result<void> read_axes(Database& database, std::vector<SweepAxis>& axes) {
  const auto paths = each_row(database, "SELECT axis, path FROM axes ORDER BY axis, part", [&](const Statement& row) {
    axes.resize(static_cast<std::size_t>(row.integer(0)) + 1);
    axes.back().paths.emplace_back(row.text(1));
  });
  if (!paths) return paths;
  return each_row(database, "SELECT axis, number, text FROM axis_values ORDER BY axis, number, part", [&](const Statement& row) {
    auto& values = axes[static_cast<std::size_t>(row.integer(0))].values;
    values.resize(static_cast<std::size_t>(row.integer(1)) + 1);
    values.back().emplace_back(row.text(2));
  });
}

}  // namespace

std::string schema_sql(const SweepDescription& sweep) { return std::string(tables) + points_table(sweep) + views(sweep) + rows(sweep); }

Result<SweepDescription> read_description(Database& database) {
  SweepDescription sweep;
  std::string keep = "all";
  return read_axes(database, sweep.axes)
      .and_then([&] {
        return each_row(database, "SELECT name, label, unit FROM figures ORDER BY number", [&](const Statement& row) {
          sweep.columns.push_back({std::string(row.text(0)), std::string(row.text(1)), std::string(row.text(2))});
        });
      })
      .and_then([&] {
        return each_row(database, "SELECT name, figure, maximise FROM objectives ORDER BY number", [&](const Statement& row) {
          sweep.objectives.push_back({std::string(row.text(0)), static_cast<std::size_t>(row.integer(1)), row.integer(2) != 0});
        });
      })
      .and_then([&] {
        return each_row(database, "SELECT text FROM constraints ORDER BY number", [&](const Statement& row) { sweep.constraints.emplace_back(row.text(0)); });
      })
      .and_then([&] {
        return each_row(database, "SELECT name, value FROM context", [&](const Statement& row) {
          const std::string_view key = row.text(0);
          const std::string text(row.text(1));
          if (key == "first_design") sweep.first_design = text;
          else if (key == "search") sweep.search = text;
          else if (key == "learns") sweep.learns = text == "yes";
          else if (key == "keep") keep = text;
          else if (key == "version") sweep.version = text;
        });
      })
      .and_then([&] { return parse_keep(keep); })
      .map([&](const Keep& kept) {
        sweep.keep = kept;
        return sweep;
      });
}

}  // namespace gambrel::sim

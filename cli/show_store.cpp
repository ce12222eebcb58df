// Rows are printed as they are read: a file may hold more than memory does. Figures in full, but for tables.
#include "cli/show_store.hpp"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <fstream>
#include <memory>

#include "base/load.hpp"
#include "reports/format.hpp"
#include "reports/grid.hpp"
#include "reports/json.hpp"
#include "sim/sweep/store.hpp"

namespace gambrel::cli {
namespace {

constexpr std::size_t table_rows = 40;        ///< of a table; the other formats have all rows
constexpr std::size_t print_at = 1 << 16;     ///< bytes
constexpr double largest_exact = 0x1p53;      ///< integers beyond it are text in JSON

struct Cell {
  bool null = true, number = false;
  double value = 0;
  std::string text;  ///< of a number: all its digits
};

std::vector<Cell> cells_of(const Statement& row) {
  std::vector<Cell> cells(static_cast<std::size_t>(row.columns()));
  for (int c = 0; c < row.columns(); ++c) {
    Cell& cell = cells[static_cast<std::size_t>(c)];
    cell.null = row.is_null(c);
    cell.number = row.is_number(c);
    cell.value = row.real(c);
    cell.text = row.text(c);
    const bool whole = cell.text.find_first_not_of("-0123456789") == std::string::npos;
    if (cell.number && !whole) cell.text = fmt::format("{}", cell.value);  // SQLite's text has 15 digits
  }
  return cells;
}

/// Gets the rows one by one and says what to print.
class RowWriter {
 public:
  virtual ~RowWriter() = default;
  virtual std::string begin(const sim::ResultStore& store, const std::vector<std::string>& columns) = 0;
  virtual std::string row(const std::vector<Cell>& cells) = 0;
  virtual std::string end() = 0;
};

class CsvRows final : public RowWriter {
 public:
  std::string begin(const sim::ResultStore&, const std::vector<std::string>& columns) override {
    std::string line;
    for (const std::string& name : columns) line += (line.empty() ? "" : ",") + reports::escape_csv(name);
    return line + "\n";
  }
  std::string row(const std::vector<Cell>& cells) override {
    std::string line;
    for (std::size_t c = 0; c < cells.size(); ++c) line += (c > 0 ? "," : "") + (cells[c].null ? "" : cells[c].number ? cells[c].text : reports::escape_csv(cells[c].text));
    return line + "\n";
  }
  std::string end() override { return ""; }
};

class JsonRows final : public RowWriter {
 public:
  std::string begin(const sim::ResultStore& store, const std::vector<std::string>& columns) override {
    columns_ = columns;
    Node head = Node::mapping();
    head.set("schema_version", Node::of(static_cast<double>(reports::schema_version)));
    head.set("search", reports::shown(store.sweep().search));
    head.set("keep", Node::of(sim::to_string(store.sweep().keep)));
    head.set("version", Node::of(store.sweep().version));
    double finished = 0;
    for (const sim::FinishedRange& range : store.finished().all()) finished += static_cast<double>(range.last - range.first);
    head.set("finished", Node::of(finished));
    std::string text = to_json(head, 0);
    while (text.ends_with('\n') || text.ends_with('}')) text.pop_back();
    return text + ",\n\"rows\": [";
  }
  std::string row(const std::vector<Cell>& cells) override {
    Node row = Node::mapping();
    for (std::size_t c = 0; c < cells.size(); ++c) {
      const Cell& cell = cells[c];
      row.set(columns_[c], cell.null ? Node() : cell.number && std::abs(cell.value) < largest_exact ? reports::number(cell.value) : reports::shown(cell.text));
    }
    return std::exchange(separator_, ",\n") + to_json(row, 0);
  }
  std::string end() override { return "\n]}\n"; }

 private:
  std::vector<std::string> columns_;
  std::string separator_ = "\n";
};

class TableRows final : public RowWriter {
 public:
  TableRows(bool markdown, std::size_t most) : markdown_(markdown), most_(most) {}
  std::string begin(const sim::ResultStore&, const std::vector<std::string>& columns) override {
    for (const std::string& name : columns) grid_.headings.push_back({reports::display_name(name, 60), false});
    return "";
  }
  std::string row(const std::vector<Cell>& cells) override {
    if (++rows_ > most_) return "";
    std::vector<std::string>& row = grid_.rows.emplace_back();
    for (std::size_t c = 0; c < cells.size(); ++c) {
      if (cells[c].number) grid_.headings[c].right = true;
      const bool whole = cells[c].text.find_first_not_of("-0123456789") == std::string::npos;
      row.push_back(cells[c].null ? "-" : cells[c].number && !whole ? fmt::format("{:.5g}", cells[c].value) : reports::display_name(cells[c].text, 120));
    }
    return "";
  }
  std::string end() override {
    if (markdown_) return reports::markdown_grid(grid_);
    return reports::terminal_grid(grid_, isatty(STDOUT_FILENO) == 1) + (rows_ > most_ ? fmt::format("... {} more rows; --format csv has all\n", rows_ - most_) : "");
  }

 private:
  bool markdown_;
  std::size_t most_, rows_ = 0;
  reports::Grid grid_;
};

std::unique_ptr<RowWriter> make_writer(const std::string& format) {
  if (format == "csv") return std::make_unique<CsvRows>();
  if (format == "json") return std::make_unique<JsonRows>();
  const bool markdown = format == "markdown";
  return std::make_unique<TableRows>(markdown, markdown ? std::string::npos : table_rows);
}

int print_rows(const Session& session, const sim::ResultStore& store, Statement& query, RowWriter& writer) {
  std::vector<std::string> columns;
  for (int c = 0; c < query.columns(); ++c) columns.push_back(query.column_name(c));
  std::string text = writer.begin(store, columns);
  for (;;) {
    auto row = query.step();
    if (!row) return session.report(row.error());
    if (!*row) break;
    text += writer.row(cells_of(query));
    if (text.size() < print_at) continue;
    if (const int failed = session.print(std::exchange(text, {})); failed != done) return failed;
  }
  return session.print(text + writer.end());
}

}  // namespace

bool is_database(const std::string& path) {
  std::string head(15, '\0');
  return std::ifstream(path, std::ios::binary).read(head.data(), 15) && head == "SQLite format 3";
}

int show_store(const Session& session, const StoreView& view) {
  auto store = sim::ResultStore::open_existing(view.path);
  if (!store) return session.report(store.error());
  if (view.hash) {
    const auto hash = store->table_hash();
    return hash ? session.print(*hash + "\n") : session.report(hash.error());
  }
  const std::string sql = !view.sql.empty() ? view.sql : view.front ? "SELECT * FROM pareto ORDER BY point" : "SELECT * FROM designs ORDER BY point";
  auto query = store->database().prepare(sql);
  if (!query) {
    Diagnostics problems = std::move(query.error());
    problems[0].fault = view.sql.empty() ? problems[0].fault : Fault::usage;
    problems[0].hint = "the views `designs` and `pareto` have one column for each axis and figure; names with dots stand in double quotes";
    return session.report(problems);
  }
  return print_rows(session, *store, *query, *make_writer(view.format));
}

}  // namespace gambrel::cli

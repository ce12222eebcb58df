#include "base/csv.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "base/text.hpp"

namespace gambrel {
namespace {

class Parser {
 public:
  explicit Parser(std::string_view text) : rest_(text) {
    if (rest_.starts_with("\xEF\xBB\xBF")) rest_.remove_prefix(3);
  }

  bool done() const { return rest_.empty(); }
  int line() const { return line_; }
  bool open_quote() const { return open_quote_; }

  /// The cells up to the end of the row; a blank line gives none.
  std::vector<std::string> row() {
    std::vector<std::string> cells;
    if (take_end()) return cells;
    do cells.push_back(cell());
    while (take(','));
    take_end();
    return cells;
  }

 private:
  bool take(char c) {
    if (rest_.empty() || rest_.front() != c) return false;
    rest_.remove_prefix(1);
    return true;
  }

  bool take_end() {
    if (rest_.starts_with("\r\n")) rest_.remove_prefix(1);
    if (!take('\n')) return false;
    ++line_;
    return true;
  }

  std::string cell() {
    if (take('"')) return quoted();
    const std::size_t end = std::min(rest_.find_first_of(",\n"), rest_.size());
    std::string_view text = rest_.substr(0, end);
    rest_.remove_prefix(end);
    if (text.ends_with('\r')) text.remove_suffix(1);
    return std::string(text);
  }

  std::string quoted() {
    std::string text;
    for (;;) {
      const std::size_t end = rest_.find('"');
      if (end == std::string_view::npos) {
        open_quote_ = true;
        rest_ = {};
        return text;
      }
      text += rest_.substr(0, end);
      line_ += static_cast<int>(std::ranges::count(rest_.substr(0, end), '\n'));
      rest_.remove_prefix(end + 1);
      if (!take('"')) return text;
      text += '"';
    }
  }

  std::string_view rest_;
  int line_ = 1;
  bool open_quote_ = false;
};

tl::unexpected<Diagnostics> refused(Position at, std::string message, std::string hint) {
  Diagnostic problem;
  problem.at = std::move(at);
  problem.message = std::move(message);
  problem.hint = std::move(hint);
  return fail(std::move(problem));
}

Result<void> check_header(const CsvTable& table, const CsvRow& header) {
  const std::vector<std::string>& names = header.cells;
  for (std::size_t i = 0; i < names.size(); ++i) {
    const auto here = names.begin() + static_cast<std::ptrdiff_t>(i);
    if (here->empty()) return refused(table.at(header, i), fmt::format("column {} has no name", i + 1), "the first line names the columns");
    if (std::find(names.begin(), here, *here) != here) return refused(table.at(header, i), fmt::format("two columns are named '{}'", excerpt(*here)), "give each column its own name");
  }
  return {};
}

}  // namespace

std::optional<std::size_t> CsvTable::column(std::string_view name) const {
  const auto found = std::ranges::find(header, name);
  if (found == header.end()) return std::nullopt;
  return static_cast<std::size_t>(found - header.begin());
}

Position CsvTable::at(const CsvRow& row, std::size_t column) const {
  Position position = at(row);
  const std::vector<std::string> before(row.cells.begin(), row.cells.begin() + static_cast<std::ptrdiff_t>(column));
  const std::string text = csv_line(before);
  if (column > 0 && text.find('"') == text.npos) position.column = static_cast<int>(text.size()) + 2;
  return position;
}

Result<CsvTable> parse_csv(std::string text, std::string name) {
  CsvTable table;
  table.source = std::make_shared<const Source>(Source{std::move(name), std::move(text)});
  const std::string& all = table.source->text;
  if (const std::size_t bad = find_invalid_utf8(all); bad != std::string::npos) {
    const int line = 1 + static_cast<int>(std::count(all.begin(), all.begin() + static_cast<std::ptrdiff_t>(bad), '\n'));
    return refused({table.source, line, 1}, "the text is not valid UTF-8", "save the file as UTF-8");
  }
  Parser parser(all);
  while (!parser.done()) {
    CsvRow row;
    row.line = parser.line();
    row.cells = parser.row();
    if (parser.open_quote()) return refused(table.at(row), "a quote is never closed", "write \"\" for a quote inside a quoted cell");
    if (row.cells.empty()) continue;
    if (table.header.empty()) {
      if (auto valid = check_header(table, row); !valid) return fail(valid.error());
      table.header = std::move(row.cells);
    } else if (row.cells.size() != table.header.size()) {
      return refused(table.at(row), fmt::format("the row has {} cells, but the header names {} columns", row.cells.size(), table.header.size()), "quote cells that hold a comma");
    } else {
      table.rows.push_back(std::move(row));
    }
  }
  if (table.header.empty()) return refused({table.source, 0, 0}, "the file is empty", "the first line names the columns");
  return table;
}

std::string csv_line(const std::vector<std::string>& cells) {
  std::string line;
  for (std::size_t i = 0; i < cells.size(); ++i) {
    if (i > 0) line += ',';
    if (cells[i].find_first_of(",\"\r\n") == std::string::npos) {
      line += cells[i];
      continue;
    }
    line += '"';
    for (char c : cells[i]) line += c == '"' ? std::string("\"\"") : std::string(1, c);
    line += '"';
  }
  return line;
}

}  // namespace gambrel

// Comma-separated values (RFC 4180), read whole, with the line of every row.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.hpp"

namespace gambrel {

struct CsvRow {
  std::vector<std::string> cells;  ///< as many as the header has
  int line = 0;
};

struct CsvTable {
  std::vector<std::string> header;
  std::vector<CsvRow> rows;
  std::shared_ptr<const Source> source;

  std::optional<std::size_t> column(std::string_view name) const;
  Position at(const CsvRow& row) const { return {source, row.line, 1}; }
  /// Where the cell of a column begins in the row's line, if no cell before it is quoted; else the line.
  Position at(const CsvRow& row, std::size_t column) const;
};

/// Errors with file:line, of the header also with the column: an empty file, a repeated or empty column name, a row with another number of cells, an open
/// quote, invalid UTF-8. Blank lines are skipped; a byte order mark and CRLF are accepted.
Result<CsvTable> parse_csv(std::string text, std::string name);

/// One line of CSV without its end; cells that need it are quoted.
std::string csv_line(const std::vector<std::string>& cells);

}  // namespace gambrel

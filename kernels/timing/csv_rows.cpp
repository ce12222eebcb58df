// Measurements as the rows of a measurement file, and such a file's rows as measurements.
#include "kernels/timing/csv_rows.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <map>
#include <set>

#include "base/csv.hpp"
#include "base/text.hpp"
#include "kernels/timing/store.hpp"

namespace gambrel::kernels {
namespace {

/// "f32" is what kernels call it, "fp32" what measurement files do.
std::string dtype_of(const std::string& type) { return type == "f32" || type == "f64" || type == "f16" ? "fp" + type.substr(1) : type; }

std::vector<std::string> size_columns(const std::vector<Measurement>& measurements) {
  std::vector<std::string> names;
  for (const Measurement& m : measurements)
    for (const auto& [dimension, extent] : m.sizes)
      if (std::ranges::find(names, dimension) == names.end()) names.push_back(dimension);
  return names;
}

std::string size_of(const Measurement& m, const std::string& dimension) {
  const auto found = std::ranges::find(m.sizes, dimension, &std::pair<std::string, double>::first);
  return found == m.sizes.end() ? "" : shortest(found->second);
}

std::optional<double> number_in(const std::string& cell) {
  double value = 0;
  const auto [end, error] = std::from_chars(cell.data(), cell.data() + cell.size(), value);
  return error == std::errc{} && end == cell.data() + cell.size() ? std::optional(value) : std::nullopt;
}

/// What columns beside sizes mean to a Measurement.
const std::set<std::string, std::less<>> not_sizes{"device", "op", "dtype", "version", "library", "driver", "selected", "threads", "flops", "bytes", "efficiency", "anchor", "clean", "measured_us"};

/// Columns that say when, by whom and of what state of the code: they change while the kernel stays the same.
bool is_remark(std::string_view column) {
  static const std::set<std::string, std::less<>> remarks{"date",   "time", "timestamp", "started", "commit", "revision", "branch", "author", "host",       "hostname", "note",
                                                          "notes",  "remark", "remarks", "comment", "run",    "run_id",   "id",     "index",  "repetition", "sample",   "seed",
                                                          "source", "file", "case"};
  return remarks.contains(column) || column.ends_with("_us") || column.ends_with("_ms") || column.ends_with("_ns");
}

bool tells_kernels_apart(const std::string& column, const RowKind& kind) {
  if (not_sizes.contains(column)) return false;
  return kind.columns.empty() ? !is_remark(column) : std::ranges::find(kind.columns, column) != kind.columns.end();
}

Measurement read_row(const CsvTable& table, const CsvRow& row, const RowKind& kind) {
  const auto cell = [&](std::string_view column) {
    const auto index = table.column(column);
    return index ? row.cells[*index] : std::string();
  };
  Measurement m{.kernel = kind.kernel, .type = cell("dtype"), .version = cell("version"), .library = cell("library"), .selected = cell("selected")};
  if (const std::string driver = cell("driver"); !driver.empty()) m.library += fmt::format("{}driver {}", m.library.empty() ? "" : ", ", driver);
  m.flops = number_in(cell("flops")).value_or(0);
  m.bytes = number_in(cell("bytes")).value_or(0);
  m.threads = static_cast<int>(std::clamp(number_in(cell("threads")).value_or(1), 1.0, 1e6));
  std::string size;
  for (std::size_t i = 0; i < table.header.size(); ++i) {
    if (!tells_kernels_apart(table.header[i], kind) || row.cells[i].empty()) continue;
    const auto value = number_in(row.cells[i]);
    if (value) m.sizes.emplace_back(table.header[i], *value);
    size += fmt::format("{}{}{}", size.empty() ? "" : ".", table.header[i], value ? row.cells[i] : "=" + row.cells[i]);
  }
  m.name = m.kernel;
  for (const std::string& part : {cell("device"), m.type, m.version, size})
    if (!part.empty()) m.name += "/" + part;
  m.name += fmt::format("/{}t", m.threads);
  return m;
}

/// Kernels that only their library, driver or code path tells apart get these into their names.
void tell_apart(std::vector<Measurement>& measurements) {
  std::map<std::string, int> uses;
  for (const Measurement& m : measurements) ++uses[m.name];
  for (Measurement& m : measurements)
    if (uses[m.name] > 1)
      for (const std::string& part : {m.library, m.selected})
        if (!part.empty()) m.name += "/" + part;
}

}  // namespace

std::string to_csv(const std::vector<Measurement>& measurements, const std::string& device) {
  const std::vector<std::string> sizes = size_columns(measurements);
  std::vector<std::string> header{"device", "op", "dtype"};
  header.insert(header.end(), sizes.begin(), sizes.end());
  for (const char* column : {"measured_us", "version", "library", "selected", "threads", "flops", "bytes", "anchor", "efficiency", "clean"}) header.emplace_back(column);
  std::string text = csv_line(header) + "\n";
  for (const Measurement& m : measurements) {
    if (m.clean.empty()) continue;
    std::vector<std::string> cells{device, m.kernel, dtype_of(m.type)};
    for (const std::string& dimension : sizes) cells.push_back(size_of(m, dimension));
    for (std::string cell : {fmt::format("{:.6g}", 1e6 * median_seconds(m)), m.version, m.library, m.selected, fmt::format("{}", m.threads), shortest(m.flops), shortest(m.bytes), m.anchor,
                             has_reference(m) ? fmt::format("{:.4f}", efficiency_of(m)) : "", fmt::format("{}", m.clean.size())})
      cells.push_back(std::move(cell));
    text += csv_line(cells) + "\n";
  }
  return text;
}

Result<FedRows> read_rows(const CsvTable& table, const KindOfRow& kind_of) {
  const auto measured = table.column("measured_us");
  if (!measured) return fail(Diagnostic{{table.source, 1, 1}, "there is no column 'measured_us'", "measured times in microseconds"});
  FedRows fed;
  std::map<std::string, std::size_t> index;
  for (const CsvRow& row : table.rows) {
    const auto us = number_in(row.cells[*measured]);
    if (!us || !(*us >= 1e-6) || !(*us <= 1e12))
      return fail(Diagnostic{table.at(row, *measured), fmt::format("measured_us '{}' is not a positive number", excerpt(row.cells[*measured])), "a time in microseconds"});
    Measurement one = read_row(table, row, kind_of(row));
    const auto [known, fresh] = index.try_emplace(fmt::format("{}\n{}\n{}", one.name, one.library, one.selected), fed.measurements.size());
    if (fresh) fed.measurements.push_back(std::move(one));
    fed.of_row.push_back(known->second);
    fed.measurements[known->second].clean.push_back({*us * 1e-6, 0});
    ++fed.measurements[known->second].sampled;
  }
  tell_apart(fed.measurements);
  return fed;
}

Result<std::vector<Measurement>> from_csv(const std::string& text, const std::string& file, const std::string& device) {
  auto table = parse_csv(text, file);
  if (!table) return fail(table.error());
  if (!device.empty() && !table->column("device")) {
    table->header.emplace_back("device");
    for (CsvRow& row : table->rows) row.cells.push_back(device);
  }
  std::string stem = file.substr(file.rfind('/') + 1);
  stem = stem.substr(0, stem.find('.'));
  const auto op = table->column("op");
  auto fed = read_rows(*table, [&](const CsvRow& row) { return RowKind{op && !row.cells[*op].empty() ? row.cells[*op] : stem, {}}; });
  if (!fed) return fail(std::move(fed.error()));
  return std::move(fed->measurements);
}

}  // namespace gambrel::kernels

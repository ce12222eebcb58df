// Measurements as the rows of a measurement file, and such a file's rows as measurements.
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
const std::set<std::string, std::less<>> not_sizes{"device", "op", "dtype", "version", "library", "selected", "threads", "flops", "bytes", "efficiency", "anchor", "clean", "measured_us"};

Measurement read_row(const CsvTable& table, const CsvRow& row, const std::string& file) {
  const auto cell = [&](std::string_view column) {
    const auto index = table.column(column);
    return index ? row.cells[*index] : std::string();
  };
  Measurement m{.kernel = cell("op"), .type = cell("dtype"), .version = cell("version"), .library = cell("library"), .selected = cell("selected")};
  m.flops = number_in(cell("flops")).value_or(0);
  m.bytes = number_in(cell("bytes")).value_or(0);
  m.threads = static_cast<int>(std::clamp(number_in(cell("threads")).value_or(1), 1.0, 1e6));
  std::string size, words = cell("device");
  for (std::size_t i = 0; i < table.header.size(); ++i) {
    if (not_sizes.contains(table.header[i]) || row.cells[i].empty()) continue;
    const auto value = number_in(row.cells[i]);
    if (value) m.sizes.emplace_back(table.header[i], *value);
    size += fmt::format("{}{}{}", size.empty() ? "" : ".", table.header[i], value ? row.cells[i] : "=" + row.cells[i]);
  }
  if (m.kernel.empty()) m.kernel = file;
  m.name = m.kernel;
  for (const std::string& part : {words, m.type, m.version, size})
    if (!part.empty()) m.name += "/" + part;
  m.name += fmt::format("/{}t", m.threads);
  return m;
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
                             fmt::format("{:.4f}", median_efficiency(m)), fmt::format("{}", m.clean.size())})
      cells.push_back(std::move(cell));
    text += csv_line(cells) + "\n";
  }
  return text;
}

Result<std::vector<Measurement>> from_csv(const std::string& text, const std::string& file) {
  const auto table = parse_csv(text, file);
  if (!table) return fail(table.error());
  const auto measured = table->column("measured_us");
  if (!measured) return fail(Diagnostic{{table->source, 1, 1}, "there is no column 'measured_us'", "measured times in microseconds"});
  const std::string stem = file.substr(file.rfind('/') + 1);
  std::vector<Measurement> measurements;
  std::map<std::string, std::size_t> index;  // name -> place
  for (const CsvRow& row : table->rows) {
    const auto us = number_in(row.cells[*measured]);
    if (!us || !(*us >= 1e-6) || !(*us <= 1e12))
      return fail(Diagnostic{table->at(row), fmt::format("measured_us '{}' is not a positive number", excerpt(row.cells[*measured])), "a time in microseconds"});
    Measurement one = read_row(*table, row, stem.substr(0, stem.find('.')));
    const auto [known, fresh] = index.try_emplace(one.name, measurements.size());
    if (fresh) measurements.push_back(std::move(one));
    measurements[known->second].clean.push_back({*us * 1e-6, 0});
    ++measurements[known->second].sampled;
  }
  return measurements;
}

}  // namespace gambrel::kernels

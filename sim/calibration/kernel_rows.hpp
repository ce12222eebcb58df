// Rows of measured (or to be measured) kernels -> calls: the columns of `gambrel estimate-ops`.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/csv.hpp"
#include "sim/kernel_models/kernel_model.hpp"

namespace gambrel::sim {

/// The columns a kind reads; one of each inner list must be there.
struct KindColumns {
  KernelKind kind;
  std::vector<std::vector<std::string_view>> columns;
};
const KindColumns& columns_of(KernelKind kind);

/// Reads rows of one kind; knows which column is where. Error: a column that is missing.
class RowReader {
 public:
  static Result<RowReader> make(const CsvTable& table, KernelKind kind);

  KernelKind kind() const { return kind_; }
  /// Error at the row: a cell that is no number, is absurd, or names no data type.
  Result<KernelCall> read(const CsvRow& row) const;
  /// What tells the row from others, for splits: the cells of the columns that were read, and the device.
  std::string key(const CsvRow& row) const;

 private:
  RowReader(const CsvTable& table, KernelKind kind) : table_(&table), kind_(kind) {}
  tl::expected<double, Diagnostic> number(const CsvRow& row, std::size_t slot, double otherwise) const;
  tl::expected<DataType, Diagnostic> type(const CsvRow& row, std::size_t slot, bool* weight_only = nullptr) const;

  friend struct CallReader;
  const CsvTable* table_;
  KernelKind kind_;
  std::vector<int> slots_;  ///< index of each column of columns_of(kind), -1 if absent and not needed
};

/// The kind whose columns the header has and no other kind's; nothing if that is not clear.
std::optional<KernelKind> kind_of(const CsvTable& table);

/// Rows of one kind in a file of several.
struct KindRows {
  KernelKind kind;
  std::vector<const CsvRow*> rows;
};

/// A file whose column `op` says what kind each row is of, as `gambrel measure --csv` writes it.
struct MixedRows {
  std::vector<KindRows> kinds;                                 ///< in the order of first appearance
  std::vector<std::pair<std::string, std::size_t>> uncovered;  ///< cells of `op` that name no kind ("fma"), and how many rows
};
/// Nothing if there is no such column, or none of its cells names a kind: then all rows are of one kind, whose operators
/// `op` may tell apart. The rows are the table's.
std::optional<MixedRows> rows_by_kind(const CsvTable& table);

/// "14 rows are skipped, for no kind of kernel reads them: fma (4), stream_read (10)"; "" if there are none.
std::string describe_uncovered(const MixedRows& mixed);

}  // namespace gambrel::sim

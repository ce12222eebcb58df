// Rows of a measurement file as samples of kernels: which of its columns tell one kernel from another.
#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "base/csv.hpp"
#include "kernels/timing/measurement.hpp"

namespace gambrel::kernels {

/// What a row is a measurement of.
struct RowKind {
  std::string kernel;                     ///< the name's first part
  std::vector<std::string_view> columns;  ///< sizes and formats; of none: all columns but remarks (a date, a note, a commit) and other times
};
using KindOfRow = std::function<RowKind(const CsvRow&)>;

struct FedRows {
  std::vector<Measurement> measurements;  ///< in the order of first appearance, without anchors
  std::vector<std::size_t> of_row;        ///< the measurement that each row of the table is a sample of
};

/// Rows of one kernel are its samples: same kind, `device`, `dtype`, `version`, `threads` and sizes, and the same `library`,
/// `driver` and `selected`, which belong to the fingerprint. Errors: no column `measured_us`, a cell of it that is no time.
Result<FedRows> read_rows(const CsvTable& table, const KindOfRow& kind_of);

}  // namespace gambrel::kernels

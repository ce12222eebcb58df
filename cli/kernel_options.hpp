// What the verbs about measured kernels share: the chip, the file, its rows.
#pragma once

#include <string>

#include "cli/verb.hpp"
#include "hw/system.hpp"
#include "sim/calibration/kernel_predictor.hpp"
#include "sim/calibration/kernel_rows.hpp"

namespace gambrel::cli {

/// A chip by name, path or alias (`aliases:` of a shipped chip, as measurement files write it), with its predictor.
/// `from`: where it was named.
struct KernelChip {
  hw::Chip chip;
  sim::CalibrationBook book;
};
Result<KernelChip> load_kernel_chip(const Session& session, const std::string& name, const Position& from = {});

/// A system by name or path, with the chips of its pools.
Result<hw::System> load_system(const Session& session, const std::string& name);

/// The shipped chip that a measurement file's device name means; "" if none.
std::string chip_of_device(const Session& session, const std::string& device);

/// Reads a CSV file; "-" is standard input.
Result<CsvTable> load_csv(const std::string& file);

/// Measured rows of one kind on one chip.
struct MeasuredRows {
  sim::KernelKind kind;
  std::vector<sim::KernelCall> calls;
  std::vector<double> seconds;
  std::vector<std::string> keys;
  std::size_t elsewhere = 0;  ///< rows of other devices or operators
  std::string file, hash;     ///< the file's own name and XXH3-64
};
/// One for each kind in the file. `op`: the only kind wanted, or "" to tell kinds from the column `op` or the columns that are
/// there. Rows of operators that no kind reads are skipped and counted on standard error where `op` names the kinds of the
/// others; in any other file they are errors. With a column `threads`, rows of a processor that ran on another number of
/// threads than it has cores are left out and counted too. Errors: no column measured_us, no row for the chip.
Result<std::vector<MeasuredRows>> load_measured(const Session& session, const std::string& file, const std::string& op, const hw::Chip& chip);

/// A row of the tables that calibrate prints: rows, mean, median, 90th percentile and bias of relative errors.
std::string score_line(std::string_view name, const sim::Score& score);

/// "hash:0/2".
Result<sim::Split> parse_split(const std::string& text);

}  // namespace gambrel::cli

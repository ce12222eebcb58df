// Rows of collectives on a system's network: `gambrel estimate-ops --op collective --system SYSTEM`.
#pragma once

#include <string>

#include "base/csv.hpp"
#include "cli/verb.hpp"

namespace gambrel::cli {

/// Columns collective, num_gpus, message_bytes [, dtype, library, algorithm, axes]; adds predicted_us, roofline_us, bound,
/// provenance, predicted_lo_us, predicted_hi_us, chosen_algorithm, slowest_level. `algorithm`: forced, as Algorithm's
/// names. `axes`: ranks along each axis, innermost first ("4x8", "1x16"), levels ("infiniband", "nvlink+infiniband"),
/// or over how many of the innermost axes they spread evenly ("2"). What was assumed about the network is said.
/// `efficiency` > 0: every link reaches that share of its bandwidth, nothing launches, no constants: textbook forms.
Result<std::string> network_rows(const Session& session, const CsvTable& table, const std::string& system, double efficiency);

}  // namespace gambrel::cli

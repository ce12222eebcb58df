// What a report says in words before its tables: labels and sentences, shared by text and HTML.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "reports/columns.hpp"

namespace gambrel::reports {

using Line = std::pair<std::string, std::string>;  ///< label, text

/// "Llama-3.1-8B on NVIDIA H100 SXM", on a system of several chips "... on DGX H100 (NVIDIA H100 SXM)". Not escaped.
std::string run_title(const sim::Estimate& run);

std::string parameters_text(const sim::Parameters& parameters);

/// How many sequences fit, and what a token of one takes; `memory_text` says before it whether the run fits.
std::string memory_limit_text(const sim::MemoryUse& memory);
std::string memory_text(const sim::MemoryUse& memory);

/// Time, throughput, utilisation, what bounds it, energy and cost if known.
std::vector<Line> total_lines(const sim::Estimate& run);

/// "HBM, 97.6% of the time"
std::string bound_text(const sim::Total& total);

/// The cost of a million tokens; nothing if the cost is unknown or no token is made.
std::optional<double> dollars_per_million_tokens(const sim::Total& total);
std::string cost_text(const sim::Total& total);

/// Of one token; nothing if the energy is unknown or no token is made.
std::optional<Joules> energy_per_token(const sim::Total& total);
/// "5.31 J: 12.0% arithmetic, 70.0% movement, 18.0% idle; 166 mJ per token" and "357 W a chip, 51.0% of its design
/// power"; "-" where not known.
std::string energy_text(const sim::Total& total);
std::string power_text(const sim::Total& total);

/// "14 operators analytic" or "12 operators calibrated, 2 transferred".
std::string provenance_text(const sim::Estimate& run);

/// Several runs, a row each.
Grid runs_grid(const std::vector<sim::Estimate>& runs);

}  // namespace gambrel::reports

// Estimates as a tree of values: the JSON contract.
#pragma once

#include "base/load.hpp"
#include "reports/report.hpp"

namespace gambrel::reports {

inline constexpr int schema_version = 1;

/// Null where it is not finite.
Node number(double value);
/// Text that holds no control characters: they are shown as escapes.
Node shown(std::string_view value);

/// {schema_version, run, model, system, chip, settings, total, serving?, memory, parameters, ops[], phases[], roofs[],
/// sources, notes[], config_hash, version}. Units stand in the names (time_s); what is not finite or unknown is null.
Node estimate_node(const sim::Estimate& estimate);

/// {schema_version, title, runs: [estimate_node]}
Node report_node(const Report& report);

}  // namespace gambrel::reports

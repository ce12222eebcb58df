// What a sweep's file says about the sweep itself: its schema as SQL, and its description back from it.
#pragma once

#include <cstdint>
#include <string>

#include "base/sqlite.hpp"
#include "sim/sweep/store.hpp"

namespace gambrel::sim {

inline constexpr std::string_view store_name = "sweep's result file";
inline constexpr std::int32_t store_application = 0x676d6272;  ///< "gmbr"
inline constexpr std::int32_t store_version = 1;               ///< user_version: another one is not read

/// Tables, views and the rows that describe the sweep, to be run at once in an empty file.
std::string schema_sql(const SweepDescription& sweep);
Result<SweepDescription> read_description(Database& database);

}  // namespace gambrel::sim

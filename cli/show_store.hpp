// gambrel show DB: the rows of a sweep's result file.
#pragma once

#include <string>

#include "cli/verb.hpp"

namespace gambrel::cli {

struct StoreView {
  std::string path;
  std::string format;   ///< "", table, csv, json, markdown
  std::string sql;      ///< a query of one's own; "": all designs
  bool front = false;   ///< the Pareto front only
  bool hash = false;    ///< nothing but the hash of all rows
};

/// Whether a file is an SQLite database.
bool is_database(const std::string& path);

int show_store(const Session& session, const StoreView& view);

}  // namespace gambrel::cli

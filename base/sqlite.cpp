// The wrapper's calls into SQLite, and its error codes as sentences.
#include "base/sqlite.hpp"

#include <fmt/format.h>
#include <sqlite3.h>

namespace gambrel {
namespace {

/// What to do about an error code; "" where the message says all.
std::string_view hint_of(int code) {
  switch (code & 0xff) {
    case SQLITE_FULL: return "free some space; what was committed before is kept";
    case SQLITE_IOERR: return "check the disk and its free space; what was committed before is kept";
    case SQLITE_READONLY:
    case SQLITE_PERM: return "check the permissions of the file and of its folder";
    case SQLITE_CANTOPEN: return "check the path and its permissions";
    case SQLITE_BUSY:
    case SQLITE_LOCKED: return "another process has held it for more than 30 s";
    case SQLITE_NOTADB:
    case SQLITE_CORRUPT: return "give another file, or restore this one from a copy";
    default: return "";
  }
}

std::string shown_path(sqlite3* connection) {
  const char* path = sqlite3_db_filename(connection, "main");
  return path && *path ? path : ":memory:";
}

Diagnostic diagnostic(const std::string& path, int code, const std::string& message) {
  return {{}, fmt::format("database '{}': {}", path, message), std::string(hint_of(code)), Fault::environment};
}

Diagnostic last_error(sqlite3* connection) {
  return diagnostic(shown_path(connection), sqlite3_errcode(connection), sqlite3_errmsg(connection));
}

constexpr int patience_ms = 30000;

}  // namespace

void Statement::Finalize::operator()(sqlite3_stmt* statement) const { sqlite3_finalize(statement); }

Statement& Statement::remember(int code) {
  if (bind_code_ == SQLITE_OK) bind_code_ = code;
  return *this;
}

Statement& Statement::bind(int parameter, double value) {
  return remember(sqlite3_bind_double(statement_.get(), parameter, value));
}

Statement& Statement::bind(int parameter, std::int64_t value) {
  return remember(sqlite3_bind_int64(statement_.get(), parameter, value));
}

Statement& Statement::bind(int parameter, std::string_view text) {
  // A null pointer would bind NULL, and an empty view may hold one.
  return remember(sqlite3_bind_text64(statement_.get(), parameter, text.empty() ? "" : text.data(), text.size(),
                                      SQLITE_TRANSIENT, SQLITE_UTF8));
}

Statement& Statement::bind_blob(int parameter, std::string_view bytes) {
  return remember(sqlite3_bind_blob64(statement_.get(), parameter, bytes.empty() ? "" : bytes.data(), bytes.size(),
                                      SQLITE_TRANSIENT));
}

Statement& Statement::bind_null(int parameter) { return remember(sqlite3_bind_null(statement_.get(), parameter)); }

Result<bool> Statement::step() {
  sqlite3* const connection = sqlite3_db_handle(statement_.get());
  if (bind_code_ != SQLITE_OK)
    return fail(diagnostic(shown_path(connection), bind_code_, fmt::format("parameter: {}", sqlite3_errstr(bind_code_))));
  const int code = sqlite3_step(statement_.get());
  if (code == SQLITE_ROW) return true;
  Diagnostics problem;
  if (code != SQLITE_DONE) problem.push_back(last_error(connection));
  reset();
  if (!problem.empty()) return fail(std::move(problem));
  return false;
}

Result<void> Statement::run() {
  for (;;) {
    auto row = step();
    if (!row) return fail(std::move(row.error()));
    if (!*row) return {};
  }
}

void Statement::reset() { sqlite3_reset(statement_.get()); }

int Statement::columns() const { return sqlite3_column_count(statement_.get()); }

std::string Statement::column_name(int column) const {
  const char* name = sqlite3_column_name(statement_.get(), column);
  return name ? name : "";
}

bool Statement::is_null(int column) const { return sqlite3_column_type(statement_.get(), column) == SQLITE_NULL; }

bool Statement::is_number(int column) const {
  const int type = sqlite3_column_type(statement_.get(), column);
  return type == SQLITE_INTEGER || type == SQLITE_FLOAT;
}

std::int64_t Statement::integer(int column) const { return sqlite3_column_int64(statement_.get(), column); }
double Statement::real(int column) const { return sqlite3_column_double(statement_.get(), column); }

std::string_view Statement::text(int column) const {
  const auto* data = static_cast<const char*>(sqlite3_column_blob(statement_.get(), column));
  return {data ? data : "", static_cast<std::size_t>(sqlite3_column_bytes(statement_.get(), column))};
}

void Database::Close::operator()(sqlite3* connection) const {
  // Leaving TRUNCATE for DELETE removes the empty journal, unless another connection is writing just now.
  sqlite3_busy_timeout(connection, 0);
  if (sqlite3_db_readonly(connection, "main") == 0) sqlite3_exec(connection, "PRAGMA journal_mode=DELETE", nullptr, nullptr, nullptr);
  sqlite3_close_v2(connection);
}

Result<Database> Database::open(const std::string& path, Access access) {
  const int flags = access == Access::read_only ? SQLITE_OPEN_READONLY
                    : access == Access::create  ? SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE
                                                : SQLITE_OPEN_READWRITE;
  Database database;
  database.path_ = path;
  sqlite3* connection = nullptr;
  const int code = sqlite3_open_v2(path.c_str(), &connection, flags, nullptr);
  database.connection_.reset(connection);
  if (code != SQLITE_OK) return fail(diagnostic(path, code, sqlite3_errstr(code)));
  if (access != Access::read_only && sqlite3_db_readonly(connection, "main") == 1)
    return fail(diagnostic(path, SQLITE_READONLY, "it is read-only"));
  sqlite3_busy_timeout(connection, patience_ms);
  std::string pragmas = "PRAGMA foreign_keys=ON;";
  if (access != Access::read_only) pragmas += "PRAGMA journal_mode=TRUNCATE; PRAGMA synchronous=FULL;";
  // The first read of the file: where "is no database" comes out.
  if (auto opened = database.execute(pragmas + "SELECT count(*) FROM sqlite_schema;"); !opened)
    return fail(std::move(opened.error()));
  return database;
}

Result<std::int64_t> Database::number(std::string_view sql) {
  auto statement = prepare(sql);
  if (!statement) return fail(std::move(statement.error()));
  auto row = statement->step();
  if (!row) return fail(std::move(row.error()));
  return *row ? statement->integer(0) : 0;
}

Result<void> Database::adopt(std::string_view what, std::int32_t application, std::int32_t version,
                             std::string_view schema) {
  struct State {
    std::int64_t tables, kind, version;
  };
  const auto state = [this]() -> Result<State> {
    State now{};
    for (auto [sql, value] : {std::pair{"SELECT count(*) FROM sqlite_schema", &now.tables},
                              {"PRAGMA application_id", &now.kind},
                              {"PRAGMA user_version", &now.version}}) {
      auto found = number(sql);
      if (!found) return fail(std::move(found.error()));
      *value = *found;
    }
    return now;
  };
  auto now = state();
  if (!now) return fail(std::move(now.error()));
  if (now->tables == 0 && sqlite3_db_readonly(connection_.get(), "main") != 1) {
    auto transaction = Transaction::begin(*this);
    if (!transaction) return fail(std::move(transaction.error()));
    now = state();  // another process may have been faster
    if (!now) return fail(std::move(now.error()));
    if (now->tables == 0) {
      auto made = execute(fmt::format("{}; PRAGMA application_id={}; PRAGMA user_version={};", schema, application, version));
      return made ? transaction->commit() : made;
    }
  }
  if (now->kind != application)
    return fail(Diagnostic{{}, fmt::format("database '{}' is no {}", path_, what), "give another file", Fault::environment});
  if (now->version != version)
    return fail(Diagnostic{{}, fmt::format("database '{}' is a {} of version {}; this gambrel reads version {}", path_, what, now->version, version),
                           "use the gambrel that wrote it, or another file", Fault::environment});
  return {};
}

Result<void> Database::execute(const std::string& sql) {
  if (sqlite3_exec(connection_.get(), sql.c_str(), nullptr, nullptr, nullptr) == SQLITE_OK) return {};
  return fail(last_error(connection_.get()));
}

Result<Statement> Database::prepare(std::string_view sql) {
  sqlite3_stmt* statement = nullptr;
  if (sqlite3_prepare_v2(connection_.get(), sql.data(), static_cast<int>(sql.size()), &statement, nullptr) != SQLITE_OK)
    return fail(last_error(connection_.get()));
  if (!statement)
    return fail(Diagnostic{{}, fmt::format("database '{}': there is no SQL statement", path_), "", Fault::environment});
  return Statement(statement);
}

std::int64_t Database::last_row_id() const { return sqlite3_last_insert_rowid(connection_.get()); }
std::int64_t Database::changes() const { return sqlite3_changes64(connection_.get()); }

Result<Transaction> Transaction::begin(Database& database) {
  if (auto begun = database.execute("BEGIN IMMEDIATE"); !begun) return fail(std::move(begun.error()));
  return Transaction(database);
}

Transaction::~Transaction() {
  // After some errors (a full disk) SQLite has rolled back by itself, and this one then finds nothing to do.
  if (database_) (void)database_->execute("ROLLBACK");
}

Result<void> Transaction::commit() {
  auto committed = database_->execute("COMMIT");
  if (committed) database_ = nullptr;
  return committed;
}

}  // namespace gambrel

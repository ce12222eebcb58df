// SQLite without its C: a database file opened as all of gambrel's are, statements, transactions; errors are Diagnostics.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "base/result.hpp"

struct sqlite3;
struct sqlite3_stmt;

namespace gambrel {

/// A compiled SQL statement. Parameters and columns count from 1 and from 0, as SQLite's do. It keeps its database open.
class Statement {
 public:
  /// Wrong indices and lack of memory are remembered and reported by the next step(). Text and blobs are copied.
  Statement& bind(int parameter, double value);
  Statement& bind(int parameter, std::int64_t value);
  Statement& bind(int parameter, int value) { return bind(parameter, static_cast<std::int64_t>(value)); }
  Statement& bind(int parameter, std::string_view text);
  Statement& bind(int parameter, const char* text) { return bind(parameter, std::string_view(text)); }
  Statement& bind_blob(int parameter, std::string_view bytes);
  Statement& bind_null(int parameter);
  /// bind(1, first), bind(2, second), ...
  template <class... Values>
  Statement& bind_all(const Values&... values) {
    int parameter = 0;
    (bind(++parameter, values), ...);
    return *this;
  }

  /// The next row: true; the end: false, and the statement is ready to be run again with what is bound.
  Result<bool> step();
  /// Steps to the end, rows thrown away.
  Result<void> run();
  /// Ready to be run again; parameters keep their values.
  void reset();

  int columns() const;
  std::string column_name(int column) const;
  bool is_null(int column) const;
  bool is_number(int column) const;  ///< INTEGER or REAL
  std::int64_t integer(int column) const;
  double real(int column) const;
  std::string_view text(int column) const;  ///< until the next step; a blob's bytes too

 private:
  friend class Database;
  struct Finalize {
    void operator()(sqlite3_stmt* statement) const;
  };
  explicit Statement(sqlite3_stmt* statement) : statement_(statement) {}
  Statement& remember(int code);

  std::unique_ptr<sqlite3_stmt, Finalize> statement_;
  int bind_code_ = 0;
};

/// A file whose writes are durable once committed: journal_mode TRUNCATE, synchronous FULL, busy_timeout 30 s, foreign
/// keys on. The empty journal goes when the last writer closes. Every Diagnostic names the file, and its fault is the environment's. One connection a thread.
class Database {
 public:
  enum class Access { create, read_write, read_only };
  /// Error: cannot be opened, is no database, is read-only though it is to be written. ":memory:" is one without a file.
  static Result<Database> open(const std::string& path, Access access = Access::create);

  /// What the file holds and how old it is: `application` (SQLite's application_id, a number of one's own for a kind of
  /// store) and `version` (user_version). An empty database gets both and `schema`, at once or not at all; one of
  /// another kind or version is an error that says so.
  Result<void> adopt(std::string_view what, std::int32_t application, std::int32_t version, std::string_view schema);

  /// Runs SQL text of any number of statements; results are thrown away.
  Result<void> execute(const std::string& sql);
  Result<Statement> prepare(std::string_view sql);

  std::int64_t last_row_id() const;
  std::int64_t changes() const;  ///< rows inserted, changed or deleted by the last statement
  const std::string& path() const { return path_; }

 private:
  friend class Transaction;
  struct Close {
    void operator()(sqlite3* connection) const;
  };
  Database() = default;
  Result<std::int64_t> number(std::string_view sql);

  std::unique_ptr<sqlite3, Close> connection_;
  std::string path_;
};

/// BEGIN IMMEDIATE until commit(); rolled back if it ends without.
class Transaction {
 public:
  static Result<Transaction> begin(Database& database);
  Transaction(Transaction&& other) noexcept : database_(other.database_) { other.database_ = nullptr; }
  Transaction& operator=(Transaction&&) = delete;
  ~Transaction();
  Result<void> commit();

 private:
  explicit Transaction(Database& database) : database_(&database) {}
  Database* database_;
};

}  // namespace gambrel

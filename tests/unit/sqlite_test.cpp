// The SQLite wrapper: what is written is read back, errors are sentences, nothing is half written.
#include "base/sqlite.hpp"

#include "tests/unit/program_support.hpp"

using namespace gambrel;
using gambrel::test::Scratch;

namespace {

constexpr std::int32_t shelf = 0x5348;
constexpr std::string_view schema = "CREATE TABLE books(id INTEGER PRIMARY KEY, name TEXT NOT NULL, height_m REAL) STRICT";

Database shelf_at(const std::string& path) {
  auto database = Database::open(path);
  REQUIRE(database);
  REQUIRE(database->adopt("shelf", shelf, 1, schema));
  return std::move(*database);
}

std::int64_t count(Database& database) {
  auto statement = database.prepare("SELECT count(*) FROM books");
  REQUIRE(statement);
  REQUIRE(statement->step().value());
  return statement->integer(0);
}

template <class T>
std::string message(const Result<T>& result) {
  REQUIRE_FALSE(result);
  CHECK(result.error().front().fault == Fault::environment);
  return render(result.error());
}

bool has(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

}  // namespace

TEST_CASE("sqlite: values of every kind come back as they went") {
  Database database = shelf_at(":memory:");
  auto insert = database.prepare("INSERT INTO books VALUES (?, ?, ?)");
  REQUIRE(insert);
  REQUIRE(insert->bind_all(7, std::string_view("a\0b", 3), 0.1).run());
  REQUIRE(insert->bind_all(8, "", 1e300).run());
  REQUIRE(insert->bind(1, 9).bind(2, "z").bind_null(3).run());
  CHECK(database.last_row_id() == 9);
  CHECK(database.changes() == 1);

  auto select = database.prepare("SELECT id, name, height_m FROM books ORDER BY id");
  REQUIRE(select);
  CHECK(select->columns() == 3);
  CHECK(select->column_name(2) == "height_m");
  REQUIRE(select->step().value());
  CHECK(select->integer(0) == 7);
  CHECK(select->text(1) == std::string_view("a\0b", 3));
  CHECK(select->real(2) == 0.1);
  CHECK(select->is_number(2));
  CHECK_FALSE(select->is_number(1));
  REQUIRE(select->step().value());
  CHECK(select->text(1).empty());
  CHECK_FALSE(select->is_null(1));
  REQUIRE(select->step().value());
  CHECK(select->is_null(2));
  CHECK_FALSE(select->step().value());
  CHECK(select->step().value());  // ready to run again
}

TEST_CASE("sqlite: the file keeps what was committed, and only that") {
  const Scratch scratch;
  {
    Database database = shelf_at(scratch.path("a.sqlite"));
    auto kept = Transaction::begin(database);
    REQUIRE(kept);
    REQUIRE(database.execute("INSERT INTO books(name) VALUES ('kept')"));
    REQUIRE(kept->commit());
    auto lost = Transaction::begin(database);
    REQUIRE(lost);
    REQUIRE(database.execute("INSERT INTO books(name) VALUES ('lost')"));
    CHECK(count(database) == 2);
  }
  Database database = shelf_at(scratch.path("a.sqlite"));
  CHECK(count(database) == 1);
  auto mode = database.prepare("PRAGMA journal_mode");
  REQUIRE(mode);
  REQUIRE(mode->step().value());
  CHECK(mode->text(0) == "truncate");
}

TEST_CASE("sqlite: nothing lies beside a file that is closed") {
  const Scratch scratch;
  const std::string file = scratch.path("a.sqlite");
  const auto insert = [](Database& into) { REQUIRE(into.execute("INSERT INTO books(name) VALUES ('x')")); };
  {
    Database one = shelf_at(file);
    {
      Database two = shelf_at(file);
      insert(one), insert(two);
      REQUIRE(one.execute("BEGIN IMMEDIATE; INSERT INTO books(name) VALUES ('pending')"));
    }  // two ends while one writes, and leaves its journal alone
    CHECK(std::filesystem::exists(file + "-journal"));
    REQUIRE(one.execute("COMMIT"));
  }
  CHECK_FALSE(std::filesystem::exists(file + "-journal"));
  Database again = shelf_at(file);
  CHECK(count(again) == 3);
}

TEST_CASE("sqlite: two connections see one schema and each other's rows") {
  const Scratch scratch;
  Database one = shelf_at(scratch.path("a.sqlite")), two = shelf_at(scratch.path("a.sqlite"));
  REQUIRE(one.execute("INSERT INTO books(name) VALUES ('x')"));
  REQUIRE(two.execute("INSERT INTO books(name) VALUES ('y')"));
  CHECK(count(one) == 2);
}

TEST_CASE("sqlite: a statement outlives its database") {
  auto statement = [] {
    Database database = shelf_at(":memory:");
    return database.prepare("SELECT 42");
  }();
  REQUIRE(statement);
  REQUIRE(statement->step().value());
  CHECK(statement->integer(0) == 42);
}

TEST_CASE("sqlite: another kind or version of file is told by name") {
  const Scratch scratch;
  shelf_at(scratch.path("a.sqlite"));
  auto database = Database::open(scratch.path("a.sqlite"));
  REQUIRE(database);
  CHECK(has(message(database->adopt("garage", 99, 1, "")), "is no garage"));
  const std::string old = message(database->adopt("shelf", shelf, 2, ""));
  CHECK(has(old, "is a shelf of version 1; this gambrel reads version 2"));
  CHECK(has(old, "a.sqlite"));
}

TEST_CASE("sqlite: a schema that fails leaves an empty file, not half of one") {
  const Scratch scratch;
  auto database = Database::open(scratch.path("a.sqlite"));
  REQUIRE(database);
  CHECK_FALSE(database->adopt("shelf", shelf, 1, "CREATE TABLE a(x); CREATE TABLE a(x)"));
  REQUIRE(database->adopt("shelf", shelf, 1, schema));
  CHECK(count(*database) == 0);
}

TEST_CASE("sqlite: what cannot be opened says why") {
  const Scratch scratch;
  CHECK(has(message(Database::open(scratch.path("none/a.sqlite"))), "unable to open"));
  CHECK(has(message(Database::open(scratch.path("none.sqlite"), Database::Access::read_only)), "unable to open"));
  const std::string text = scratch.write("text.sqlite", std::string(5000, 'x'));
  CHECK(has(message(Database::open(text)), "not a database"));
}

TEST_CASE("sqlite: a read-only connection reads and does not write") {
  const Scratch scratch;
  shelf_at(scratch.path("a.sqlite"));
  auto database = Database::open(scratch.path("a.sqlite"), Database::Access::read_only);
  REQUIRE(database);
  REQUIRE(database->adopt("shelf", shelf, 1, schema));
  CHECK(count(*database) == 0);
  CHECK(has(message(database->execute("INSERT INTO books(name) VALUES ('x')")), "readonly"));
}

TEST_CASE("sqlite: wrong SQL, wrong parameters and broken constraints are errors, and the statement still works") {
  Database database = shelf_at(":memory:");
  CHECK(has(message(database.prepare("SELECT weight_kg FROM books")), "no such column"));
  CHECK(has(message(database.prepare("  ")), "no SQL statement"));
  CHECK(has(message(database.execute("nonsense")), "syntax error"));
  auto insert = database.prepare("INSERT INTO books VALUES (?, ?, ?)");
  REQUIRE(insert);
  REQUIRE(insert->bind_all(1, "a", 1.0).run());
  CHECK(has(message(insert->run()), "UNIQUE"));
  REQUIRE(insert->bind(1, 2).run());
  CHECK(count(database) == 2);
  CHECK_FALSE(insert->bind(4, 0).run());
}

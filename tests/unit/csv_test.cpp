#include "base/csv.hpp"

#include <doctest/doctest.h>

using namespace gambrel;

namespace {

std::string error_of(std::string text) {
  const auto table = parse_csv(std::move(text), "in.csv");
  REQUIRE_FALSE(table);
  return render(table.error());
}

}  // namespace

TEST_CASE("rows keep their order, their cells and their lines") {
  const auto table = parse_csv("a,b\n1,2\n\n3,\n", "in.csv");
  REQUIRE(table);
  CHECK(table->header == std::vector<std::string>{"a", "b"});
  REQUIRE(table->rows.size() == 2);
  CHECK(table->rows[0].cells == std::vector<std::string>{"1", "2"});
  CHECK(table->rows[1].cells == std::vector<std::string>{"3", ""});
  CHECK(table->rows[1].line == 4);
  CHECK(table->column("b") == 1);
  CHECK_FALSE(table->column("c"));
}

TEST_CASE("quotes hold commas, line ends and doubled quotes") {
  const auto table = parse_csv("a,b\r\n\"x, \"\"y\"\"\n z\",2\r\n3,4", "in.csv");
  REQUIRE(table);
  CHECK(table->rows[0].cells[0] == "x, \"y\"\n z");
  CHECK(table->rows[1].line == 4);
  CHECK(table->rows[1].cells[1] == "4");
}

TEST_CASE("a byte order mark is no part of the first name") {
  const auto table = parse_csv("\xEF\xBB\xBFm,n\n1,2\n", "in.csv");
  REQUIRE(table);
  CHECK(table->header[0] == "m");
}

TEST_CASE("what is wrong is told with its line") {
  CHECK(error_of("").find("in.csv: error: the file is empty") == 0);
  CHECK(error_of("a,b\n1,2\n1,2,3\n").find("in.csv:3:1: error: the row has 3 cells, but the header names 2 columns") == 0);
  CHECK(error_of("a,bc,a\n").find("in.csv:1:6: error: two columns are named 'a'") == 0);  // the second of them
  CHECK(error_of("\nab,\n").find("in.csv:2:4: error: column 2 has no name") == 0);
  CHECK(error_of("\"a,b\",c,c\n").find("in.csv:1:1: error: two columns are named 'c'") == 0);  // columns are not counted behind a quote
  CHECK(error_of("a\n\"open\n").find("in.csv:2:1: error: a quote is never closed") == 0);
  CHECK(error_of("a\n1\n\xff\n").find("in.csv:3:1: error: the text is not valid UTF-8") == 0);
}

TEST_CASE("what is written can be read") {
  const std::vector<std::string> cells{"plain", "with, comma", "with \"quote\"", "two\nlines", ""};
  const auto table = parse_csv("a,b,c,d,e\n" + csv_line(cells) + "\n", "in.csv");
  REQUIRE(table);
  CHECK(table->rows[0].cells == cells);
}

// The writer of suites: scores of sets, rows, refused rows, every format, hostile names.
#include "reports/suite.hpp"

#include <doctest/doctest.h>

#include <cstdlib>
#include <fstream>
#include <iterator>

#include "base/csv.hpp"
#include "base/load.hpp"
#include "sample_estimate.hpp"

using namespace gambrel;
using namespace gambrel::reports;

namespace {

sim::SuiteRow row(std::string name, int chips, double measured, std::optional<double> predicted, std::optional<double> baseline) {
  sim::SuiteRow row{.name = std::move(name), .source = "Table 5", .figure = "read", .measured = measured, .predicted = predicted, .baseline = baseline, .provenance = "calibrated", .bound = "compute"};
  row.run.emplace();
  row.run->chips = chips;
  return row;
}

std::vector<sim::SuiteSet> sample() {
  sim::SuiteSet one{.name = "first_set", .title = "Some framework", .source = "A paper, Table 5", .profile = "plain", .notes = "A remark."};
  one.rows = {row("22B", 8, 1.10, 1.21, 1.0), row("175B", 64, 13.75, 12.375, 15.0), row("lost", 64, 2, {}, {})};
  one.rows[2].run.reset();
  one.rows[2].problem = {{{}, "126 layers do not divide into 16 stages", ""}};
  one.rows[1].fits = false;
  one.model = {{2, 0.1, 0.1, 0.1, 0}, 0.1};
  one.baseline = {{2, 0.0909, 0.0909, 0.0909, 0}, 0.0909};
  sim::SuiteSet two{.name = "second", .title = "Another", .source = "B"};
  two.rows = {row("only", 1, 0.0284375, 0.03, {})};
  two.model = {{1, 0.0549, 0.0549, 0.0549, 0.0549}, 0.0549};
  return {one, two};
}

std::vector<sim::SuiteSet> hostile() {
  auto sets = sample();
  for (auto& set : sets) {
    set.name = set.title = set.source = set.profile = set.notes = test::hostile;
    for (auto& row : set.rows) row.name = row.source = row.bound = row.provenance = row.figure = test::hostile;
  }
  sets[0].rows[2].problem[0].message = test::hostile;
  return sets;
}

bool has(const std::string& text, std::string_view part) { return text.find(part) != text.npos; }

}  // namespace

TEST_CASE("suite: the table is what was looked at and found good") {
  const std::string path = std::string(GAMBREL_SOURCE_DIR) + "/tests/golden/suite_table.txt", text = write_suite("training", sample(), TextFormat::table);
  if (std::getenv("GAMBREL_UPDATE_GOLDEN")) std::ofstream(path, std::ios::binary) << text;
  std::ifstream file(path, std::ios::binary);
  REQUIRE_MESSAGE(file.good(), "missing " << path << "; GAMBREL_UPDATE_GOLDEN=1 writes it");
  CHECK(text == std::string{std::istreambuf_iterator<char>(file), {}});
}

TEST_CASE("suite: the total counts rows, not sets") {
  const std::string text = write_suite("training", sample(), TextFormat::table);
  CHECK(has(text, "3/4"));
  CHECK(has(text, "126 layers do not divide"));
  CHECK(has(text, "does not fit"));
}

TEST_CASE("suite: CSV has every row, exactly, and reads back") {
  const auto table = parse_csv(write_suite("training", sample(), TextFormat::csv), "out.csv");
  REQUIRE(table.has_value());
  REQUIRE(table->rows.size() == 4);
  CHECK(table->header.front() == "set");
  CHECK(table->rows[0].cells[0] == "first_set");
  CHECK(std::stod(table->rows[3].cells[5]) == 0.0284375);
  CHECK(std::stod(table->rows[0].cells[7]) == doctest::Approx(0.1));
  CHECK(table->rows[2].cells[6].empty());
  CHECK(table->rows[2].cells.back() == "126 layers do not divide into 16 stages");
}

TEST_CASE("suite: JSON has the scores and the rows in seconds") {
  const auto node = parse_json(write_suite("training", sample(), TextFormat::json), "out.json");
  REQUIRE(node.has_value());
  CHECK(node->text_or("suite", "") == "training");
  CHECK(node->find("all")->number_or("rows", 0) == 3);
  CHECK(node->find("constant")->number_or("rows", 0) == 2);
  REQUIRE(node->find("sets")->items.size() == 2);
  const Node& set = node->find("sets")->items[0];
  CHECK(set.find("error")->number_or("worst", 0) == 0.1);
  CHECK(set.find("rows")->items[0].number_or("predicted_s", 0) == 1.21);
  CHECK(set.find("rows")->items[1].boolean_or("fits", true) == false);
  CHECK(set.find("rows")->items[2].find("measured_s") == nullptr);
  CHECK(has(set.find("rows")->items[2].text_or("problem", ""), "stages"));
}

TEST_CASE("suite: Markdown has a heading for the suite and each set") {
  const std::string text = write_suite("training", sample(), TextFormat::markdown);
  CHECK(text.starts_with("## "));
  CHECK(has(text, "\n### first_set"));
  CHECK(has(text, "\n- lost: "));
  CHECK(has(text, "| +10.0% |"));
}

TEST_CASE("suite: hostile names stay text in every format") {
  for (TextFormat format : {TextFormat::table, TextFormat::markdown}) {
    const std::string text = write_suite(test::hostile, hostile(), format);
    CHECK_FALSE(has(text, "\x1b"));
    CHECK_FALSE(has(text, "\r"));
  }
  CHECK_FALSE(has(write_suite("s", hostile(), TextFormat::markdown), "<script>"));
  const auto table = parse_csv(write_suite("s", hostile(), TextFormat::csv), "out.csv");
  REQUIRE(table.has_value());
  CHECK(table->rows.size() == 4);
  CHECK(has(write_suite("s", hostile(), TextFormat::json), "\\u001b[31m"));
  CHECK_FALSE(has(write_suite("s", hostile(), TextFormat::json), "\x1b"));
}

TEST_CASE("suite: the parity plot has the predicted rows, none of them fitted") {
  const Validation v = parity_of("training", sample());
  CHECK(v.rows.size() == 3);
  CHECK(v.groups.size() == 3);
  CHECK(v.groups[0].score.rows == 3);
  for (const ValidationRow& row : v.rows) CHECK_FALSE(row.fitted);
  CHECK(v.rows[0].predicted == 1.21);
}

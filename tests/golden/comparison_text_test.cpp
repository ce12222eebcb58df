// What a comparison looks like. GAMBREL_UPDATE_GOLDEN=1 (`make golden`) writes the files anew.
#include <doctest/doctest.h>

#include <cstdlib>
#include <fstream>
#include <iterator>

#include "reports/comparison.hpp"
#include "tests/unit/sample_comparison.hpp"

using namespace gambrel;
using namespace gambrel::reports;

namespace {

void check_golden(const std::string& name, const std::string& text) {
  const std::string path = std::string(GAMBREL_SOURCE_DIR) + "/tests/golden/" + name;
  if (std::getenv("GAMBREL_UPDATE_GOLDEN")) std::ofstream(path, std::ios::binary) << text;
  std::ifstream file(path, std::ios::binary);
  REQUIRE_MESSAGE(file.good(), "missing " << path << "; GAMBREL_UPDATE_GOLDEN=1 writes it");
  const std::string expected{std::istreambuf_iterator<char>(file), {}};
  CHECK(text == expected);
}

}  // namespace

TEST_CASE("The table of a comparison is what was looked at and found good") {
  check_golden("comparison_table.txt", write_comparison(test::sample_comparison(), TextFormat::table));
  check_golden("comparison_markdown.txt", write_comparison(test::sample_comparison(), TextFormat::markdown));
  check_golden("comparison.csv", write_comparison(test::sample_comparison(), TextFormat::csv));
}

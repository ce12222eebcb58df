#include <doctest/doctest.h>

#include <nlohmann/json.hpp>

#include "reports/comparison.hpp"
#include "tests/unit/sample_comparison.hpp"

using namespace gambrel;
using namespace gambrel::reports;
using nlohmann::json;
using test::sample_comparison;

namespace {

json json_of(const sim::ComparisonResult& c) { return json::parse(write_comparison(c, TextFormat::json)); }

std::size_t count(const std::string& text, const std::string& part) {
  std::size_t n = 0;
  for (auto at = text.find(part); at != std::string::npos; at = text.find(part, at + 1)) ++n;
  return n;
}

/// Nothing was executed.
sim::ComparisonResult without_errors() {
  sim::ComparisonResult c = sample_comparison();
  for (sim::VariantResult& v : c.variants) v.error.reset();
  c.found.reset();
  return c;
}

const std::string hostile = "</text><script>alert(1)</script>\x1b[31m|`=1+1";

}  // namespace

TEST_CASE("comparison JSON has the contract's figures, units in their names") {
  const json c = json_of(sample_comparison());
  CHECK(c["schema_version"] == 1);
  CHECK(c["variants"].size() == 4);
  const json& fp8 = c["variants"][1];
  for (const char* key : {"time_s", "speedup", "tokens_per_s", "arithmetic_s", "movement_s", "network_s", "memory_bytes", "memory_ratio", "max_batch"}) CHECK_MESSAGE(fp8[key].is_number(), key);
  CHECK(fp8["speedup"] == 1.6);
  CHECK(fp8["front"] == true);
  CHECK(fp8["error"]["relative_error"] == 0.045);
  CHECK(fp8["error"]["operators"].size() == 2);
  CHECK(fp8["error"]["growth"]["points"][1]["layers"] == 2);
  CHECK(c["variants"][2]["bound_moved"] == true);
  CHECK(c["variants"][3]["error"]["sqnr_db"].is_null());
  CHECK(c["error_method"]["real_weights"] == false);
  CHECK(c["found"]["choices"][1]["operators"] == "lm_head");
  CHECK(c["found"]["considered"].size() == 4);
  CHECK(c["notes"] == json::array({"something to know"}));
}

TEST_CASE("comparison JSON has no error where none was measured") {
  const json c = json_of(without_errors());
  CHECK_FALSE(c.contains("error_method"));
  CHECK_FALSE(c.contains("found"));
  CHECK_FALSE(c["variants"][0].contains("error"));
}

TEST_CASE("comparison CSV has a row a variant, as many cells as headings") {
  const std::string text = write_comparison(sample_comparison(), TextFormat::csv);
  CHECK(count(text, "\n") == 5);
  const std::size_t cells = count(text.substr(0, text.find('\n')), ",");
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);)
    if (line.find('"') == std::string::npos) CHECK(count(line, ",") == cells);
  CHECK(text.find("\"exact, slow\"") != std::string::npos);
}

TEST_CASE("comparison tables leave out columns that nobody has a figure for") {
  const std::string with = write_comparison(sample_comparison(), TextFormat::table), without = write_comparison(without_errors(), TextFormat::table);
  CHECK(with.find("SQNR") != std::string::npos);
  CHECK(with.find("TTFT") == std::string::npos);
  CHECK(with.find("top-1") == std::string::npos);  // synthetic weights answer nothing
  for (const char* column : {"SQNR", "worst operator", "front"}) CHECK_MESSAGE(without.find(column) == std::string::npos, column);
  sim::ComparisonResult real = sample_comparison();
  for (sim::VariantResult& v : real.variants) v.error->real_weights = true;
  CHECK(write_comparison(real, TextFormat::table).find("top-1") != std::string::npos);
}

TEST_CASE("comparison Markdown is tables and a list") {
  const std::string text = write_comparison(sample_comparison(), TextFormat::markdown);
  CHECK(text.starts_with("## Llama-3.1-8B on NVIDIA H100 SXM"));
  CHECK(text.find("| fp8 |") != std::string::npos);
  CHECK(text.find("HBM to compute") != std::string::npos);
  CHECK(text.find("- **search**") != std::string::npos);
}

TEST_CASE("comparison page: charts, bars and tables in one file that fetches and runs nothing") {
  const std::string page = write_comparison_html(sample_comparison());
  CHECK(count(page, "<svg viewBox") == 2);
  CHECK(count(page, "<div class=\"track\">") == 4);
  CHECK(page.find("<script") == std::string::npos);
  CHECK(page.find("default-src 'none'") != std::string::npos);
  CHECK(page.find("http://") == std::string::npos);
  CHECK(page.find("https://") == std::string::npos);
  CHECK(page.find("nan") == std::string::npos);
  // What is exact has no place on a logarithmic axis.
  CHECK(count(page, "<circle class=\"best\"") == 2);
  CHECK(count(page, "<circle class=\"beaten\"") == 1);
}

TEST_CASE("comparison page without errors has no error chart") {
  const std::string page = write_comparison_html(without_errors());
  CHECK(count(page, "<svg viewBox") == 1);
  CHECK(page.find("Error against speed") == std::string::npos);
}

TEST_CASE("hostile names in a comparison are text everywhere") {
  sim::ComparisonResult c = sample_comparison();
  c.id = hostile;
  c.notes = {hostile};
  c.variants[1].name = c.variants[1].error->variant = hostile;
  c.variants[1].error->operators[1].name = hostile;
  c.variants[1].estimate.total.bound = hostile;
  c.found->choices[0].group = hostile;
  const std::string page = write_comparison_html(c);
  CHECK(page.find("<script") == std::string::npos);
  CHECK(page.find('\x1b') == std::string::npos);
  for (const TextFormat format : {TextFormat::table, TextFormat::markdown, TextFormat::json}) CHECK(write_comparison(c, format).find('\x1b') == std::string::npos);
  CHECK_NOTHROW(json_of(c));
}

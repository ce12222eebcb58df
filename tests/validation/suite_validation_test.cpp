// Published runs: the retyped figures against the tables they come from, and the predictions against one constant a chip.
#include <cmath>
#include <filesystem>

#include "base/csv.hpp"
#include "base/quantity.hpp"
#include "sim/calibration/suite.hpp"
#include "tests/unit/run_support.hpp"

using namespace gambrel;
using gambrel::test::placed;
using gambrel::test::shipped;

namespace {

double cell(const CsvTable& table, const CsvRow& row, std::string_view column) {
  const std::string& text = row.cells[*table.column(column)];
  return text.empty() ? NAN : std::stod(text);
}

/// The figure as the source prints it, and the published tables' column for it.
std::pair<double, const char*> figure_of(const Node& measured) {
  if (const Node* step = measured.find("step")) return {*parse_quantity(step->text, Seconds::dimension), "step_s"};
  if (const Node* rate = measured.find("tokens_per_second_per_chip")) return {rate->number, "tok_s_chip"};
  return {*parse_quantity(measured.find("flops_per_second_per_chip")->text, FlopsPerSecond::dimension) / 1e12, "tflops_chip"};
}

bool is_published(const CsvTable& table, const Node& run, const Node& measured) {
  const auto [figure, column] = figure_of(measured);
  const Node& work = *run.find("workload");
  for (const CsvRow& row : table.rows)
    if (std::abs(cell(table, row, column) / figure - 1) < 1e-9 && cell(table, row, "n_chips") == run.number_or("chips", 0) && cell(table, row, "gbs_seq") == work.number_or("global_batch", 0) &&
        cell(table, row, "seq") == work.number_or("sequence", 0))
      return true;
  return false;
}

sim::SuiteSet predicted(const char* suite, std::string_view name) {
  auto sets = sim::read_suite(shipped(), suite);
  REQUIRE_MESSAGE(sets.has_value(), placed(sets ? Diagnostics{} : sets.error()));
  for (sim::SuiteSet& set : *sets)
    if (set.name == name) {
      sim::predict(set, sim::estimate);
      return set;
    }
  FAIL("no set " << std::string(name));
  return {};
}

}  // namespace

TEST_CASE("published training figures: every retyped row stands in the table it names") {
  const std::filesystem::path file = std::filesystem::path(GAMBREL_SOURCE_DIR) / "../shared/published/training.csv";
  if (!std::filesystem::exists(file)) {
    MESSAGE("skipped: ../shared/published/training.csv is not there");
    return;
  }
  const auto text = read_text(file, 1 << 24);
  REQUIRE(text.has_value());
  const auto table = parse_csv(*text, "training.csv");
  REQUIRE(table.has_value());
  std::size_t rows = 0;
  for (const std::string& name : shipped().names("validation")) {
    const auto set = shipped().load("validation", name);
    REQUIRE(set.has_value());
    if (set->text_or("suite", "") != "training") continue;
    for (const Node& row : set->find("rows")->items) {
      const Node run = set->find("defaults") ? merge(*set->find("defaults"), *row.find("run")) : *row.find("run");
      CHECK_MESSAGE(is_published(*table, run, *row.find("measured")), name, ": ", row.text_or("row", ""));
      ++rows;
    }
  }
  CHECK(rows == 137);
}

TEST_CASE("published runs: nearer than one constant a chip where plans and parallelism decide") {
  for (const auto& [suite, name] : {std::pair{"training", "korthikanti_t5"}, {"training", "narayanan_t1"}, {"training", "moezoo"}, {"inference", "pope"}}) {
    const sim::SuiteSet set = predicted(suite, name);
    CAPTURE(set.name);
    CHECK(set.model.score.rows == set.rows.size());
    CHECK(set.model.score.mean < set.baseline.score.mean);
  }
}

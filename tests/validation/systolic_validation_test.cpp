// SCALE-Sim's cycles, where its measured table is at hand.
#include <doctest/doctest.h>

#include <filesystem>
#include <fstream>

#include "base/csv.hpp"
#include "sim/kernel_models/systolic.hpp"

using namespace gambrel;

namespace {

hw::Dataflow dataflow_of(const std::string& name) {
  if (name == "os") return hw::Dataflow::output_stationary;
  return name == "ws" ? hw::Dataflow::weight_stationary : hw::Dataflow::input_stationary;
}

}  // namespace

TEST_CASE("cycles equal SCALE-Sim's, stalls apart") {
  const std::filesystem::path file = std::filesystem::path(GAMBREL_SOURCE_DIR) / "../shared/reference/scale-sim/reference.csv";
  if (!std::filesystem::exists(file)) {
    MESSAGE("skipped: ", file.string(), " is not here");
    return;
  }
  std::ifstream stream(file);
  const auto table = parse_csv({std::istreambuf_iterator<char>(stream), {}}, "reference.csv");
  REQUIRE(table);
  auto number = [&](const CsvRow& row, const char* name) { return std::stod(row.cells[*table->column(name)]); };
  for (const CsvRow& row : table->rows) {
    CAPTURE(row.line);
    const double cycles = sim::systolic_cycles(number(row, "m"), number(row, "n"), number(row, "k"), number(row, "array_rows"), number(row, "array_cols"),
                                               dataflow_of(row.cells[*table->column("dataflow")]));
    CHECK(cycles == number(row, "total_cycles") - number(row, "stall_cycles"));
  }
  CHECK(table->rows.size() > 200);
}

TEST_CASE("worked folds") {
  using enum hw::Dataflow;
  CHECK(sim::systolic_cycles(64, 64, 64, 8, 8, output_stationary) == 4991);
  CHECK(sim::systolic_cycles(4096, 4096, 4096, 128, 128, output_stationary) == 4'454'399);
  CHECK(sim::systolic_cycles(4096, 4096, 4096, 128, 128, weight_stationary) == 4'585'471);
  for (auto dataflow : {output_stationary, weight_stationary, input_stationary}) {
    CHECK(sim::overlapped_cycles(512, 512, 512, 128, 128, dataflow) <= sim::systolic_cycles(512, 512, 512, 128, 128, dataflow));
    // No array computes more than a multiply-add per element and cycle.
    CHECK(sim::overlapped_cycles(512, 512, 512, 128, 128, dataflow) >= 512.0 * 512 * 512 / (128 * 128));
  }
}

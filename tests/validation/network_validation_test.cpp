// Networks beside measurements: inside a calibrated node the constants of the kernel model; between nodes what the
// defaults were not fitted on (../shared/measurements/vidur_collectives.csv, rows that tests may not carry).
#include <fmt/format.h>

#include <cmath>
#include <filesystem>

#include "base/csv.hpp"
#include "base/load.hpp"
#include "sim/calibration/calibration.hpp"
#include "sim/calibration/kernel_predictor.hpp"
#include "sim/network/network.hpp"
#include "tests/unit/collective_support.hpp"
#include "tests/unit/hardware_support.hpp"

namespace gambrel::sim {
namespace {

using enum CollectiveKind;

const Catalog& shipped() {
  static const Catalog catalog(GAMBREL_SOURCE_DIR "/configs");
  return catalog;
}

hw::System shipped_system(const std::string& name) {
  const Node document = shipped().load("systems", name).value();
  std::vector<Node> chips;
  for (const hw::ChipReference& reference : hw::chips_of(document)) chips.push_back(shipped().load("chips", reference.chip).value());
  std::vector<hw::ChipDocuments> documents;
  for (const Node& chip : chips) documents.push_back({&chip, &chip});
  return hw::read_system(document, documents).value();
}

TEST_CASE("network: inside a calibrated node it says what the kernel model says") {
  for (const char* name : {"dgx-h100", "dgx-a100", "h100-superpod"}) {
    const hw::System system = shipped_system(name);
    const CalibrationBook book = CalibrationBook::load(shipped(), system.chip()).value();
    const KernelPredictor predictor(system.chip(), book);
    const Network network(system, 0, &book);
    for (const CollectiveKind kind : {all_reduce, all_gather, reduce_scatter, all_to_all})
      for (const double ranks : {2.0, 4.0, 8.0})
        for (const double bytes : {1e4, 1e6, 1e8, 1e9}) {
          const NetworkCost cost = network.cost({kind, bytes}, {ranks, 1});
          const KernelPrediction kernel = predictor.predict(collective_call(kind, ranks, bytes));
          CHECK(cost.seconds == doctest::Approx(kernel.seconds).epsilon(1e-9));
          CHECK(cost.high == doctest::Approx(kernel.high).epsilon(1e-9));
          CHECK(cost.provenance == Provenance::calibrated);
        }
  }
}

TEST_CASE("network: a larger group than the node is not calibrated, and its rings run at the node's measured rate") {
  const hw::System system = shipped_system("h100-superpod");
  const CalibrationBook book = CalibrationBook::load(shipped(), system.chip()).value();
  const Network network(system, 0, &book);
  const NetworkCost inside = network.cost({all_reduce, 1e9}, {8, 1}), outside = network.cost({all_reduce, 1e9}, {16, 1});
  CHECK(outside.provenance == Provenance::transferred);
  CHECK(outside.seconds > inside.seconds);
  CHECK(outside.level == 1);
  for (const std::string& note : network.notes()) CHECK(note.find("nvlink") == std::string::npos);  // stated or measured
}

TEST_CASE("network: a send between two nodes, rows that its latency and efficiency were not fitted on") {
  const std::string file = GAMBREL_SOURCE_DIR "/../shared/measurements/vidur_collectives.csv";
  if (!std::filesystem::exists(file)) {
    MESSAGE("skipped: ../shared/measurements/vidur_collectives.csv is not there");
    return;
  }
  const CsvTable table = read_text(file, 16u << 20).and_then([&](std::string text) { return parse_csv(std::move(text), file); }).value();
  const hw::System system = shipped_system("h100-superpod");
  const CalibrationBook book = CalibrationBook::load(shipped(), system.chip()).value();
  const Network network(system, 0, &book);
  int rows = 0;
  double sum = 0;
  for (const CsvRow& row : table.rows) {
    const auto cell = [&](const char* column) { return row.cells[table.column(column).value()]; };
    if (cell("device") != "h100_dgx" || cell("op") != "send_recv" || cell("devices_per_node") != "1") continue;
    const double bytes = std::stod(cell("message_bytes"));
    if (bytes == 2048 || bytes == 67584 || bytes == 8388608) continue;  // fitted
    const double predicted = network.cost({point_to_point, bytes}, {2, 8}).seconds * 1e6, measured = std::stod(cell("measured_us"));
    MESSAGE(fmt::format("{:.0f} B: predicted {:.1f} us, measured {:.1f} us", bytes, predicted, measured));
    sum += std::abs(predicted / measured - 1);
    ++rows;
  }
  REQUIRE(rows == 3);
  CHECK(sum / rows < 0.15);
}

}  // namespace
}  // namespace gambrel::sim

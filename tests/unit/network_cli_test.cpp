// estimate-ops --op collective --system, as users run it.
#include <cmath>

#include "base/csv.hpp"
#include "tests/unit/calibration_support.hpp"
#include "tests/unit/program_support.hpp"

using namespace gambrel;
using test::Outcome;
using test::program;
using test::quoted;
using test::Scratch;

namespace {

const char* const columns = "collective,dtype,num_gpus,message_bytes,algorithm,axes\n";

CsvTable priced(const std::string& rows, const std::string& options) {
  const Scratch scratch;
  const Outcome outcome = program("estimate-ops --op collective " + quoted(scratch.write("in.csv", columns + rows)) + " " + options);
  REQUIRE_MESSAGE(outcome.code == 0, outcome.err);
  const bool only_notes = outcome.err.empty() || outcome.err.starts_with("note: network level '");
  CHECK(only_notes);
  return test::table_of(outcome.out);
}

std::string cell(const CsvTable& table, std::size_t row, const char* column) { return table.rows.at(row).cells[table.column(column).value()]; }
double number(const CsvTable& table, std::size_t row, const char* column) { return std::stod(cell(table, row, column)); }

std::string refused(const std::string& rows, const std::string& options) {
  const Scratch scratch;
  const Outcome outcome = program("estimate-ops --op collective " + quoted(scratch.write("in.csv", columns + rows)) + " " + options);
  CHECK(outcome.code != 0);
  CHECK(outcome.out.empty());
  return outcome.err;
}

}  // namespace

TEST_CASE("estimate-ops --system: columns, forced algorithms, where the time goes") {
  const CsvTable t = priced("all_reduce,bf16,8,100000000,,\nall_reduce,bf16,64,100000000,,\nall_reduce,bf16,64,100000000,hierarchical,\nall_reduce,bf16,1,100000000,,\n", "--system h100-superpod");
  CHECK(cell(t, 0, "provenance") == "calibrated");
  CHECK(cell(t, 0, "slowest_level") == "nvlink");
  CHECK(cell(t, 1, "slowest_level") == "infiniband");
  CHECK(cell(t, 2, "chosen_algorithm") == "hierarchical");
  CHECK(number(t, 2, "predicted_us") >= number(t, 1, "predicted_us"));
  CHECK(number(t, 1, "roofline_us") <= number(t, 1, "predicted_us"));
  CHECK(number(t, 3, "predicted_us") == 0);
}

TEST_CASE("estimate-ops --system: one node costs what --chip says") {
  const std::string rows = "all_reduce,bf16,8,1000000,,\nall_gather,bf16,4,100000000,,\n";
  const CsvTable system = priced(rows, "--system dgx-h100"), chip = priced(rows, "--chip h100-sxm");
  for (std::size_t row : {0u, 1u}) CHECK(cell(system, row, "predicted_us") == cell(chip, row, "predicted_us"));
}

TEST_CASE("estimate-ops --system: axes by extent, by count and by level; textbook forms if asserted") {
  const CsvTable t = priced("all_gather,bf16,16,1600000000,,16\nall_gather,bf16,16,1600000000,,2\nall_gather,bf16,16,1600000000,,4x4\nall_gather,bf16,256,1600000000,,16x16\n", "--system tpu-v5e-pod --assume collective=1");
  const double whole = 15.0 / 16 * 1.6e9 / 1e11 * 1e6;  // (n-1)/n V / W_bidir, in us
  CHECK(number(t, 0, "predicted_us") == doctest::Approx(whole).epsilon(0.01));
  CHECK(cell(t, 1, "predicted_us") == cell(t, 2, "predicted_us"));
  CHECK(number(t, 3, "predicted_us") == doctest::Approx(255.0 / 256 * 1.6e9 / 2e11 * 1e6).epsilon(0.01));
  CHECK(cell(t, 3, "provenance") == "assumed");
  const CsvTable nodes = priced("all_reduce,bf16,16,100000000,,infiniband\nall_reduce,bf16,16,100000000,,nvlink+infiniband\n", "--system h100-superpod");
  CHECK(number(nodes, 0, "predicted_us") > number(nodes, 1, "predicted_us"));
}

TEST_CASE("estimate-ops --system: what is refused") {
  const std::string on = "--system dgx-h100";
  CHECK(refused("all_reduce,bf16,16,1000,,\n", on).find("the system has 8 chips") != std::string::npos);
  CHECK(refused("all_reduce,bf16,8,1000,pigeon,\n", on).find("'pigeon' is no algorithm") != std::string::npos);
  CHECK(refused("all_reduce,bf16,8,1000,torus,\n", on).find("does not run as torus") != std::string::npos);
  CHECK(refused("all_reduce,bf16,8,1000,,ethernet\n", on).find("axes 'ethernet' do not hold 8 chips") != std::string::npos);
  CHECK(refused("all_reduce,bf16,8,1000,,\n", on + " --chip h100-sxm").find("both given") != std::string::npos);
  CHECK(refused("all_reduce,bf16,8,1000,,\n", "--system nowhere").find("nowhere") != std::string::npos);
  CHECK(refused("all_reduce,bf16,8,1000,,\n", on + " --assume gemm=0.5").find("--assume") != std::string::npos);
}

// Predicted beside measured kernels, where the measurements are at hand: rows that the shipped constants never saw.
#include <fmt/format.h>

#include <cmath>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <set>

#include "sim/calibration/fit_kernel.hpp"
#include "tests/unit/calibration_support.hpp"

using namespace gambrel;
using namespace gambrel::sim;

namespace {

/// The mean relative error we want of unseen rows of that kind and type.
struct Goal {
  const char *chip, *device, *file;
  KernelKind kind;
  const char* type;
  double goal;
  double reached = 0;  ///< where the goal is not met today: what is, rounded up; 0: the goal is met
  double most() const { return std::max(goal, reached); }
};

constexpr const char *h100 = "h100-sxm", *a100 = "a100-sxm-80gb", *h100_rows = "h100_sxm", *a100_rows = "a100_sxm";

// Not met: GEMM in bf16 on both chips (a library's choice of kernel at 100 to 1000 tokens), MoE in bf16 on the H100.
// Not here, since all rows were fitted: all-to-all and custom all-reduces.
constexpr Goal goals[] = {
    {h100, h100_rows, "gemm.csv", KernelKind::gemm, "bf16", 0.035, 0.0375},
    {a100, a100_rows, "gemm.csv", KernelKind::gemm, "bf16", 0.05, 0.057},
    {h100, h100_rows, "gemm.csv", KernelKind::gemm, "fp8", 0.06},
    {h100, h100_rows, "gemm.csv", KernelKind::gemm, "fp8_block", 0.06},
    {h100, h100_rows, "attention_prefill.csv", KernelKind::attention_prefill, "bf16", 0.07},
    {h100, h100_rows, "attention_prefill.csv", KernelKind::attention_prefill, "fp8", 0.07},
    {a100, a100_rows, "attention_prefill.csv", KernelKind::attention_prefill, "bf16", 0.07},
    {h100, h100_rows, "attention_decode.csv", KernelKind::attention_decode, "bf16", 0.08},
    {h100, h100_rows, "attention_decode.csv", KernelKind::attention_decode, "fp8", 0.08},
    {a100, a100_rows, "attention_decode.csv", KernelKind::attention_decode, "bf16", 0.08},
    {h100, h100_rows, "mla_prefill.csv", KernelKind::mla_prefill, "bf16", 0.10},
    {h100, h100_rows, "mla_prefill.csv", KernelKind::mla_prefill, "fp8", 0.10},
    {a100, a100_rows, "mla_prefill.csv", KernelKind::mla_prefill, "bf16", 0.10},
    {h100, h100_rows, "mla_decode.csv", KernelKind::mla_decode, "bf16", 0.10},
    {h100, h100_rows, "mla_decode.csv", KernelKind::mla_decode, "fp8", 0.10},
    {a100, a100_rows, "mla_decode.csv", KernelKind::mla_decode, "bf16", 0.10},
    {h100, h100_rows, "moe.csv", KernelKind::moe, "bf16", 0.12, 0.125},
    {h100, h100_rows, "moe.csv", KernelKind::moe, "fp8", 0.12},
    {h100, h100_rows, "moe.csv", KernelKind::moe, "fp8_block", 0.12},
    {h100, h100_rows, "moe.csv", KernelKind::moe, "mxfp4", 0.12},
    {a100, a100_rows, "moe.csv", KernelKind::moe, "bf16", 0.12},
    {a100, a100_rows, "moe.csv", KernelKind::moe, "int4", 0.12},
    {h100, h100_rows, "collectives.csv", KernelKind::collective, "nccl", 0.07},
    {a100, a100_rows, "collectives.csv", KernelKind::collective, "nccl", 0.07},
};

/// "hash:0/2", as the calibration file says it.
Split split_of(const std::string& text) {
  Split split;
  REQUIRE_MESSAGE(std::sscanf(text.c_str(), "hash:%u/%u", &split.part, &split.parts) == 2, text);
  return split;
}

/// Rows that no fit saw, of one device and type; bounds: what holds each back.
struct Unseen {
  std::vector<double> predicted, measured;
  std::vector<std::string> bounds;
  std::size_t fitted = 0, inside = 0;  ///< rows the fit saw; unseen rows within their interval
};

Unseen unseen_rows(const CsvTable& table, const Goal& g, const KernelPredictor& predictor) {
  Unseen rows;
  const auto reader = RowReader::make(table, g.kind);
  REQUIRE(reader.has_value());
  const std::size_t device = *table.column("device"), measured = *table.column("measured_us");
  for (const CsvRow& row : table.rows) {
    if (row.cells[device] != g.device) continue;
    const auto call = reader->read(row);
    REQUIRE_MESSAGE(call.has_value(), test::complaints(call ? Diagnostics{} : call.error()));
    if (model_of(g.kind).type_of(*call, predictor.figures()) != g.type) continue;
    const auto found = predictor.book().find(g.kind, g.type);
    REQUIRE(found.provenance == Provenance::calibrated);
    if (split_of(found.fit->split).holds(reader->key(row))) {
      ++rows.fitted;
      continue;
    }
    const KernelPrediction p = predictor.predict(*call);
    const double seconds = std::stod(row.cells[measured]) * 1e-6;
    rows.predicted.push_back(p.seconds);
    rows.measured.push_back(seconds);
    rows.bounds.emplace_back(p.bound);
    rows.inside += p.low <= seconds && seconds <= p.high;
  }
  return rows;
}

/// Those held back by `bound`.
Score regime(const Unseen& rows, const std::string& bound) {
  std::vector<double> predicted, measured;
  for (std::size_t i = 0; i < rows.bounds.size(); ++i) {
    if (rows.bounds[i] != bound) continue;
    predicted.push_back(rows.predicted[i]);
    measured.push_back(rows.measured[i]);
  }
  return score(predicted, measured);
}

std::string percents(const Score& s) { return fmt::format("{} rows, mean {:.2f} %, median {:.2f} %, P90 {:.2f} %, bias {:+.2f} %", s.rows, 100 * s.mean, 100 * s.median, 100 * s.p90, 100 * s.bias); }

/// No errors of one regime hide in the mean of the others: none is above 1.5 times the goal, where it has rows to tell.
void check_regimes(const Unseen& rows, const Goal& g) {
  constexpr std::size_t enough = 12;
  for (const std::string& bound : std::set<std::string>(rows.bounds.begin(), rows.bounds.end())) {
    CAPTURE(bound);
    const Score s = regime(rows, bound);
    MESSAGE("  bound by ", bound, ": ", percents(s));
    if (s.rows >= enough) CHECK(s.mean < 1.5 * g.goal);
  }
}

void check_goal(const Unseen& rows, const Goal& g) {
  const Score s = score(rows.predicted, rows.measured);
  MESSAGE(std::string(g.chip), " ", std::string(to_string(g.kind)), " ", std::string(g.type), ": ", percents(s), "; ", rows.fitted, " fitted");
  CHECK(s.rows >= 60);
  CHECK(rows.fitted >= s.rows / 2);
  CHECK(s.mean < g.most());
  CHECK(std::abs(s.bias) < g.goal / 2);
  if (g.reached > 0) WARN_MESSAGE(s.mean > g.goal, "met now: take its `reached` away");
}

/// An interval is meant for nine rows in ten, which few rows cannot show.
void check_intervals(const Unseen& rows) {
  if (rows.predicted.size() < 90) return;
  const double share = static_cast<double>(rows.inside) / static_cast<double>(rows.predicted.size());
  CHECK(share > 0.85);
  CHECK(share < 0.97);
}

}  // namespace

TEST_CASE("shipped constants predict rows that no fit saw: within the goals, in every regime; GEMM in bf16 and MoE in bf16 (H100) not yet") {
  const std::filesystem::path folder = std::filesystem::path(GAMBREL_SOURCE_DIR) / "../shared/measurements";
  if (!std::filesystem::exists(folder)) {
    MESSAGE("skipped: ", folder.string(), " is not here");
    return;
  }
  for (const Goal& g : goals) {
    CAPTURE(std::string(g.chip));
    CAPTURE(std::string(g.file));
    CAPTURE(std::string(g.type));
    std::ifstream stream(folder / g.file);
    REQUIRE(stream.good());
    const auto table = parse_csv({std::istreambuf_iterator<char>(stream), {}}, g.file);
    REQUIRE(table.has_value());
    const Unseen rows = unseen_rows(*table, g, test::predictor_for(test::shipped_chip(g.chip)));
    check_goal(rows, g);
    check_regimes(rows, g);
    check_intervals(rows);
  }
}

// What fp8 gains over bf16 on the H100, predicted beside measured: the same shape in both formats, rows that no fit saw.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <fstream>
#include <map>

#include "sim/calibration/fit_kernel.hpp"
#include "tests/unit/calibration_support.hpp"

using namespace gambrel;
using namespace gambrel::sim;

namespace {

/// Rows of one file in two formats, judged apart below and from `large` on.
struct Pairing {
  const char* file;
  KernelKind kind;
  std::vector<const char*> formats;                 ///< columns that name number formats
  std::vector<std::string> wide, narrow;            ///< their cells
  const char* size;                                 ///< column that tells small from large
  double large;
};

struct Times {
  double predicted = 0, measured = 0;
};
struct Pair {
  std::optional<Times> wide, narrow;
  double size = 0;
};

std::string cells_of(const CsvTable& table, const CsvRow& row, const std::vector<const char*>& columns, bool these) {
  std::string text;
  for (std::size_t i = 0; i < table.header.size(); ++i) {
    const bool named = std::ranges::any_of(columns, [&](const char* c) { return table.header[i] == c; });
    if (named == these && table.header[i] != "measured_us") text += row.cells[i] + "|";
  }
  return text;
}

std::string joined(const std::vector<std::string>& cells) {
  std::string text;
  for (const std::string& cell : cells) text += cell + "|";
  return text;
}

bool seen(const RowReader& reader, const CsvRow& row, const KernelPredictor& predictor, const KernelCall& call, KernelKind kind) {
  const auto found = predictor.book().find(kind, model_of(kind).type_of(call, predictor.figures()));
  return parse_split(found.fit->split)->holds(reader.key(row));
}

/// Unseen rows by all that is not a format.
std::map<std::string, Pair> pairs_of(const CsvTable& table, const Pairing& p, const KernelPredictor& predictor) {
  std::map<std::string, Pair> pairs;
  const auto reader = RowReader::make(table, p.kind);
  REQUIRE(reader.has_value());
  const std::size_t device = *table.column("device"), measured = *table.column("measured_us"), size = *table.column(p.size);
  for (const CsvRow& row : table.rows) {
    if (row.cells[device] != "h100_sxm") continue;
    const std::string formats = cells_of(table, row, p.formats, true);
    const bool wide = formats == joined(p.wide);
    if (!wide && formats != joined(p.narrow)) continue;
    const auto call = reader->read(row);
    REQUIRE(call.has_value());
    if (seen(*reader, row, predictor, *call, p.kind)) continue;
    Pair& pair = pairs[cells_of(table, row, p.formats, false)];
    pair.size = std::stod(row.cells[size]);
    (wide ? pair.wide : pair.narrow) = Times{predictor.predict(*call).seconds, std::stod(row.cells[measured]) * 1e-6};
  }
  std::erase_if(pairs, [](const auto& item) { return !item.second.wide || !item.second.narrow; });
  return pairs;
}

struct Judged {
  std::size_t rows = 0;
  double measured = 1, predicted = 1;  ///< geometric means of the speed-ups
  double median = 0;                   ///< of |predicted / measured - 1|
};

Judged judge(const std::map<std::string, Pair>& pairs, double from, double below) {
  std::vector<double> errors;
  double log_measured = 0, log_predicted = 0;
  for (const auto& [key, pair] : pairs) {
    if (pair.size < from || pair.size >= below) continue;
    const double measured = pair.wide->measured / pair.narrow->measured, predicted = pair.wide->predicted / pair.narrow->predicted;
    errors.push_back(std::abs(predicted / measured - 1));
    log_measured += std::log(measured);
    log_predicted += std::log(predicted);
  }
  if (errors.empty()) return {};
  const auto n = static_cast<double>(errors.size());
  std::ranges::nth_element(errors, errors.begin() + static_cast<std::ptrdiff_t>(errors.size() / 2));
  return {errors.size(), std::exp(log_measured / n), std::exp(log_predicted / n), errors[errors.size() / 2]};
}

void check(const char* what, const Judged& j) {
  MESSAGE(fmt::format("{}: {} pairs, speed-up measured {:.3f}, predicted {:.3f} ({:+.1f} %), median error of a pair {:.1f} %", what, j.rows, j.measured, j.predicted,
                      100 * (j.predicted / j.measured - 1), 100 * j.median));
  CHECK(j.rows >= 12);
  CHECK(std::abs(j.predicted / j.measured - 1) < 0.1);
  CHECK(j.median < 0.1);
}

}  // namespace

TEST_CASE("bf16 against fp8 on the H100: predicted speed-ups within 10 % of those measured, small and large, rows that no fit saw") {
  const std::filesystem::path folder = std::filesystem::path(GAMBREL_SOURCE_DIR) / "../shared/measurements";
  if (!std::filesystem::exists(folder)) {
    MESSAGE("skipped: ", folder.string(), " is not here");
    return;
  }
  // The fp8 rows of GEMM hold the quantisation of the activations.
  const std::vector<const char*> attention{"attn_dtype", "kv_cache_dtype"};
  const Pairing pairings[] = {
      {"gemm.csv", KernelKind::gemm, {"dtype"}, {"bfloat16"}, {"fp8"}, "m", 256},
      {"gemm.csv", KernelKind::gemm, {"dtype"}, {"bfloat16"}, {"fp8_block"}, "m", 256},
      {"attention_prefill.csv", KernelKind::attention_prefill, attention, {"bfloat16", "bfloat16"}, {"fp8", "fp8"}, "isl", 1024},
      {"attention_prefill.csv", KernelKind::attention_prefill, attention, {"bfloat16", "bfloat16"}, {"bfloat16", "fp8"}, "isl", 1024},
      {"attention_decode.csv", KernelKind::attention_decode, attention, {"bfloat16", "bfloat16"}, {"bfloat16", "fp8"}, "kv_tokens", 1024},
  };
  const KernelPredictor predictor = test::predictor_for(test::shipped_chip("h100-sxm"));
  for (const Pairing& p : pairings) {
    std::ifstream stream(folder / p.file);
    REQUIRE(stream.good());
    const auto table = parse_csv({std::istreambuf_iterator<char>(stream), {}}, p.file);
    REQUIRE(table.has_value());
    const auto pairs = pairs_of(*table, p, predictor);
    const std::string what = fmt::format("{} {}", p.file, fmt::join(p.narrow, "/"));
    check(fmt::format("{}, {} below {}", what, p.size, p.large).c_str(), judge(pairs, 0, p.large));
    check(fmt::format("{}, {} from {}", what, p.size, p.large).c_str(), judge(pairs, p.large, 1e300));
  }
}

// What the tests of kernel calibration share: shipped chips with their predictors, rows and calls from CSV text.
#pragma once

#include <doctest/doctest.h>

#include <string>
#include <vector>

#include "base/catalog.hpp"
#include "sim/calibration/kernel_predictor.hpp"
#include "sim/calibration/kernel_rows.hpp"
#include "tests/unit/hardware_support.hpp"

namespace gambrel::test {

inline const Catalog& shipped() {
  static const Catalog catalog(GAMBREL_SOURCE_DIR "/configs");
  return catalog;
}

inline hw::Chip shipped_chip(const std::string& name) {
  const auto document = shipped().load("chips", name);
  REQUIRE_MESSAGE(document.has_value(), name);
  auto chip = hw::read_chip(*document);
  REQUIRE_MESSAGE(chip.has_value(), name);
  return *chip;
}

inline sim::KernelPredictor predictor_for(const hw::Chip& chip, std::vector<std::pair<std::string, double>> assume = {}) {
  auto book = sim::CalibrationBook::load(shipped(), chip);
  REQUIRE_MESSAGE(book.has_value(), complaints(book ? Diagnostics{} : book.error()));
  return {chip, std::move(*book), std::move(assume)};
}

inline CsvTable table_of(const std::string& text) {
  auto table = parse_csv(text, "rows.csv");
  REQUIRE_MESSAGE(table.has_value(), complaints(table ? Diagnostics{} : table.error()));
  return *table;
}

/// The calls of all rows, which must be readable.
inline std::vector<sim::KernelCall> calls_of(const std::string& text, sim::KernelKind kind) {
  const CsvTable table = table_of(text);
  const auto reader = sim::RowReader::make(table, kind);
  REQUIRE_MESSAGE(reader.has_value(), complaints(reader ? Diagnostics{} : reader.error()));
  std::vector<sim::KernelCall> calls;
  for (const CsvRow& row : table.rows) {
    const auto call = reader->read(row);
    REQUIRE_MESSAGE(call.has_value(), complaints(call ? Diagnostics{} : call.error()));
    calls.push_back(*call);
  }
  return calls;
}

inline const std::string prefill_header = "batch_size,isl,num_heads,num_key_value_heads,head_dim,window_size,attn_dtype,kv_cache_dtype\n";
inline const std::string decode_header = "batch_size,kv_tokens,num_heads,num_key_value_heads,head_dim,window_size,attn_dtype,kv_cache_dtype\n";

/// Prefill rows of many sizes, launch-bound to compute-bound, two shapes of heads; without the header.
inline std::vector<std::string> prefill_rows(const std::string& kv = "bfloat16") {
  std::vector<std::string> rows;
  for (const char* heads : {"32,8", "64,8", "16,16"})
    for (int batch : {1, 2, 4, 8})
      for (int tokens : {64, 128, 256, 512, 1024, 2048, 4096, 8192}) rows.push_back(fmt::format("{},{},{},128,0,bfloat16,{}", batch, tokens, heads, kv));
  return rows;
}

inline std::string prefill_csv(const std::string& kv = "bfloat16") {
  std::string text = prefill_header;
  for (const std::string& row : prefill_rows(kv)) text += row + "\n";
  return text;
}

}  // namespace gambrel::test

// What the tests of runs share: runs from text, their complaints as lines, estimates of small hand-made machines.
#pragma once

#include <doctest/doctest.h>
#include <fmt/format.h>

#include <string>
#include <vector>

#include "base/catalog.hpp"
#include "base/load.hpp"
#include "hw/chip.hpp"
#include "sim/predict.hpp"
#include "sim/run.hpp"

namespace gambrel::test {

inline const Catalog& shipped() {
  static const Catalog catalog(GAMBREL_SOURCE_DIR "/configs");
  return catalog;
}

/// "source:line:col: message | hint" of every diagnostic, a line each.
inline std::string placed(const Diagnostics& diagnostics) {
  std::string text;
  for (const Diagnostic& d : diagnostics)
    text += fmt::format("{}:{}:{}: {} | {}\n", d.at.source ? d.at.source->name : "-", d.at.line, d.at.column, d.message, d.hint);
  return text;
}

/// --set of the command line: "path=value".
inline std::vector<sim::Setting> settings(const std::vector<std::string>& texts) {
  std::vector<sim::Setting> list;
  for (const std::string& text : texts) {
    const auto equals = text.find('=');
    list.push_back({text.substr(0, equals), text.substr(equals + 1), {std::make_shared<const Source>(Source{"--set", text}), 1, 1}});
  }
  return list;
}

inline Result<sim::Run> try_run(const std::string& text, const std::vector<std::string>& set = {}) {
  auto node = parse_yaml(text, "run.yaml");
  REQUIRE_MESSAGE(node.has_value(), placed(node ? Diagnostics{} : node.error()));
  return sim::read_run(shipped(), std::move(*node), settings(set));
}

inline sim::Run run_of(const std::string& text, const std::vector<std::string>& set = {}) {
  auto run = try_run(text, set);
  REQUIRE_MESSAGE(run.has_value(), placed(run ? Diagnostics{} : run.error()));
  return std::move(*run);
}

inline std::string run_errors(const std::string& text, const std::vector<std::string>& set = {}) {
  const auto run = try_run(text, set);
  if (run) return "accepted";
  for (const Diagnostic& d : run.error()) CHECK(d.fault == Fault::input);
  return placed(run.error());
}

inline sim::Estimate estimate_of(const sim::Run& run) {
  auto estimate = sim::estimate(run);
  REQUIRE_MESSAGE(estimate.has_value(), placed(estimate ? Diagnostics{} : estimate.error()));
  return std::move(*estimate);
}

/// By the plain roofline, whose figures can be worked out by hand, unless the text names a cost model.
inline sim::Estimate estimate_of(const std::string& text, const std::vector<std::string>& set = {}) {
  const bool named = text.find("cost_model:") != std::string::npos;
  return estimate_of(run_of(named ? text : text + "cost_model: roofline\n", set));
}

inline const sim::OpEstimate& op_named(const sim::Phase& phase, std::string_view ending) {
  for (const sim::OpEstimate& op : phase.ops)
    if (op.name.ends_with(ending)) return op;
  FAIL("no operator " << std::string(ending));
  return phase.ops.front();
}

/// A chip with one matrix and one vector unit and the memory levels given, outermost first, in B, B/s.
struct SmallChip {
  double matrix = 100e12, vector = 1e12;
  std::vector<hw::MemoryLevel> memory{{.level = "HBM", .capacity = Bytes{80e9}, .bandwidth = BytesPerSecond{1e12}}};
};

inline hw::Chip chip_of(const SmallChip& small) {
  hw::Chip chip;
  chip.id = chip.name = "small";
  hw::ComputeUnit matrix{.name = "matrix", .kind = hw::UnitKind::matrix}, vector{.name = "vector", .kind = hw::UnitKind::vector};
  matrix.peak = {{Format::bf16, FlopsPerSecond{small.matrix}}};
  vector.peak = {{Format::fp32, FlopsPerSecond{small.vector}}};
  chip.compute = {matrix, vector};
  chip.memory = small.memory;
  for (std::size_t i = 1; i < chip.memory.size(); ++i)
    if (chip.memory[i].behind == -1) chip.memory[i].behind = static_cast<int>(i) - 1;
  return chip;
}

}  // namespace gambrel::test

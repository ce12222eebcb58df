// What the tests of comparisons share: a small model's comparison from text, and its variants by name.
#pragma once

#include "sim/compare/compare.hpp"
#include "sim/compare/read_comparison.hpp"
#include "tests/unit/run_support.hpp"

namespace gambrel::test {

inline const std::string tiny_run = "{model: tiny-mixtral, system: h100-sxm, workload: {phase: decode, batch: 4, context: 64}}";

inline Result<sim::Comparison> try_comparison(const std::string& text) {
  auto node = parse_yaml(text, "comparison.yaml");
  REQUIRE_MESSAGE(node.has_value(), placed(node ? Diagnostics{} : node.error()));
  return sim::read_comparison(shipped(), *node);
}

inline std::string comparison_errors(const std::string& text) {
  const auto comparison = try_comparison(text);
  return comparison ? "accepted" : placed(comparison.error());
}

inline sim::ComparisonResult compare_all(const sim::Comparison& comparison) {
  auto result = sim::compare(shipped(), comparison);
  REQUIRE_MESSAGE(result.has_value(), placed(result ? Diagnostics{} : result.error()));
  return std::move(*result);
}

/// Nothing is executed unless the text says `error:`.
inline sim::ComparisonResult comparison_of(const std::string& text) {
  auto comparison = try_comparison(text);
  REQUIRE_MESSAGE(comparison.has_value(), placed(comparison ? Diagnostics{} : comparison.error()));
  if (text.find("error:") == std::string::npos) comparison->measure_error = false;
  return compare_all(*comparison);
}

inline const sim::VariantResult& variant(const sim::ComparisonResult& result, std::string_view name) {
  for (const sim::VariantResult& v : result.variants)
    if (v.name == name) return v;
  FAIL("no variant " << std::string(name));
  return result.variants.front();
}

inline sim::Comparison vary(const std::string& run, const std::vector<std::string>& keys) {
  std::vector<sim::Vary> list;
  for (const std::string& text : keys) {
    auto key = sim::parse_vary(text, {std::make_shared<const Source>(Source{"--vary", text}), 1, 1});
    REQUIRE_MESSAGE(key.has_value(), placed(key ? Diagnostics{} : key.error()));
    list.push_back(std::move(*key));
  }
  auto comparison = sim::vary_run(*parse_yaml(run, "run.yaml"), list, {});
  REQUIRE_MESSAGE(comparison.has_value(), placed(comparison ? Diagnostics{} : comparison.error()));
  comparison->measure_error = false;
  return std::move(*comparison);
}

}  // namespace gambrel::test

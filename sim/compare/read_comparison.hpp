// Comparison files and `--vary` -> Comparison.
#pragma once

#include <string>
#include <vector>

#include "sim/compare/compare.hpp"

namespace gambrel::sim {

/// Reads a comparison's tree {baseline: RUN, variants: {name: {path: value}}, vary: {path: [values]}, error: {...}, search: {...}}.
/// Paths are those of --set; `precision` also takes a recipe and `sparsity` a short form (sim/compare/compare_recipe.hpp).
/// Errors: what the schema refuses, a baseline that cannot be loaded, an unknown recipe, a name twice.
Result<Comparison> read_comparison(const Catalog& catalog, const Node& document, const std::vector<Setting>& settings = {});

/// One key and the values it takes.
struct Vary {
  std::string path;
  std::vector<Node> values;
  Position at;
};

/// "precision=bf16,fp8+kv=fp8,mxfp4": commas inside brackets and braces do not divide. Error: no "=" or an empty value.
Result<Vary> parse_vary(const std::string& text, const Position& at);

/// Every combination of the values, the first key slowest; the first combination is the baseline. `settings` hold for all.
/// Errors: more than `most_variants` combinations; an unknown recipe.
Result<Comparison> vary_run(const Node& run, const std::vector<Vary>& keys, const std::vector<Setting>& settings);

inline constexpr std::size_t most_variants = 256;

}  // namespace gambrel::sim

#include "sim/compare/read_comparison.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "base/load.hpp"
#include "base/schema.hpp"
#include "base/text.hpp"
#include "sim/compare/compare_recipe.hpp"

namespace gambrel::sim {
namespace {

/// A value as --set takes it.
std::string flow_text(const Node& value) {
  return value.is_mapping() || value.is_sequence() ? to_json(value, -1) : value.text;
}

/// How a value is called in a variant's name.
std::string spoken_value(const Node& value) {
  if (value.is_mapping() && value.find("density")) return fmt::format("{} {}", value.text_or("structure", "density"), value.number_or("density", 1));
  return flow_text(value);
}

/// One key of a variant: a section of the run, or a setting.
Result<void> lay_over(Variant& variant, const std::string& path, const Node& value, const Position& at) {
  if (path == "precision") {
    auto section = precision_section(value, variant.run.find("precision"));
    if (!section) return fail(section.error());
    variant.run.set("precision", std::move(*section));
  } else if (path == "sparsity") {
    variant.run.set("sparsity", sparsity_section(value));
  } else {
    variant.settings.push_back({path, flow_text(value), at});
  }
  return {};
}

Result<Node> load_baseline(const Catalog& catalog, const Node& baseline) {
  if (baseline.is_mapping()) return baseline;
  return catalog.load("runs", baseline.text, baseline.at);
}

Result<void> add_variants(const Node& variants, const std::vector<Setting>& settings, Comparison& comparison) {
  const Node run = comparison.variants.front().run;
  for (const Member& named : variants.members) {
    Variant variant{named.key, run, settings};
    for (const Member& key : named.value.members)
      if (auto laid = lay_over(variant, key.key, key.value, key.key_at); !laid) return laid;
    const bool twice = std::ranges::count(comparison.variants, named.key, &Variant::name) > 0;
    if (twice) return fail({named.key_at, fmt::format("a second variant is named '{}'", excerpt(named.key)), "give each a name of its own"});
    comparison.variants.push_back(std::move(variant));
  }
  return {};
}

void read_error_options(const Node& node, Comparison& comparison) {
  if (node.is_boolean()) {
    comparison.measure_error = node.boolean;
    return;
  }
  kernels::ErrorOptions& options = comparison.error;
  if (node.find("layers")) options.layers = static_cast<int>(node.number_or("layers", 2));
  if (node.find("width_fraction")) options.width_fraction = node.number_or("width_fraction", 0.25);
  if (node.find("vocabulary_rows")) options.vocabulary_rows = node.number_or("vocabulary_rows", 2048);
  options.tokens = static_cast<int>(node.number_or("tokens", options.tokens));
  options.seed = static_cast<std::uint64_t>(node.number_or("seed", 0));
  options.weights_file = node.text_or("weights", "");
}

FormatSearch read_search(const Node& node) {
  FormatSearch search{.budget = node.number_or("error", 0.02)};
  if (const Node* formats = node.find("formats"))
    for (const Node& item : formats->items) search.formats.push_back(item.text);
  return search;
}

std::vector<Vary> read_vary(const Node& node) {
  std::vector<Vary> keys;
  for (const Member& m : node.members) keys.push_back({m.key, m.value.items, m.key_at});
  return keys;
}

}  // namespace

Result<Comparison> read_comparison(const Catalog& catalog, const Node& document, const std::vector<Setting>& settings) {
  if (Diagnostics problems = validate(document, "comparison"); !problems.empty()) return fail(problems);
  auto run = load_baseline(catalog, *document.find("baseline"));
  if (!run) return fail(run.error());
  Comparison comparison{.variants = {{"baseline", *run, settings}}};
  if (const Node* vary = document.find("vary")) {
    auto varied = vary_run(*run, read_vary(*vary), settings);
    if (!varied) return varied;
    comparison = std::move(*varied);
  }
  comparison.id = document.text_or("comparison", run->text_or("run", "comparison"));
  if (const Node* names = document.find("name_baseline")) comparison.variants.front().name = names->text;
  if (const Node* variants = document.find("variants"))
    if (auto added = add_variants(*variants, settings, comparison); !added) return fail(added.error());
  if (const Node* error = document.find("error")) read_error_options(*error, comparison);
  if (const Node* search = document.find("search")) comparison.search = read_search(*search);
  return comparison;
}

Result<Vary> parse_vary(const std::string& text, const Position& at) {
  const auto wrong = [&](std::string message) { return fail(Diagnostic{at, std::move(message), "write --vary precision=bf16,fp8,mxfp4", Fault::usage}); };
  const auto equals = text.find('=');
  if (equals == std::string::npos || equals == 0) return wrong(fmt::format("'{}' varies nothing", excerpt(text)));
  Vary vary{text.substr(0, equals), {}, at};
  int depth = 0;
  std::string value;
  for (std::size_t i = equals + 1; i <= text.size(); ++i) {
    const char c = i < text.size() ? text[i] : ',';
    depth += (c == '{' || c == '[') - (c == '}' || c == ']');
    if (c != ',' || (depth > 0 && i < text.size())) {
      value += c;
      continue;
    }
    if (value.empty()) return wrong(fmt::format("'{}' has an empty value", excerpt(text)));
    auto node = parse_yaml(value, "--vary");
    if (!node) return fail(node.error());
    vary.values.push_back(std::move(*node));
    value.clear();
  }
  return vary;
}

Result<Comparison> vary_run(const Node& run, const std::vector<Vary>& keys, const std::vector<Setting>& settings) {
  std::size_t count = 1;
  for (const Vary& key : keys) {
    count *= key.values.size();
    if (count > most_variants) return fail({key.at, fmt::format("that makes more than {} variants", most_variants), "vary fewer keys or values at once; `gambrel sweep` explores large spaces"});
  }
  Comparison comparison{.id = run.text_or("run", "comparison")};
  for (std::size_t index = 0; index < count; ++index) {
    Variant variant{"", run, settings};
    std::size_t rest = index, block = count;
    for (const Vary& key : keys) {
      block /= key.values.size();
      const Node& value = key.values[rest / block];
      rest %= block;
      if (auto laid = lay_over(variant, key.path, value, key.at); !laid) return fail(laid.error());
      const bool named = key.path == "precision" || key.path == "sparsity";
      variant.name += fmt::format("{}{}{}", variant.name.empty() ? "" : ", ", named ? "" : key.path + " ", spoken_value(value));
    }
    if (variant.name.empty()) variant.name = "baseline";
    comparison.variants.push_back(std::move(variant));
  }
  return comparison;
}

}  // namespace gambrel::sim

#include "sim/compare/compare.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <map>

#include "sim/predict.hpp"

namespace gambrel::sim {
namespace {

/// Runs of equal models are executed together: the fp32 run is shared. Settings are all that tells models apart.
std::string model_key(const Run& run) {
  std::string key = run.model.id;
  for (const auto& [name, value] : run.settings)
    if (name.starts_with("set model")) key += fmt::format("|{}={}", name, value);
  return key;
}

/// Variants of equal formats and zeros have equal errors, whatever machine they run on.
std::string number_key(const Run& run) {
  std::string key = model_key(run);
  for (const auto& [name, value] : run.settings)
    if (name == "precision" || name == "sparsity") key += fmt::format("|{}={}", name, value);
  return key;
}

Seconds sum_of(const Estimate& estimate, Seconds OpEstimate::* figure) {
  Seconds sum{0};
  for (const Phase& phase : estimate.phases)
    for (const OpEstimate& op : phase.ops) sum += op.*figure * op.count;
  return sum;
}

VariantResult result_of(const std::string& name, Estimate estimate) {
  VariantResult result{.name = name, .estimate = std::move(estimate)};
  result.arithmetic = sum_of(result.estimate, &OpEstimate::t_math);
  result.movement = sum_of(result.estimate, &OpEstimate::t_mem);
  result.network = sum_of(result.estimate, &OpEstimate::t_net);
  for (const TierUse& tier : result.estimate.memory.tiers) result.memory += tier.used();
  return result;
}

double per_token(const Estimate& e, double figure) { return e.total.tokens > 0 ? figure / e.total.tokens : figure; }

void relate(VariantResult& v, const VariantResult& baseline) {
  const Total &a = baseline.estimate.total, &b = v.estimate.total;
  v.speedup = per_token(baseline.estimate, a.time.value) / per_token(v.estimate, b.time.value);
  v.memory_ratio = v.memory / baseline.memory;
  v.bound_moved = b.bound != a.bound;
  if (a.energy && b.energy && a.energy->value > 0) v.energy_ratio = per_token(v.estimate, b.energy->value) / per_token(baseline.estimate, a.energy->value);
}

double error_of(const VariantResult& v) { return v.error ? v.error->relative_error : 0; }

bool beats(const VariantResult& a, const VariantResult& b) {
  const bool no_worse = a.speedup >= b.speedup && error_of(a) <= error_of(b);
  return no_worse && (a.speedup > b.speedup || error_of(a) < error_of(b));
}

void mark_front(std::vector<VariantResult>& variants) {
  for (VariantResult& v : variants)
    v.front = v.estimate.memory.fits && std::ranges::none_of(variants, [&](const VariantResult& other) { return other.estimate.memory.fits && beats(other, v); });
}

void name_reports(ComparisonResult& result, const std::vector<std::string>& keys, const std::map<std::string, kernels::ErrorReport>& reports) {
  for (std::size_t i = 0; i < keys.size(); ++i) {
    const auto found = reports.find(keys[i]);
    if (found == reports.end()) continue;
    result.variants[i].error = found->second;
    result.variants[i].error->variant = result.variants[i].name;
  }
}

/// Measures each distinct choice of numbers once, models one after the other.
Result<void> measure(const std::vector<Run>& runs, const kernels::ErrorOptions& options, ComparisonResult& result) {
  std::map<std::string, std::vector<std::size_t>> models;
  std::vector<std::string> keys;
  for (std::size_t i = 0; i < runs.size(); ++i) {
    keys.push_back(number_key(runs[i]));
    const bool first = std::ranges::count(keys, keys.back()) == 1;
    if (first) models[model_key(runs[i])].push_back(i);
  }
  std::map<std::string, kernels::ErrorReport> reports;
  for (const auto& [model, members] : models) {
    std::vector<kernels::ErrorVariant> variants;
    for (const std::size_t i : members) variants.push_back({result.variants[i].name, runs[i].precision, runs[i].sparsity, std::nullopt});
    auto measured = kernels::measure_errors(runs[members.front()].model, variants, options);
    if (!measured && !options.weights_file.empty()) return fail(measured.error());
    if (!measured) {
      result.notes.push_back(fmt::format("the numerical error is not measured: {}", measured.error().front().message));
      continue;
    }
    for (std::size_t i = 0; i < members.size(); ++i) reports.emplace(keys[members[i]], std::move((*measured)[i]));
  }
  name_reports(result, keys, reports);
  return {};
}

void note_limits(const std::vector<Run>& runs, ComparisonResult& result) {
  const bool attention = std::ranges::any_of(runs, [](const Run& run) { return run.data_sparsity.attention < 1; });
  if (attention) result.notes.push_back("attention to a share of the keys changes results; that error is not measured, nor is the time of choosing the keys counted");
  for (std::size_t i = 0; i < runs.size(); ++i) {
    const models::WeightSparsity& s = runs[i].sparsity;
    const double bits = runs[i].policy().at("layers.0.mlp.down").weights.element_bits();
    if (s.structure != models::WeightSparsity::Structure::none && s.stored_share(bits) > 1)
      result.notes.push_back(fmt::format("{}: sparse weights take {:.3g}x the bytes of dense ones; at {:g} bits this format pays below a density of {:.3g}", result.variants[i].name, s.stored_share(bits), bits, s.break_even(bits)));
  }
  for (const VariantResult& v : result.variants)
    if (!v.estimate.memory.fits) result.notes.push_back(fmt::format("{} does not fit: its figures are those of a chip that could hold it", v.name));
}

/// What an estimate says of itself that the baseline's does not: formats replaced, zeros that are not skipped.
void take_notes(ComparisonResult& result) {
  const std::vector<std::string>& known = result.variants.front().estimate.notes;
  for (const VariantResult& v : result.variants)
    for (const std::string& note : v.estimate.notes)
      if (!std::ranges::count(known, note)) result.notes.push_back(fmt::format("{}: {}", v.name, note));
}

Variant found_variant(const Comparison& comparison, const FoundFormats& found, Node precision) {
  Variant variant = comparison.variants.front();
  variant.name = fmt::format("found (error <= {:.3g}%)", 100 * found.budget);
  variant.run.set("precision", std::move(precision));
  return variant;
}

}  // namespace

Result<Run> read_variant(const Catalog& catalog, const Variant& variant) { return read_run(catalog, variant.run, variant.settings); }

Result<ComparisonResult> compare(const Catalog& catalog, const Comparison& comparison) {
  ComparisonResult result{.id = comparison.id};
  std::vector<Variant> variants = comparison.variants;
  if (comparison.search) {
    Node precision;
    auto found = search_formats(catalog, variants.front(), *comparison.search, comparison.error, precision);
    if (!found) return fail(found.error());
    result.found = std::move(*found);
    variants.push_back(found_variant(comparison, *result.found, std::move(precision)));
  }
  std::vector<Run> runs;
  for (const Variant& variant : variants) {
    auto run = read_variant(catalog, variant);
    if (!run) return fail(run.error());
    auto predicted = estimate(*run);
    if (!predicted) return fail(predicted.error());
    runs.push_back(std::move(*run));
    result.variants.push_back(result_of(variant.name, std::move(*predicted)));
  }
  for (VariantResult& v : result.variants) relate(v, result.variants.front());
  note_limits(runs, result);
  take_notes(result);
  if (comparison.measure_error)
    if (auto measured = measure(runs, comparison.error, result); !measured) return fail(measured.error());
  mark_front(result.variants);
  return result;
}

}  // namespace gambrel::sim

// Reading of sets and scoring of their rows; the counting of FLOPs is in suite_flops.cpp.
#include "sim/calibration/suite.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <set>

#include "base/load.hpp"
#include "base/quantity.hpp"
#include "base/schema.hpp"

namespace gambrel::sim {
namespace {

Result<Node> checked(Result<Node> document, std::string_view schema) {
  if (!document) return document;
  if (Diagnostics problems = validate(*document, schema); !problems.empty()) return fail(problems);
  return document;
}

/// The schema has checked the unit.
double base_units(const Node& quantity, Dimension dimension) { return parse_quantity(quantity.text, dimension).value_or(0); }

FlopCount read_count(const Node* node) {
  if (!node) return {};
  return {.every_parameter = node->text_or("weights", "multiplied") == "all",
          .causal = node->text_or("attention", "full") == "causal",
          .recomputed = node->boolean_or("recomputed", false)};
}

/// Seconds of the step; the schema has checked that there is exactly one of the keys.
double measured_seconds(const Node& measured, const Run& run, double flops) {
  const Workload& w = run.workload;
  if (const Node* step = measured.find("step")) return base_units(*step, Seconds::dimension);
  if (const Node* latency = measured.find("latency")) return base_units(*latency, Seconds::dimension) / measured.number_or("steps", 1);
  if (const Node* rate = measured.find("tokens_per_second_per_chip")) {
    const double tokens = w.phase == PhaseKind::train ? w.global_batch * w.sequence : w.batch * w.new_tokens;
    return tokens / (rate->number * run.chips);
  }
  return flops / (base_units(*measured.find("flops_per_second_per_chip"), FlopsPerSecond::dimension) * run.chips);
}

Result<Node> profile_of(const Node& document, const Node& profiles) {
  const Node* name = document.find("profile");
  if (!name) return Node::mapping();
  const Node* profile = profiles.find("profiles")->find(name->text);
  if (profile) return *profile->find("run");
  std::vector<std::string> names;
  for (const Member& m : profiles.find("profiles")->members) names.push_back(m.key);
  const std::string near = nearest(name->text, names);
  return fail({name->at, fmt::format("no profile is named '{}'", name->text), near.empty() ? fmt::format("profiles are {}", fmt::join(names, ", ")) : fmt::format("did you mean '{}'?", near)});
}

SuiteRow read_row(const Catalog& catalog, const Node& document, const Node& row, const Node& under) {
  SuiteRow out{.name = row.text_or("row", ""), .source = row.text_or("source", document.text_or("source", "")),
               .figure = row.text_or("figure", document.text_or("figure", "read")), .at = row.at};
  Node node = merge(under, *row.find("run"));
  node.at = row.at;
  node.set("run", Node::of(out.name));
  auto run = read_run(catalog, std::move(node), {});
  if (!run) {
    out.problem = run.error();
    return out;
  }
  out.flops = counted_flops(*run, read_count(document.find("flops")));
  out.measured = measured_seconds(*row.find("measured"), *run, out.flops);
  out.run = std::move(*run);
  return out;
}

/// Provenance of the operators that take most time.
std::string main_provenance(const Estimate& estimate) {
  std::map<Provenance, double> time;
  for (const Phase& phase : estimate.phases)
    for (const OpEstimate& op : phase.ops) time[op.provenance] += op.count * op.time.value;
  const auto most = std::ranges::max_element(time, {}, [](const auto& entry) { return entry.second; });
  return most == time.end() ? "" : std::string(to_string(most->first));
}

void predict(SuiteRow& row, const Predictor& predictor) {
  if (!row.run) return;
  const Result<Estimate> estimate = predictor(*row.run);
  if (!estimate) {
    row.problem = estimate.error();
    return;
  }
  if (!(estimate->total.time.value > 0) || !std::isfinite(estimate->total.time.value)) {
    row.problem = {{row.at, fmt::format("the prediction of '{}' is no time", row.name), ""}};
    return;
  }
  row.predicted = estimate->total.time.value;
  row.provenance = main_provenance(*estimate);
  row.bound = estimate->total.bound;
  row.fits = estimate->memory.fits;
}

/// Rows that one constant would have to serve.
bool alike(const SuiteRow& a, const SuiteRow& b) {
  return a.run->system.chip().id == b.run->system.chip().id && a.run->workload.phase == b.run->workload.phase;
}

double rate(const SuiteRow& row) { return row.flops / (row.measured * row.run->chips); }

double median(std::vector<double> values) {
  std::ranges::sort(values);
  const std::size_t half = values.size() / 2;
  return values.size() % 2 ? values[half] : (values[half - 1] + values[half]) / 2;
}

void set_baselines(std::vector<SuiteRow>& rows) {
  for (SuiteRow& row : rows) {
    if (!row.run) continue;
    std::vector<double> others;
    for (const SuiteRow& other : rows)
      if (&other != &row && other.run && alike(row, other)) others.push_back(rate(other));
    if (!others.empty()) row.baseline = row.flops / (median(others) * row.run->chips);
  }
}

SetScore score_of(const std::vector<const SuiteRow*>& rows, std::optional<double> SuiteRow::*figure) {
  std::vector<double> said, measured;
  SetScore out;
  for (const SuiteRow* row : rows) {
    if (!(row->*figure)) continue;
    said.push_back(*(row->*figure));
    measured.push_back(row->measured);
    out.worst = std::max(out.worst, std::abs(said.back() / measured.back() - 1));
  }
  out.score = score(said, measured);
  return out;
}

bool was_fitted(const SustainedFit* fit, const std::string& key) {
  const auto split = fit ? parse_split(fit->split) : std::nullopt;
  return split && split->holds(key);
}

std::vector<const SuiteRow*> rows_of(const std::vector<SuiteSet>& sets) {
  std::vector<const SuiteRow*> rows;
  for (const SuiteSet& set : sets)
    for (const SuiteRow& row : set.rows) rows.push_back(&row);
  return rows;
}

std::vector<const SuiteRow*> rows_of(const SuiteSet& set) {
  std::vector<const SuiteRow*> rows;
  for (const SuiteRow& row : set.rows) rows.push_back(&row);
  return rows;
}

}  // namespace

std::vector<std::string> suite_names(const Catalog& catalog) {
  std::set<std::string> names;
  for (const std::string& file : catalog.names("validation"))
    if (const auto document = catalog.load("validation", file)) names.insert(document->text_or("suite", ""));
  names.erase("");
  return {names.begin(), names.end()};
}

Result<SuiteSet> read_set(const Catalog& catalog, const Node& document, const Node& profiles) {
  auto under = profile_of(document, profiles);
  if (!under) return fail(under.error());
  if (const Node* defaults = document.find("defaults")) *under = merge(*under, *defaults);
  SuiteSet set{.name = document.text_or("set", ""), .title = document.text_or("title", ""), .source = document.text_or("source", ""),
               .profile = document.text_or("profile", ""), .notes = document.text_or("notes", "")};
  for (const Node& row : document.find("rows")->items) set.rows.push_back(read_row(catalog, document, row, *under));
  return set;
}

Result<std::vector<SuiteSet>> read_suite(const Catalog& catalog, std::string_view suite) {
  const auto profiles = checked(catalog.load("validation", (catalog.root() / "profiles.yaml").string()), "profiles");
  if (!profiles) return fail(profiles.error());
  std::vector<SuiteSet> sets;
  for (const std::string& file : catalog.names("validation")) {
    const auto document = checked(catalog.load("validation", file), "validation");
    if (!document) return fail(document.error());
    if (document->text_or("suite", "") != suite) continue;
    auto set = read_set(catalog, *document, *profiles);
    if (!set) return fail(set.error());
    sets.push_back(std::move(*set));
  }
  if (sets.empty()) return fail({{}, fmt::format("no suite is named '{}'", suite), fmt::format("suites are {}", fmt::join(suite_names(catalog), ", ")), Fault::usage});
  return sets;
}

void predict(SuiteSet& set, const Predictor& predictor) {
  for (SuiteRow& row : set.rows) {
    predict(row, predictor);
    row.fitted = row.run && was_fitted(row.run->calibration.own_sustained(), set.name + " " + row.name);
  }
  set_baselines(set.rows);
  set.model = score_of(rows_of(set), &SuiteRow::predicted);
  set.baseline = score_of(rows_of(set), &SuiteRow::baseline);
}

SetScore score_of(const std::vector<SuiteSet>& sets) { return score_of(rows_of(sets), &SuiteRow::predicted); }
SetScore unseen_score_of(const std::vector<SuiteSet>& sets) {
  std::vector<const SuiteRow*> rows = rows_of(sets);
  std::erase_if(rows, [](const SuiteRow* row) { return row->fitted; });
  return score_of(rows, &SuiteRow::predicted);
}

SetScore baseline_of(const std::vector<SuiteSet>& sets) { return score_of(rows_of(sets), &SuiteRow::baseline); }

}  // namespace gambrel::sim

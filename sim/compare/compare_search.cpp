// The fastest formats within an error: groups of operators, each measured alone, taken greedily, executed together.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "base/load.hpp"
#include "models/build.hpp"
#include "sim/compare/compare.hpp"
#include "sim/compare/compare_recipe.hpp"
#include "sim/machine.hpp"
#include "sim/predict.hpp"

namespace gambrel::sim {
namespace {

/// "layers.0-31.attn.qkv" -> "layers.*.attn.qkv".
std::string group_of(const models::Op& op) {
  if (op.part != models::ModelPart::layers) return op.name;
  const auto dot = op.name.find('.', std::string_view("layers.").size());
  return dot == std::string::npos ? op.name : "layers.*" + op.name.substr(dot);
}

bool has_weights(const models::Graph& graph, const models::Op& op) {
  return std::ranges::any_of(op.uses, [&](const models::Use& use) {
    const models::Tensor& t = graph.tensor(use.tensor);
    return t.role == models::Role::expert_weight || (t.role == models::Role::weight && !t.looked_up && t.shape.size() > 1 && t.name.ends_with(".weight"));
  });
}

/// Products with weights, and the cache. Routers are too small to save time and decide where tokens go.
std::vector<std::string> groups_of(const Run& run) {
  std::vector<std::string> groups;
  const models::Graph graph = models::build(run.model, run.policy(), run.step(1, 1, 1));
  for (const models::Op& op : graph.ops()) {
    const bool core = op.kind == models::OpKind::attention && op.part == models::ModelPart::layers;
    if (!core && !(models::row_of(op.kind).contraction && has_weights(graph, op))) continue;
    const std::string group = core ? "layers.*.attn.core" : group_of(op);
    if (!std::ranges::count(groups, group) && !group.ends_with("moe.router")) groups.push_back(group);
  }
  return groups;
}

std::vector<std::string> usual_formats(const Run& run) {
  const Machine machine = make_machine(run.system.chip(), run.placement, run.sparsity_pattern);
  std::vector<std::string> formats;
  for (const Format f : {Format::fp8_e4m3, Format::int8, Format::mxfp6, Format::mxfp4, Format::nvfp4})
    if (machine.rate_of(f).runs_as == f) formats.emplace_back(f == Format::fp8_e4m3 ? "fp8" : to_string(f));
  formats.emplace_back("int4_wo");
  return formats;
}

/// Of the baseline's time: what saves less is not worth a change of format.
constexpr double least_saved = 5e-4;

/// Keys and values are attended to in 16 or 8 bits.
bool suits(const std::string& group, const std::string& format) { return !group.ends_with("attn.core") || format == "fp8" || format == "int8"; }

struct Candidate {
  std::size_t group = 0;
  std::string format;
  Node item;              ///< of `overrides:`
  double error2 = 0;      ///< squared, beyond the baseline's
  double saved = 0;       ///< seconds
};

class Finder {
 public:
  Finder(const Catalog& catalog, const Variant& baseline, const FormatSearch& search, const kernels::ErrorOptions& options)
      : catalog_(catalog), baseline_(baseline), search_(search), options_(options) {
    options_.growth_layers.clear();
    options_.own_errors = false;
  }

  Result<FoundFormats> find(Node& precision);

 private:
  Variant with(const std::vector<const Candidate*>& chosen) const;
  Result<void> list();
  Result<void> weigh();
  const Candidate* best_change() const;
  Result<double> executed(const std::vector<const Candidate*>& chosen) const;
  FoundFormats::Choice choice(const Candidate& c) const { return {groups_[c.group], c.format, std::sqrt(c.error2 + error2_), Seconds{c.saved}}; }

  const Catalog& catalog_;
  const Variant& baseline_;
  const FormatSearch& search_;
  kernels::ErrorOptions options_;
  std::vector<std::string> groups_;
  std::vector<Candidate> candidates_;
  std::vector<const Candidate*> now_;   ///< of each group; null: as the baseline
  double seconds_ = 0, error2_ = 0;     ///< of the baseline
};

Variant Finder::with(const std::vector<const Candidate*>& chosen) const {
  Variant variant = baseline_;
  Node section = variant.run.find("precision") ? *variant.run.find("precision") : Node::mapping();
  Node overrides = section.find("overrides") ? *section.find("overrides") : Node::sequence();
  for (const Candidate* c : chosen)
    if (c) overrides.append(c->item);
  section.set("overrides", std::move(overrides));
  variant.run.set("precision", std::move(section));
  return variant;
}

Result<void> Finder::list() {
  const auto run = read_variant(catalog_, baseline_);
  if (!run) return fail(run.error());
  groups_ = groups_of(*run);
  const std::vector<std::string> formats = search_.formats.empty() ? usual_formats(*run) : search_.formats;
  for (std::size_t g = 0; g < groups_.size(); ++g)
    for (const std::string& format : formats) {
      if (!suits(groups_[g], format)) continue;
      auto item = precision_override(groups_[g], Node::of(format));
      if (!item) return fail(item.error());
      candidates_.push_back({g, format, std::move(*item)});
    }
  now_.assign(groups_.size(), nullptr);
  return {};
}

/// Time and error of the baseline, and of each candidate alone.
Result<void> Finder::weigh() {
  std::vector<kernels::ErrorVariant> variants;
  std::optional<models::ModelConfig> model;
  for (std::size_t i = 0; i <= candidates_.size(); ++i) {
    const auto run = read_variant(catalog_, i == 0 ? baseline_ : with({&candidates_[i - 1]}));
    if (!run) return fail(run.error());
    const auto predicted = estimate(*run);
    if (!predicted) return fail(predicted.error());
    if (i == 0) seconds_ = predicted->total.time.value, model = run->model;
    else candidates_[i - 1].saved = seconds_ - predicted->total.time.value;
    variants.push_back({i == 0 ? baseline_.name : candidates_[i - 1].format, run->precision, run->sparsity, std::nullopt});
  }
  const auto measured = kernels::measure_errors(*model, variants, options_);
  if (!measured) return fail(measured.error());
  auto squared = [&](std::size_t i) { return (*measured)[i].relative_error * (*measured)[i].relative_error; };
  error2_ = squared(0);
  for (std::size_t i = 0; i < candidates_.size(); ++i) candidates_[i].error2 = squared(i + 1) - error2_;
  return {};
}

/// The change that saves most for the error it adds, within what the budget leaves; null if none saves time worth it.
const Candidate* Finder::best_change() const {
  double used = error2_;
  for (const Candidate* c : now_) used += c ? c->error2 : 0;
  const Candidate* best = nullptr;
  double most = 0;
  for (const Candidate& c : candidates_) {
    const Candidate* current = now_[c.group];
    const double saved = c.saved - (current ? current->saved : 0), added = c.error2 - (current ? current->error2 : 0);
    if (saved < least_saved * seconds_ || used + added > search_.budget * search_.budget) continue;
    const double worth = added > 0 ? saved / added : std::numeric_limits<double>::infinity();
    if (!best || worth > most) best = &c, most = worth;
  }
  return best;
}

Result<double> Finder::executed(const std::vector<const Candidate*>& chosen) const {
  const auto run = read_variant(catalog_, with(chosen));
  if (!run) return fail(run.error());
  const auto report = kernels::measure_error(run->model, {"found", run->precision, run->sparsity, std::nullopt}, options_);
  if (!report) return fail(report.error());
  return report->relative_error;
}

Result<FoundFormats> Finder::find(Node& precision) {
  if (auto listed = list(); !listed) return fail(listed.error());
  if (auto weighed = weigh(); !weighed) return fail(weighed.error());
  if (std::sqrt(error2_) > search_.budget)
    return fail({{}, fmt::format("the baseline itself has an error of {:.3g}, above the budget of {:.3g}", std::sqrt(error2_), search_.budget), "a larger budget, or a baseline in wider formats", Fault::usage});
  FoundFormats found{.budget = search_.budget};
  for (const Candidate& c : candidates_) found.considered.push_back(choice(c));
  std::vector<std::vector<const Candidate*>> history{now_};
  while (const Candidate* change = best_change()) {
    now_[change->group] = change;
    history.push_back(now_);
    found.choices.push_back(choice(*change));
  }
  while (true) {
    const auto error = executed(history.back());
    if (!error) return fail(error.error());
    found.error = *error;
    if (*error <= search_.budget || history.size() == 1) break;
    history.pop_back();
    found.choices.pop_back();
    ++found.taken_back;
  }
  precision = *with(history.back()).run.find("precision");
  found.precision = to_json(precision, -1);
  return found;
}

}  // namespace

Result<FoundFormats> search_formats(const Catalog& catalog, const Variant& baseline, const FormatSearch& search, const kernels::ErrorOptions& options, Node& precision) {
  return Finder(catalog, baseline, search, options).find(precision);
}

}  // namespace gambrel::sim

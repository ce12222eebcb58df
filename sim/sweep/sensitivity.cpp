#include "sim/sweep/sensitivity.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <optional>

#include "base/path.hpp"
#include "base/text.hpp"
#include "sim/predict.hpp"
#include "sim/sweep/inputs.hpp"
#include "sim/sweep/sweep_parts.hpp"

namespace gambrel::sim {
namespace {

constexpr double nudge = 0.01;      ///< of an input, either way
constexpr double negligible = 1e-4;  ///< per cent of an objective for one of the input

struct Input {
  std::string path, value;
};

/// A design, and the same with further settings.
class Design {
 public:
  Design(const SweepParts& parts, std::span<const std::uint32_t> coordinates) : parts_(parts), coordinates_(coordinates.begin(), coordinates.end()), judge_(parts) {}

  std::vector<Setting> settings(std::size_t workload, const std::vector<Setting>& further) const {
    std::vector<Setting> all = parts_.settings_at(workload, coordinates_);
    all.insert(all.end(), further.begin(), further.end());
    return all;
  }

  Result<Estimate> estimated(std::size_t workload, const std::vector<Setting>& further) const {
    return read_run(parts_.catalog, parts_.file.run, settings(workload, further)).and_then([](const Run& run) { return estimate(run); });
  }

  /// Objectives with these settings; nothing if there is no such design. What no constraint allows is a design here.
  std::optional<std::vector<double>> objectives(const std::vector<Setting>& further) {
    std::vector<Figures> figures;
    for (std::size_t w = 0; w < parts_.workload_count(); ++w) {
      const auto run = read_run(parts_.catalog, parts_.file.run, settings(w, further));
      const auto estimated = run ? estimate(*run) : Result<Estimate>(tl::unexpected(run.error()));
      if (!estimated) return std::nullopt;
      figures.push_back(figures_of(measures_of(*run, *estimated, parts_.bounds), measures_of(run->system.chip(), parts_.technology)));
    }
    PointResult point;
    judge_.judge(figures, coordinates_, point);
    if (point.figures.empty()) return std::nullopt;
    std::vector<double> values;
    for (const Objective& objective : parts_.objectives) values.push_back(point.figures[objective.figure]);
    return values;
  }

  const SweepParts& parts() const { return parts_; }

 private:
  const SweepParts& parts_;
  std::vector<std::uint32_t> coordinates_;
  Judge judge_;
};

bool is_quantity(const Node& node) { return node.is_number() || (node.is_string() && !node.text.empty() && (node.text[0] == '.' || (node.text[0] >= '0' && node.text[0] <= '9')) && node.text.find(' ') != std::string::npos); }

std::string as_key(const std::string& key) { return key.find_first_of(".:") == std::string::npos ? key : "\"" + key + "\""; }

void collect(const Node& node, const std::string& path, std::vector<Input>& inputs) {
  if (is_quantity(node)) inputs.push_back({path, node.text});
  for (const Member& m : node.members) collect(m.value, path + "." + as_key(m.key), inputs);
  for (const Node& item : node.items)
    if (const std::string name = item.text_or("level", ""); !name.empty()) collect(item, path + "." + as_key(name), inputs);
}

/// Numbers of the sections that say what a machine can do, not what it is called or costs.
Result<std::vector<Input>> inputs_of(const Design& design, std::size_t workload) {
  const SweepParts& parts = design.parts();
  auto set = set_run(parts.file.run, design.settings(workload, {}));
  if (!set) return fail(set.error());
  auto machine = machine_documents(parts.catalog, set->document, set->settings);
  if (!machine) return fail(machine.error());
  for (const Setting& s : set->settings)
    if (s.path.starts_with("chip."))
      if (auto laid = set_path(machine->chips.front(), std::string_view(s.path).substr(5), s.value, s.from); !laid) return fail(laid.error());
  std::vector<Input> inputs;
  for (const char* section : {"hierarchy", "cores", "compute", "memory", "link"})
    if (const Node* node = machine->chips.front().find(section)) collect(*node, fmt::format("chip.{}", section), inputs);
  if (const Node* network = machine->system.find("network")) collect(*network, "system.network", inputs);
  if (const Node* workload_node = set->document.find("workload")) collect(*workload_node, "workload", inputs);
  std::erase_if(inputs, [](const Input& input) { return input.path.ends_with(".size") || input.path.find(".sparsity.") != std::string::npos; });
  return inputs;
}

Setting setting(const std::string& path, std::string value) { return {path, std::move(value), {}}; }

struct Nudged {
  std::string text;
  double ratio = 1;  ///< over the value as it is
};

/// The value a little changed: whole numbers by at least one. Nothing: it would be zero.
std::optional<Nudged> nudged(const Input& input, int direction) {
  const auto whole = is_decimal(input.value) ? decimal_value(input.value) : std::nullopt;
  const double ratio = 1 + direction * nudge;
  if (!whole || *whole != std::floor(*whole)) return Nudged{fmt::format("{}x", ratio), ratio};
  const double moved = *whole + direction * std::max(1.0, std::round(*whole * nudge));
  if (moved < 1) return std::nullopt;
  return Nudged{shortest(moved), moved / *whole};
}

std::optional<InputEffect> effect_of(Design& design, const Input& input, const std::vector<double>& now) {
  InputEffect effect{.path = input.path, .value = input.value, .percent = std::vector<double>(now.size())};
  double low = 1, high = 1;
  std::vector<double> below = now, above = now;
  for (int direction : {-1, 1}) {
    const auto moved = nudged(input, direction);
    const auto values = moved ? design.objectives({setting(input.path, moved->text)}) : std::nullopt;
    if (!values) continue;
    (direction < 0 ? low : high) = moved->ratio;
    (direction < 0 ? below : above) = *values;
  }
  if (low == high) return std::nullopt;
  double largest = 0;
  for (std::size_t i = 0; i < now.size(); ++i) {
    effect.percent[i] = now[i] != 0 ? (above[i] - below[i]) / now[i] / (high - low) : 0;
    if (!std::isfinite(effect.percent[i])) effect.percent[i] = 0;
    largest = std::max(largest, std::abs(effect.percent[i]));
  }
  if (largest < negligible) return std::nullopt;
  return effect;
}

double largest(const InputEffect& effect) {
  double most = 0;
  for (double percent : effect.percent) most = std::max(most, std::abs(percent));
  return most;
}

/// Paths whose growth would relieve a bound.
std::vector<std::string> resources_of(const std::string& bound, const std::vector<Input>& inputs) {
  std::vector<std::string> paths;
  for (const Input& input : inputs) {
    const bool memory = input.path == fmt::format("chip.memory.{}.bandwidth", as_key(bound));
    const bool network = bound == "network" && input.path.starts_with("system.network.") && input.path.ends_with(".bandwidth");
    const bool compute = bound == "compute" && (input.path.find(".peak.") != std::string::npos || input.path.find(".flops_per_cycle.") != std::string::npos);
    if (memory || network || compute) paths.push_back(input.path);
  }
  return paths;
}

/// The smallest factor, to a thousandth, by which the resources must grow for another bound to hold most of the time.
Result<BoundStep> bound_step(const Design& design, std::size_t workload, const std::vector<Input>& inputs) {
  const auto now = design.estimated(workload, {});
  if (!now) return fail(now.error());
  BoundStep step{.bound = now->total.bound, .share = now->total.bound_share, .resources = resources_of(now->total.bound, inputs), .next = {}};
  const auto grown = [&](double factor) {
    std::vector<Setting> further;
    for (const std::string& path : step.resources) further.push_back(setting(path, fmt::format("{}x", factor)));
    return design.estimated(workload, further);
  };
  const auto relieved = [&](double factor) {
    const auto then = grown(factor);
    return then && then->total.bound != step.bound;
  };
  if (step.resources.empty() || !relieved(largest_factor)) return step;
  double low = 1, high = largest_factor;
  while (high / low > 1.001) {
    const double middle = std::sqrt(low * high);
    (relieved(middle) ? high : low) = middle;
  }
  step.factor = high;
  const auto then = grown(high);
  step.next = then->total.bound;
  step.time_ratio = then->total.time / now->total.time;
  return step;
}

}  // namespace

Result<Sensitivity> sensitivity(const RunSpace& space, std::span<const std::uint32_t> coordinates) {
  Design design(space.parts(), coordinates);
  Sensitivity result;
  std::vector<Input> all;
  for (std::size_t w = 0; w < space.parts().workload_count(); ++w) {
    const auto inputs = inputs_of(design, w);
    if (!inputs) return fail(inputs.error());
    auto step = bound_step(design, w, *inputs);
    if (!step) return fail(step.error());
    result.bounds.push_back(std::move(*step));
    if (w == 0) all = *inputs;
  }
  if (space.parts().workload_count() > 1) std::erase_if(all, [](const Input& input) { return input.path.starts_with("workload"); });
  const auto now = design.objectives({});
  if (!now) return fail(Diagnostic{{}, "the design does not fit into its memory: nothing to vary", "another design"});
  for (const Input& input : all)
    if (auto effect = effect_of(design, input, *now)) result.effects.push_back(std::move(*effect));
  std::ranges::stable_sort(result.effects, std::greater<>(), largest);
  return result;
}

}  // namespace gambrel::sim

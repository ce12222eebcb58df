// Sweep documents -> axes, the run they vary, and what is wanted of it.
#include "sim/sweep/read_sweep.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <filesystem>
#include <limits>

#include "base/load.hpp"
#include "base/path.hpp"
#include "base/schema.hpp"
#include "base/text.hpp"

namespace gambrel::sim {
namespace {

constexpr std::string_view own_keys[] = {"zip", "workloads", "aggregate", "constraints", "objectives", "derived", "search", "keep"};
/// What a run named in `workloads` brings; machine, name and the rest stay the sweep's.
constexpr std::string_view workload_keys[] = {"model", "workload", "precision", "sparsity", "fusion", "plan", "assume", "overhead"};

bool is_own(std::string_view key) { return std::ranges::count(own_keys, key) > 0; }
bool is_axis(const Node& node) { return node.is_mapping() && node.members.size() == 1 && node.members.front().key == "sweep"; }
bool of_part(std::string_view path) { return path.starts_with("chip.") || path.starts_with("system.") || path.starts_with("model."); }
bool is_relative(std::string_view text) { return text.ends_with('x') && is_decimal(text.substr(0, text.size() - 1)); }

std::string as_key(const std::string& key) { return key.find_first_of(".:") == std::string::npos ? key : "\"" + key + "\""; }

bool holds_axis(const Node& node) {
  if (is_axis(node)) return true;
  return std::ranges::any_of(node.members, [](const Member& m) { return holds_axis(m.value); }) || std::ranges::any_of(node.items, holds_axis);
}

Result<Node> parsed(const std::string& text, const Position& at) {
  auto node = parse_yaml(text, "value");
  if (!node) return fail({at, fmt::format("'{}' is no value: {}", excerpt(text), node.error().front().message), node.error().front().hint});
  node->at = at;
  return node;
}

/// Takes the axes out of a run document.
class AxisTaker {
 public:
  explicit AxisTaker(SweepFile& file) : file_(file) {}

  Result<void> take(Node& run) {
    for (Member& m : run.members) {
      if (is_own(m.key) || m.key == "set") continue;
      if (auto taken = take(m.value, as_key(m.key), m.key_at); !taken) return taken;
    }
    Node* set = run.find("set");
    return set ? take_settings(*set) : Result<void>{};
  }

 private:
  Result<void> add(const std::string& path, const Position& at, const Node& sweep) {
    auto values = axis_values(*sweep.find("sweep"));
    if (!values) return fail(values.error());
    SweepAxis axis{.paths = {path}, .values = {}, .at = {at}};
    std::vector<std::vector<Position>> positions;
    for (std::size_t i = 0; i < values->texts.size(); ++i) axis.values.push_back({values->texts[i]}), positions.push_back({values->at[i]});
    file_.axes.push_back(std::move(axis));
    file_.values_at.push_back(std::move(positions));
    return {};
  }

  /// An axis leaves its first value behind.
  Result<void> take(Node& node, const std::string& path, const Position& at) {
    if (is_axis(node)) {
      if (auto added = add(path, at, node); !added) return added;
      const SweepAxis& axis = file_.axes.back();
      for (std::size_t i = 0; i < axis.size(); ++i)
        if (is_relative(axis.values[i][0]))
          return fail({file_.values_at.back()[i][0], fmt::format("'{}' is relative, but nothing stands at {} that it could multiply", axis.values[i][0], path), "relative values vary keys of chip, system and model, under `set:`"});
      auto first = parsed(axis.values.front()[0], file_.values_at.back().front()[0]);
      if (!first) return fail(first.error());
      node = std::move(*first);
      return {};
    }
    for (Member& m : node.members)
      if (auto taken = take(m.value, path + "." + as_key(m.key), m.key_at); !taken) return taken;
    for (std::size_t i = 0; i < node.items.size(); ++i) {
      const std::string name = node.items[i].text_or("level", node.items[i].text_or("name", std::to_string(i)));
      if (auto taken = take(node.items[i], path + "." + as_key(name), node.items[i].at); !taken) return taken;
    }
    return {};
  }

  Result<void> take_settings(Node& set) {
    std::vector<std::string> taken;
    for (const Member& m : set.members) {
      if (!is_axis(m.value)) continue;
      if (auto added = add(m.key, m.key_at, m.value); !added) return added;
      taken.push_back(m.key);
    }
    for (const std::string& key : taken) set.erase(key);
    return {};
  }

  SweepFile& file_;
};

/// Index of the axis with that path; as many as there are axes if none has it.
std::size_t axis_of(const SweepFile& file, const std::string& path) {
  return static_cast<std::size_t>(std::ranges::find_if(file.axes, [&](const SweepAxis& a) { return a.paths.size() == 1 && a.paths[0] == path; }) - file.axes.begin());
}

Result<void> zip_one(SweepFile& file, const Node& paths) {
  std::vector<std::size_t> joined;
  for (const Node& path : paths.items) {
    const std::size_t axis = axis_of(file, path.text);
    if (axis == file.axes.size()) {
      std::vector<std::string> names;
      for (const SweepAxis& a : file.axes) names.insert(names.end(), a.paths.begin(), a.paths.end());
      const bool zipped = std::ranges::count(names, path.text) > 0;
      const std::string near = nearest(path.text, names);
      return fail({path.at, zipped ? fmt::format("'{}' is zipped twice", path.text) : fmt::format("'{}' is not swept", excerpt(path.text)), near.empty() || zipped ? fmt::format("axes are {}", fmt::join(names, ", ")) : fmt::format("did you mean '{}'?", near)});
    }
    joined.push_back(axis);
  }
  const std::size_t first = *std::ranges::min_element(joined);
  for (std::size_t i = 0; i < joined.size(); ++i)
    if (file.axes[joined[i]].size() != file.axes[joined[0]].size())
      return fail({paths.items[i].at, fmt::format("'{}' has {} values, '{}' {}", paths.items[i].text, file.axes[joined[i]].size(), paths.items[0].text, file.axes[joined[0]].size()), "zipped axes take their i-th values together"});
  SweepAxis one{.paths = {}, .values = std::vector<std::vector<std::string>>(file.axes[first].size()), .at = {}};
  std::vector<std::vector<Position>> at(one.values.size());
  for (std::size_t axis : joined) {
    one.paths.push_back(file.axes[axis].paths[0]);
    one.at.push_back(file.axes[axis].at[0]);
    for (std::size_t v = 0; v < at.size(); ++v) one.values[v].push_back(file.axes[axis].values[v][0]), at[v].push_back(file.values_at[axis][v][0]);
  }
  std::ranges::sort(joined, std::greater<>());
  for (std::size_t axis : joined) {
    file.axes.erase(file.axes.begin() + static_cast<std::ptrdiff_t>(axis));
    file.values_at.erase(file.values_at.begin() + static_cast<std::ptrdiff_t>(axis));
  }
  file.axes.insert(file.axes.begin() + static_cast<std::ptrdiff_t>(first), std::move(one));
  file.values_at.insert(file.values_at.begin() + static_cast<std::ptrdiff_t>(first), std::move(at));
  return {};
}

Result<void> read_zip(const Node& document, SweepFile& file) {
  if (const Node* zip = document.find("zip"))
    for (const Node& paths : zip->items)
      if (auto zipped = zip_one(file, paths); !zipped) return zipped;
  double points = 1;
  for (const SweepAxis& axis : file.axes) points *= static_cast<double>(axis.size());
  if (points >= 9.2e18) return fail({document.at, fmt::format("the sweep has {:.3g} points", points), "at most 2^63"});
  return {};
}

/// Keys of a workload laid over the sweep's run, each as a whole.
Result<void> lay_over(const Node& part, bool of_run, WeightedWorkload& workload) {
  for (const Member& m : part.members) {
    if (!std::ranges::count(workload_keys, m.key)) continue;
    if (holds_axis(m.value)) return fail({m.key_at, "a workload of several has no axes of its own", "sweep the key outside `workloads:`: it then holds for all of them"});
    const bool tree = m.value.is_mapping() || m.value.is_sequence();
    const std::string text = tree ? to_json(m.value, -1) : m.value.text;
    const auto known = std::ranges::find(workload.settings, m.key, &Setting::path);
    if (known != workload.settings.end()) *known = {m.key, text, m.value.at};
    else workload.settings.push_back({m.key, text, of_run ? part.at : m.value.at});
  }
  return {};
}

Result<void> read_workloads(const Catalog& catalog, const Node& document, SweepFile& file) {
  file.aggregate = document.text_or("aggregate", "geomean") == "worst" ? Aggregate::worst : Aggregate::geomean;
  const Node* list = document.find("workloads");
  if (!list) return {};
  for (const Node& item : list->items) {
    WeightedWorkload workload{.name = item.text_or("name", ""), .weight = item.number_or("weight", 1), .settings = {}};
    if (const Node* run = item.find("run")) {
      auto loaded = catalog.load("runs", run->text, run->at);
      if (!loaded) return fail(loaded.error());
      if (workload.name.empty()) workload.name = run->text;
      if (auto laid = lay_over(*loaded, true, workload); !laid) return laid;
    }
    if (auto laid = lay_over(item, false, workload); !laid) return laid;
    if (workload.name.empty()) workload.name = fmt::format("workload {}", file.workloads.size() + 1);
    file.workloads.push_back(std::move(workload));
  }
  return {};
}

void read_wishes(const Node& document, SweepFile& file) {
  if (const Node* list = document.find("constraints"))
    for (const Node& item : list->items) file.constraints.push_back({"", item.text, item.at});
  if (const Node* map = document.find("derived"))
    for (const Member& m : map->members) file.derived.push_back({m.key, m.value.text, m.value.at});
  if (const Node* list = document.find("objectives"))
    for (const Node& item : list->items) file.objectives.push_back({item.members.front().value.text, item.members.front().key == "maximise", item.members.front().value.at});
  if (file.objectives.empty()) file.objectives.push_back({"time_s", false, document.at});
  file.keep = document.text_or("keep", "");
  const Node* search = document.find("search");
  if (!search) return;
  if (search->is_string()) file.search.kind = search->text;
  file.search.kind = search->text_or("kind", file.search.kind);
  file.search.points = static_cast<std::uint64_t>(search->number_or("points", 0));
  file.search.seed = static_cast<std::uint64_t>(search->number_or("seed", 1));
}

/// Keys of chip, system and model go under `set:`, so that they may be axes as well; the others into the document.
Result<void> lay_settings(Node& document, const std::vector<Setting>& settings, SweepFile& file) {
  for (const Setting& s : settings) {
    if (const auto value = parse_yaml(s.value, "value"); !(value && holds_axis(*value)) && !is_own(s.path.substr(0, s.path.find('.')))) file.settings.push_back(s);
    if (!of_part(s.path)) {
      if (auto done = set_path(document, s.path, s.value, s.from); !done) return done;
      continue;
    }
    auto value = parsed(s.value, s.from);
    if (!value) return fail(value.error());
    if (!document.find("set")) document.set("set", Node::mapping());
    Node& placed = document.find("set")->set(s.path, std::move(*value));
    placed.at = s.from;
  }
  return {};
}

void forget_own_keys(Node& document) {
  for (std::string_view key : own_keys) document.erase(key);
}

}  // namespace

bool is_sweep(const Node& document) {
  return std::ranges::any_of(document.members, [](const Member& m) { return is_own(m.key) || holds_axis(m.value); });
}

Result<Node> run_of_sweep(Node document) {
  SweepFile file;
  if (auto taken = AxisTaker(file).take(document); !taken) return fail(taken.error());
  forget_own_keys(document);
  return document;
}

Result<SweepFile> read_sweep(const Catalog& catalog, Node document, const std::vector<Setting>& settings) {
  SweepFile file;
  file.file = document.at.source ? document.at.source->name : "";
  if (auto laid = lay_settings(document, settings, file); !laid) return fail(laid.error());
  if (Diagnostics problems = validate(document, "sweep"); !problems.empty()) return fail(problems);
  file.name = document.text_or("run", std::filesystem::path(file.file).stem().string());
  if (auto taken = AxisTaker(file).take(document); !taken) return fail(taken.error());
  if (auto zipped = read_zip(document, file); !zipped) return fail(zipped.error());
  if (auto read = read_workloads(catalog, document, file); !read) return fail(read.error());
  read_wishes(document, file);
  forget_own_keys(document);
  file.run = std::move(document);
  return file;
}

}  // namespace gambrel::sim

// What identifies a design and how to compute it alone; opening lies in open_space.cpp.
#include "sim/sweep/run_space.hpp"

#include <fmt/format.h>
#include <xxhash.h>

#include <algorithm>

#include "base/load.hpp"
#include "sim/sweep/inputs.hpp"
#include "sim/sweep/sweep_parts.hpp"

namespace gambrel::sim {
namespace {

std::string hash_of(std::string_view text) {
  const XXH128_hash_t h = XXH3_128bits(text.data(), text.size());
  return fmt::format("{:016x}{:016x}", h.high64, h.low64);
}

/// "workload.batch=32" for every scalar below.
void flatten(const Node& node, const std::string& path, std::vector<std::pair<std::string, std::string>>& lines) {
  for (const Member& m : node.members) flatten(m.value, path.empty() ? m.key : path + "." + m.key, lines);
  for (std::size_t i = 0; i < node.items.size(); ++i) flatten(node.items[i], fmt::format("{}.{}", path, node.items[i].text_or("level", node.items[i].text_or("name", std::to_string(i)))), lines);
  if (!node.is_mapping() && !node.is_sequence()) lines.emplace_back(path, node.text);
}

bool within(std::string_view path, std::string_view outer) { return path == outer || (path.starts_with(outer) && path.size() > outer.size() && path[outer.size()] == '.'); }

std::string shell_quoted(const std::string& text) {
  constexpr std::string_view plain = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_./:=+-,@%";
  if (!text.empty() && text.find_first_not_of(plain) == std::string::npos) return text;
  std::string out = "'";
  for (char c : text) out += c == '\'' ? std::string("'\\''") : std::string(1, c);
  return out + "'";
}

std::string text_of(const MachineDocuments& machine) {
  std::string text = to_json(machine.system, -1);
  for (const Node& chip : machine.chips) text += to_json(chip, -1);
  return text;
}

}  // namespace

const std::vector<SweepAxis>& RunSpace::axes() const { return parts_->file.axes; }
const std::vector<FigureColumn>& RunSpace::columns() const { return parts_->columns; }
const std::vector<Objective>& RunSpace::objectives() const { return parts_->objectives; }
const SweepFile& RunSpace::file() const { return parts_->file; }
const BoundNames& RunSpace::bounds() const { return parts_->bounds; }
const std::string& RunSpace::config_hash() const { return parts_->config_hash; }
std::string RunSpace::message(std::uint32_t number) const { return parts_->messages.text(number); }
std::unique_ptr<PointEvaluator> RunSpace::evaluator() const { return fast_evaluator(parts_); }
std::unique_ptr<PointEvaluator> RunSpace::reference_evaluator() const { return sim::reference_evaluator(parts_); }

std::vector<std::string> RunSpace::constraints() const {
  std::vector<std::string> texts;
  for (const ExpressionText& one : parts_->file.constraints) texts.push_back(one.text);
  return texts;
}

std::string RunSpace::canonical(std::span<const std::uint32_t> coordinates) const {
  std::string text;
  for (const Line& line : lines_) {
    text += line.front;
    if (line.axis == no_axis) continue;
    const std::uint32_t value = coordinates[line.axis];
    text += line.texts.empty() ? parts_->file.axes[line.axis].values[value][line.path] : line.texts[value];
    text += '\n';
  }
  return text;
}

std::string RunSpace::command(std::span<const std::uint32_t> coordinates) const {
  std::string all;
  for (std::size_t w = 0; w < parts_->workload_count(); ++w) {
    std::vector<Setting> settings = parts_->file.settings, own = parts_->settings_at(w, coordinates);
    settings.insert(settings.end(), own.begin(), own.end());
    all += fmt::format("{}gambrel estimate {}", w ? " && " : "", shell_quoted(parts_->file.file));
    for (const Setting& s : settings) all += " --set " + shell_quoted(s.path + "=" + s.value);
  }
  return all;
}

/// A line with the hash of the files that `model` or `system` names, for each value of its axis.
Result<void> RunSpace::hash_files(std::string_view key, std::string& all) {
  const SweepFile& file = parts_->file;
  const auto hash = [&](const std::string& name, const Position& at) -> Result<std::string> {
    Node run = file.run;
    run.set(key, Node::of(std::string_view(name))).at = at;
    if (key == "model") return load_model_document(parts_->catalog, name, at).transform([](const Node& model) { return hash_of(to_json(model, -1)); });
    return machine_documents(parts_->catalog, run, {}).transform([](const MachineDocuments& machine) { return hash_of(text_of(machine)); });
  };
  for (std::size_t a = 0; a < file.axes.size(); ++a) {
    const auto found = std::ranges::find(file.axes[a].paths, key);
    if (found == file.axes[a].paths.end()) continue;
    const auto path = static_cast<std::size_t>(found - file.axes[a].paths.begin());
    Line line{.front = fmt::format("@{}=", key), .axis = a, .path = path, .texts = {}};
    for (std::size_t v = 0; v < file.axes[a].size(); ++v) {
      auto one = hash(file.axes[a].values[v][path], file.values_at[a][v][path]);
      if (!one) return fail(one.error());
      all += *one;
      line.texts.push_back(std::move(*one));
    }
    lines_.push_back(std::move(line));
    return {};
  }
  const Node* name = file.run.find(key);
  if (!name) return {};
  auto one = hash(name->text, name->at);
  if (!one) return fail(one.error());
  all += *one;
  lines_.push_back({.front = fmt::format("@{}={}\n", key, *one), .axis = no_axis, .path = 0, .texts = {}});
  return {};
}

Result<void> RunSpace::prepare_canonical() {
  const SweepFile& file = parts_->file;
  std::vector<std::pair<std::string, std::string>> fixed;
  for (const Member& m : file.run.members) {
    if (m.key == "run" || m.key == "notes" || m.key == "set") continue;
    flatten(m.value, m.key, fixed);
  }
  if (const Node* set = file.run.find("set"))
    for (const Member& m : set->members) fixed.emplace_back(m.key, m.value.text);
  for (const WeightedWorkload& workload : file.workloads)
    for (const Setting& s : workload.settings) fixed.emplace_back(fmt::format("#{}.{}", &workload - file.workloads.data(), s.path), fmt::format("{} x {}", s.value, workload.weight));
  for (std::size_t a = 0; a < file.axes.size(); ++a)
    for (std::size_t p = 0; p < file.axes[a].paths.size(); ++p) {
      const std::string& path = file.axes[a].paths[p];
      std::erase_if(fixed, [&](const auto& line) { return within(line.first, path); });
      lines_.push_back({.front = path + "=", .axis = a, .path = p, .texts = {}});
    }
  for (const auto& [path, value] : fixed) lines_.push_back({.front = fmt::format("{}={}\n", path, value), .axis = no_axis, .path = 0, .texts = {}});
  std::string all;
  for (std::string_view key : {"model", "system"})
    if (auto hashed = hash_files(key, all); !hashed) return hashed;
  std::string around = file.workloads.empty() ? "" : std::string(file.aggregate == Aggregate::worst ? "worst" : "geomean");
  for (std::string_view folder : {"calibrations", "technology"})
    for (const std::string& name : parts_->catalog.names(folder))
      if (const auto document = parts_->catalog.load(folder, name)) around += to_json(*document, -1);
  lines_.push_back({.front = fmt::format("@around={}\n", hash_of(around)), .axis = no_axis, .path = 0, .texts = {}});
  std::ranges::sort(lines_, {}, &Line::front);
  parts_->config_hash = hash_of(to_json(file.run, -1) + all + around);
  return {};
}

}  // namespace gambrel::sim

#include "sim/sweep/inputs.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>

#include "base/path.hpp"
#include "base/text.hpp"
#include "hw/system.hpp"

namespace gambrel::sim {
namespace {

constexpr std::string_view roots[] = {"chip", "system", "model", "chips", "workload", "plan", "precision", "sparsity", "fusion", "overhead", "reliability", "assume"};

bool of_part(std::string_view path) { return path.starts_with("chip.") || path.starts_with("system.") || path.starts_with("model."); }

Result<void> lay(Node& document, const std::vector<Setting>& settings, std::string_view prefix) {
  for (const Setting& s : settings) {
    if (prefix.empty() ? of_part(s.path) : !s.path.starts_with(prefix)) continue;
    if (auto done = set_path(document, std::string_view(s.path).substr(prefix.size()), s.value, s.from); !done) return done;
  }
  return {};
}

std::string as_key(const std::string& key) { return key.find_first_of(".:") == std::string::npos ? key : "\"" + key + "\""; }

std::vector<std::string> keys_of(const Node& node) {
  std::vector<std::string> keys;
  for (const Member& m : node.members) keys.push_back(m.key);
  for (std::size_t i = 0; i < node.items.size(); ++i) keys.push_back(node.items[i].text_or("level", node.items[i].text_or("name", std::to_string(i))));
  return keys;
}

/// The first key of the path that is not there, with what is.
tl::unexpected<Diagnostics> not_there(const Node& document, std::string_view path, std::string_view inside, const Position& from) {
  const Node* node = &document;
  std::string way;
  for (const std::string& key : split_path(inside)) {
    way += (way.empty() ? "" : ".") + as_key(key);
    const Node* next = find_path(document, way);
    if (!next) {
      const std::string near = nearest(key, keys_of(*node));
      return fail({from, fmt::format("'{}': there is no '{}'", excerpt(path), excerpt(key)), near.empty() ? fmt::format("there is: {}", fmt::join(keys_of(*node), ", ")) : fmt::format("did you mean '{}'?", near)});
    }
    node = next;
  }
  return fail({from, fmt::format("'{}' is not a path", excerpt(path)), "keys joined by dots: chip.memory.HBM.capacity"});
}

Result<InputValue> value_of(const Node& node, std::string_view path, const Position& from) {
  if (node.is_number()) return InputValue{node.number, {}};
  if (node.is_boolean()) return InputValue{node.boolean ? 1.0 : 0.0, {}};
  std::size_t length = std::min(node.text.find_first_not_of("0123456789.+-eE"), node.text.size());
  while (length > 0 && !is_decimal(std::string_view(node.text).substr(0, length))) --length;
  const std::size_t unit = node.text.find_first_not_of(' ', length);
  if (node.is_string() && length > 0 && unit != std::string::npos)
    if (const auto dimension = parse_dimension(std::string_view(node.text).substr(unit)))
      if (const auto value = parse_quantity(node.text, *dimension)) return InputValue{*value, *dimension};
  return fail({from, fmt::format("'{}' is {}, no number", excerpt(path), node.is_string() ? fmt::format("'{}'", excerpt(node.text)) : std::string(describe(node.kind))), "expressions take numbers and quantities"});
}

bool is_chip(const Node& document) { return document.find("memory") || document.find("compute"); }

Result<Node> machine_document(const Catalog& catalog, const Node& name) {
  for (std::string_view folder : {"systems", "chips"})
    if (catalog.has(folder, name.text)) return catalog.load(folder, name.text, name.at);
  auto as_chip = catalog.load("chips", name.text, name.at);
  return as_chip && is_chip(*as_chip) ? as_chip : catalog.load("systems", name.text, name.at);
}

Result<Node> document_of(const Catalog& catalog, const SetRun& run, std::string_view root, const Position& from) {
  if (root == "model") {
    const Node* name = run.document.find("model");
    auto model = load_model_document(catalog, name->text, name->at);
    if (model)
      if (auto laid = lay(*model, run.settings, "model."); !laid) return fail(laid.error());
    return model;
  }
  auto machine = machine_documents(catalog, run.document, run.settings);
  if (!machine) return fail(machine.error());
  if (root == "system") {
    if (machine->system.is_null()) return fail({from, fmt::format("'{}' is a single chip: there are no system.* keys", run.document.text_or("system", "")), "chip.* keys, or name a system"});
    return machine->system;
  }
  if (auto laid = lay(machine->chips.front(), run.settings, "chip."); !laid) return fail(laid.error());
  return machine->chips.front();
}

}  // namespace

bool is_input(std::string_view path) { return std::ranges::count(roots, path.substr(0, path.find('.'))) > 0; }

Result<SetRun> set_run(const Node& run, const std::vector<Setting>& settings) {
  SetRun result{run, {}};
  if (const Node* set = run.find("set"))
    for (const Member& m : set->members) result.settings.push_back({m.key, m.value.text, m.key_at});
  result.settings.insert(result.settings.end(), settings.begin(), settings.end());
  if (auto laid = lay(result.document, result.settings, ""); !laid) return fail(laid.error());
  return result;
}

Result<MachineDocuments> machine_documents(const Catalog& catalog, const Node& run, const std::vector<Setting>& settings) {
  const Node* name = run.find("system");
  if (!name || !name->is_string()) return fail({run.at, "the run names no system", "system: a name of `gambrel list systems` or `gambrel list chips`"});
  auto loaded = machine_document(catalog, *name);
  if (!loaded) return fail(loaded.error());
  MachineDocuments machine;
  if (is_chip(*loaded)) {
    machine.chips.push_back(std::move(*loaded));
    return machine;
  }
  machine.system = std::move(*loaded);
  if (auto laid = lay(machine.system, settings, "system."); !laid) return fail(laid.error());
  for (const hw::ChipReference& reference : hw::chips_of(machine.system)) {
    auto chip = catalog.load("chips", reference.chip, reference.at);
    if (!chip) return fail(chip.error());
    machine.chips.push_back(std::move(*chip));
  }
  if (machine.chips.empty()) return fail({machine.system.at, "the system names no chip", ""});
  return machine;
}

Result<InputValue> input_value(const Catalog& catalog, const Node& run, const std::vector<Setting>& settings, std::string_view path, const Position& from) {
  auto set = set_run(run, settings);
  if (!set) return fail(set.error());
  const std::string_view root = path.substr(0, path.find('.'));
  if (root != "chip" && root != "system" && root != "model") {
    const Node* node = find_path(set->document, path);
    return node ? value_of(*node, path, from) : not_there(set->document, path, path, from);
  }
  if (root.size() + 1 >= path.size()) return fail({from, fmt::format("'{}' is no key", excerpt(path)), "as in chip.memory.HBM.capacity"});
  auto document = document_of(catalog, *set, root, from);
  if (!document) return fail(document.error());
  const std::string_view inside = path.substr(root.size() + 1);
  const Node* node = find_path(*document, inside);
  return node ? value_of(*node, path, from) : not_there(*document, path, inside, from);
}

}  // namespace gambrel::sim

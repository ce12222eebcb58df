// Run documents -> Run. Loading and laying over here; the decoding of single sections below.
#include "sim/run.hpp"

#include <fmt/format.h>
#include <xxhash.h>

#include <filesystem>

#include "base/load.hpp"
#include "base/path.hpp"
#include "base/schema.hpp"
#include "hw/hypothetical.hpp"
#include "hw/technology.hpp"
#include "models/import_hf.hpp"
#include "sim/read_sections.hpp"

namespace gambrel::sim {
namespace {

/// The documents that settings reach, as they were loaded and as they are now.
struct Documents {
  Node run, model, system, technology;
  std::vector<Node> chips, chips_before;
};

bool starts_with(const std::string& path, std::string_view prefix) { return path.rfind(prefix, 0) == 0; }

Result<void> check(const Node& document, std::string_view schema) {
  if (Diagnostics problems = validate(document, schema); !problems.empty()) return fail(problems);
  return {};
}

std::vector<Setting> all_settings(const Node& run, const std::vector<Setting>& command_line) {
  std::vector<Setting> all;
  if (const Node* set = run.find("set"))
    for (const Member& m : set->members) all.push_back({m.key, m.value.text, m.key_at});
  all.insert(all.end(), command_line.begin(), command_line.end());
  return all;
}

/// `base:` and `set:` are resolved before settings are laid over: to set them would change nothing.
Result<void> refuse_resolved(const std::vector<Setting>& settings) {
  for (const Setting& s : settings) {
    const auto keys = split_path(s.path);
    const bool of_part = keys.size() > 1 && (keys[0] == "chip" || keys[0] == "system" || keys[0] == "model");
    const std::string key = keys.empty() ? "" : keys[of_part ? 1 : 0];
    if (key == "base" || (key == "set" && !of_part))
      return fail({s.from, fmt::format("'{}' comes too late: '{}' is resolved before anything is set", s.path, key), "set the keys themselves, or name another file: system=..., model=..."});
  }
  return {};
}

/// Settings under `prefix` ("chip.") laid over one document; "" takes those that have none of the three prefixes.
Result<void> apply(Node& document, const std::vector<Setting>& settings, std::string_view prefix) {
  for (const Setting& s : settings) {
    const bool elsewhere = starts_with(s.path, "chip.") || starts_with(s.path, "system.") || starts_with(s.path, "model.");
    if (prefix.empty() ? elsewhere : !starts_with(s.path, prefix)) continue;
    if (auto done = set_path(document, std::string_view(s.path).substr(prefix.size()), s.value, s.from); !done) return done;
  }
  return {};
}

/// hf_quant_config.json lies beside config.json, under the same leading name: X-config.json and X-hf_quant_config.json,
/// NAME.json and NAME.hf_quant_config.json.
Result<Node> sibling_quantization(const Node& config) {
  const std::string file = config.at.source ? config.at.source->name : "";
  for (std::string_view ending : {"config.json", "json"}) {
    if (!file.ends_with(ending)) continue;
    const std::filesystem::path sibling = file.substr(0, file.size() - ending.size()) + "hf_quant_config.json";
    std::error_code ignored;
    if (std::filesystem::is_regular_file(sibling, ignored)) return load_file(sibling);
  }
  return Node{};
}

std::string id_of(const Node& document) {
  const std::string file = document.at.source ? document.at.source->name : "";
  const std::filesystem::path path(file);
  const std::string stem = path.stem().string();
  return stem == "config" && path.has_parent_path() ? path.parent_path().filename().string() : stem;
}

Result<Node> lowered_model(Node document) {
  if (!models::is_hugging_face(document)) {
    if (!document.find("model")) document.set("model", Node::of(id_of(document)));
    return document;
  }
  auto quantization = sibling_quantization(document);
  if (!quantization) return quantization;
  return models::import_hugging_face(document, quantization->is_null() ? nullptr : &*quantization, id_of(document));
}

bool is_chip(const Node& document) { return document.find("memory") || document.find("compute"); }

/// A system or, failing that, a chip of that name; a path is whichever of the two the file is.
Result<Node> load_system_or_chip(const Catalog& catalog, const Node& name) {
  const bool path = name.text.find_first_of("/.") != std::string::npos && !catalog.has("chips", name.text) && !catalog.has("systems", name.text);
  if (path) {
    auto as_chip = catalog.load("chips", name.text, name.at);
    if (as_chip && is_chip(*as_chip)) return as_chip;
    return catalog.load("systems", name.text, name.at);
  }
  for (std::string_view folder : {"systems", "chips"})
    if (catalog.has(folder, name.text)) return catalog.load(folder, name.text, name.at);
  std::vector<std::string> names = catalog.names("systems"), chips = catalog.names("chips");
  names.insert(names.end(), chips.begin(), chips.end());
  const std::string near = nearest(name.text, names);
  return fail({name.at, fmt::format("no system or chip is named '{}'", name.text), near.empty() ? "`gambrel list systems` and `gambrel list chips` name them" : fmt::format("did you mean '{}'?", near)});
}

Result<void> load_chips(const Catalog& catalog, Documents& docs, const std::vector<Setting>& settings) {
  if (auto done = apply(docs.system, settings, "system."); !done) return done;
  if (auto valid = check(docs.system, "system"); !valid) return valid;
  for (const hw::ChipReference& reference : hw::chips_of(docs.system)) {
    auto chip = catalog.load("chips", reference.chip, reference.at);
    if (!chip) return fail(chip.error());
    docs.chips.push_back(*chip);
  }
  return {};
}

Result<void> load_machine(const Catalog& catalog, Documents& docs, const std::vector<Setting>& settings) {
  const Node& name = *docs.run.find("system");
  auto loaded = load_system_or_chip(catalog, name);
  if (!loaded) return fail(loaded.error());
  if (is_chip(*loaded)) {
    docs.chips = {*loaded};
    for (const Setting& s : settings)
      if (starts_with(s.path, "system."))
        return fail({s.from, fmt::format("'{}' names a system's key, but '{}' is a single chip", s.path, name.text), "set chip.* keys, or name a system"});
  } else {
    docs.system = *loaded;
    if (auto done = load_chips(catalog, docs, settings); !done) return done;
  }
  docs.chips_before = docs.chips;
  for (std::size_t i = 0; i < docs.chips.size(); ++i) {
    if (auto valid = check(docs.chips_before[i], "chip"); !valid) return valid;
    if (auto done = apply(docs.chips[i], settings, "chip."); !done) return done;
    if (auto valid = check(docs.chips[i], "chip"); !valid) return valid;
  }
  return {};
}

Result<hw::System> read_machine(const Documents& docs) {
  if (docs.system.is_null()) {
    auto chip = hw::read_chip(docs.chips.front(), docs.chips_before.front());
    if (!chip) return fail(chip.error());
    return hw::single_chip(std::move(*chip));
  }
  std::vector<hw::ChipDocuments> chips;
  for (std::size_t i = 0; i < docs.chips.size(); ++i) chips.push_back({&docs.chips[i], &docs.chips_before[i]});
  return hw::read_system(docs.system, chips);
}

/// Energies that the chips' files leave open; the notes are the first chip's.
Result<void> fill_energies(const Node& technology, Run& run) {
  if (technology.is_null()) return {};
  const auto table = hw::read_technology(technology);
  if (!table) return fail(table.error());
  for (std::size_t i = run.system.pools.size(); i-- > 0;) run.energy_notes = hw::fill_energy(run.system.pools[i].chip, *table);
  return {};
}

/// `hypothetical: true`: each chip's area, power and price scaled from what its own file states.
Result<void> cost_designs(const Documents& docs, Run& run) {
  const Node* key = docs.run.find("hypothetical");
  if (!key || !key->boolean) return {};
  const auto table = docs.technology.is_null() ? Result<hw::Technology>(hw::Technology{}) : hw::read_technology(docs.technology);
  if (!table) return fail(table.error());
  Documents stated = docs;
  stated.chips = docs.chips_before;
  auto before = read_machine(stated);
  if (!before) return fail(before.error());
  for (std::size_t i = 0; i < run.system.pools.size(); ++i) {
    hw::Chip& reference = before->pools[i].chip;
    if (docs.technology.is_null() || reference.process.value <= 0)
      return fail({key->at, fmt::format("{} states no process, so nobody can say what a change of its design costs", reference.id), "state `area: {process: 5 nm}` in the chip's file, or leave `hypothetical` out"});
    hw::fill_energy(reference, *table);
    hw::DesignCosts(reference, *table).apply(run.system.pools[i].chip);
  }
  run.energy_notes.push_back("a hypothetical chip: die area, power and price are scaled from the stated ones by the cost model");
  return {};
}

std::string hash_of(const Documents& docs) {
  std::string text = to_json(docs.run, -1) + to_json(docs.model, -1) + to_json(docs.system, -1) + to_json(docs.technology, -1);
  for (const Node& chip : docs.chips) text += to_json(chip, -1);
  const XXH128_hash_t h = XXH3_128bits(text.data(), text.size());
  return fmt::format("{:016x}{:016x}", h.high64, h.low64);
}

}  // namespace

Result<Node> load_model_document(const Catalog& catalog, std::string_view name_or_path, const Position& from) {
  auto document = catalog.load("models", name_or_path, from).and_then(lowered_model);
  if (!document) return document;
  if (auto valid = check(*document, "model"); !valid) return fail(valid.error());
  return document;
}

models::Step Run::step(double sequences, double new_tokens, double past_tokens) const {
  return {.sequences = sequences, .new_tokens = new_tokens, .past_tokens = past_tokens, .logits = workload.all_logits ? new_tokens : 1,
          .routing = workload.routing, .sparsity = sparsity, .data_sparsity = data_sparsity, .fused_attention = fused_attention, .fused_experts = fused_experts};
}

Result<Run> read_run(const Catalog& catalog, Node document, const std::vector<Setting>& command_line) {
  Documents docs;
  docs.run = std::move(document);
  if (const Node* baseline = docs.run.find("baseline")) return fail({baseline->at, "this is a comparison of runs", "gambrel compare reads it"});
  const std::vector<Setting> settings = all_settings(docs.run, command_line);
  if (auto done = refuse_resolved(settings); !done) return fail(done.error());
  if (auto done = apply(docs.run, settings, ""); !done) return fail(done.error());
  if (auto valid = check(docs.run, "run"); !valid) return fail(valid.error());

  auto model_document = load_model_document(catalog, docs.run.find("model")->text, docs.run.find("model")->at);
  if (!model_document) return fail(model_document.error());
  docs.model = std::move(*model_document);
  if (auto done = apply(docs.model, settings, "model."); !done) return fail(done.error());
  if (auto valid = check(docs.model, "model"); !valid) return fail(valid.error());
  if (auto done = load_machine(catalog, docs, settings); !done) return fail(done.error());

  Run run;
  auto model = models::read_model(docs.model);
  if (!model) return fail(model.error());
  run.model = std::move(*model);
  auto system = read_machine(docs);
  if (!system) return fail(system.error());
  run.system = std::move(*system);
  auto technology = hw::load_technology_document(catalog);
  if (!technology) return fail(technology.error());
  docs.technology = std::move(*technology);
  if (auto filled = fill_energies(docs.technology, run); !filled) return fail(filled.error());
  if (auto costed = cost_designs(docs, run); !costed) return fail(costed.error());
  run.id = docs.run.text_or("run", id_of(docs.run));
  if (auto sections = read_sections(docs.run, run); !sections) return fail(sections.error());
  if (run.calibrated) {
    auto book = CalibrationBook::load(catalog, run.system.chip(), run.system.id);
    if (!book) return fail(book.error());
    run.calibration = std::move(*book);
  }
  for (Run& pool : run.pools) {
    if (!pool.calibrated) continue;
    auto book = CalibrationBook::load(catalog, pool.system.chip());
    if (!book) return fail(book.error());
    pool.calibration = std::move(*book);
  }
  for (const Setting& s : settings) run.settings.emplace_back("set " + s.path, s.value);
  run.config_hash = hash_of(docs);
  return run;
}

}  // namespace gambrel::sim

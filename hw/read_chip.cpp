// From a chip's document to a Chip: everything but its memories and compute units, which have files of their own.
#include <fmt/format.h>

#include <algorithm>

#include "hw/decode.hpp"

namespace gambrel::hw {
namespace {

const Node& member_or_empty(const Node& node, std::string_view key) {
  static const Node empty = Node::mapping();
  const Node* member = node.find(key);
  return member && !member->is_null() ? *member : empty;
}

/// The item of a list that has that `level`, or an empty mapping.
const Node& member_or_empty_item(const Node& document, std::string_view list, std::string_view level) {
  static const Node empty = Node::mapping();
  const Node* item = item_of(document.find(list), level);
  return item ? *item : empty;
}

void refuse_twins(Decoder& decoder, const Node& list) {
  std::vector<std::string> seen;
  for (const Node& item : list.items) {
    const std::string name = item.text_or("level", "");
    if (std::find(seen.begin(), seen.end(), name) != seen.end())
      decoder.error(item.at, fmt::format("hierarchy level '{}' is there twice", name), "");
    seen.push_back(name);
  }
}

std::vector<HierarchyLevel> read_hierarchy(Decoder& decoder, const Node& document) {
  std::vector<HierarchyLevel> levels;
  const Node* cores = document.find("cores");
  const Node* list = document.find("hierarchy");
  if (cores && list)
    decoder.error(cores->at, "`cores` is the shorthand of a hierarchy, and there is one already",
                  "set hierarchy.core.count, or leave the hierarchy out");
  if (!list && cores) levels.push_back({.level = "core", .count = decoder.integer(document, "cores", 1)});
  if (!list) return levels;
  for (const Node& item : list->items) {
    HierarchyLevel level;
    level.level = item.text_or("level", "");
    level.count = decoder.integer(item, "count", 1);
    const Node& link = member_or_empty(item, "link");
    level.link = decoder.quantity<BytesPerSecond>(link, "bandwidth");
    level.link_latency = decoder.quantity<Seconds>(link, "latency");
    levels.push_back(std::move(level));
  }
  refuse_twins(decoder, *list);
  return levels;
}

void read_link(Decoder& decoder, const Node& document, Chip& chip) {
  const Node* link = document.find("link");
  if (!link || link->is_null()) return;
  chip.link = decoder.quantity<BytesPerSecond>(*link, "bandwidth");
  chip.link_name = link->text_or("level", "");
  chip.link_latency = decoder.quantity<Seconds>(*link, "latency");
}

/// A key is a data type (J a FLOP) or a memory or link of the chip (J a byte).
void read_energy(Decoder& decoder, const Node& document, Chip& chip) {
  std::vector<std::string> places = level_names(chip.memory);
  for (const std::string& host : level_names(chip.host_memory)) places.push_back(host);
  if (!chip.link_name.empty()) places.push_back(chip.link_name);
  for (const Member& member : member_or_empty(document, "energy").members) {
    if (std::find(places.begin(), places.end(), member.key) != places.end()) {
      const double joules = decoder.number_in(member.value, JoulesPerByte::dimension);
      chip.energy.movement.emplace_back(member.key, JoulesPerByte{joules});
    } else if (const auto named = parse_data_type(member.key)) {
      const double joules = decoder.number_in(member.value, JoulesPerFlop::dimension);
      chip.energy.arithmetic.emplace_back(named->type.format, JoulesPerFlop{joules});
    } else {
      decoder.unknown(member.key_at, "data type, memory level or link", member.key, places);
    }
  }
}

/// How many of a level are used where one is counted, and of a memory how much one instance holds.
double used_of(Decoder& decoder, const Node& reference, const std::string& name) {
  const Node& level = member_or_empty_item(reference, "hierarchy", name);
  if (level.find("count")) return level.find("count")->number;
  if (name == "core" && reference.find("cores")) return reference.find("cores")->number;
  return decoder.quantity<Bytes>(member_or_empty_item(reference, "memory", name), "capacity").value;
}

/// `built:` counts what the die has; the ratio to what is used, as the file states it, holds under --set as well. A
/// variant that uses more than its base's die has built brings its own: 1.
void read_built(Decoder& decoder, const Node& document, const Node& reference, Chip& chip) {
  const std::vector<std::string> levels = level_names(chip.hierarchy);
  std::vector<std::string> known = level_names(chip.memory);
  known.insert(known.end(), levels.begin(), levels.end());
  for (const Member& member : member_or_empty(member_or_empty(document, "area"), "built").members) {
    if (std::find(known.begin(), known.end(), member.key) == known.end()) {
      decoder.unknown(member.key_at, "hierarchy or memory level", member.key, known);
      continue;
    }
    const bool counted = std::find(levels.begin(), levels.end(), member.key) != levels.end();
    const double all = counted ? decoder.integer(member.value, 1) : decoder.number_in(member.value, Bytes::dimension);
    const double used = used_of(decoder, reference, member.key);
    chip.built.emplace_back(member.key, used > 0 ? std::max(1.0, all / used) : 1.0);
  }
}

/// An owned chip costs its price spread over its life, and the energy of an hour at its design power.
Dollars price_of_an_hour(Decoder& decoder, const Node& price, const Chip& chip) {
  if (price.find("hourly")) return decoder.quantity<Dollars>(price, "hourly");
  const auto lifetime = decoder.quantity<Seconds>(price, "lifetime");
  if (lifetime.value == 0) return Dollars{0};
  constexpr Seconds hour{3600};
  const auto per_joule = decoder.quantity<decltype(Dollars{} / Joules{})>(price, "electricity");
  return chip.capex * (hour / lifetime) + chip.tdp * hour * per_joule;
}

void read_plain_figures(Decoder& decoder, const Node& document, Chip& chip) {
  const Node& power = member_or_empty(document, "power");
  chip.tdp = decoder.quantity<Watts>(power, "tdp");
  chip.idle = decoder.quantity<Watts>(power, "idle");
  chip.die_area = decoder.quantity<SquareMetres>(member_or_empty(document, "area"), "die");
  chip.process = decoder.quantity<Metres>(member_or_empty(document, "area"), "process");
  const Node& price = member_or_empty(document, "price");
  chip.capex = decoder.quantity<Dollars>(price, "capex");
  chip.hourly_price = price_of_an_hour(decoder, price, chip);
}

void read_names(Decoder& decoder, const Node& document, Chip& chip) {
  chip.id = own_name(document, "chip");
  chip.name = document.text_or("name", chip.id);
  chip.family = document.text_or("family", "");
  chip.notes = document.text_or("notes", "");
  chip.sources = read_sources(document);
  if (!document.find("kind"))
    decoder.error(document.at, "the chip has no kind", "state `kind:` gpu, tpu, npu, cpu, wafer or pim");
  chip.kind = decoder.word(document, "kind", ChipKind::pim, ChipKind::gpu);
}

}  // namespace

Result<Chip> read_chip(const Node& document, const Node& reference) {
  Decoder decoder;
  Chip chip;
  read_names(decoder, document, chip);
  chip.hierarchy = read_hierarchy(decoder, document);
  Chip before;
  Decoder quiet;
  before.hierarchy = read_hierarchy(quiet, reference);
  const Revision revision{document, reference, chip, before};
  chip.memory = read_memory(decoder, revision);
  chip.compute = read_compute(decoder, revision);
  read_host(decoder, document.find("host"), chip);
  read_link(decoder, document, chip);
  read_energy(decoder, document, chip);
  read_plain_figures(decoder, document, chip);
  read_built(decoder, document, reference, chip);
  if (!decoder.errors.empty()) return fail(std::move(decoder.errors));
  return chip;
}

}  // namespace gambrel::hw

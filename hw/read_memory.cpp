// The memories of a chip and of its host: what fills from what, and how much of each the whole chip has.
#include <algorithm>
#include <cstddef>

#include <fmt/format.h>

#include "hw/decode.hpp"

namespace gambrel::hw {
namespace {

double instances_of(Decoder& decoder, const Node& item, const Chip& chip) {
  return decoder.integer(item, "count", 1) * chip.members(item.text_or("per", ""));
}

/// Bandwidth is the whole chip's: it grows with the instances that a sweep adds.
double growth(const Node& item, const Revision& revision) {
  const Node* was = item_of(revision.reference.find("memory"), item.text_or("level", ""));
  if (!was) return 1;
  Decoder quiet;
  return instances_of(quiet, item, revision.now) / instances_of(quiet, *was, revision.before);
}

void check_per(Decoder& decoder, const Node& item, const Chip& chip) {
  const Node* per = item.find("per");
  if (!per || per->is_null() || per->text == "chip") return;
  const std::vector<std::string> known = level_names(chip.hierarchy);
  if (std::find(known.begin(), known.end(), per->text) == known.end())
    decoder.unknown(per->at, "hierarchy level", per->text, known);
}

MemoryLevel read_level(Decoder& decoder, const Node& item, const Chip& chip) {
  MemoryLevel memory;
  memory.level = item.text_or("level", "");
  memory.type = item.text_or("type", "");
  memory.per = item.text_or("per", "") == "chip" ? "" : item.text_or("per", "");
  memory.instances = instances_of(decoder, item, chip);
  memory.capacity = decoder.quantity<Bytes>(item, "capacity") * memory.instances;
  memory.bandwidth = decoder.quantity<BytesPerSecond>(item, "bandwidth");
  memory.latency = decoder.quantity<Seconds>(item, "latency");
  memory.scratchpad = item.text_or("managed", "") == "scratchpad";
  check_per(decoder, item, chip);
  return memory;
}

/// `step` leads to the default: the previous level on a chip (-1), the next one on a host (+1).
void resolve_behind(Decoder& decoder, const Node& list, std::vector<MemoryLevel>& memories, int step) {
  const std::vector<std::string> names = level_names(memories);
  const int count = static_cast<int>(memories.size());
  for (int i = 0; i < count; ++i) {
    const Node* behind = list.items[i].find("behind");
    if (!behind || behind->is_null()) {
      memories[i].behind = i + step < count ? i + step : -1;
      continue;
    }
    const auto found = std::find(names.begin(), names.end(), behind->text);
    if (found == names.end()) decoder.unknown(behind->at, "memory level", behind->text, names);
    else memories[i].behind = static_cast<int>(found - names.begin());
  }
}

void refuse_cycles(Decoder& decoder, const Node& list, const std::vector<MemoryLevel>& memories) {
  for (std::size_t start = 0; start < memories.size(); ++start) {
    std::string way = memories[start].level;
    int at = memories[start].behind;
    for (std::size_t steps = 0; at >= 0 && steps < memories.size(); ++steps) {
      way += " -> " + memories[at].level;
      if (at == static_cast<int>(start)) {
        const Node* behind = list.items[start].find("behind");
        return decoder.error(behind ? behind->at : list.items[start].at,
                             fmt::format("memory levels fill from each other: {}", way),
                             "the outermost memory comes first and has no `behind`");
      }
      at = memories[at].behind;
    }
  }
}

void refuse_twins(Decoder& decoder, const Node& list, std::vector<std::string> seen) {
  for (const Node& item : list.items) {
    const std::string name = item.text_or("level", "");
    if (std::find(seen.begin(), seen.end(), name) != seen.end()) {
      const Node* level = item.find("level");
      decoder.error(level ? level->at : item.at, fmt::format("memory level '{}' is there twice", name),
                    "give each memory of a chip and its host a name of its own");
    }
    seen.push_back(name);
  }
}

}  // namespace

std::vector<MemoryLevel> read_memory(Decoder& decoder, const Revision& revision) {
  std::vector<MemoryLevel> memories;
  const Node* list = revision.document.find("memory");
  if (!list || list->items.empty()) {
    decoder.error(revision.document.at, "the chip has no memory", "state at least its main memory under `memory:`");
    return memories;
  }
  for (const Node& item : list->items) {
    memories.push_back(read_level(decoder, item, revision.now));
    memories.back().bandwidth *= growth(item, revision);
  }
  refuse_twins(decoder, *list, {});
  resolve_behind(decoder, *list, memories, -1);
  refuse_cycles(decoder, *list, memories);
  for (const char* key : {"capacity", "bandwidth"})
    if (!list->items.front().find(key))
      decoder.error(list->items.front().at, fmt::format("the main memory '{}' has no {}", memories.front().level, key),
                    "the first memory of the list is the main memory; capacity and bandwidth are due there");
  return memories;
}

void read_host(Decoder& decoder, const Node* host, Chip& chip) {
  if (!host || host->is_null()) return;
  if (const Node* list = host->find("memory")) {
    chip.host_memory.clear();
    const Chip undivided;
    for (const Node& item : list->items) chip.host_memory.push_back(read_level(decoder, item, undivided));
    refuse_twins(decoder, *list, level_names(chip.memory));
    resolve_behind(decoder, *list, chip.host_memory, +1);
    refuse_cycles(decoder, *list, chip.host_memory);
  }
  const Node* link = host->find("link");
  if (!link || link->is_null()) return;
  chip.host_link = decoder.quantity<BytesPerSecond>(*link, "bandwidth") / decoder.integer(*link, "shared_by", 1);
  chip.host_latency = decoder.quantity<Seconds>(*link, "latency");
}

}  // namespace gambrel::hw

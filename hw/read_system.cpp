// From a system's document, and those of its chips, to a System.
#include <algorithm>
#include <cstddef>

#include <fmt/format.h>

#include "hw/decode.hpp"
#include "hw/system.hpp"

namespace gambrel::hw {
namespace {

constexpr double most_chips = 1e9;  // chips() stays an int

bool has_axes(TopologyKind kind) { return kind == TopologyKind::mesh || kind == TopologyKind::torus; }
bool has_shape(TopologyKind kind) { return has_axes(kind) || kind == TopologyKind::dragonfly; }

/// Members, axes and wrap of a level; `size` may be left out where `otherwise` (> 0) or a shape gives it.
void read_shape(Decoder& decoder, const Node& item, int otherwise, NetworkLevel& level) {
  const Node* size = item.find("size");
  const Node* shape = item.find("shape");
  const bool shaped = has_shape(level.topology);
  level.size = decoder.integer(item, "size", std::max(otherwise, 1));
  level.shape = {level.size};
  if (shaped != (shape != nullptr)) {
    const auto kind = to_string(level.topology);
    if (shaped)
      decoder.error(item.at, fmt::format("a {} needs its shape", kind),
                    has_axes(level.topology) ? "1 to 3 axes, as in `shape: [4, 4, 8]`" : "members of a group and groups, as in `shape: [64, 16]`");
    else decoder.error(shape->at, fmt::format("a {} has no shape", kind), "state `size:`; mesh, torus and dragonfly have a shape");
    return;
  }
  if (!shaped) {
    if (!size && otherwise == 0)
      decoder.error(item.at, "the network level has no size", "state how many of the level below it joins");
    return;
  }
  level.shape = decoder.integers(item, "shape");
  if (level.shape.empty() || level.shape.size() > 3) decoder.error(shape->at, "a shape has 1 to 3 axes");
  if (!has_axes(level.topology) && level.shape.size() != 2)
    decoder.error(shape->at, "a dragonfly's shape has 2 numbers", "members of a group and groups, as in `shape: [64, 16]`");
  double product = 1;
  for (const int length : level.shape) product *= length;
  if (size && product != level.size)
    decoder.error(size->at, fmt::format("the size is {}, but the shape's product is {}", level.size, product),
                  "leave the size out: the shape gives it");
  if (product > most_chips) decoder.error(shape->at, "the shape has more than 1e9 members");
  else level.size = static_cast<int>(product);
}

void read_wrap(Decoder& decoder, const Node& item, NetworkLevel& level) {
  const bool closed = level.topology == TopologyKind::torus || level.topology == TopologyKind::ring;
  level.wrap.assign(level.shape.size(), closed);
  const Node* wrap = item.find("wrap");
  if (!wrap) return;
  if (!has_axes(level.topology))
    return decoder.error(wrap->at, fmt::format("a {} has no `wrap`", to_string(level.topology)), "mesh and torus have");
  if (wrap->items.size() != level.shape.size())
    return decoder.error(wrap->at, fmt::format("{} wraps for {} axes", wrap->items.size(), level.shape.size()),
                         "one true or false for each axis of the shape");
  for (std::size_t axis = 0; axis < level.wrap.size(); ++axis) level.wrap[axis] = wrap->items[axis].boolean;
}

NetworkLevel::Per read_per(const Node& item, TopologyKind topology) {
  using enum NetworkLevel::Per;
  const std::string per = item.text_or("per", has_axes(topology) ? "link" : "chip");
  if (per == "link") return link;
  return per == "node" ? node : chip;
}

/// What only some topologies have, and what is measured.
void read_extras(Decoder& decoder, const Node& item, NetworkLevel& level) {
  const bool tree = level.topology == TopologyKind::fat_tree, dragonfly = level.topology == TopologyKind::dragonfly;
  level.oversubscription = item.number_or("oversubscription", 1);
  const Node* over = item.find("oversubscription");
  if (over && !tree && !dragonfly)
    decoder.error(over->at, fmt::format("a {} has no oversubscription", to_string(level.topology)), "a fat-tree and a dragonfly have");
  level.leaf = decoder.integer(item, "leaf", 0);
  if (const Node* leaf = item.find("leaf"); leaf && !tree)
    decoder.error(leaf->at, fmt::format("a {} has no leaf switches", to_string(level.topology)), "a fat-tree has");
  if (dragonfly && item.text_or("per", "chip") == "link")
    decoder.error(item.find("per")->at, "a dragonfly's bandwidth is not of a link", "`per: chip` or `per: node`; `oversubscription` gives the links between groups");
  level.in_network_reduction = item.boolean_or("in_network_reduction", false);
  level.efficiency = item.number_or("efficiency", 0);
}

NetworkLevel read_network_level(Decoder& decoder, const Node& item, int otherwise) {
  NetworkLevel level;
  level.level = item.text_or("level", "");
  level.topology = decoder.word(item, "topology", TopologyKind::dragonfly, TopologyKind::switched);
  read_shape(decoder, item, otherwise, level);
  read_wrap(decoder, item, level);
  level.per = read_per(item, level.topology);
  level.bandwidth = decoder.quantity<BytesPerSecond>(item, "bandwidth");
  level.latency = decoder.quantity<Seconds>(item, "latency");
  read_extras(decoder, item, level);
  return level;
}

/// Levels of `network` on top of members of `chips` chips. `parts` > 0: what the first level joins.
std::vector<NetworkLevel> read_network(Decoder& decoder, const Node* network, double chips, int parts,
                                       std::vector<std::string> names) {
  std::vector<NetworkLevel> levels;
  if (!network) return levels;
  for (const Node& item : network->items) {
    NetworkLevel level = read_network_level(decoder, item, parts);
    if (std::find(names.begin(), names.end(), level.level) != names.end())
      decoder.error(item.at, fmt::format("network level '{}' is there twice", level.level),
                    "give each level a name of its own");
    if (parts > 0 && level.size != parts)
      decoder.error(
          item.at,
          fmt::format("level '{}' joins {} members, but the pools have {} parts", level.level, level.size, parts),
          "leave the size out, or change the pools' counts");
    names.push_back(level.level);
    level.chips_each = parts > 0 ? chips / parts : chips;
    chips = parts > 0 ? chips : chips * level.size;
    if (chips > most_chips) {
      decoder.error(item.at, "the system has more than 1e9 chips");
      return levels;
    }
    parts = 0;
    levels.push_back(std::move(level));
  }
  return levels;
}

Pool read_pool(Decoder& decoder, const Node& node, const ChipDocuments& documents, const Node* host) {
  Pool pool;
  auto chip = read_chip(*documents.document, *documents.reference);
  if (chip) pool.chip = std::move(*chip);
  else decoder.errors.insert(decoder.errors.end(), chip.error().begin(), chip.error().end());
  read_host(decoder, host, pool.chip);
  pool.network = read_network(decoder, node.find("network"), 1, 0, {});
  return pool;
}

void read_pools(Decoder& decoder, const Node& document, const std::vector<ChipDocuments>& chips, System& system) {
  const Node& pools = *document.find("pools");
  double sum = 0;
  int parts = 0;
  std::vector<std::string> names;
  for (std::size_t i = 0; i < pools.members.size(); ++i) {
    const Node& node = pools.members[i].value;
    Pool pool = read_pool(decoder, node, chips[i], document.find("host"));
    pool.name = pools.members[i].key;
    pool.count = decoder.integer(node, "count", 1);
    double chips_of_pool = pool.count;
    for (const NetworkLevel& level : pool.network) {
      chips_of_pool *= level.size;
      names.push_back(level.level);
    }
    sum += chips_of_pool;
    if (sum > most_chips) return decoder.error(node.at, "the system has more than 1e9 chips");
    parts += pool.count;
    system.pools.push_back(std::move(pool));
  }
  system.between = read_network(decoder, document.find("network"), sum, parts, std::move(names));
  if (parts > 1 && system.between.empty())
    decoder.error(pools.at, "nothing joins the pools", "state the network that joins them under `network:`");
}

}  // namespace

std::vector<ChipReference> chips_of(const Node& document) {
  std::vector<ChipReference> chips;
  if (const Node* chip = document.find("chip")) chips.push_back({.pool = "", .chip = chip->text, .at = chip->at});
  const Node* pools = document.find("pools");
  if (!pools || !chips.empty()) return chips;
  for (const Member& pool : pools->members) {
    const Node* chip = pool.value.find("chip");
    chips.push_back({.pool = pool.key, .chip = chip ? chip->text : "", .at = chip ? chip->at : pool.key_at});
  }
  return chips;
}

Result<System> read_system(const Node& document, const std::vector<ChipDocuments>& chips) {
  Decoder decoder;
  System system;
  system.id = own_name(document, "system");
  system.name = document.text_or("name", system.id);
  system.notes = document.text_or("notes", "");
  system.sources = read_sources(document);
  const Node* chip = document.find("chip");
  const Node* pools = document.find("pools");
  if (chips.empty() || chips.size() != chips_of(document).size())
    decoder.error(document.at, "the system has no chip", "state `chip:` or `pools:`");
  else if (chip && pools) decoder.error(pools->at, "the system has a chip and pools", "state one of them");
  else if (pools) read_pools(decoder, document, chips, system);
  else system.pools.push_back(read_pool(decoder, document, chips.front(), document.find("host")));
  if (!decoder.errors.empty()) return fail(std::move(decoder.errors));
  return system;
}

}  // namespace gambrel::hw

// What a chip's file does not say of its energy, from the technology table; what it says stays.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>

#include "hw/silicon.hpp"
#include "hw/technology.hpp"

namespace gambrel::hw {
namespace {

template <class Key, class Value>
bool states(const std::vector<std::pair<Key, Value>>& table, const Key& key) {
  return std::ranges::find(table, key, &std::pair<Key, Value>::first) != table.end();
}

void fill_arithmetic(Chip& chip, const Technology& t, std::vector<std::string>& taken) {
  for (int i = 0; i < format_count; ++i) {
    const auto format = static_cast<Format>(i);
    const bool computed = std::ranges::any_of(chip.compute, [&](const ComputeUnit& unit) { return unit.rate(format).has_value(); });
    const auto bare = t.arithmetic_energy(format, chip.process);
    if (!computed || !bare || states(chip.energy.arithmetic, format)) continue;
    chip.energy.arithmetic.emplace_back(format, *bare * (1 + t.matrix_delivery));
    taken.emplace_back(to_string(format));
  }
  const auto bare = t.arithmetic_energy(Format::fp32, chip.process);
  if (chip.energy.vector.value > 0 || !bare) return;
  chip.energy.vector = *bare + JoulesPerFlop{t.vector_delivery.at(chip.process.value)};
  taken.emplace_back("vector");
}

/// A host's tier is reached through its link; one that the table does not know keeps no energy.
std::optional<JoulesPerByte> movement_energy(const Chip& chip, const MemoryLevel& level, bool of_host, const Technology& t) {
  const Interface* off_chip = t.memory(level);
  if (!of_host) return off_chip ? off_chip->energy : t.sram_energy(level.capacity / level.instances, chip.process);
  const Interface* way = t.link("pcie", chip.process);
  if (!off_chip || !way) return std::nullopt;
  return off_chip->energy + way->energy;
}

void fill_movement(Chip& chip, const Technology& t, std::vector<std::string>& taken) {
  const auto fill = [&](const std::string& name, std::optional<JoulesPerByte> energy) {
    if (!energy || energy->value <= 0 || states(chip.energy.movement, name)) return;
    chip.energy.movement.emplace_back(name, *energy);
    taken.push_back(name);
  };
  for (const MemoryLevel& level : chip.memory)
    if (level.capacity.value > 0) fill(level.level, movement_energy(chip, level, false, t));
  for (const MemoryLevel& level : chip.host_memory) fill(level.level, movement_energy(chip, level, true, t));
  if (const Interface* link = t.link(chip.link_name, chip.process); link && chip.link && !chip.link_name.empty()) fill(chip.link_name, link->energy);
}

}  // namespace

std::vector<std::string> fill_energy(Chip& chip, const Technology& technology) {
  if (chip.process.value <= 0) return {};
  std::vector<std::string> taken, notes;
  fill_arithmetic(chip, technology, taken);
  fill_movement(chip, technology, taken);
  const bool inside = technology.arithmetic[static_cast<std::size_t>(technology.scales_as)].covers(chip.process.value);
  if (!taken.empty())
    notes.push_back(fmt::format("energy of {} from technology table '{}', {} {}", fmt::join(taken, ", "), technology.id,
                                to_string(chip.process), inside ? "interpolated" : "extrapolated"));
  if (chip.idle.value > 0 || technology.static_power <= 0) return notes;
  const bool stated = chip.die_area.value > 0;
  const SquareMetres area = stated ? chip.die_area : silicon_of(chip, technology).total();
  chip.idle = Watts{area.value * technology.static_power};
  notes.push_back(fmt::format("idle power {} from technology table '{}', by {} die area", to_string(chip.idle, 3),
                              technology.id, stated ? "stated" : "modelled"));
  return notes;
}

}  // namespace gambrel::hw

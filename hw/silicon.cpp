#include "hw/silicon.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <numbers>

namespace gambrel::hw {
namespace {

/// A chip at its process: what every part below needs.
struct Process {
  const Chip& chip;
  const Technology& technology;
  const Surroundings& around;
  double transistor;  ///< m2
  double sram_byte;   ///< m2
};

Process process_of(const Chip& chip, const Technology& t) {
  const Surroundings& around = t.kinds[static_cast<std::size_t>(chip.kind)];
  return {chip, t, around, 1 / t.density.at(chip.process.value), 8 * t.bit_cell.at(chip.process.value) * around.sram};
}

/// Members of a level and of all around it that are built, over those in use.
double spare(const Chip& chip, std::string_view level) {
  const bool known = std::ranges::any_of(chip.hierarchy, [&](const HierarchyLevel& one) { return one.level == level; });
  double factor = 1;
  for (const HierarchyLevel& one : chip.hierarchy) {
    if (!known) break;
    factor *= chip.built_over_used(one.level);
    if (one.level == level) break;
  }
  return factor;
}

/// Multiply-adds a cycle of one instance.
double lanes(const ComputeUnit& unit, Format format, const Technology& t) {
  for (const auto& [stated, rate] : unit.peak)
    if (stated == format) return rate.value / (2 * unit.instances * (unit.clock.value > 0 ? unit.clock : t.clock).value);
  return 0;
}

double adder_area(const ComputeUnit& unit, Format format, const Technology& t) {
  return lanes(unit, format, t) * t.multiply_add[static_cast<std::size_t>(format)];
}

/// Formats share their multipliers, so the largest counts. A matrix unit's fp64 and fp32 rates are left out where it
/// computes in narrower formats: they run on the vector unit's multipliers or combine narrow ones.
double widest(const ComputeUnit& unit, const Technology& t) {
  double narrow = 0, any = 0;
  for (const auto& [format, rate] : unit.peak) {
    const double transistors = adder_area(unit, format, t);
    any = std::max(any, transistors);
    if (format != Format::fp64 && format != Format::fp32) narrow = std::max(narrow, transistors);
  }
  return unit.kind == UnitKind::matrix && narrow > 0 ? narrow : any;
}

/// fp64 lanes do fp32 as well; each fp32 lane has an int32 one beside it.
double vector_transistors(const ComputeUnit& unit, const Technology& t) {
  const double wide = lanes(unit, Format::fp64, t), single = lanes(unit, Format::fp32, t);
  if (single == 0) return widest(unit, t);
  const auto cost = [&](Format format) { return t.multiply_add[static_cast<std::size_t>(format)]; };
  return wide * cost(Format::fp64) + std::max(0.0, single - wide) * cost(Format::fp32) + single * cost(Format::int32);
}

void add_unit(Silicon& silicon, const ComputeUnit& unit, const Process& p) {
  const auto at = p.chip.memory_index(unit.at);
  const bool in_memory_dies = at && p.technology.memory(p.chip.memory[*at]);
  if (in_memory_dies || unit.kind == UnitKind::gather) return;  // whose rates are bandwidths
  const double count = unit.instances * spare(p.chip, unit.at);
  if (unit.kind == UnitKind::matrix) {
    silicon.matrix += SquareMetres{count * widest(unit, p.technology) * p.around.matrix * p.transistor};
    return;
  }
  const Bytes registers = unit.registers.value > 0 ? unit.registers : p.around.registers;
  silicon.vector += SquareMetres{count * vector_transistors(unit, p.technology) * p.transistor};
  silicon.control += SquareMetres{count * p.around.control * p.transistor};
  silicon.registers += SquareMetres{count * registers.value * p.technology.transistors_per_register_byte * p.transistor};
}

double area_per_bandwidth(const Interface& one, const Process& p) {
  return (one.phy.value + one.controller * p.transistor) / one.channel.value;
}

void add_memories(Silicon& silicon, const Process& p) {
  for (const MemoryLevel& level : p.chip.memory) {
    const double built = p.chip.built_over_used(level.level) * spare(p.chip, level.per);
    const Interface* off_chip = p.technology.memory(level);
    if (off_chip) silicon.memory += SquareMetres{level.bandwidth.value * built * area_per_bandwidth(*off_chip, p)};
    silicon.sram.push_back(SquareMetres{off_chip ? 0 : level.capacity.value * built * p.sram_byte});
  }
}

double core_count(const Chip& chip) { return chip.hierarchy.empty() ? 1 : chip.members(chip.hierarchy.back().level); }

SquareMetres link_area(BytesPerSecond bandwidth, std::string_view name, const Process& p) {
  const Interface* link = p.technology.link(name, p.chip.process);
  return SquareMetres{link ? bandwidth.value * area_per_bandwidth(*link, p) : 0};
}

double joules_per_byte(const Chip& chip, std::string_view name) {
  for (const auto& [level, energy] : chip.energy.movement)
    if (level == name) return energy.value;
  return 0;
}

/// The most that all units can draw, W.
double arithmetic_power(const Chip& chip) {
  double watts = 0;
  for (const ComputeUnit& unit : chip.compute) {
    double most = 0;
    for (const auto& [format, rate] : unit.peak)
      for (const auto& [known, energy] : chip.energy.arithmetic)
        if (known == format) most = std::max(most, rate.value * (unit.kind == UnitKind::matrix ? energy : chip.energy.vector).value);
    watts += most;
  }
  return watts;
}

/// Core-private memories belong to the core.
SquareMetres core_area(const Chip& chip, const Silicon& silicon) {
  SquareMetres area = silicon.logic();
  for (std::size_t i = 0; i < chip.memory.size(); ++i)
    if (!chip.hierarchy.empty() && chip.memory[i].per == chip.hierarchy.back().level) area += silicon.sram[i];
  return area / core_count(chip);
}

constexpr double mib = 1 << 20, gigabyte = 1e9;

/// Collects what the resources take; a price is the difference that the area makes to the chip's.
struct Margins {
  const Chip& chip;
  const Technology& technology;
  const Silicon& silicon;
  std::vector<Marginal> list;

  Dollars price(SquareMetres area) const { return price_of(chip, area, silicon.dies, technology).total(); }
  void add(std::string what, SquareMetres area, double watts) {
    const SquareMetres whole = silicon.total();
    const Watts power{watts + area.value * technology.static_power};
    list.push_back({std::move(what), area, price(whole + area) - price(whole), power});
  }
};

void add_memory(Margins& margins, const MemoryLevel& level, const Process& p) {
  const double joules = joules_per_byte(p.chip, level.level);
  const double built = p.chip.built_over_used(level.level) * spare(p.chip, level.per);
  if (const Interface* off_chip = p.technology.memory(level)) {
    const SquareMetres area{gigabyte * built * area_per_bandwidth(*off_chip, p)};
    margins.add(fmt::format("1 GB/s of {}", level.level), area, gigabyte * joules);
    const Dollars price{gigabyte * off_chip->dollars_per_byte};
    margins.list.push_back({.what = fmt::format("1 GB of {}", level.level), .price = price});
  } else if (level.capacity.value > 0) {
    const double watts = level.bandwidth.value * joules * mib / level.capacity.value;
    margins.add(fmt::format("1 MiB of {}", level.level), SquareMetres{mib * built * p.sram_byte}, watts);
  }
}

}  // namespace

SquareMetres Silicon::total() const {
  SquareMetres sum = logic() + memory + links + host;
  for (const SquareMetres& one : sram) sum += one;
  return sum;
}

double dies_of(const Chip& chip) {
  const bool divided = chip.hierarchy.size() > 1 && chip.hierarchy.front().level == "die";
  return divided ? chip.hierarchy.front().count : 1;
}

Silicon silicon_of(const Chip& chip, const Technology& technology) {
  Silicon silicon;
  silicon.sram.reserve(chip.memory.size());
  if (chip.process.value <= 0) {
    silicon.sram.resize(chip.memory.size());
    return silicon;
  }
  const Process p = process_of(chip, technology);
  for (const ComputeUnit& unit : chip.compute) add_unit(silicon, unit, p);
  const double cores = chip.hierarchy.empty() ? 1 : core_count(chip) * spare(chip, chip.hierarchy.back().level);
  silicon.interconnect = SquareMetres{cores * p.around.interconnect * p.transistor};
  add_memories(silicon, p);
  if (chip.link) silicon.links = link_area(*chip.link, chip.link_name, p);
  for (const HierarchyLevel& level : chip.hierarchy) silicon.links += link_area(level.link * chip.members(level.level), "die-to-die", p);
  silicon.host = link_area(chip.host_link, "pcie", p);
  silicon.dies = dies_of(chip);
  return silicon;
}

Price price_of(const Chip& chip, SquareMetres area, double dies, const Technology& t) {
  Price price;
  const double node = chip.process.value, each = area.value / dies, diameter = t.wafer_diameter.value;
  if (each <= 0 || node <= 0) return price;
  const bool whole_wafer = chip.kind == ChipKind::wafer;
  price.dies_per_wafer = whole_wafer ? 1 : std::numbers::pi * diameter * diameter / (4 * each) * std::exp(-2 * std::sqrt(each) / diameter);
  price.yield = whole_wafer ? 1 : std::pow(1 + each * t.defects.at(node) / t.clustering, -t.clustering);
  price.die = Dollars{dies * t.wafer.at(node) / (price.dies_per_wafer * price.yield)};
  price.package = t.package;
  for (const MemoryLevel& level : chip.memory)
    if (const Interface* off_chip = t.memory(level)) {
      price.memory += Dollars{level.capacity.value * off_chip->dollars_per_byte};
      if (off_chip->interposer) price.package += Dollars{area.value * t.interposer};
    }
  return price;
}

Watts full_power(const Chip& chip, SquareMetres area, const Technology& technology) {
  double watts = arithmetic_power(chip) + area.value * technology.static_power;
  for (const MemoryLevel& level : chip.memory)
    if (technology.memory(level)) watts += level.bandwidth.value * joules_per_byte(chip, level.level);
  if (chip.link) watts += chip.link->value * joules_per_byte(chip, chip.link_name);
  return Watts{watts};
}

std::vector<Marginal> marginals_of(const Chip& chip, const Technology& t) {
  const Silicon silicon = silicon_of(chip, t);
  if (silicon.total().value <= 0) return {};
  Margins margins{chip, t, silicon};
  const Process p = process_of(chip, t);
  const std::string core = chip.hierarchy.empty() ? "core" : chip.hierarchy.back().level;
  margins.add("1 " + core, core_area(chip, silicon), arithmetic_power(chip) / core_count(chip));
  for (const MemoryLevel& level : chip.memory) add_memory(margins, level, p);
  const auto add_link = [&](std::string what, std::string_view name, double joules) {
    margins.add(std::move(what), link_area(BytesPerSecond{gigabyte}, name, p), gigabyte * joules);
  };
  const std::string link = chip.link_name.empty() ? "link" : chip.link_name;
  if (chip.link) add_link("1 GB/s of " + link, chip.link_name, joules_per_byte(chip, chip.link_name));
  const Interface* host = t.link("pcie", chip.process);
  if (chip.host_link.value > 0 && host) add_link("1 GB/s to the host", "pcie", host->energy.value);
  return std::move(margins.list);
}

}  // namespace gambrel::hw

#include "sim/sweep/fast_chip.hpp"

#include <fmt/format.h>

#include <concepts>

namespace gambrel::sim {
namespace {

/// Calls `visit(number, part)` with every number of the chip.
template <class AnyChip, class Visit>
void each_number(AnyChip& chip, Visit visit) {
  using enum ChipPart;
  for (auto& level : chip.hierarchy) visit(level.count, compute), visit(level.link.value, rest), visit(level.link_latency.value, rest);
  for (auto& unit : chip.compute) {
    visit(unit.instances, compute), visit(unit.clock.value, compute), visit(unit.bandwidth.value, compute), visit(unit.registers.value, rest);
    for (auto& [format, rate] : unit.peak) visit(rate.value, compute);
    for (auto& extent : unit.tile) visit(extent, compute);
    for (auto& extent : unit.array) visit(extent, compute);
    for (auto& [pattern, factor] : unit.sparsity) visit(factor, compute);
  }
  for (auto* memories : {&chip.memory, &chip.host_memory})
    for (auto& level : *memories)
      visit(level.capacity.value, memory), visit(level.bandwidth.value, memory), visit(level.latency.value, memory), visit(level.instances, memory);
  visit(chip.host_link.value, memory), visit(chip.host_latency.value, memory);
  if (chip.link) visit(chip.link->value, compute);
  visit(chip.link_latency.value, rest);
  for (auto& [format, energy] : chip.energy.arithmetic) visit(energy.value, compute);
  for (auto& [level, energy] : chip.energy.movement) visit(energy.value, memory);
  visit(chip.energy.vector.value, rest);
  visit(chip.tdp.value, rest), visit(chip.idle.value, rest), visit(chip.die_area.value, rest), visit(chip.process.value, rest);
  for (auto& [part, ratio] : chip.built) visit(ratio, rest);
  visit(chip.hourly_price.value, rest), visit(chip.capex.value, rest);
}

std::string text_of(const hw::MemoryLevel& level) { return fmt::format("{}|{}|{}|{}|{};", level.level, level.type, level.per, level.behind, level.scratchpad); }

}  // namespace

std::vector<double> numbers_of(const hw::Chip& chip) {
  std::vector<double> numbers;
  each_number(chip, [&](auto number, ChipPart) { numbers.push_back(static_cast<double>(number)); });
  return numbers;
}

std::vector<ChipPart> parts_of(const hw::Chip& chip) {
  std::vector<ChipPart> parts;
  each_number(chip, [&](auto, ChipPart part) { parts.push_back(part); });
  return parts;
}

std::string structure_of(const hw::Chip& chip) {
  std::string text = fmt::format("{}|{}|{}|{};", chip.id, to_string(chip.kind), chip.family, chip.link_name);
  for (const hw::HierarchyLevel& level : chip.hierarchy) text += level.level + ";";
  for (const hw::ComputeUnit& unit : chip.compute) {
    text += fmt::format("{}|{}|{}|{}|{}|{}|", unit.name, to_string(unit.kind), unit.at, unit.tile.size(), unit.array.size(), to_string(unit.dataflow));
    for (const auto& [format, rate] : unit.peak) text += fmt::format("{},", to_string(format));
    for (const auto& [pattern, factor] : unit.sparsity) text += pattern + ",";
    for (const std::string& op : unit.ops) text += op + ",";
    text += ";";
  }
  for (const hw::MemoryLevel& level : chip.memory) text += text_of(level);
  text += "host;";
  for (const hw::MemoryLevel& level : chip.host_memory) text += text_of(level);
  text += chip.link ? "link;" : ";";
  for (const auto& [format, energy] : chip.energy.arithmetic) text += fmt::format("{},", to_string(format));
  for (const auto& [level, energy] : chip.energy.movement) text += level + ",";
  for (const auto& [part, ratio] : chip.built) text += part + ",";
  return text;
}

ChipNumbers::ChipNumbers(hw::Chip& chip) {
  each_number(chip, [&](auto& number, ChipPart) {
    if constexpr (std::same_as<std::remove_reference_t<decltype(number)>, int>) slots_.push_back({nullptr, &number});
    else slots_.push_back({&number, nullptr});
  });
}

}  // namespace gambrel::sim

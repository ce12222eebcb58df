// Which axes change the chip's or the workload's numbers alone.
#include <algorithm>

#include "base/text.hpp"
#include "sim/sweep/chip_table.hpp"
#include "sim/sweep/sweep_parts.hpp"

namespace gambrel::sim {
namespace {

/// Paths whose numbers Run::workload holds as they are; fast_evaluator.cpp lays them there.
bool of_workload(std::string_view path) {
  for (std::string_view known : {"workload.batch", "workload.context", "workload.new_tokens", "workload.past_tokens", "workload.input", "workload.output"})
    if (path == known) return true;
  return false;
}

bool is_workload_axis(const SweepAxis& axis) {
  if (!std::ranges::all_of(axis.paths, of_workload)) return false;
  return std::ranges::all_of(axis.values, [](const auto& texts) { return std::ranges::all_of(texts, [](const std::string& text) { return is_decimal(text); }); });
}

bool is_chip_axis(const SweepAxis& axis) {
  return std::ranges::all_of(axis.paths, [](const std::string& path) { return path.starts_with("chip."); });
}

}  // namespace

std::vector<AxisRole> axis_roles(const SweepParts& parts, std::span<const std::uint32_t> coordinates) {
  std::vector<AxisRole> roles;
  for (std::size_t a = 0; a < parts.file.axes.size(); ++a) {
    const SweepAxis& axis = parts.file.axes[a];
    AxisRole role = is_workload_axis(axis) ? AxisRole::workload : AxisRole::anything;
    if (is_chip_axis(axis) && is_numeric(parts, a, coordinates)) role = AxisRole::chip;
    roles.push_back(role);
  }
  return roles;
}

std::shared_ptr<const ChipTable> ChipTables::at(const SweepParts& parts, std::size_t workload, const std::vector<std::size_t>& chip_axes, std::span<const std::uint32_t> coordinates) {
  std::vector<std::uint32_t> key;
  for (std::size_t a = 0; a < coordinates.size(); ++a) {
    const auto matters = [](const std::string& path) { return path == "system" || path.starts_with("system.") || path.starts_with("chip.") || path == "hypothetical"; };
    if (parts.roles[a] == AxisRole::anything && std::ranges::any_of(parts.file.axes[a].paths, matters)) key.push_back(coordinates[a]);
  }
  const std::lock_guard lock(mutex_);
  const auto [found, added] = tables_.try_emplace(std::move(key));
  if (added) found->second = make_chip_table(parts, workload, chip_axes, coordinates);
  return found->second;
}

}  // namespace gambrel::sim

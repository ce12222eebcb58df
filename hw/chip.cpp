#include "hw/chip.hpp"

#include <iterator>

namespace gambrel::hw {
namespace {

constexpr std::string_view chip_kinds[] = {"gpu", "tpu", "npu", "cpu", "wafer", "pim"};
static_assert(std::size(chip_kinds) == static_cast<std::size_t>(ChipKind::pim) + 1);
constexpr std::string_view unit_kinds[] = {"matrix", "vector", "scalar", "gather"};
static_assert(std::size(unit_kinds) == static_cast<std::size_t>(UnitKind::gather) + 1);
constexpr std::string_view dataflows[] = {"weight_stationary", "output_stationary", "input_stationary"};
static_assert(std::size(dataflows) == static_cast<std::size_t>(Dataflow::input_stationary) + 1);

}  // namespace

std::optional<FlopsPerSecond> ComputeUnit::rate(Format format) const {
  for (const auto& [type, dense] : peak)
    if (type == format) return dense;
  // Datasheets state one FP8 figure for both of its formats (Micikevicius et al. 2022, "FP8 formats for deep learning").
  if (format == Format::fp8_e5m2) return rate(Format::fp8_e4m3);
  return std::nullopt;
}

double Chip::members(std::string_view level) const {
  double product = 1;
  for (const HierarchyLevel& one : hierarchy) {
    product *= one.count;
    if (one.level == level) return product;
  }
  return 1;
}

double Chip::built_over_used(std::string_view level) const {
  for (const auto& [part, ratio] : built)
    if (part == level) return ratio;
  return 1;
}

std::optional<std::size_t> Chip::memory_index(std::string_view level) const {
  for (std::size_t i = 0; i < memory.size(); ++i)
    if (memory[i].level == level) return i;
  return std::nullopt;
}

const ComputeUnit* Chip::unit(UnitKind wanted, Format format) const {
  const ComputeUnit* fastest = nullptr;
  for (const ComputeUnit& candidate : compute) {
    if (candidate.kind != wanted || !candidate.ops.empty() || !candidate.rate(format)) continue;
    if (!fastest || *fastest->rate(format) < *candidate.rate(format)) fastest = &candidate;
  }
  return fastest;
}

std::string_view to_string(ChipKind kind) { return chip_kinds[static_cast<std::size_t>(kind)]; }
std::string_view to_string(UnitKind kind) { return unit_kinds[static_cast<std::size_t>(kind)]; }
std::string_view to_string(Dataflow dataflow) { return dataflows[static_cast<std::size_t>(dataflow)]; }

}  // namespace gambrel::hw

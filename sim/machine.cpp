#include "sim/machine.hpp"

#include <algorithm>
#include <charconv>
#include <span>

namespace gambrel::sim {
namespace {

/// What to compute in when a chip lacks a format: first what holds every value of it, widest last; then, for chips that
/// have nothing as wide (fp32 on a TPU's matrix unit), the best they have.
std::span<const Format> substitutes(Format format) {
  using enum Format;
  static constexpr Format fp4[] = {nvfp4, mxfp4, mxfp6, mxfp8, fp8_e4m3, fp8_e5m2, bf16, fp16, tf32, fp32};
  static constexpr Format mx4[] = {mxfp4, nvfp4, mxfp6, mxfp8, fp8_e4m3, fp8_e5m2, bf16, fp16, tf32, fp32};
  static constexpr Format mx6[] = {mxfp6, mxfp8, fp8_e4m3, fp8_e5m2, bf16, fp16, tf32, fp32};
  static constexpr Format fp8[] = {fp8_e4m3, fp8_e5m2, mxfp8, bf16, fp16, tf32, fp32};
  static constexpr Format half[] = {bf16, fp16, tf32, fp32};
  static constexpr Format single[] = {fp32, tf32, bf16, fp16};
  static constexpr Format twice[] = {fp64, fp32, tf32, bf16, fp16};
  static constexpr Format whole[] = {int8, bf16, fp16, tf32, fp32};
  switch (format) {
    case nvfp4: return fp4;
    case mxfp4: return mx4;
    case mxfp6: return mx6;
    case mxfp8: case fp8_e4m3: case fp8_e5m2: return fp8;
    case bf16: case fp16: return half;
    case tf32: case fp32: return single;
    case fp64: return twice;
    default: return whole;
  }
}

const hw::ComputeUnit* best_unit(const hw::Chip& chip, Format format) {
  const hw::ComputeUnit *matrix = chip.unit(hw::UnitKind::matrix, format), *vector = chip.unit(hw::UnitKind::vector, format);
  if (!matrix || !vector) return matrix ? matrix : vector;
  return matrix->rate(format)->value >= vector->rate(format)->value ? matrix : vector;
}

struct Pattern {
  int n = 0, m = 0;
};
Pattern read_pattern(std::string_view text) {
  Pattern p;
  const char* end = text.data() + text.size();
  const auto [colon, bad] = std::from_chars(text.data(), end, p.n);
  if (bad != std::errc{} || colon == end || std::from_chars(colon + 1, end, p.m).ec != std::errc{}) return {};
  return p;
}

/// True if weights with `have` are also such with `wanted`, which a unit can skip: 1:4 and 1:2 are 2:4, but 4:8 is not.
bool is_also(Pattern have, Pattern wanted) {
  if (have.m <= 0 || wanted.m <= 0 || wanted.m % have.m != 0) return false;
  return wanted.m / have.m * have.n <= wanted.n;
}

/// The largest speed-up of those patterns of the unit that the weights follow.
double sparse_factor(const hw::ComputeUnit& unit, std::string_view pattern) {
  double best = 1;
  for (const auto& [supported, factor] : unit.sparsity)
    if (is_also(read_pattern(pattern), read_pattern(supported))) best = std::max(best, factor);
  return best;
}

MathRate math_rate(const hw::Chip& chip, Format format, std::string_view sparsity_pattern) {
  std::vector<Format> order{format};
  order.insert(order.end(), substitutes(format).begin(), substitutes(format).end());
  for (Format candidate : order) {
    const hw::ComputeUnit* unit = best_unit(chip, candidate);
    if (!unit) continue;
    MathRate result{unit->rate(candidate)->value, unit->rate(candidate)->value, candidate, unit->name};
    result.sparse_rate *= sparse_factor(*unit, sparsity_pattern);
    if (unit->array.size() == 2) {
      result.rows = unit->array[0], result.columns = unit->array[1];
      result.arrays = unit->instances, result.dataflow = unit->dataflow;
    }
    return result;
  }
  // Integer-only chips: whatever is fastest there.
  MathRate result;
  for (const hw::ComputeUnit& unit : chip.compute)
    for (const auto& [have, rate] : unit.peak)
      if (rate.value > result.rate) result = {rate.value, rate.value, have, unit.name};
  return result;
}

/// Level index of `from`'s innermost-leading child among the chip's memories, -1 if it has none.
int next_inner(const hw::Chip& chip, int from) {
  auto depth = [&](auto self, int level) -> int {
    int deepest = 0;
    for (std::size_t i = 0; i < chip.memory.size(); ++i)
      if (chip.memory[i].behind == level) deepest = std::max(deepest, 1 + self(self, static_cast<int>(i)));
    return deepest;
  };
  int best = -1, best_depth = -1;
  for (std::size_t i = 0; i < chip.memory.size(); ++i)
    if (chip.memory[i].behind == from && depth(depth, static_cast<int>(i)) > best_depth) best = static_cast<int>(i), best_depth = depth(depth, static_cast<int>(i));
  return best;
}

bool named(const Placement& placement, const std::string& level) {
  for (const auto* list : {&placement.weights, &placement.kv_cache, &placement.experts})
    if (std::ranges::count(*list, level)) return true;
  return false;
}

/// Host tiers from the farthest one that is used to the nearest: what lies far passes through the nearer ones.
void add_host_tiers(Machine& machine, const hw::Chip& chip, const Placement& placement) {
  std::size_t farthest = 0;
  for (std::size_t i = 0; i < chip.host_memory.size(); ++i)
    if (named(placement, chip.host_memory[i].level)) farthest = i + 1;
  for (std::size_t i = farthest; i-- > 0;) {
    const hw::MemoryLevel& tier = chip.host_memory[i];
    machine.levels.push_back(tier.level);
    machine.inner.push_back(static_cast<int>(machine.levels.size()));
  }
}

}  // namespace

std::size_t Machine::index(std::string_view level) const {
  return static_cast<std::size_t>(std::ranges::find(levels, level) - levels.begin());
}

MathTime Machine::math_times(const models::LoweredOp& op) const {
  MathTime time{.vector = (op.work.vector_flops + format_operations(op)) / vector_rate};
  if (models::row_of(op.kind).contraction) time.matrix = op.work.flops / rate_of(op.math).of(op);
  return time;
}

double Machine::format_operations(const models::LoweredOp& op) const {
  if (!models::row_of(op.kind).contraction) return op.work.conversions;
  const MathRate& rate = rate_of(op.math);
  const bool widened = DataType(rate.runs_as).element_bits() > DataType(op.math).element_bits();
  const bool taken_sparse = op.sparse_weights && rate.sparse_rate > rate.rate;
  return op.work.conversions + (widened ? 2 * op.work.narrow : 0) + (taken_sparse ? 0 : op.work.expanded);
}

void set_memory(Machine& machine, const hw::Chip& chip) {
  for (std::size_t i = 0; i < machine.main_level; ++i) {
    const hw::MemoryLevel& tier = chip.host_memory[machine.main_level - 1 - i];
    double rate = tier.bandwidth.value;
    if (chip.host_link.value > 0) rate = rate > 0 ? std::min(rate, chip.host_link.value) : chip.host_link.value;
    machine.bandwidth[i] = rate;
    machine.capacity[i] = tier.capacity.value;
  }
  for (std::size_t i = 0; i < chip.memory.size(); ++i) {
    machine.bandwidth[machine.main_level + i] = chip.memory[i].bandwidth.value;
    machine.capacity[machine.main_level + i] = chip.memory[i].capacity.value;
  }
  std::ranges::fill(machine.energy, 0.0);
  for (const auto& [level, energy] : chip.energy.movement)
    if (const std::size_t i = machine.index(level); i < machine.levels.size()) machine.energy[i] = energy.value;
}

Machine make_machine(const hw::Chip& chip, const Placement& placement, std::string_view sparsity_pattern) {
  Machine machine;
  add_host_tiers(machine, chip, placement);
  machine.main_level = machine.levels.size();
  const int offset = static_cast<int>(machine.main_level);
  for (std::size_t i = 0; i < chip.memory.size(); ++i) {
    machine.levels.push_back(chip.memory[i].level);
    const int inner = next_inner(chip, static_cast<int>(i));
    machine.inner.push_back(inner < 0 ? -1 : inner + offset);
  }
  machine.bandwidth.resize(machine.levels.size());
  machine.capacity.resize(machine.levels.size());
  machine.energy.resize(machine.levels.size());
  set_memory(machine, chip);
  for (int f = 0; f < format_count; ++f) machine.matrix[static_cast<std::size_t>(f)] = math_rate(chip, static_cast<Format>(f), sparsity_pattern);
  for (const auto& [format, energy] : chip.energy.arithmetic) machine.energy_per_flop[static_cast<std::size_t>(format)] = energy.value;
  // Vector work counts in fp32. A chip whose vector rate nobody published gets its fastest unit's: still a lower bound.
  const hw::ComputeUnit* vector = chip.unit(hw::UnitKind::vector, Format::fp32);
  const MathRate& fallback = machine.matrix[static_cast<std::size_t>(Format::fp32)];
  machine.vector_rate = vector ? vector->rate(Format::fp32)->value : fallback.rate;
  machine.vector_unit = vector ? vector->name : fallback.unit;
  return machine;
}

std::vector<std::array<double, models::role_count>> crossing(const Machine& machine, const Shares& shares) {
  std::vector<std::array<double, models::role_count>> result(machine.levels.size());
  for (std::size_t role = 0; role < shares.size(); ++role)
    for (std::size_t at = 0; at < machine.levels.size(); ++at)
      for (int level = static_cast<int>(at); level >= 0; level = machine.inner[static_cast<std::size_t>(level)])
        result[static_cast<std::size_t>(level)][role] += shares[role][at];
  return result;
}

}  // namespace gambrel::sim

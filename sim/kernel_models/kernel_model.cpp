#include "sim/kernel_models/kernel_model.hpp"

#include <algorithm>

#include "sim/kernel_models/kernel_models.hpp"
#include "sim/machine.hpp"

namespace gambrel::sim {
namespace {

constexpr std::array<std::string_view, kernel_kind_count> names{"gemm", "attention_prefill", "attention_decode", "mla_prefill", "mla_decode",
                                                                "moe", "elementwise", "softmax", "layernorm", "gelu",
                                                                "collective", "moe_dispatch", "moe_combine"};

/// B a clock and core from the last cache, of a chip that states no bandwidth for it: an H100's measured 5.5 TB/s over
/// 132 cores at 1.83 GHz (chipsandcheese.com, "Nvidia's H100").
constexpr double cache_bytes_per_clock = 22.8;

/// A chip that states no clock is taken to run at this one; latencies in clocks then become times.
constexpr double usual_clock = 1.5e9;

double clock_of(const hw::Chip& chip) {
  for (const hw::ComputeUnit& unit : chip.compute)
    if (unit.clock.value > 0) return unit.clock.value;
  return usual_clock;
}

/// A chip that states no link at all is taken to sit on PCIe 4 x16.
constexpr double usual_link = 31.5e9;

double link_of(const hw::Chip& chip) {
  if (chip.link && chip.link->value > 0) return chip.link->value;
  return chip.host_link.value > 0 ? chip.host_link.value : usual_link;
}

double cores_of(const hw::Chip& chip) {
  double cores = 1;
  for (const hw::HierarchyLevel& level : chip.hierarchy) cores *= level.count;
  return cores;
}

/// The last cache shared by the chip that fills from main memory.
const hw::MemoryLevel* cache_of(const hw::Chip& chip, bool cold) {
  const hw::MemoryLevel* found = nullptr;
  for (std::size_t i = 1; i < chip.memory.size(); ++i)
    if (!chip.memory[i].scratchpad && chip.memory[i].per.empty() && (!found || (!cold && chip.memory[i].capacity > found->capacity))) found = &chip.memory[i];
  return found;
}

/// Innermost first; a cache whose bandwidth nobody stated tells a model of loops nothing.
std::array<CacheFigures, 4> caches_of(const hw::Chip& chip, bool cold) {
  std::array<CacheFigures, 4> caches{};
  std::size_t count = 0;
  for (std::size_t i = chip.memory.size(); i-- > 1 && count < caches.size();) {
    const hw::MemoryLevel& level = chip.memory[i];
    if (!level.scratchpad && level.bandwidth.value > 0) caches[count++] = {cold ? 0 : level.capacity.value, level.bandwidth.value};
  }
  return caches;
}

}  // namespace

std::string_view to_string(KernelKind kind) { return names[static_cast<std::size_t>(kind)]; }

std::optional<KernelKind> parse_kernel_kind(std::string_view name) {
  const auto found = std::ranges::find(names, name);
  if (found == names.end()) return std::nullopt;
  return static_cast<KernelKind>(found - names.begin());
}

std::string_view to_string(ModelSet set) { return set == ModelSet::processor ? "processor" : "accelerator"; }

std::optional<ModelSet> parse_model_set(std::string_view name) {
  for (const ModelSet set : {ModelSet::accelerator, ModelSet::processor})
    if (name == to_string(set)) return set;
  return std::nullopt;
}

ModelSet model_set(hw::ChipKind kind) { return kind == hw::ChipKind::cpu ? ModelSet::processor : ModelSet::accelerator; }

const KernelModel& model_of(KernelKind kind, ModelSet set) {
  using Row = std::array<const KernelModel*, model_set_count>;
  static const std::array<Row, kernel_kind_count> models{{
      {&gemm_model, &cpu_gemm_model},
      {&attention_prefill_model, &cpu_attention_prefill_model},
      {&attention_decode_model, &cpu_attention_decode_model},
      {&mla_prefill_model, &cpu_mla_prefill_model},
      {&mla_decode_model, &cpu_mla_decode_model},
      {&moe_model, &cpu_moe_model},
      {&elementwise_model, &cpu_elementwise_model},
      {&softmax_model, &cpu_softmax_model},
      {&layernorm_model, &cpu_layernorm_model},
      {&gelu_model, &cpu_gelu_model},
      {&collective_model, &collective_model},
      {&moe_dispatch_model, &moe_dispatch_model},
      {&moe_combine_model, &moe_combine_model},
  }};
  return *models[static_cast<std::size_t>(kind)][static_cast<std::size_t>(set)];
}

void set_memory(ChipFigures& figures, const hw::Chip& chip, bool cold) {
  figures.bandwidth = chip.memory.front().bandwidth.value;
  figures.cache = 0;
  figures.cache_bandwidth = 1;
  if (const hw::MemoryLevel* cache = cache_of(chip, cold)) {
    figures.cache = cold ? 0 : cache->capacity.value;
    figures.cache_bandwidth = cache->bandwidth.value;
  }
  figures.caches = caches_of(chip, cold);
  if (figures.cache_bandwidth <= 1) figures.cache_bandwidth = std::max(figures.bandwidth, cache_bytes_per_clock * figures.clock * figures.cores);
}

ChipFigures chip_figures(const hw::Chip& chip, bool cold) {
  const Machine machine = make_machine(chip, {}, {});
  ChipFigures figures;
  figures.cores = cores_of(chip);
  figures.clock = clock_of(chip);
  figures.vector_rate = machine.vector_rate;
  figures.link = link_of(chip);
  for (std::size_t f = 0; f < figures.peak.size(); ++f) {
    figures.peak[f] = machine.matrix[f].rate;
    figures.runs_as[f] = machine.matrix[f].runs_as;
  }
  set_memory(figures, chip, cold);
  return figures;
}

}  // namespace gambrel::sim

#include "sim/kernel_models/cpu_caches.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

namespace gambrel::sim {

double missed(double distance, double capacity, double sharpness) {
  return capacity > 0 ? 1 / (1 + std::pow(capacity / distance, sharpness)) : 1;
}

double seconds_per_byte(double distance, const ChipFigures& chip, const CacheConstants& c) {
  std::size_t count = 0;
  while (count < chip.caches.size() && chip.caches[count].bandwidth > 0) ++count;
  const CacheFigures none{0, chip.bandwidth};
  const CacheFigures& last = count > 0 ? chip.caches[count - 1] : none;
  const CacheFigures& inner = count > 1 ? chip.caches[count - 2] : last;
  const CacheFigures& first = count > 2 ? chip.caches[0] : inner;
  // What lies farther out is never nearer, whatever a fit to few rows says.
  const double first_s = 1 / (first.bandwidth * c.first_efficiency);
  const double inner_s = std::max(first_s, 1 / (inner.bandwidth * c.inner_efficiency));
  const double last_s = std::max(inner_s, 1 / (last.bandwidth * c.last_efficiency));
  const double main_s = std::max(last_s, 1 / (chip.bandwidth * c.main_efficiency));
  const double beyond_last = missed(distance, last.capacity * c.last_share, c.sharpness);
  const double beyond_inner = std::max(beyond_last, missed(distance, inner.capacity * c.inner_share, c.sharpness));
  const double beyond_first = std::max(beyond_inner, missed(distance, first.capacity * c.inner_share, c.sharpness));
  return first_s + (inner_s - first_s) * beyond_first + (last_s - inner_s) * beyond_inner + (main_s - last_s) * beyond_last;
}

double movement_seconds(const KernelCall& call, const ChipFigures& chip, const CacheConstants& c) {
  const double all = call.op.work.bytes(), near = call.op.work.bytes(models::Role::activation);
  return near * seconds_per_byte(all, chip, c) + (all - near) * seconds_per_byte(std::max(all, call.between), chip, c);
}

std::string_view operand_name(const DataType& activations, const DataType& stored) {
  static const auto names = [] {
    std::array<std::array<std::string, format_count>, format_count> table;
    for (int a = 0; a < format_count; ++a)
      for (int s = 0; s < format_count; ++s)
        table[static_cast<std::size_t>(a)][static_cast<std::size_t>(s)] =
            fmt::format("{}-{}", to_string(static_cast<Format>(a)), to_string(static_cast<Format>(s)));
    return table;
  }();
  if (activations.format == stored.format) return to_string(stored.format);
  return names[static_cast<std::size_t>(activations.format)][static_cast<std::size_t>(stored.format)];
}

std::string_view processor_type(const KernelCall& call, const ChipFigures&) {
  return call.measured_as.empty() ? operand_name(call.activations, call.stored) : std::string_view(call.measured_as);
}

}  // namespace gambrel::sim

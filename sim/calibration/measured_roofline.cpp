// Measured kernels under the roofs that were measured beside them.
#include <fmt/format.h>

#include <algorithm>

#include "sim/calibration/this_machine.hpp"

namespace gambrel::sim {
namespace {

double peak_of(const MachineFigures& machine, Format format) {
  const auto found = std::ranges::find(machine.peaks, format, &std::pair<Format, double>::first);
  return found == machine.peaks.end() ? machine.peaks.front().second : found->second;
}

/// The level that a working set is read from again and again.
const FittedLevel& level_of(const MachineFigures& machine, double working_set) {
  for (const FittedLevel& level : machine.levels)
    if (level.capacity >= working_set / machine.threads) return level;
  return machine.levels.back();
}

OpEstimate op_of(const MachineFigures& machine, const MeasuredPoint& p) {
  const FittedLevel& level = level_of(machine, p.working_set);
  OpEstimate op{.name = p.name, .kind = p.kind, .math = p.math, .flops = Flops{p.flops}, .intensity = FlopsPerByte{p.bytes > 0 ? p.flops / p.bytes : 0}};
  op.t_math = Seconds{p.flops / peak_of(machine, p.math)};
  op.t_mem = Seconds{p.bytes / level.bandwidth};
  op.time = op.time_low = op.time_high = Seconds{p.seconds};
  op.roofline = std::max(op.t_math, op.t_mem);
  op.bound = op.t_math > op.t_mem ? "compute" : level.name;
  op.provenance = Provenance::measured;
  for (std::size_t i = machine.levels.size(); i-- > 0;)
    op.levels.push_back({Bytes{p.bytes}, Seconds{p.bytes / machine.levels[i].bandwidth}});
  return op;
}

}  // namespace

Estimate measured_roofline(const MachineFigures& machine, std::span<const MeasuredPoint> points) {
  Estimate estimate{.run = "this-machine, measured", .model = "kernels one by one", .system = "this-machine", .chip = "this-machine", .chip_name = machine.cpu};
  Phase phase{.name = "measured"};
  for (std::size_t i = machine.levels.size(); i-- > 0;) phase.levels.push_back(machine.levels[i].name);
  for (const MeasuredPoint& p : points) {
    phase.ops.push_back(op_of(machine, p));
    phase.total.time = phase.total.time + Seconds{p.seconds};
    phase.total.flops = phase.total.flops + Flops{p.flops};
  }
  phase.total.levels.resize(phase.levels.size());
  estimate.total = phase.total;
  estimate.phases.push_back(std::move(phase));
  for (const auto& [format, rate] : machine.peaks) estimate.roofs.push_back({fmt::format("{} simd", to_string(format)), false, rate});
  for (std::size_t i = machine.levels.size(); i-- > 0;) estimate.roofs.push_back({machine.levels[i].name, true, machine.levels[i].bandwidth});
  estimate.sources.emplace_back("all", fmt::format("measured on {}, {} threads, kernels compiled by {}", machine.date, machine.threads, machine.compiler));
  estimate.notes.push_back("Bytes are compulsory: each operand once. A kernel whose operands stay in a cache lies under that cache's slope, above main memory's.");
  return estimate;
}

}  // namespace gambrel::sim

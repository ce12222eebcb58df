// One row a kind of level, each with its source.
#include "sim/network/network_rates.hpp"

#include <fmt/format.h>

#include <array>

namespace gambrel::sim {
namespace {

/// In the order of hw::TopologyKind. Scale-up switches: rings of nccl-tests reach 0.78 (A100) and 0.82 (H200) of the link
/// (stas00/ml-engineering, network README); a step takes 0.94 us (ASTRA-sim's "HGX-H100-validated").
/// Direct links: all-reduce of 8 and of 2 MI300X 313 of 448 and 48 of 64 GB/s (stas00); TPU7x all-gather 179 of 200 GB/s
/// a pair of links (Google, docs/tpu7x), 1 us a hop (jax-ml/scaling-book, tpus.md).
/// Scale-out: 12.5 us a step and 0.73 of NDR's 50 GB/s in NCCL's send between two H100 nodes (Vidur's profiles, fitted on
/// 3 rows of 6), 43 of 50 GB/s in DeepEP's exchange: 0.8, with which the other 3 rows come out 3, 10 and 20 % fast.
constexpr std::array<LevelRates, 7> usual{{
    {1e-6, 0.80, 0.4},     // switch
    {12.5e-6, 0.80, 0.4},  // fat-tree
    {1e-6, 0.85, 0.4},     // ring
    {1e-6, 0.90, 0.3},     // mesh
    {1e-6, 0.90, 0.3},     // torus
    {1e-6, 0.72, 0.4},     // fully connected
    {12.5e-6, 0.80, 0.5},  // dragonfly
}};

/// A launch takes 4.6 (H100) and 8.0 us (A100), constants of the calibrated chips; one more peer takes an H100's
/// all-to-all 0.15 us. Compiled programs of other kinds of chip launch with the step before.
constexpr double gpu_launch = 6e-6, message_gap = 1.5e-7;

std::string latency_note(const hw::NetworkLevel& level, const LevelRates& rates) {
  return fmt::format("network level '{}' states no latency: {} a step assumed, as measured on other networks of its kind", level.level,
                     to_string(Seconds{rates.latency}, 3));
}

}  // namespace

std::string efficiency_note(const hw::NetworkLevel& level, const LevelRates& rates) {
  return fmt::format("network level '{}' states no efficiency: messages are taken to reach {:.0f} % of its bandwidth, as measured on other networks of its kind",
                     level.level, 100 * rates.efficiency);
}

LevelRates usual_rates(hw::TopologyKind topology, bool outer) {
  if (outer && topology == hw::TopologyKind::switched) topology = hw::TopologyKind::fat_tree;
  return usual[static_cast<std::size_t>(topology)];
}

Rates rates_of(const std::vector<hw::NetworkLevel>& levels, const NetworkOptions& options) {
  Rates rates;
  for (std::size_t i = 0; i < levels.size(); ++i) {
    const LevelRates usual_here = usual_rates(levels[i].topology, i > 0);
    rates.errors.push_back(usual_here.error);
    const bool stated = levels[i].latency.value > 0 && levels[i].efficiency > 0;
    rates.known.push_back(options.efficiency > 0 ? Provenance::assumed : stated ? Provenance::analytic : Provenance::transferred);
    if (levels[i].latency.value <= 0) rates.notes.push_back(latency_note(levels[i], usual_here));
    if (levels[i].efficiency <= 0 && options.efficiency <= 0) rates.notes.push_back(efficiency_note(levels[i], usual_here));
  }
  for (const hw::Axis& axis : hw::axes_of(levels)) {
    const hw::NetworkLevel& level = levels[axis.level];
    const LevelRates usual_here = usual_rates(level.topology, axis.level > 0);
    RatedAxis line{.axis = axis, .adds = level.in_network_reduction};
    line.latency = level.latency.value > 0 ? level.latency.value : usual_here.latency;
    line.efficiency = options.efficiency > 0 ? options.efficiency : level.efficiency > 0 ? level.efficiency : usual_here.efficiency;
    line.axis.bandwidth *= line.efficiency;
    rates.lines.push_back(line);
  }
  return rates;
}

Fabrics fabric_of(const hw::Chip& chip, const NetworkOptions& options, double& launch) {
  Fabrics fabric{.options = options};
  launch = options.overheads && chip.kind == hw::ChipKind::gpu ? gpu_launch : 0;
  fabric.gap = options.overheads ? message_gap : 0;
  const double memory = chip.memory.empty() ? 0 : chip.memory.front().bandwidth.value;
  if (options.overheads && memory > 0) fabric.reduce = 3 / memory;
  return fabric;
}

}  // namespace gambrel::sim

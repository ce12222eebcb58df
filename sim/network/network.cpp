#include "sim/network/network.hpp"

#include <algorithm>
#include <cmath>

#include "sim/calibration/calibration.hpp"
#include "sim/kernel_models/kernel_models.hpp"
#include "sim/network/network_exchange.hpp"
#include "sim/network/network_rates.hpp"

namespace gambrel::sim {
namespace {

using enum CollectiveKind;

constexpr std::array<std::string_view, algorithm_count> algorithm_names{"ring", "bidirectional_ring", "torus", "halving_doubling",
                                                                        "double_binary_tree", "direct", "hierarchical", "in_network"};

double constant_of(const KernelFit& fit, std::string_view name) {
  const auto& constants = collective_model.constants;
  const auto found = std::ranges::find(constants, name, &Constant::name);
  return fit.values[static_cast<std::size_t>(found - constants.begin())];
}

/// Constants that a calibration has for collectives inside the innermost switch.
struct Measured {
  std::vector<double> values;
  double error = 0;
  Provenance provenance = Provenance::analytic;
};

std::optional<Measured> measured(const CalibrationBook& book, std::string_view type) {
  const CalibrationBook::Found found = book.find(KernelKind::collective, type);
  if (!found.fit || found.fit->type != type) return std::nullopt;
  return Measured{found.fit->values, found.error, found.provenance};
}

std::vector<hw::NetworkLevel> levels_of(const hw::System& system, std::size_t pool) {
  std::vector<hw::NetworkLevel> levels = system.pools[pool].network;
  for (std::size_t i = 0; i < system.between.size(); ++i) {
    levels.push_back(system.between[i]);
    // Of the parts that the first joining level joins, this pool has some; the collective is over those.
    if (i == 0 && levels.back().shape.size() == 1) levels.back().shape = {levels.back().size = system.pools[pool].count};
  }
  return levels;
}

/// The traffic of a group that does not fill its levels evenly: the ranks that it lacks send nothing.
std::vector<double> padded(const std::vector<double>& traffic, std::size_t size, std::size_t ranks) {
  std::vector<double> result(ranks * ranks);
  for (std::size_t i = 0; i < std::min(size, ranks); ++i)
    for (std::size_t j = 0; j < std::min(size, ranks); ++j) result[i * ranks + j] = traffic[i * size + j];
  return result;
}

}  // namespace

std::string_view to_string(Algorithm algorithm) { return algorithm_names[static_cast<std::size_t>(algorithm)]; }

std::optional<Algorithm> parse_algorithm(std::string_view name) {
  const auto found = std::ranges::find(algorithm_names, name);
  if (found == algorithm_names.end()) return std::nullopt;
  return static_cast<Algorithm>(found - algorithm_names.begin());
}

struct Network::Fabric {
  std::vector<hw::NetworkLevel> network;
  std::vector<std::string> levels;
  std::vector<std::pair<int, std::size_t>> axes;
  Rates rates;
  Fabrics figures;
  ChipFigures chip;
  double launch = 0;
  std::size_t joining = 0;  ///< the first level that joins pools
  std::vector<hw::NetworkLevel> between;
  std::optional<Measured> ring, all_to_all;

  NetworkCost cost(const Transfer& transfer, const Parts& parts, std::optional<Algorithm> forced) const;
  const Measured* calibrated(const Stages& group, CollectiveKind kind) const;
  NetworkCost from_constants(const Transfer& transfer, const Stages& group, const Measured& constants) const;
  void use(const CalibrationBook& book);
  double error_of(const Stages& group) const;
  Provenance known_of(const Stages& group) const;
};

void Network::Fabric::use(const CalibrationBook& book) {
  if (network.empty() || network.front().topology != hw::TopologyKind::switched) return;
  ring = measured(book, "nccl");
  all_to_all = measured(book, "nccl_all_to_all");
  const CalibrationBook::Found found = book.find(KernelKind::collective, "nccl");
  if (!ring || network.front().efficiency > 0) return;
  RatedAxis& line = rates.lines.front();
  const double share = constant_of(*found.fit, "bulk_rate");
  line.axis.bandwidth *= share / line.efficiency;
  line.efficiency = share;
  std::erase(rates.notes, efficiency_note(network.front(), usual_rates(network.front().topology, false)));
  launch = constant_of(*found.fit, "launch_s");
}

const Measured* Network::Fabric::calibrated(const Stages& group, CollectiveKind kind) const {
  if (group.count != 1 || group.top().level != 0) return nullptr;
  const auto& constants = kind == CollectiveKind::all_to_all ? all_to_all : ring;
  return constants ? &*constants : nullptr;
}

double Network::Fabric::error_of(const Stages& group) const {
  double error = 0;
  for (const Stage& stage : group.all()) error = std::max(error, rates.errors[stage.level]);
  return error;
}

Provenance Network::Fabric::known_of(const Stages& group) const {
  Provenance known = rates.known[group.top().level];
  for (const Stage& stage : group.all())
    if (rates.known[stage.level] == Provenance::transferred) known = Provenance::transferred;
  return known;
}

NetworkCost Network::Fabric::from_constants(const Transfer& transfer, const Stages& group, const Measured& constants) const {
  KernelCall call{.kind = KernelKind::collective, .activations = transfer.type, .stored = transfer.type};
  call.message = {.kind = transfer.kind, .ranks = group.ranks, .bytes = transfer.bytes};
  NetworkCost cost{.provenance = constants.provenance};
  cost.seconds = collective_model.predict(call, chip, constants.values);
  call.message.bytes = 1;
  cost.latency_s = std::min(cost.seconds, collective_model.predict(call, chip, constants.values));
  const bool adds = transfer.kind == all_reduce && group.top().line[0]->adds;
  cost.algorithm = transfer.kind == CollectiveKind::all_to_all || transfer.kind == point_to_point ? Algorithm::direct : adds ? Algorithm::in_network : Algorithm::ring;
  return cost;
}

NetworkCost Network::Fabric::cost(const Transfer& transfer, const Parts& parts, std::optional<Algorithm> forced) const {
  NetworkCost cost;
  Stages group;
  lay_out(parts, rates.lines, group);
  if (group.ranks <= 1) return cost;
  double error = error_of(group);
  const Measured* constants = calibrated(group, transfer.kind);
  if (constants) {
    cost = from_constants(transfer, group, *constants);
    error = constants->error;
  }
  if (!constants || (forced && *forced != cost.algorithm)) {
    std::optional<AlgorithmTime> best;
    const auto consider = [&](Algorithm algorithm) {
      const auto time = time_of(algorithm, transfer.kind, group, transfer.bytes, figures);
      if (time && (!best || time->seconds() < best->seconds())) best = time, cost.algorithm = algorithm;
    };
    if (forced) consider(*forced);
    if (!best && !constants)
      for (int i = 0; i < algorithm_count; ++i) consider(static_cast<Algorithm>(i));
    if (best) {
      cost.latency_s = best->latency + launch;
      cost.seconds = cost.latency_s + best->transfer;
      cost.level = best->level;
      cost.provenance = known_of(group);
      error = error_of(group);
    }
  }
  cost.floor_s = figures.options.port_contention ? floor_of(transfer.kind, group, transfer.bytes) : 0;
  cost.sent_bytes = sent_by_rank(cost.algorithm, transfer.kind, group, transfer.bytes);
  cost.seconds = std::max(cost.seconds, cost.floor_s);
  cost.low = std::max(cost.floor_s, cost.seconds / (1 + error));
  cost.high = cost.seconds * (1 + error);
  return cost;
}

Network::Network(const hw::System& system, std::size_t pool, const CalibrationBook* book, const NetworkOptions& options) : fabric_(std::make_unique<Fabric>()) {
  Fabric& f = *fabric_;
  const hw::Pool& here = system.pools[pool];
  f.network = levels_of(system, pool);
  f.joining = here.network.size();
  f.between = system.between;
  f.rates = rates_of(f.network, options);
  f.figures = fabric_of(here.chip, options, f.launch);
  for (const hw::NetworkLevel& level : f.network) f.levels.push_back(level.level);
  for (const RatedAxis& line : f.rates.lines) f.axes.emplace_back(line.axis.length, line.axis.level);
  f.chip = chip_figures(here.chip);
  if (!f.network.empty()) f.chip.link = f.network.front().member_bandwidth().value / f.network.front().chips_each;
  if (book) f.use(*book);
}

Network::~Network() = default;
Network::Network(Network&&) noexcept = default;
Network& Network::operator=(Network&&) noexcept = default;

NetworkCost Network::cost(const Transfer& transfer, const RankGroup& group, std::optional<Algorithm> forced) const {
  if (group.size <= 1) return {};
  return fabric_->cost(transfer, parts_of(group, fabric_->rates.lines), forced);
}

NetworkCost Network::cost_over(const Transfer& transfer, const std::vector<int>& extents, std::optional<Algorithm> forced) const {
  Parts parts;
  for (std::size_t i = 0; i < std::min(extents.size(), fabric_->axes.size()); ++i) parts[i].size = std::clamp(extents[i], 1, fabric_->axes[i].first);
  return fabric_->cost(transfer, parts, forced);
}

bool Network::runs(Algorithm algorithm, CollectiveKind kind, const RankGroup& group) const {
  Stages stages;
  lay_out(parts_of(group, fabric_->rates.lines), fabric_->rates.lines, stages);
  return stages.ranks > 1 && time_of(algorithm, kind, stages, 1, fabric_->figures).has_value();
}

NetworkCost Network::exchange(const std::vector<double>& traffic, const RankGroup& group) const {
  Stages stages;
  lay_out(parts_of(group, fabric_->rates.lines), fabric_->rates.lines, stages);
  NetworkCost cost;
  const auto size = static_cast<std::size_t>(group.size), ranks = static_cast<std::size_t>(stages.ranks);
  if (ranks <= 1 || traffic.size() < size * size) return cost;
  const ExchangeTime time = exchange_time(padded(traffic, size, ranks), stages, fabric_->network, fabric_->figures);
  cost.latency_s = time.latency + fabric_->launch;
  cost.seconds = std::max(cost.latency_s + time.transfer, time.floor);
  cost.floor_s = time.floor;
  cost.sent_bytes = time.sent;
  cost.algorithm = Algorithm::direct;
  cost.level = time.level;
  cost.provenance = fabric_->known_of(stages);
  const double error = fabric_->error_of(stages);
  cost.low = std::max(cost.floor_s, cost.seconds / (1 + error));
  cost.high = cost.seconds * (1 + error);
  return cost;
}

NetworkCost Network::handover(double bytes) const {
  NetworkCost cost;
  if (fabric_->between.empty() || bytes <= 0) return cost;
  const hw::NetworkLevel& level = fabric_->between.front();
  const LevelRates usual = usual_rates(level.topology, true);
  const double rate = level.link_bandwidth().value / level.chips_each;
  const double efficiency = level.efficiency > 0 ? level.efficiency : usual.efficiency;
  cost.latency_s = (level.latency.value > 0 ? level.latency.value : usual.latency) + fabric_->launch;
  cost.floor_s = bytes / rate;
  cost.seconds = cost.latency_s + cost.floor_s / efficiency;
  cost.sent_bytes = bytes;
  cost.algorithm = Algorithm::direct;
  cost.level = fabric_->joining;
  cost.provenance = Provenance::transferred;
  cost.low = std::max(cost.floor_s, cost.seconds / (1 + usual.error));
  cost.high = cost.seconds * (1 + usual.error);
  return cost;
}

const std::vector<std::string>& Network::levels() const { return fabric_->levels; }
const std::vector<std::pair<int, std::size_t>>& Network::axes() const { return fabric_->axes; }
const std::vector<std::string>& Network::notes() const { return fabric_->rates.notes; }

}  // namespace gambrel::sim

#include "sim/calibration/kernel_predictor.hpp"

#include <algorithm>

#include "sim/kernel_models/collective_model.hpp"

namespace gambrel::sim {
namespace {

/// The width of an interval where no measurement says anything: half to twice the roofline's time is a guess, and said so.
constexpr double analytic_error = 1.0;

/// A chip on which arithmetic and movement are free, latencies in clocks included; what is left is launches.
ChipFigures unbounded(ChipFigures figures) {
  constexpr double free = 1e6;
  figures.clock *= free;
  figures.bandwidth *= free;
  figures.cache_bandwidth *= free;
  figures.vector_rate *= free;
  figures.link *= free;
  for (double& peak : figures.peak) peak *= free;
  for (CacheFigures& cache : figures.caches) cache.bandwidth *= free;
  return figures;
}

}  // namespace

KernelRates::KernelRates(const hw::Chip& chip, bool with_cold_caches)
    : figures(chip_figures(chip, with_cold_caches)), unbounded(sim::unbounded(figures)), machine(make_machine(chip, {}, {})), cold(with_cold_caches) {}

void KernelRates::use_memory(const hw::Chip& chip) {
  set_memory(figures, chip, cold);
  unbounded = sim::unbounded(figures);
}

double KernelRates::roofline(const KernelCall& call) const {
  const double beyond_cache = std::max(0.0, call.op.work.bytes() - figures.cache);
  return std::max({machine.math_time(call.op), beyond_cache / figures.bandwidth, transfer_floor(call, figures)});
}

bool KernelRates::is_launch(const KernelModel& model, const KernelCall& call, std::span<const double> values, double seconds) const {
  return model.predict(call, unbounded, values) > 0.5 * seconds;
}

KernelPredictor::KernelPredictor(const hw::Chip& chip, CalibrationBook book, std::vector<std::pair<std::string, double>> assume)
    : set_(model_set(chip.kind)), rates_(chip), main_memory_(chip.memory.front().level),
      book_(std::move(book)), assume_(std::move(assume)) {}

std::string_view KernelPredictor::larger_side(const KernelCall& call) const {
  if (is_transfer(call.kind)) return "network";
  return rates_.machine.math_time(call.op) > rates_.memory_time(call) ? "compute" : std::string_view(main_memory_);
}

double KernelPredictor::roofline(const KernelCall& call) const { return rates_.roofline(call); }

double KernelPredictor::seconds(const KernelModel& model, const KernelCall& call, std::span<const double> values) const {
  return std::max(model.predict(call, rates_.figures, values), roofline(call));
}

std::string_view KernelPredictor::bound(const KernelModel& model, const KernelCall& call, std::span<const double> values, double time) const {
  return rates_.is_launch(model, call, values, time) ? "launch" : larger_side(call);
}

KernelPrediction KernelPredictor::plain(const KernelCall& call, double efficiency, double error, Provenance provenance) const {
  const double seconds = std::max({rates_.machine.math_time(call.op), rates_.memory_time(call), transfer_floor(call, rates_.figures)}) / efficiency;
  return {seconds, roofline(call), seconds * (1 + error), roofline(call), larger_side(call), provenance};
}

KernelPrediction KernelPredictor::predict(const KernelCall& call) const {
  for (const auto& [kind, efficiency] : assume_)
    if (kind == models::to_string(call.op.kind) || kind == to_string(call.kind)) return plain(call, efficiency, 0, Provenance::assumed);
  const KernelModel& model = this->model(call.kind);
  const CalibrationBook::Found found = book_.find(call.kind, model.type_of(call, rates_.figures), set_);
  if (!found.fit) return plain(call, 1, analytic_error, Provenance::analytic);
  KernelPrediction result{.seconds = seconds(model, call, found.fit->values), .roofline = roofline(call), .provenance = found.provenance};
  result.low = std::max(result.roofline, result.seconds / (1 + found.error));
  result.high = result.seconds * (1 + found.error);
  result.bound = bound(model, call, found.fit->values, result.seconds);
  return result;
}

}  // namespace gambrel::sim

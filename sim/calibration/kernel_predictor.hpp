// One kernel call on one chip: prediction, interval, roofline, bound and where the figure comes from.
#pragma once

#include "sim/calibration/calibration.hpp"
#include "sim/cost_model.hpp"

namespace gambrel::sim {

struct KernelPrediction {
  double seconds = 0, low = 0, high = 0;  ///< nine in ten measurements are expected between low and high
  double roofline = 0;                    ///< max(T_math, T_mem, T_net); what the cache before main memory can hold is not charged to it
  std::string_view bound;                 ///< "launch", "compute", "network" or the main memory's name
  Provenance provenance = Provenance::analytic;
};

/// A chip as predictions of kernels see it. Its numbers may change under it, the structure may not.
struct KernelRates {
  explicit KernelRates(const hw::Chip& chip, bool cold = false);
  /// After the chip's memories have changed.
  void use_memory(const hw::Chip& chip);

  double memory_time(const KernelCall& call) const { return call.op.work.bytes() / figures.bandwidth; }
  /// max(T_math, T_mem, T_net); what the cache before main memory can hold is not charged to it.
  double roofline(const KernelCall& call) const;
  /// Of a model's seconds, half stay when arithmetic and memory are free.
  bool is_launch(const KernelModel& model, const KernelCall& call, std::span<const double> values, double seconds) const;

  ChipFigures figures, unbounded;
  Machine machine;    ///< for its units: use_memory() leaves its levels as they were
  bool cold = false;  ///< caches that hold nothing
};

class KernelPredictor {
 public:
  /// `assume`: kind of operator -> efficiency asserted by the user, over the plain roofline.
  KernelPredictor(const hw::Chip& chip, CalibrationBook book, std::vector<std::pair<std::string, double>> assume = {});

  KernelPrediction predict(const KernelCall& call) const;

  /// Seconds of one model under given constants; never below the roofline.
  double seconds(const KernelModel& model, const KernelCall& call, std::span<const double> values) const;
  double roofline(const KernelCall& call) const;
  /// What holds the call back under these constants: launch if more than half of the time stays when arithmetic and
  /// memory are free, else the larger side of the roofline.
  std::string_view bound(const KernelModel& model, const KernelCall& call, std::span<const double> values, double seconds) const;

  /// The model of a kind of kernel on this chip.
  const KernelModel& model(KernelKind kind) const { return model_of(kind, set_); }
  const ChipFigures& figures() const { return rates_.figures; }
  const CalibrationBook& book() const { return book_; }

 private:
  /// What the plain roofline says, its time divided by `efficiency`.
  KernelPrediction plain(const KernelCall& call, double efficiency, double error, Provenance provenance) const;
  std::string_view larger_side(const KernelCall& call) const;

  ModelSet set_;
  KernelRates rates_;
  std::string main_memory_;
  CalibrationBook book_;
  std::vector<std::pair<std::string, double>> assume_;
};

}  // namespace gambrel::sim

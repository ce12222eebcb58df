// Fitted constants of kernel models: a chip's own, or borrowed from a relative.
#pragma once

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/catalog.hpp"
#include "base/node.hpp"
#include "base/result.hpp"
#include "hw/chip.hpp"
#include "sim/calibration/score.hpp"
#include "sim/estimate.hpp"
#include "sim/kernel_models/kernel_model.hpp"

namespace gambrel::sim {

/// The constants of one kernel and type, and how well they did on rows the fit did not see.
struct KernelFit {
  KernelKind kernel = KernelKind::gemm;
  std::string type;
  std::vector<double> values;  ///< in the order of the model's constants
  Score fitted, reported;
  std::vector<std::pair<std::string, Score>> regimes;
  std::string file, file_hash, date, split;
};

/// What training runs reach of the rate that single kernels were measured at, compute-bound products only: clocks under
/// the power limit (kernels were timed at locked maximum clocks), and what else a long run loses everywhere alike.
struct SustainedFit {
  double share = 1;
  double tdp = 0;              ///< W, of the chip; 0: not stated
  Score fitted, reported;      ///< of the suite's rows on the chip, with the share
  std::string suite, date, split;
};

struct Calibration {
  std::string chip;
  std::vector<KernelFit> fits;
  std::optional<SustainedFit> sustained;
  ModelSet models = ModelSet::accelerator;  ///< whose constants these are
  /// The first fit of a kernel and type; of "fp32" also "fp32/VERSION", of "" any.
  const KernelFit* find(KernelKind kernel, std::string_view type) const;
};

Result<Calibration> read_calibration(const Node& document);
Node to_node(const Calibration& calibration);

/// What predicts a chip: its own calibration (configs/calibrations/CHIP.yaml), else those of the calibrated chips that
/// its family or kind borrows from (configs/calibrations/families.yaml), else nothing, and the plain roofline stands.
class CalibrationBook {
 public:
  /// `system`: its own calibration (configs/calibrations/SYSTEM.yaml, of collectives) comes before the chip's.
  static Result<CalibrationBook> load(const Catalog& catalog, const hw::Chip& chip, const std::string& system = {});

  struct Found {
    const KernelFit* fit = nullptr;  ///< nullptr: analytic
    Provenance provenance = Provenance::analytic;
    double error = 0;                ///< 90th percentile of the relative error to expect
  };
  /// The chip's own fit of that type, a lender's, then anybody's fit of another type.
  /// Constants of another set of models mean other things and do not count.
  Found find(KernelKind kernel, std::string_view type, ModelSet models = ModelSet::accelerator) const;

  /// The chip's own sustained share, else the mean of its lenders', else 1. A relative of a lower design power runs at a
  /// lower clock: by the cube root of the powers, since voltage goes with the clock.
  double sustained() const;

  /// The chip's own fit of it; nullptr if it has none.
  const SustainedFit* own_sustained() const { return own_.sustained ? &*own_.sustained : nullptr; }

  /// The same constants without those that say how rows were measured: for predictions of whole models.
  CalibrationBook for_models() const;

  /// Replaces the chip's own calibration: to judge constants before they are written.
  void use(Calibration own) { own_ = std::move(own); }
  void use(SustainedFit sustained) { own_.sustained = std::move(sustained); }

 private:
  Calibration own_;
  double tdp_ = 0;             ///< W, of a chip whose family lends; 0: its kind does, or it is not stated
  std::vector<Calibration> lent_;
  std::vector<std::pair<std::string, double>> transfer_error_;
};

}  // namespace gambrel::sim

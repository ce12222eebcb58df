// What was measured of this machine -> its chip file and its calibration.
#pragma once

#include <functional>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "base/node.hpp"
#include "sim/calibration/calibration.hpp"
#include "sim/calibration/fit_kernel.hpp"

namespace gambrel::sim {

/// One working set read again and again.
struct StreamPoint {
  double bytes = 0;  ///< of the working set, of each thread
  double rate = 0;   ///< B/s, all threads together
};

/// A memory level: what it is called, and how much of it is usable at which rate.
struct FittedLevel {
  std::string name;
  double capacity = 0;   ///< B, of each thread
  double bandwidth = 0;  ///< B/s, all threads together
};

/// Capacities and bandwidths under which soft steps from level to level come closest to the points (soft-L1 in logarithms).
/// `nominal`: name and bytes of each cache as the system tells them, innermost first: where the search starts, at most
/// 1.2 of it and at least a tenth, since a virtual machine shares its last cache. The last level returned is main memory,
/// without a capacity.
std::vector<FittedLevel> fit_levels(std::span<const StreamPoint> points, std::span<const std::pair<std::string, double>> nominal);

/// B/s that these levels give to a working set.
double stream_rate(std::span<const FittedLevel> levels, double bytes);

struct MachineFigures {
  std::string cpu, compiler, date;  ///< to print: "AMD EPYC", "g++ 12.2.0", "2026-11-22"
  int threads = 1;
  double memory = 0;                                     ///< B of main memory
  std::vector<std::pair<Format, double>> peaks;          ///< FLOP/s of multiply-adds, all threads together
  std::vector<std::pair<std::string, double>> nominal;   ///< caches of each thread as the system tells them, innermost first
  std::vector<StreamPoint> points;
  std::vector<FittedLevel> levels;                       ///< of fit_levels
};

/// `chip: this-machine`, a file that the chip schema accepts.
Node chip_document(const MachineFigures& machine);

/// Rows of one kind with what tells them apart.
struct KeyedRows {
  KernelKind kind = KernelKind::gemm;
  std::span<const KernelCall> calls;
  std::span<const double> seconds;
  std::span<const std::string> keys;
  std::string file, hash, date;
  std::span<const double> apart = {};  ///< of each row, how far two halves of its samples differ; may be absent
};

/// One fit a type, to all of its rows. `reported` and `regimes` are of rows that were held out: each is predicted by
/// constants fitted to the folds that it is not in, a row's fold being the hash of its key. Types with fewer than
/// `fewest` rows are left out.
struct HeldOutFit {
  KernelFit fit;
  std::vector<double> measured, predicted;  ///< of held-out rows
  Score apart;                              ///< of the rows' two halves: no model can be expected to come closer
};
std::vector<HeldOutFit> fit_held_out(const KeyedRows& rows, const KernelPredictor& predictor, std::uint32_t folds = 5,
                                     std::size_t fewest = 12);

/// Operators on rows are fitted as kind elementwise, as models run them. Softmax and layer norms can also be asked for as
/// kinds of their own, by rows and columns: the same fit under that kind. Nothing for any other fit.
std::optional<KernelFit> as_own_kind(const KernelFit& fit);

/// A kernel that was measured, for the picture.
struct MeasuredPoint {
  std::string name, kind;  ///< "gemm fp32 m 64, n 4096, k 4096", "gemm"
  Format math = Format::fp32;
  double flops = 0, bytes = 0, working_set = 0, seconds = 0;
};

/// The empirical roofline as the reports draw one: this machine's roofs, each point bound by what is nearest above it of
/// its format's peak and the level that its working set fits into.
Estimate measured_roofline(const MachineFigures& machine, std::span<const MeasuredPoint> points);

}  // namespace gambrel::sim

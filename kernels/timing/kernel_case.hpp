// What can be timed: one kernel in one version at one size, with the work that one call of it does.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "base/result.hpp"
#include "kernels/timing/anchor.hpp"

namespace gambrel::kernels {

/// A kernel with its operands allocated, filled and packed. Calling it is what is timed.
class Call {
 public:
  virtual ~Call() = default;
  virtual void run() = 0;
  /// The code path that the library chose for this size ("brg:avx512_core_bf16"); "" where it does not tell.
  virtual std::string selected() const { return ""; }
  /// Seconds that the device itself took for the last run(), between its own events; 0: time the call by the host's clock.
  virtual double device_seconds() const { return 0; }
};

/// A row of a suite. FLOPs and bytes are the operator table's: what the operation needs, not what the version does.
struct KernelCase {
  std::string kernel;    ///< "gemm", "gemv", "softmax", "attention_decode"; an operator kind where one fits
  std::string type;      ///< of the operands: "f32", "bf16", "int8", "int4"
  std::string version;   ///< "onednn_packed", "openblas", "eigen", "own"
  std::string library;   ///< with its version, "oneDNN 2.6.3"; "" = gambrel's own
  std::vector<std::pair<std::string, double>> sizes;  ///< {{"m", 256}, {"n", 4096}, {"k", 4096}}, as the columns of a measurement file
  int threads = 1;
  double flops = 0;      ///< of one call
  double bytes = 0;      ///< of one call: each operand once
  double working_set = 0;  ///< bytes that repeated calls touch: decides which memory level they work from
  Anchor anchor = Anchor::fma_f32;  ///< what an efficiency is measured against
  /// Instead of `anchor`: a reference on the same device, which does `anchor_work` FLOPs or bytes a run.
  std::function<std::unique_ptr<Call>()> prepare_anchor;
  double anchor_work = 0;
  bool gate = false;     ///< part of `gambrel check`'s default suite
  std::function<std::unique_ptr<Call>()> prepare;  ///< null operands never: throws std::bad_alloc if memory is short
  /// Largest error of this version on this operation against its plain reference, relative to the largest output;
  /// at a size small enough to compute the reference. Empty: nothing to check (peaks, streams).
  std::function<double()> error;
  double tolerance = 1e-5;  ///< that `error` has to stay below

  /// "gemm/f32/onednn_packed/m256.n4096.k4096/1t"
  std::string name() const;
};

}  // namespace gambrel::kernels

// The rows that a calibration of this machine is fitted to: which kernels at which sizes, and what they take undisturbed.
#pragma once

#include <functional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "kernels/timing/kernel_case.hpp"

namespace gambrel::kernels {

/// A kernel at one size, with its cells in the columns of `gambrel estimate-ops`.
struct SurveyCase {
  std::string kind;  ///< of kernel, as estimate-ops names it: "gemm", "attention_prefill"
  std::vector<std::pair<std::string, std::string>> cells;
  KernelCase kernel;
};

/// Products at `count` sizes, log-uniform: decode-like (1 to 64 rows, every third time one), prefill-like, odd and round
/// small ones, by turns; at most 2 GFLOP. The same for the same count.
struct ProductSize {
  std::size_t m, n, k;
};
std::vector<ProductSize> product_sizes(std::size_t count);

/// Everything that the models of sim/kernel_models/cpu_*.cpp describe and that has a kernel here; `quick`: fewer sizes.
std::vector<SurveyCase> survey_cases(int threads, bool quick);

/// A case that does nothing but an anchor's loop; `bytes`: of its working set, in each thread.
KernelCase anchor_case(Anchor anchor, double bytes, int threads);

/// The same of a memory anchor that goes over its working set once a call.
KernelCase stream_case(Anchor anchor, double bytes, int threads);

struct SurveyOptions {
  double seconds = 120;  ///< of timing in all, at least three visits of every case
  double memory = 3e9;   ///< B of operands that are kept at one time
};

/// What a case took. Other programs and other guests of the host only ever add time, in bursts and for minutes, so that
/// what is repeatable is the least of many samples; a wandering clock goes both ways, so that each is divided first by how
/// slow multiply-adds were in the same two seconds. Between halves of four surveys of products (Zen 4 VM) times so taken
/// differed by 1.9 %, by 3.7 % as the 6th percentile of bare samples and by 3.9 % as their median.
struct Surveyed {
  double seconds = 0;  ///< of one call, undisturbed, at the fastest clock that the survey saw
  double median = 0;   ///< over all samples, at that clock
  int samples = 0;     ///< clean ones
  double apart = 0;    ///< ln of the least of every other visit over the least of the rest: how well it repeats
};

/// Takes out the rows that gave no clean sample, with what was measured of them (`measured` is as long as `rows`); returns
/// their names.
std::vector<std::string> leave_out_unmeasured(std::vector<SurveyCase>& rows, std::vector<Surveyed>& measured);

/// Visits all cases in turn, again and again. `progress` hears how many of the visits are done.
/// Throws std::bad_alloc if memory is short.
std::vector<Surveyed> survey(std::span<const KernelCase> cases, const SurveyOptions& options,
                             const std::function<void(std::size_t done, std::size_t all)>& progress = {});

}  // namespace gambrel::kernels

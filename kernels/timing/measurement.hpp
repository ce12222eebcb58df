// One kernel's clean samples beside those of its anchor, and the file form in which processes hand them on.
#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/node.hpp"
#include "base/result.hpp"

namespace gambrel::kernels {

/// A kernel's sample and its anchor's, taken right after each other.
struct Round {
  double seconds = 0;         ///< of one call
  double anchor_seconds = 0;  ///< of one run of the anchor; 0: there was no anchor
  double clock_seconds = 0;   ///< of one run of an FMA loop, the anchor itself where that is one; 0: there was none
  int process = 0;            ///< of several whose rounds stand together, one after another, which it was
};

/// What a kernel's speed is compared by: its anchor's, which bounds it, or the clock's. The steadier one on a machine
/// depends on what holds the kernel back: caches shared with others move a copy more than a softmax.
enum class Pace { anchor, clock };
std::string_view to_string(Pace pace);

inline constexpr int least_clean = 15;  ///< clean rounds below which a kernel is not measurable

/// What a KernelCase gave. Times are wall times of samples in which no thread was preempted.
struct Measurement {
  std::string name;  ///< KernelCase::name(), or what a benchmark calls itself
  std::string kernel, type, version, library, selected;
  std::vector<std::pair<std::string, double>> sizes;
  int threads = 1;
  double flops = 0, bytes = 0, working_set = 0;  ///< of one call; bytes
  std::string anchor;      ///< "fma_f32", ...; "" where there was none
  bool memory = false;     ///< the anchor moves bytes
  double anchor_work = 0;  ///< FLOPs or bytes of one run, all threads
  double clock_work = 0;   ///< FLOPs of one run of the clock's loop
  double calls_per_sample = 0;
  std::string problem;       ///< why it could not be measured at all ("error: no device"); not part of the file form
  int sampled = 0;           ///< rounds taken, the preempted ones too
  std::vector<Round> clean;  ///< the others
};

/// Seconds of a call, clean sample by clean sample; their median.
std::vector<double> seconds_of(const Measurement& measurement);
double median_seconds(const Measurement& measurement);

/// The kernel's rate as a share of its anchor's in the same seconds: by the undisturbed times of both. Where the case has no work of the
/// anchor's kind (an empty launch), the anchor's time for 1e9 FLOPs or bytes over the kernel's; without an anchor, 1 s over it.
double efficiency_of(const Measurement& measurement);
/// Whether that is a share of a rate: both did work of one kind.
bool has_reference(const Measurement& measurement);

/// Speed by a pace: the efficiency, or calls in the time of a FLOP of the clock's loop. Of undisturbed times: what a host's other
/// guests do only ever adds to some samples, and often to more than half. Between 42 fresh processes of equal code on a noisy host
/// speeds so taken differed by 0.4 to 0.6 % (one standard deviation), medians of the samples' ratios by 2.4 to 3.9 %. Of times
/// that a command or a file gave, medians. Of several processes the middle one.
double speed_of(const Measurement& measurement, Pace pace);
/// Sample by sample, of each process's calmer half: those whose pace was no slower than its middle. A test of these sees a
/// difference that is lost among samples taken in bursts.
std::vector<double> calm_speeds_of(const Measurement& measurement, Pace pace);
/// Whether enough samples of kernel and pace are undisturbed for more of them to change little.
bool is_settled(const Measurement& measurement);
bool has_clock(const Measurement& measurement);

/// {schema_version, measurements: [...]}, units in the names; of one process each: which one a sample is of is not in it.
Node to_node(const std::vector<Measurement>& measurements);
/// Error: not this form, or another version of it.
Result<std::vector<Measurement>> read_measurements(const Node& document);

}  // namespace gambrel::kernels

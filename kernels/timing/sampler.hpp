// Takes a kernel's samples beside its anchor's, in the same seconds, and throws away those that were disturbed.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string_view>

#include "kernels/timing/kernel_case.hpp"
#include "kernels/timing/measurement.hpp"

namespace gambrel::kernels {

/// How long something took, on the wall and on the CPU, and how often it was put aside meanwhile.
struct Lap {
  double wall = 0, cpu = 0;  ///< seconds
  long preemptions = 0;      ///< involuntary context switches
  bool alone = true;         ///< one thread did all of it: cpu has to equal wall
};

/// Nobody took the CPU away: no involuntary switch and, of one thread, cpu/wall of 0.97 or more.
bool is_clean(const Lap& lap);

/// Does something that often and says how long all of it took.
using Timed = std::function<Lap(int calls)>;

/// The calls of a sample that lasts `least` seconds or more, less than twice that unless one call does: by doubling.
int calls_for(const Timed& timed, double least);

struct Sampling {
  double least_s = 0.5e-3;  ///< of a sample; it stays below 2 ms unless one call does not
  int rounds = 40;          ///< clean ones to take, and
  int most_rounds = 160;    ///< up to so many until they are settled: while a host's other guests are busy it takes more,
  double most_s = 1;        ///< but no more than so many seconds of the kernel's samples beyond `rounds`
  int attempts = 200;       ///< rounds of one kernel at most, the preempted ones counted
  double warm_s = 5e-3;     ///< of calls before the first sample
  double slowdown = 1;      ///< multiplies a kernel's time by spinning behind it: to try the gate
  /// Seconds that the rounds are spread over at least, by pauses between them: what neighbours do comes in bursts of a
  /// second, and a burst must not have all samples of a process.
  double span_s = 0;
};

/// A kernel, its anchor and, where that is no clock itself, the clock's loop; warmed up, with the calls of a sample of each.
/// Before each sample up to five calls go unmeasured, for what ran in between has taken the caches.
class Pair {
 public:
  Pair(Timed kernel, Timed anchor, const Sampling& sampling, Timed clock = {});
  /// The samples of clock and anchor, then the kernel's; nothing if one of them was not clean.
  std::optional<Round> next();
  int calls() const { return kernel_calls_; }

 private:
  Timed kernel_, anchor_, clock_;
  int kernel_calls_, anchor_calls_, clock_calls_;
  int wary_ = 0;  ///< rounds that still begin with a pause
};

/// A prepared case as something timed: by the device's own events where it has them, else by this host's clock.
Timed timed(std::shared_ptr<Call> call, int threads, double slowdown = 1);

/// An anchor on as many threads at once; its time is the slowest one's.
struct TimedAnchor {
  Timed timed;
  double work = 0;  ///< of one run on all threads
};
TimedAnchor timed_anchor(Anchor anchor, int threads, double working_set);

/// What is known of a case before it is timed.
Measurement describe(const KernelCase& kernel);

/// A case's Pair, and the Measurement that its rounds go to. Throws std::bad_alloc if memory is short.
struct Prepared {
  Measurement measurement;
  Pair pair;
  void round();  ///< takes one and notes it
  bool finished(const Sampling& sampling) const;
};
Prepared prepare(const KernelCase& kernel, const Sampling& sampling);

/// The factor that GAMBREL_SLOWDOWN ("regex=1.10", several separated by ';') says for a name; 1 without one. For the
/// gate's self-test and the tests.
double injected_slowdown(std::string_view name);

/// The first cases that may take turns: few, and no more operands than fit beside each other; at least one.
std::span<const KernelCase> next_group(std::span<const KernelCase> cases);

/// All cases, round-robin in such groups: no kernel's samples stand close together. `progress` hears of each finished case.
std::vector<Measurement> sample(std::span<const KernelCase> cases, const Sampling& sampling,
                                const std::function<void(const Measurement&)>& progress = {});

}  // namespace gambrel::kernels

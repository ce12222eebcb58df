// Peaks taken by turns with something else: what this machine reaches in the very seconds that the other thing runs.
#pragma once

#include <span>
#include <vector>

#include "kernels/timing/sampler.hpp"

namespace gambrel::kernels {

/// A peak to watch; `bytes`: of the working set of a memory anchor.
struct Watched {
  Anchor anchor = Anchor::fma_f32;
  double bytes = 0;
};

struct PeakReading {
  Watched of;
  double rate = 0;  ///< FLOP/s or B/s, undisturbed: from the least of the samples' times, each at the fastest visit's clock; 0: no clean sample
  int samples = 0;  ///< clean ones
};

/// A look at the clock: when, seconds, and its rate.
struct ClockReading {
  double when = 0, rate = 0;
};
/// The fastest within a second of `when`: one look may have been disturbed as a whole, but the clock wanders slowly.
double clock_near(std::span<const ClockReading> readings, double when);
/// How much longer everything takes at `rate` than at `fastest`. 1 where that is more than a tenth: a clock wanders by several
/// percent, so that the look was disturbed, and times divided by it would be faster than the machine ever was.
double clock_slowness(double rate, double fastest);

class PeakWatch {
 public:
  /// On one thread; the first of them is the clock, a peak of arithmetic. Throws std::bad_alloc if memory for the working sets is short.
  explicit PeakWatch(const std::vector<Watched>& peaks);
  /// Some samples of each, a few milliseconds in all. Returns the clock's rate in this visit, of its fastest sample.
  double visit();
  std::vector<PeakReading> readings() const;

 private:
  struct One {
    Watched of;
    TimedAnchor anchor;
    int calls;
    std::vector<double> seconds;       ///< of a run, of each clean sample,
    std::vector<std::size_t> visits;   ///< and which visit that was in
  };
  std::vector<One> all_;
  std::vector<ClockReading> visits_;
};

}  // namespace gambrel::kernels

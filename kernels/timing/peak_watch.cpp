// Samples as a calibration takes them, so that both can be compared: one call unmeasured, then some clean ones.
#include "kernels/timing/peak_watch.hpp"

#include <algorithm>
#include <chrono>
#include <cmath>

namespace gambrel::kernels {
namespace {

constexpr double sample_s = 0.5e-3;
constexpr int samples_a_visit = 6;

}  // namespace

double clock_slowness(double rate, double fastest) {
  constexpr double most = 1.1;
  return rate > 0 && fastest <= most * rate ? std::max(1.0, fastest / rate) : 1;
}

double clock_near(std::span<const ClockReading> readings, double when) {
  constexpr double near_s = 1;
  double fastest = 0;
  for (const ClockReading& one : readings)
    if (std::abs(one.when - when) <= near_s) fastest = std::max(fastest, one.rate);
  return fastest;
}

PeakWatch::PeakWatch(const std::vector<Watched>& peaks) {
  for (const Watched& peak : peaks) {
    One one{.of = peak, .anchor = timed_anchor(peak.anchor, 1, peak.bytes), .calls = 1, .seconds = {}, .visits = {}};
    one.calls = calls_for(one.anchor.timed, sample_s);
    all_.push_back(std::move(one));
  }
}

double PeakWatch::visit() {
  double clock = 0;
  for (One& one : all_) {
    one.anchor.timed(1);
    for (int i = 0; i < samples_a_visit; ++i) {
      const Lap lap = one.anchor.timed(one.calls);
      if (&one == all_.data()) clock = std::max(clock, one.anchor.work * one.calls / lap.wall);
      if (is_clean(lap)) one.seconds.push_back(lap.wall / one.calls), one.visits.push_back(visits_.size());
    }
  }
  visits_.push_back({std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count(), clock});
  return clock;
}

std::vector<PeakReading> PeakWatch::readings() const {
  std::vector<PeakReading> readings;
  double fastest = 0;
  for (const ClockReading& visit : visits_) fastest = std::max(fastest, visit.rate);
  for (const One& one : all_) {
    PeakReading reading{.of = one.of, .rate = 0, .samples = static_cast<int>(one.seconds.size())};
    for (std::size_t i = 0; i < one.seconds.size(); ++i)
      reading.rate = std::max(reading.rate, one.anchor.work * clock_slowness(clock_near(visits_, visits_[one.visits[i]].when), fastest) / one.seconds[i]);
    readings.push_back(reading);
  }
  return readings;
}

}  // namespace gambrel::kernels

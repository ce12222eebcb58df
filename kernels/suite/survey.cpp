#include "kernels/suite/survey.hpp"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <ctime>

#include "kernels/suite/parallel.hpp"
#include "kernels/timing/peak_watch.hpp"
#include "kernels/timing/sampler.hpp"

namespace gambrel::kernels {
namespace {

constexpr double sample_s = 0.5e-3;
constexpr int fewest_visits = 3, most_visits = 60;

/// How fast the CPU runs, told by multiply-adds beside the samples. It wanders by several percent over seconds, with what
/// else its host does, and everything in registers and caches goes along.
class Clock {
 public:
  explicit Clock(int threads) : loop_(timed(anchor_case(Anchor::fma_f32, 0, threads).prepare(), threads)) { loop_(runs); }

  /// Times multiply-adds now; the stretch of time that this moment lies in.
  std::size_t look() {
    constexpr double stretch_s = 2;
    const auto now = std::chrono::steady_clock::now();
    if (laps_.empty() || std::chrono::duration<double>(now - begun_).count() > stretch_s) laps_.emplace_back(), begun_ = now;
    if (const Lap lap = loop_(runs); is_clean(lap)) laps_.back().push_back(lap.wall);
    return laps_.size() - 1;
  }
  /// Of each stretch, its multiply-adds' time over that of the fastest stretch.
  std::vector<double> slowness() const {
    constexpr double undisturbed = 0.1;  // a quantile: single laps are disturbed more often than slow
    std::vector<double> times;
    for (std::vector<double> laps : laps_) {
      std::ranges::sort(laps);
      times.push_back(laps.empty() ? 0 : laps[static_cast<std::size_t>(undisturbed * static_cast<double>(laps.size() - 1))]);
    }
    double fastest = 0;
    for (const double time : times)
      if (time > 0) fastest = fastest > 0 ? std::min(fastest, time) : time;
    for (double& time : times) time = time > 0 ? clock_slowness(1 / time, 1 / fastest) : 1;
    return times;
  }

 private:
  static constexpr int runs = 4;  // 0.2 ms
  Timed loop_;
  std::vector<std::vector<double>> laps_;
  std::chrono::steady_clock::time_point begun_;
};

struct Sample {
  double seconds = 0;
  std::size_t stretch = 0;  ///< of the clock
  bool odd = false;         ///< of the visits, the first, third ...
};

/// One case, prepared, with its samples so far.
struct Visited {
  Timed timed;
  int calls = 1;
  double pass_s = 0;  ///< a visit takes about so long
  int visits = 0;
  std::vector<Sample> samples;

  explicit Visited(const KernelCase& kernel) : timed(kernels::timed(kernel.prepare(), kernel.threads)) {
    timed(1);
    calls = calls_for(timed, sample_s);
    pass_s = timed(calls).wall * (1 + samples_a_visit());
  }
  int samples_a_visit() const {
    const double one = pass_s;
    return one > 40e-3 ? 1 : one > 10e-3 ? 2 : 4;
  }
  /// The first call brings back the caches that the case before took.
  void visit(Clock& clock) {
    const std::size_t stretch = clock.look();
    const bool odd = ++visits % 2 == 1;
    timed(1);
    for (int i = samples_a_visit(); i > 0; --i)
      if (const Lap lap = timed(calls); is_clean(lap) || long_alone(lap)) samples.push_back({std::min(lap.wall, lap.alone ? lap.cpu : lap.wall) / calls, stretch, odd});
  }
  /// Longer than a scheduler's slice: it will be put aside, but its own time on the CPU still counts.
  static bool long_alone(const Lap& lap) { return lap.alone && lap.wall > 4e-3; }
};

Surveyed summary(const std::vector<Sample>& samples, const std::vector<double>& slowness) {
  std::vector<double> all, half[2];
  for (const Sample& s : samples) {
    all.push_back(s.seconds / slowness[s.stretch]);
    half[s.odd].push_back(all.back());
  }
  if (all.empty()) return {};
  std::ranges::sort(all);
  Surveyed result{.seconds = all.front(), .median = all[all.size() / 2], .samples = static_cast<int>(all.size())};
  if (!half[0].empty() && !half[1].empty()) result.apart = std::log(std::ranges::min(half[1]) / std::ranges::min(half[0]));
  return result;
}

/// Loops of an anchor, one a thread.
class AnchorCall : public Call {
 public:
  AnchorCall(Anchor anchor, double bytes, double work, int threads) {
    for (int i = 0; i < threads; ++i) loops_.push_back(make_anchor_doing(anchor, static_cast<std::size_t>(bytes), work));
  }
  void run() override {
    parallel(static_cast<int>(loops_.size()), [&](int i) { loops_[static_cast<std::size_t>(i)]->run(); });
  }

 private:
  std::vector<std::unique_ptr<AnchorLoop>> loops_;
};

bool is_memory(Anchor anchor) { return anchor == Anchor::read || anchor == Anchor::copy || anchor == Anchor::triad; }

/// As many cases from the front as `memory` holds, at least one.
std::span<const KernelCase> group_of(std::span<const KernelCase> cases, double memory) {
  double sum = 0;
  std::size_t count = 0;
  while (count < cases.size() && (count == 0 || sum + cases[count].working_set <= memory)) sum += cases[count++].working_set;
  return cases.first(count);
}

/// CPU seconds of this process: on a busy machine a survey takes longer, but sees as many samples.
double spent() {
  timespec time{};
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time);
  return static_cast<double>(time.tv_sec) + 1e-9 * static_cast<double>(time.tv_nsec);
}

}  // namespace

namespace {

/// `work`: FLOPs or bytes of one call of one thread.
KernelCase loop_case(Anchor anchor, double bytes, double work, int threads) {
  KernelCase row{.kernel = std::string(to_string(anchor)), .version = "own", .sizes = {{"bytes", bytes}}, .threads = threads, .anchor = anchor};
  (is_memory(anchor) ? row.bytes : row.flops) = work * threads;
  row.working_set = bytes * threads;
  row.prepare = [=] { return std::make_unique<AnchorCall>(anchor, bytes, work, threads); };
  return row;
}

}  // namespace

KernelCase anchor_case(Anchor anchor, double bytes, int threads) {
  constexpr double flops = 3 << 21;  // whole rounds of every width's loop
  return loop_case(anchor, bytes, is_memory(anchor) ? std::clamp(bytes, 384.0 * 1024, 1536.0 * 1024) : flops, threads);
}

KernelCase stream_case(Anchor anchor, double bytes, int threads) { return loop_case(anchor, bytes, bytes, threads); }

std::vector<std::string> leave_out_unmeasured(std::vector<SurveyCase>& rows, std::vector<Surveyed>& measured) {
  std::vector<std::string> names;
  std::size_t kept = 0;
  for (std::size_t i = 0; i < rows.size(); ++i) {
    if (measured[i].samples == 0) {
      names.push_back(rows[i].kernel.name());
      continue;
    }
    if (kept != i) rows[kept] = std::move(rows[i]), measured[kept] = measured[i];
    ++kept;
  }
  rows.resize(kept), measured.resize(kept);
  return names;
}

std::vector<Surveyed> survey(std::span<const KernelCase> cases, const SurveyOptions& options,
                             const std::function<void(std::size_t, std::size_t)>& progress) {
  std::vector<std::vector<Sample>> samples;
  const std::size_t all = cases.size();
  double left = options.seconds;  // of visits: preparing operands is not counted
  Clock clock(cases.empty() ? 1 : cases.front().threads);
  while (samples.size() < all) {
    const auto group = group_of(cases.subspan(samples.size()), options.memory);
    std::vector<Visited> visited;
    double pass_s = 0;
    for (const KernelCase& kernel : group) pass_s += visited.emplace_back(kernel).pass_s;
    const double share = static_cast<double>(group.size()) / static_cast<double>(all - samples.size());
    const int visits = std::clamp(static_cast<int>(left * share / pass_s), fewest_visits, most_visits);
    const double start = spent();
    for (int i = 0; i < visits; ++i) {
      for (Visited& one : visited) one.visit(clock);
      if (progress) progress(samples.size() + group.size() * static_cast<std::size_t>(i + 1) / static_cast<std::size_t>(visits), all);
    }
    left -= spent() - start;
    for (Visited& one : visited) samples.push_back(std::move(one.samples));
  }
  const std::vector<double> slowness = clock.slowness();
  std::vector<Surveyed> results;
  for (const auto& one : samples) results.push_back(summary(one, slowness));
  return results;
}

}  // namespace gambrel::kernels

#include "kernels/suite/survey.hpp"

#include <algorithm>
#include <cmath>
#include <ctime>

#include "kernels/suite/parallel.hpp"
#include "kernels/timing/sampler.hpp"

namespace gambrel::kernels {
namespace {

constexpr double undisturbed = 0.06;  ///< quantile; two surveys of 24 visits each then differed by 2.6 % (Zen 4 VM)
constexpr double sample_s = 0.5e-3;
constexpr int fewest_visits = 3, most_visits = 60;

/// One case, prepared, with its samples so far.
struct Visited {
  Timed timed;
  int calls = 1;
  double pass_s = 0;  ///< a visit takes about so long
  std::vector<double> samples;

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
  void visit() {
    timed(1);
    for (int i = samples_a_visit(); i > 0; --i)
      if (const Lap lap = timed(calls); is_clean(lap) || long_alone(lap)) samples.push_back(std::min(lap.wall, lap.alone ? lap.cpu : lap.wall) / calls);
  }
  /// Longer than a scheduler's slice: it will be put aside, but its own time on the CPU still counts.
  static bool long_alone(const Lap& lap) { return lap.alone && lap.wall > 4e-3; }
};

Surveyed summary(std::vector<double> samples) {
  if (samples.empty()) return {};
  std::ranges::sort(samples);
  const auto at = [&](double share) { return samples[static_cast<std::size_t>(share * static_cast<double>(samples.size() - 1))]; };
  return {at(undisturbed), at(0.5), static_cast<int>(samples.size())};
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

std::vector<Surveyed> survey(std::span<const KernelCase> cases, const SurveyOptions& options,
                             const std::function<void(std::size_t, std::size_t)>& progress) {
  std::vector<Surveyed> results;
  const std::size_t all = cases.size();
  double left = options.seconds;  // of visits: preparing operands is not counted
  while (results.size() < all) {
    const auto group = group_of(cases.subspan(results.size()), options.memory);
    std::vector<Visited> visited;
    double pass_s = 0;
    for (const KernelCase& kernel : group) pass_s += visited.emplace_back(kernel).pass_s;
    const double share = static_cast<double>(group.size()) / static_cast<double>(all - results.size());
    const int visits = std::clamp(static_cast<int>(left * share / pass_s), fewest_visits, most_visits);
    const double start = spent();
    for (int i = 0; i < visits; ++i) {
      for (Visited& one : visited) one.visit();
      if (progress) progress(results.size() + group.size() * static_cast<std::size_t>(i + 1) / static_cast<std::size_t>(visits), all);
    }
    left -= spent() - start;
    for (Visited& one : visited) results.push_back(summary(std::move(one.samples)));
  }
  return results;
}

}  // namespace gambrel::kernels

#include "kernels/timing/sampler.hpp"

#include <sys/resource.h>

#include <algorithm>
#include <charconv>
#include <chrono>
#include <cstdlib>
#include <ctime>
#include <regex>
#include <string>
#include <thread>

#include "kernels/timing/team.hpp"

namespace gambrel::kernels {
namespace {

constexpr double least_cpu_share = 0.97;
constexpr int most_calls = 1 << 24;
constexpr int wary_rounds = 10;
constexpr int warming_calls = 5;  // a last-level cache that others share holds a set only after four or five passes
constexpr std::size_t group_size = 16;     // kernels that take turns
constexpr double group_bytes = 1.5e9;      // of their operands together

using Clock = std::chrono::steady_clock;

double since(Clock::time_point start) { return std::chrono::duration<double>(Clock::now() - start).count(); }

double cpu_seconds(clockid_t clock) {
  timespec now{};
  clock_gettime(clock, &now);
  return static_cast<double>(now.tv_sec) + 1e-9 * static_cast<double>(now.tv_nsec);
}

long preemptions(int who) {
  rusage usage{};
  getrusage(who, &usage);
  return usage.ru_nivcsw;
}

/// Calls `body` between two looks at the clocks; `threads` > 1: at those of the whole process.
template <class Body>
Lap lap_of(int threads, const Body& body) {
  const int who = threads > 1 ? RUSAGE_SELF : RUSAGE_THREAD;
  const clockid_t clock = threads > 1 ? CLOCK_PROCESS_CPUTIME_ID : CLOCK_THREAD_CPUTIME_ID;
  const long before = preemptions(who);
  const double cpu = cpu_seconds(clock);
  const auto start = Clock::now();
  body(start);
  const double wall = since(start);
  return {wall, cpu_seconds(clock) - cpu, preemptions(who) - before, threads <= 1};
}

/// Spins until `factor` times as long has passed since `start` as now.
void stretch(Clock::time_point start, double factor) {
  const double end = factor * since(start);
  while (since(start) < end) continue;
}

Lap device_lap(Call& call, int calls, double slowdown) {
  Lap lap;
  for (int i = 0; i < calls; ++i) call.run(), lap.wall += slowdown * call.device_seconds();
  lap.cpu = lap.wall;  // the host's threads do not matter to it
  return lap;
}

}  // namespace

bool is_clean(const Lap& lap) {
  return lap.wall > 0 && lap.preemptions == 0 && (!lap.alone || lap.cpu >= least_cpu_share * lap.wall);
}

int calls_for(const Timed& timed, double least) {
  int calls = 1;
  // A disturbed lap looks long: three tries, and the shortest counts.
  const auto wall = [&] { return std::min({timed(calls).wall, timed(calls).wall, timed(calls).wall}); };
  while (calls < most_calls && wall() < least) calls *= 2;
  return calls;
}

Pair::Pair(Timed kernel, Timed anchor, const Sampling& sampling, Timed clock) : kernel_(std::move(kernel)), anchor_(std::move(anchor)), clock_(std::move(clock)) {
  const auto start = Clock::now();
  for (int calls = 0; calls < 2 || (since(start) < sampling.warm_s && calls < most_calls); ++calls) kernel_(1);
  kernel_calls_ = calls_for(kernel_, sampling.least_s);
  anchor_calls_ = anchor_ ? calls_for(anchor_, sampling.least_s) : 0;
  clock_calls_ = clock_ ? calls_for(clock_, sampling.least_s / 2) : 0;  // it needs no warm caches
}

std::optional<Round> Pair::next() {
  // Where others want the CPU too, a thread that has slept begins a slice of its own, long enough for a round.
  if (wary_ > 0) --wary_, std::this_thread::sleep_for(std::chrono::microseconds(200));
  Lap anchor{.wall = 1, .cpu = 1}, clock = anchor;
  if (clock_) clock = clock_(clock_calls_);
  if (anchor_) anchor_(1), anchor = anchor_(anchor_calls_);
  kernel_(std::min(kernel_calls_, warming_calls));
  const Lap kernel = kernel_(kernel_calls_);
  if (!is_clean(clock) || !is_clean(anchor) || !is_clean(kernel)) {
    wary_ = wary_rounds;
    return std::nullopt;
  }
  const double anchor_seconds = anchor_ ? anchor.wall / anchor_calls_ : 0;
  return Round{kernel.wall / kernel_calls_, anchor_seconds, clock_ ? clock.wall / clock_calls_ : anchor_seconds};
}

Timed timed(std::shared_ptr<Call> call, int threads, double slowdown) {
  call->run();
  if (call->device_seconds() > 0)
    return [call, slowdown](int calls) { return device_lap(*call, calls, slowdown); };
  return [call, threads, slowdown](int calls) {
    return lap_of(threads, [&](Clock::time_point start) {
      for (int i = 0; i < calls; ++i) call->run();
      if (slowdown > 1) stretch(start, slowdown);
    });
  };
}

TimedAnchor timed_anchor(Anchor anchor, int threads, double working_set) {
  auto loops = std::make_shared<std::vector<std::unique_ptr<AnchorLoop>>>();
  const auto bytes = static_cast<std::size_t>(std::max(working_set / threads, 4096.0));
  constexpr double run_s = 0.3e-3;
  loops->push_back(make_anchor(anchor, bytes, run_s));
  for (int thread = 1; thread < threads; ++thread)  // the same work for each, so that they end together
    loops->push_back(make_anchor_doing(anchor, bytes, loops->front()->work()));
  const double work = threads * loops->front()->work();
  if (threads <= 1)
    return {[loops](int calls) {
              return lap_of(1, [&](Clock::time_point) {
                for (int i = 0; i < calls; ++i) loops->front()->run();
              });
            },
            work};
  auto team = std::make_shared<Team>(threads);
  return {[loops, team](int calls) {
            std::vector<Lap> laps(loops->size());
            team->run([&](int thread) {
              laps[thread] = lap_of(1, [&](Clock::time_point) {
                for (int i = 0; i < calls; ++i) (*loops)[thread]->run();
              });
            });
            Lap all = laps.front();
            for (const Lap& lap : laps) {
              const bool clean = is_clean(all) && is_clean(lap);
              all = {std::max(all.wall, lap.wall), clean ? std::max(all.wall, lap.wall) : 0.0, all.preemptions + lap.preemptions};
            }
            return all;
          },
          work};
}

Measurement describe(const KernelCase& kernel) {
  return {.name = kernel.name(),
          .kernel = kernel.kernel,
          .type = kernel.type,
          .version = kernel.version,
          .library = kernel.library,
          .sizes = kernel.sizes,
          .threads = kernel.threads,
          .flops = kernel.flops,
          .bytes = kernel.bytes,
          .working_set = kernel.working_set,
          .anchor = std::string(to_string(kernel.anchor)),
          .memory = kernel.anchor == Anchor::read || kernel.anchor == Anchor::copy || kernel.anchor == Anchor::triad};
}

Prepared prepare(const KernelCase& kernel, const Sampling& sampling) {
  Measurement measurement = describe(kernel);
  const std::shared_ptr<Call> call = kernel.prepare();
  TimedAnchor anchor;
  if (kernel.prepare_anchor) anchor = {timed(kernel.prepare_anchor(), kernel.threads), kernel.anchor_work};
  else anchor = timed_anchor(kernel.anchor, kernel.threads, kernel.working_set);
  measurement.anchor_work = anchor.work;
  const double slowdown = sampling.slowdown * injected_slowdown(measurement.name);
  TimedAnchor clock;
  if (measurement.memory && !kernel.prepare_anchor) clock = timed_anchor(Anchor::fma_f32, kernel.threads, 0);
  measurement.clock_work = measurement.memory ? clock.work : kernel.prepare_anchor ? 0 : anchor.work;
  Pair pair(timed(call, kernel.threads, slowdown), std::move(anchor.timed), sampling, std::move(clock.timed));
  measurement.selected = call->selected();
  measurement.calls_per_sample = pair.calls();
  return {std::move(measurement), std::move(pair)};
}

void Prepared::round() {
  ++measurement.sampled;
  if (const auto clean = pair.next()) measurement.clean.push_back(*clean);
}

bool Prepared::finished(const Sampling& sampling) const {
  if (measurement.sampled >= sampling.attempts) return true;
  const auto more = std::ssize(measurement.clean) - sampling.rounds;
  if (more < 0 || measurement.clean.empty()) return false;
  const double spent = static_cast<double>(more) * measurement.calls_per_sample * measurement.clean.back().seconds;
  return more >= sampling.most_rounds - sampling.rounds || spent >= sampling.most_s || is_settled(measurement);
}

double injected_slowdown(std::string_view name) {
  const char* wanted = std::getenv("GAMBREL_SLOWDOWN");
  if (!wanted) return 1;
  for (std::string_view rest = wanted; !rest.empty();) {
    const std::string_view rule = rest.substr(0, rest.find(';'));
    rest.remove_prefix(std::min(rest.size(), rule.size() + 1));
    const std::size_t equals = rule.rfind('=');
    double factor = 1;
    if (equals == rule.npos || std::from_chars(rule.data() + equals + 1, rule.data() + rule.size(), factor).ec != std::errc{}) continue;
    try {
      if (std::regex_search(name.begin(), name.end(), std::regex(std::string(rule.substr(0, equals))))) return std::max(1.0, factor);
    } catch (const std::regex_error&) {
      continue;  // a rule that cannot be read slows nothing down
    }
  }
  return 1;
}

std::span<const KernelCase> next_group(std::span<const KernelCase> cases) {
  double bytes = 0;
  std::size_t count = 0;
  while (count < std::min(group_size, cases.size()) && (count == 0 || bytes + cases[count].working_set < group_bytes))
    bytes += cases[count++].working_set;
  return cases.first(count);
}

std::vector<Measurement> sample(std::span<const KernelCase> cases, const Sampling& sampling,
                                const std::function<void(const Measurement&)>& progress) {
  std::vector<Measurement> measurements;
  while (!cases.empty()) {
    const auto group = next_group(cases);
    cases = cases.subspan(group.size());
    std::vector<Prepared> prepared;
    for (const KernelCase& kernel : group) prepared.push_back(prepare(kernel, sampling));
    const auto unfinished = [&](const Prepared& one) { return !one.finished(sampling); };
    const auto start = Clock::now();
    for (int turn = 1; std::ranges::any_of(prepared, unfinished); ++turn) {
      for (Prepared& one : prepared)
        if (unfinished(one)) one.round();
      const double ahead = sampling.span_s * std::min(1.0, static_cast<double>(turn) / std::max(1, sampling.rounds)) - since(start);
      if (ahead > 0) std::this_thread::sleep_for(std::chrono::duration<double>(ahead));
    }
    for (Prepared& one : prepared) {
      measurements.push_back(std::move(one.measurement));
      if (progress) progress(measurements.back());
    }
  }
  return measurements;
}

}  // namespace gambrel::kernels

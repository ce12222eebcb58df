#include "cli/check_self_test.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <thread>

#include "kernels/timing/statistics.hpp"
#include "reports/format.hpp"
#include "reports/grid.hpp"

namespace gambrel::cli {
namespace {

constexpr double most_alarms = 0.01, least_found = 0.95;
constexpr double most_unmeasured = 0.1;  ///< runs; with more, a condition was not tried

/// Threads that do nothing but take CPU time, until it ends.
class Hogs {
 public:
  explicit Hogs(int count) {
    for (int i = 0; i < count; ++i)
      threads_.emplace_back([this] {
        while (!stop_.load(std::memory_order_relaxed)) continue;
      });
  }
  ~Hogs() { stop_ = true; }

 private:
  std::atomic<bool> stop_ = false;
  std::vector<std::jthread> threads_;  // joined before stop_ goes
};

struct Tally {
  std::string condition;
  bool slowed = false;
  int runs = 0;
  int alarms = 0;      ///< runs in which a kernel failed that was not slowed down
  int found = 0;       ///< runs in which the slowed kernel failed
  int unmeasured = 0;  ///< runs in which a kernel was not measurable
  double seconds = 0;

  /// A slowdown that was not measurable was not found; a run that measured nothing could not raise an alarm.
  int tried() const { return slowed ? runs : runs - unmeasured; }
  double share() const { return tried() > 0 ? static_cast<double>(slowed ? found : alarms) / tried() : 0; }
  bool met() const { return unmeasured <= most_unmeasured * runs && (slowed ? share() >= least_found : share() <= most_alarms); }
};

/// A name as the regular expression that finds it alone.
std::string exactly(const std::string& name) {
  std::string text = "^";
  for (const char c : name) {
    if (std::string_view(".[]{}()*+?^$|\\").find(c) != std::string_view::npos) text += '\\';
    text += c;
  }
  return text + "$";
}

void count(Tally& tally, const kernels::GateReport& report, const std::string& slowed) {
  ++tally.runs;
  bool alarm = false, unmeasured = false;
  for (const kernels::Verdict& verdict : report.verdicts) {
    const bool is_slowed = tally.slowed && verdict.measurement.name == slowed;
    const bool failed = is_failure(verdict.outcome);
    tally.found += failed && is_slowed;
    alarm |= failed && !is_slowed;
    unmeasured |= is_unmeasured(verdict.outcome);
  }
  tally.alarms += alarm;
  tally.unmeasured += unmeasured;
}

reports::Grid grid_of(const std::vector<Tally>& tallies) {
  reports::Grid grid;
  grid.headings = {{"condition", false}, {"runs"}, {"false alarms"}, {"95 % interval", false}, {"found"}, {"95 % interval", false}, {"not measurable"}, {"s a run"}, {"goal", false}};
  const auto interval = [](int k, int n) {
    const auto [low, high] = kernels::share_interval(k, n);
    return fmt::format("{} to {}", reports::percent(low), reports::percent(high));
  };
  for (const Tally& t : tallies)
    grid.rows.push_back({t.condition, fmt::format("{}", t.runs), fmt::format("{}", t.alarms), interval(t.alarms, t.tried()), t.slowed ? fmt::format("{}", t.found) : "-", t.slowed ? interval(t.found, t.runs) : "-",
                         fmt::format("{}", t.unmeasured), fmt::format("{:.2f}", t.runs > 0 ? t.seconds / t.runs : 0), t.met() ? "met" : "missed"});
  return grid;
}

class Series {
 public:
  Series(const Session& session, const SelfTest& test, const kernels::GateOptions& options, kernels::MeasurementStore& store) : session_(session), test_(test), options_(options), store_(store) {}

  Result<Tally> take(bool slowed, bool hogged) {
    Tally tally{.condition = fmt::format("{}, {}", hogged ? fmt::format("{} hogs", test_.hogs) : "idle", slowed ? fmt::format("{:.0f} % slower", 100 * (test_.slowdown - 1)) : "identical code"), .slowed = slowed};
    kernels::Command worker = test_.worker;
    if (slowed) worker.environment.emplace_back("GAMBREL_SLOWDOWN", fmt::format("{}={}", exactly(test_.names.front()), test_.slowdown));
    const kernels::Measure measure = kernels::in_fresh_process(worker);
    const Hogs hogs(hogged ? test_.hogs : 0);
    const auto start = std::chrono::steady_clock::now();
    for (int run = 0; run < test_.runs; ++run) {
      const auto report = kernels::run_gate(test_.names, measure, store_, options_);
      if (!report) return fail(report.error());
      count(tally, *report, test_.names.front());
      for (const kernels::Verdict& verdict : report->verdicts) tell_if_wrong(verdict, slowed && verdict.measurement.name == test_.names.front());
      if ((run + 1) % std::max(1, test_.runs / 5) == 0) session_.say(fmt::format("{}: {} of {} runs, {} false alarms{}, {} not measurable", tally.condition, run + 1, test_.runs, tally.alarms, slowed ? fmt::format(", {} found", tally.found) : "", tally.unmeasured));
    }
    tally.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    return tally;
  }

 private:
  void tell_if_wrong(const kernels::Verdict& verdict, bool slowed) const {
    if (is_failure(verdict.outcome) == slowed) return;
    if (!slowed) return session_.say(fmt::format("false alarm: {}: {}", verdict.measurement.name, verdict.reason));
    const kernels::Comparison& base = verdict.against_baseline;
    session_.say(fmt::format("not found: {}: {} slower in one process of {}, limit {}, p = {:.1g}{}{}", verdict.measurement.name, kernels::percent(base.slowdown), verdict.processes, kernels::percent(base.limit), base.chance,
                             verdict.reason.empty() ? "" : "; ", verdict.reason));
  }

  const Session& session_;
  const SelfTest& test_;
  const kernels::GateOptions& options_;
  kernels::MeasurementStore& store_;
};

/// A burst of a neighbour's while it is taken makes a baseline noisy: another try or two.
Result<kernels::GateReport> take_baseline(const SelfTest& test, kernels::MeasurementStore& store, const kernels::GateOptions& options) {
  constexpr int tries = 3;
  auto report = kernels::run_gate(test.names, kernels::in_fresh_process(test.worker), store, options);
  for (int more = 1; more < tries && report && report->exit_code() != done; ++more) report = kernels::run_gate(test.names, kernels::in_fresh_process(test.worker), store, options);
  return report;
}

}  // namespace

int self_test(const Session& session, const SelfTest& test, kernels::GateOptions options) {
  auto store = kernels::MeasurementStore::open(":memory:");  // nobody compares with it later
  if (!store) return session.report(store.error());
  options.progress = {};
  auto baseline = take_baseline(test, *store, options);
  if (!baseline) return session.report(baseline.error());
  if (const int code = baseline->exit_code(); code != done) {
    for (const kernels::Verdict& verdict : baseline->verdicts) session.say(fmt::format("{}: {}", verdict.measurement.name, verdict.reason));
    session.say("no baseline can be taken here: the self-test needs a machine that is idle when it begins");
    return code;
  }
  Series series(session, test, options, *store);
  std::vector<Tally> tallies;
  for (const bool hogged : {false, true})
    for (const bool slowed : {false, true}) {
      auto tally = series.take(slowed, hogged);
      if (!tally) return session.report(tally.error());
      tallies.push_back(std::move(*tally));
    }
  std::string text = reports::terminal_grid(grid_of(tallies), false) + "\nkernels:";
  for (const std::string& name : test.names) text += fmt::format(" {}{}", name, &name == &test.names.front() ? " (slowed down)" : "");
  text += fmt::format("\ngoals: at most {:.0f} false alarm in 100 runs, at least {:.0f} of 100 slowdowns found, at most {:.0f} runs of 100 not measurable; intervals: Clopper-Pearson\n", 100 * most_alarms, 100 * least_found,
                      100 * most_unmeasured);
  const int printed = session.print(text);
  return printed != done ? printed : std::ranges::all_of(tallies, &Tally::met) ? done : check_failed;
}

}  // namespace gambrel::cli

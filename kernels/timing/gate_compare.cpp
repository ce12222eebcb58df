// Two builds by turns in one job: for machines of which no baseline fits.
#include <fmt/format.h>

#include <algorithm>

#include "kernels/timing/gate.hpp"
#include "kernels/timing/statistics.hpp"

namespace gambrel::kernels {
namespace {

/// A kernel as both builds measured it, a process each.
struct Sides {
  std::vector<Measurement> before, now;
};

std::string percent(double share) { return fmt::format("{:.1f} %", 100 * share); }

class Turns {
 public:
  Turns(const Measure& before, const Measure& now, const GateOptions& options) : before_(before), now_(now), options_(options) {}

  /// One process of each; who begins alternates. Without `names` whatever they measure.
  Result<void> take(const std::vector<std::string>& names) {
    const bool now_first = turn_++ % 2 == 1;
    for (const bool now : {now_first, !now_first}) {
      auto found = (now ? now_ : before_)(names);
      if (!found) return fail(std::move(found.error()));
      for (Measurement& one : *found) {
        Sides& sides = side_of(one.name);
        (now ? sides.now : sides.before).push_back(std::move(one));
      }
    }
    return {};
  }

  std::vector<std::pair<std::string, Sides>>& kernels() { return kernels_; }

  Finding judged(const Sides& sides) const {
    const Pace pace = steadier_pace(sides.before);
    const Standard standard{.pace = pace, .baseline = speeds_of(pooled(sides.before), pace), .spread = spread_of(sides.before, pace)};
    return judge(pooled(sides.now), standard, options_.limits);
  }

 private:
  Sides& side_of(const std::string& name) {
    const auto known = std::ranges::find(kernels_, name, &std::pair<std::string, Sides>::first);
    return known != kernels_.end() ? known->second : kernels_.emplace_back(name, Sides{}).second;
  }

  const Measure &before_, &now_;
  const GateOptions& options_;
  std::vector<std::pair<std::string, Sides>> kernels_;
  int turn_ = 0;
};

Verdict verdict_of(const Sides& sides, const Finding& finding) {
  Verdict verdict{.outcome = finding.outcome, .measurement = pooled(sides.now.empty() ? sides.before : sides.now)};
  verdict.efficiency = median_efficiency(verdict.measurement);
  verdict.baseline = median(efficiencies_of(pooled(sides.before)));
  verdict.against_baseline = finding.against_baseline;
  verdict.processes = static_cast<int>(sides.now.size());
  const Comparison& c = finding.against_baseline;
  if (sides.before.empty()) verdict.reason = "only in the new build";
  else if (sides.now.empty()) verdict.reason = "only in the old build";
  else if (finding.outcome == Outcome::unmeasured) verdict.reason = "too few undisturbed samples";
  else if (finding.outcome == Outcome::regressed)
    verdict.reason = fmt::format("{} slower than the old build (limit {}), by turns in {} processes each", percent(c.slowdown), percent(c.limit), sides.now.size());
  else if (finding.outcome == Outcome::improved) verdict.reason = fmt::format("{} faster than the old build", percent(-c.slowdown / (1 + c.slowdown)));
  return verdict;
}

}  // namespace

Result<GateReport> run_comparison(const Measure& before, const Measure& now, const GateOptions& options, int rounds) {
  Turns turns(before, now, options);
  const auto say = [&](const std::string& line) {
    if (options.progress) options.progress(line);
  };
  for (int round = 0; round < rounds; ++round) {
    say(fmt::format("old and new build by turns: {} of {}", round + 1, rounds));
    if (auto done = turns.take({}); !done) return fail(std::move(done.error()));
  }
  for (int more = 0; more < options.confirmations; ++more) {
    std::vector<std::string> accused;
    for (const auto& [name, sides] : turns.kernels())
      if (!sides.before.empty() && !sides.now.empty() && is_failure(turns.judged(sides).outcome)) accused.push_back(name);
    if (accused.empty()) break;
    say(fmt::format("{} kernels look slower; measured again, {} of {}", accused.size(), more + 1, options.confirmations));
    if (auto done = turns.take(accused); !done) return fail(std::move(done.error()));
  }
  GateReport report{.context = this_context(), .allow_unmeasured = options.allow_unmeasured};
  for (const auto& [name, sides] : turns.kernels()) {
    Finding finding;
    if (!sides.before.empty() && !sides.now.empty()) finding = turns.judged(sides);
    // What looked slower has to be so in each of the last turns as well.
    if (is_failure(finding.outcome) && std::ssize(sides.now) > rounds)
      for (int more = rounds; more < std::ssize(sides.now); ++more) {
        const Sides last{{sides.before[more]}, {sides.now[more]}};
        if (std::ssize(last.now.front().clean) >= least_clean && !is_failure(turns.judged(last).outcome)) finding.outcome = Outcome::passed;
      }
    report.verdicts.push_back(verdict_of(sides, finding));
  }
  return report;
}

}  // namespace gambrel::kernels

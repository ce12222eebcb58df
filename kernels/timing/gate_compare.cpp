// Two builds by turns in one job: for machines of which no baseline fits.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <optional>

#include "kernels/timing/gate.hpp"
#include "kernels/timing/names.hpp"

namespace gambrel::kernels {
namespace {

/// A process of each build, as far as they measured the kernel.
struct Turn {
  std::optional<Measurement> before, now;
};

/// A kernel, turn by turn, and what was found of it.
struct Subject {
  std::string name;
  std::vector<Turn> turns;
  double minimum = 0;
  Finding finding;
  std::string reason;

  std::vector<Measurement> side(std::optional<Measurement> Turn::*which) const {
    std::vector<Measurement> all;
    for (const Turn& turn : turns)
      if (turn.*which) all.push_back(*(turn.*which));
    return all;
  }
};

bool is_enough(const std::optional<Measurement>& m) { return m && std::ssize(m->clean) >= least_clean; }
bool is_enough(const Turn& turn) { return is_enough(turn.before) && is_enough(turn.now); }

/// Standard error of the difference between the middles of two sides whose processes vary as those of the old one do: that of
/// means, and a fifth more for medians of five.
double error_of(const std::vector<Measurement>& before, std::size_t now) {
  const double count = static_cast<double>(std::min(before.size(), now));
  return count > 0 ? spread_of(before, steadier_pace(before)) * 1.2 * std::sqrt(2 / count) : 0;
}

class Turns {
 public:
  Turns(const Measure& before, const Measure& now, const GateOptions& options) : before_(before), now_(now), options_(options) {}

  /// One process of each; who begins alternates.
  Result<void> take() {
    const bool now_first = turns_++ % 2 == 1;
    for (const bool now : {now_first, !now_first}) {
      auto found = (now ? now_ : before_)({});
      if (!found) return fail(std::move(found.error()));
      for (Measurement& one : *found) {
        Turn& turn = turn_of(one.name);
        (now ? turn.now : turn.before) = std::move(one);
      }
    }
    for (Subject& subject : subjects_) subject.turns.resize(turns_);
    return {};
  }

  /// Verdict by all turns so far.
  void judge_all() {
    for (Subject& subject : subjects_) judge_one(subject);
  }

  /// Both sides measured it, if not as often as it takes.
  bool any_short() const {
    return std::ranges::any_of(subjects_, [](const Subject& s) { return s.finding.outcome == Outcome::unmeasured && s.reason.empty(); });
  }

  std::vector<Subject*> accused() {
    std::vector<Subject*> found;
    for (Subject& subject : subjects_)
      if (is_failure(subject.finding.outcome)) found.push_back(&subject);
    return found;
  }

  std::size_t count() const { return turns_; }

  /// What looked slower in the first `rounds` turns has to be so, by the plain limit, in those after them taken together.
  /// Times that a process gives too few of say nothing by themselves.
  void acquit(Subject& subject, std::size_t rounds) const {
    const auto first = subject.turns.begin() + static_cast<std::ptrdiff_t>(rounds);
    if (!is_failure(subject.finding.outcome) || std::none_of(subject.turns.begin(), first, [](const Turn& t) { return is_enough(t); })) return;
    std::vector<Measurement> before, now;
    for (auto turn = first; turn != subject.turns.end(); ++turn)
      if (is_enough(*turn)) before.push_back(*turn->before), now.push_back(*turn->now);
    if (std::ssize(before) < options_.confirmations) {
      subject.finding.outcome = Outcome::unmeasured;
      subject.reason = fmt::format("{} slower than the old build, but later turns did not measure both again", percent(subject.finding.against_baseline.slowdown));
      return;
    }
    if (before.empty()) return;
    const Standard standard{.baseline = pooled(before), .best = {}, .minimum = subject.minimum};
    if (!is_failure(judge(pooled(now), standard, options_.limits).outcome)) subject.finding.outcome = is_wide(subject) ? Outcome::noisy : Outcome::passed;
  }

  std::vector<Subject>& subjects() { return subjects_; }

 private:
  Turn& turn_of(const std::string& name) {
    auto known = std::ranges::find(subjects_, name, &Subject::name);
    if (known == subjects_.end()) known = subjects_.insert(known, {.name = name, .turns = {}, .minimum = minimum_for(name, options_.minimum), .finding = {}, .reason = {}});
    known->turns.resize(turns_);
    return known->turns.back();
  }

  /// The limits with three standard errors in them, whatever those are: beyond what a limit may be, see `noisy`.
  Limits limits_of(const Subject& subject) const {
    const auto before = subject.side(&Turn::before);
    const double least = options_.limits.spreads * error_of(before, subject.side(&Turn::now).size());
    Limits limits = options_.limits;
    limits.compute = std::max(limits.compute, least), limits.memory = std::max(limits.memory, least);
    return limits;
  }

  void judge_one(Subject& s) const {
    const auto before = s.side(&Turn::before), now = s.side(&Turn::now);
    s.finding = {.outcome = Outcome::unmeasured, .against_baseline = {}, .against_best = {}};
    s.reason = problem_of(before, now);
    if (!s.reason.empty()) return;
    const Measurement all_before = pooled(before), all_now = pooled(now);
    if (std::ssize(all_before.clean) < options_.limits.least) return;
    s.finding = judge(all_now, {.baseline = all_before, .best = {}, .minimum = s.minimum}, limits_of(s));
    if (is_wide(s) && !is_failure(s.finding.outcome) && s.finding.outcome != Outcome::unmeasured) s.finding.outcome = Outcome::noisy;
  }

  /// The limit is wider than one may be.
  bool is_wide(const Subject& s) const {
    const auto before = s.side(&Turn::before), now = s.side(&Turn::now);
    return is_noisy(options_.limits, pooled(now).memory, error_of(before, now.size()));
  }

  static std::string problem_of(const std::vector<Measurement>& before, const std::vector<Measurement>& now) {
    if (before.empty()) return "only in the new build: there is nothing to compare it with";
    if (now.empty()) return "only in the old build: the new one does not measure it";
    for (const auto* side : {&before, &now})
      for (const Measurement& one : *side)
        if (!one.problem.empty()) return fmt::format("{} build: {}", side == &before ? "old" : "new", one.problem);
    return "";
  }

  const Measure &before_, &now_;
  const GateOptions& options_;
  std::vector<Subject> subjects_;
  std::size_t turns_ = 0;
};

std::string sentence(const Subject& s, const Verdict& v) {
  const Comparison& c = s.finding.against_baseline;
  switch (s.finding.outcome) {
    case Outcome::regressed: return fmt::format("{} slower than the old build (limit {}), by turns in {} processes each", percent(c.slowdown), percent(c.limit), v.processes);
    case Outcome::improved: return fmt::format("{} faster than the old build", percent(-c.slowdown / (1 + c.slowdown)));
    case Outcome::noisy: return fmt::format("processes of the old build differ so much that up to {} slower may be chance", percent(c.limit));
    case Outcome::below_minimum: return fmt::format("{} of {}, below the minimum of {}", percent(v.efficiency), v.measurement.anchor.empty() ? "the reference" : v.measurement.anchor, percent(s.minimum));
    case Outcome::unmeasured: return fmt::format("{} of {} samples were clean; {} are needed of each build", v.measurement.clean.size(), v.measurement.sampled, least_clean);
    case Outcome::passed: return c.worse ? "slower in the first turns, not in the last" : "";
    default: return "";
  }
}

Verdict verdict_of(const Subject& s) {
  const auto before = s.side(&Turn::before), now = s.side(&Turn::now);
  Verdict verdict{.outcome = s.finding.outcome, .measurement = pooled(now.empty() ? before : now)};
  verdict.efficiency = efficiency_of(verdict.measurement);
  verdict.baseline = now.empty() ? 0 : efficiency_of(pooled(before));
  verdict.minimum = s.minimum;
  verdict.against_baseline = s.finding.against_baseline;
  verdict.processes = static_cast<int>(now.size());
  verdict.reason = s.reason.empty() ? sentence(s, verdict) : s.reason;
  return verdict;
}

/// With a filter not all names are known: then what fits none of those measured is only said.
Result<void> check_minima_of(Turns& turns, const GateOptions& options) {
  std::vector<std::string> names;
  for (const Subject& subject : turns.subjects()) names.push_back(subject.name);
  if (options.filter.empty()) return check_minima(options.minimum, names);
  for (const auto& minimum : options.minimum) {
    const auto fits = check_minima({minimum}, names);
    if (!fits && options.progress) options.progress(fmt::format("{}; names with '{}' are measured", fits.error().front().message, options.filter));
  }
  return {};
}

}  // namespace

Result<GateReport> run_comparison(const Measure& before, const Measure& now, const GateOptions& options, int rounds) {
  Turns turns(before, now, options);
  const auto say = [&](const std::string& line) {
    if (options.progress) options.progress(line);
  };
  for (int round = 0; round < rounds; ++round) {
    say(fmt::format("old and new build by turns: {} of {}", round + 1, rounds));
    auto done = turns.take();
    if (done && round == 0) done = check_minima_of(turns, options);
    if (!done) return fail(std::move(done.error()));
  }
  turns.judge_all();
  for (int more = 0; more < rounds / 2 && turns.any_short(); ++more, turns.judge_all()) {
    say("some kernels have too few clean samples; one turn more");
    if (auto done = turns.take(); !done) return fail(std::move(done.error()));
  }
  const std::size_t first = turns.count();
  for (int more = 0; more < options.confirmations + options.retries; ++more, turns.judge_all()) {
    const auto accused = turns.accused();
    // A disturbed turn neither confirms nor acquits: another one is taken.
    const bool confirmed = std::ranges::all_of(accused, [&](const Subject* s) {
      return std::count_if(s->turns.begin() + static_cast<std::ptrdiff_t>(first), s->turns.end(), [](const Turn& t) { return is_enough(t); }) >= options.confirmations;
    });
    if (accused.empty() || confirmed) break;
    say(fmt::format("{} slower; measured again, {}", accused.size() == 1 ? "1 kernel looks" : fmt::format("{} kernels look", accused.size()), more + 1));
    if (auto done = turns.take(); !done) return fail(std::move(done.error()));
  }
  GateReport report{.context = options.context ? *options.context : this_context(), .allow_unmeasured = options.allow_unmeasured};
  for (Subject& subject : turns.subjects()) {
    turns.acquit(subject, first);
    report.verdicts.push_back(verdict_of(subject));
  }
  return report;
}

}  // namespace gambrel::kernels

// The gate's rule, apart from who measures: baseline, confirmation in fresh processes, verdict.
#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <functional>
#include <thread>

#include "kernels/timing/gate.hpp"
#include "kernels/timing/names.hpp"

namespace gambrel::kernels {
namespace {

/// A kernel on its way through the gate.
struct Subject {
  Measurement now;
  std::vector<Measurement> processes;  ///< all that measured it
  Standard standard;
  std::optional<Baseline> baseline;
  std::string fingerprint;
  Pace pace = Pace::anchor;  ///< by which the past is ordered
  Finding finding;
  bool recording = false;
  bool unconfirmed = false;  ///< looked slower, and no later process was measurable
};

std::string sentence(const Subject& s, const GateOptions& options) {
  const auto slower = [](const Comparison& c) { return fmt::format("{} slower", percent(c.slowdown)); };
  const Comparison &base = s.finding.against_baseline, &best = s.finding.against_best;
  switch (s.finding.outcome) {
    case Outcome::regressed:
      return fmt::format("{} than the baseline{} (limit {}), processes: {}", slower(base), s.baseline ? " of " + s.baseline->recorded : "", percent(base.limit), s.processes.size());
    case Outcome::drifted:
      return fmt::format("{} than the best of the last {} (limit {}), processes: {}", slower(best), options.limits.history, percent(best.limit), s.processes.size());
    case Outcome::below_minimum:
      return fmt::format("{} of {}, below the minimum of {}", percent(efficiency_of(s.now)), s.now.anchor.empty() ? "the reference" : s.now.anchor, percent(s.standard.minimum));
    case Outcome::unmeasured:
      if (!s.now.problem.empty()) return s.now.problem;
      if (s.unconfirmed) return fmt::format("{} (limit {}), but no fresh process could be measured to confirm it", slower(base.worse ? base : best), percent((base.worse ? base : best).limit));
      return fmt::format("{} of {} samples were clean; {} are needed", s.now.clean.size(), s.now.sampled, options.limits.least);
    case Outcome::noisy:
      return fmt::format("fresh processes with the same code differ by {}; beyond {} there is no baseline", percent(s.standard.spread), percent(options.limits.widest / options.limits.spreads * limit_of(options.limits, s.now.memory, 0)));
    case Outcome::recorded:
      if (best.slowdown > best.limit && best.limit > 0) return fmt::format("recorded as baseline, though {} than the best before it", slower(best));
      return options.update_baseline ? "recorded as baseline" : "no baseline for this machine, compiler and environment: recorded";
    case Outcome::improved: return fmt::format("{} faster than the baseline: --update-baseline keeps that", percent(-base.slowdown / (1 + base.slowdown)));
    case Outcome::passed: return s.processes.size() > 1 ? fmt::format("slower in one process, not in {}", s.processes.size()) : "";
  }
  return "";
}

class Rule {
 public:
  Rule(const Measure& measure, MeasurementStore* store, const GateOptions& options) : measure_(measure), store_(store), options_(options), context_(options.context ? *options.context : this_context()) {}

  Result<GateReport> run(const std::vector<std::string>& names) {
    names_ = names;
    auto done = take_first(names)
                    .and_then([&] { return check_minimum(names); })
                    .and_then([&] { return look_up(); })
                    .and_then([&] { return record(); })
                    .and_then([&] { return confirm(); });
    if (!done) return fail(std::move(done.error()));
    return save();
  }

 private:
  /// Whether what was found has what a minimum is asked for; a gate has checked this by all kernels that are registered.
  Result<void> check_minimum(const std::vector<std::string>& asked) const {
    std::vector<std::string> found;
    for (const Subject& s : subjects_) found.push_back(s.now.name);
    if (asked.empty() && options_.filter.empty()) return check_minima(options_.minimum, found);
    for (const auto& [expression, share] : options_.minimum)
      if (auto compiled = name_expression(expression); !compiled) return fail(std::move(compiled.error()));
    return {};
  }

  void say(const std::string& line) const {
    if (options_.progress) options_.progress(line);
  }

  static void rest(double seconds) { std::this_thread::sleep_for(std::chrono::duration<double>(seconds)); }

  /// Measures in one fresh process more, beside the same other kernels as the first time, for they share its caches; `each` of
  /// those gets what was found.
  template <class Each>
  Result<void> again(const std::vector<Subject*>& subjects, const Each& each) {
    if (subjects.empty()) return {};
    auto found = measure_(names_);
    if (!found) return fail(std::move(found.error()));
    for (Subject* subject : subjects) {
      const auto one = std::ranges::find(*found, subject->now.name, &Measurement::name);
      if (one == found->end()) continue;
      subject->processes.push_back(*one);
      each(*subject, std::move(*one));
    }
    return {};
  }

  std::vector<Subject*> those(auto which) {
    std::vector<Subject*> chosen;
    for (Subject& subject : subjects_)
      if (which(subject)) chosen.push_back(&subject);
    return chosen;
  }

  Result<void> take_first(const std::vector<std::string>& names) {
    say(names.empty() ? "measuring" : fmt::format("kernels to measure: {}", names.size()));
    auto found = measure_(names);
    if (!found) return fail(std::move(found.error()));
    for (const std::string& name : names) subjects_.emplace_back().now.name = name;
    for (Measurement& one : *found) {
      auto subject = std::ranges::find(subjects_, one.name, [](const Subject& s) { return s.now.name; });
      if (subject == subjects_.end()) subject = subjects_.emplace(subject);
      subject->now = std::move(one);
    }
    Result<void> done;
    for (int retry = 0; done && retry < options_.retries; ++retry) {
      const auto disturbed = those([this](const Subject& s) { return std::ssize(s.now.clean) < options_.limits.least; });
      if (!disturbed.empty()) say(fmt::format("kernels with fewer than {} clean samples: {}; measuring them again", options_.limits.least, disturbed.size()));
      done = again(disturbed, [](Subject& s, Measurement m) {
        if (m.clean.size() > s.now.clean.size()) s.now = std::move(m);
      });
    }
    for (Subject& subject : subjects_) subject.processes.assign(1, subject.now);
    return done;
  }

  Result<void> look_up() {
    for (Subject& s : subjects_) {
      s.fingerprint = fingerprint(context_, s.now);
      s.standard.minimum = minimum_for(s.now.name, options_.minimum);
      auto baseline = store_->baseline(s.now.name, s.fingerprint);
      if (!baseline && !options_.update_baseline) return fail(std::move(baseline.error()));
      if (baseline && *baseline) {
        s.pace = (*baseline)->pace;
        s.standard.spread = (*baseline)->spread;
        if (auto best = look_back(s); !best) return best;
        if (!options_.update_baseline) {
          s.baseline = std::move(*baseline);
          s.standard.baseline = s.baseline->measurement;
        }
      }
      s.finding = judge(s.now, s.standard, options_.limits);
      s.recording = !s.baseline && s.finding.outcome != Outcome::unmeasured;
    }
    return {};
  }

  /// The best of the last passes with its samples, and how much they vary.
  Result<void> look_back(Subject& s) {
    auto past = store_->history(s.now.name, s.fingerprint, options_.limits.history);
    if (!past) return fail(std::move(past.error()));
    forget_accepted(*past, s);
    if (past->empty()) return {};
    std::vector<double> speeds;  // of one baseline: a step that was accepted is no noise
    for (const Past& one : *past) {
      if (was_recorded(one)) break;
      speeds.push_back(one.speed(s.pace));
    }
    // Processes right after each other agree better than runs of other days.
    s.standard.spread = std::max(s.standard.spread, noise_of(speeds));
    const Past* const reached = best_of(*past, s.pace);
    if (!reached) return {};
    auto best = store_->measurement(reached->id);
    if (!best) return fail(std::move(best.error()));
    s.standard.best = std::move(*best);
    return {};
  }

  static bool was_recorded(const Past& one) { return one.verdict == to_string(Outcome::recorded); }

  /// A baseline that was recorded although the gate would have failed was accepted knowingly: what was before it no
  /// longer counts. Smaller steps are remembered, for it is them that add up unseen. `past`: the newest first.
  void forget_accepted(std::vector<Past>& past, const Subject& s) const {
    const double limit = limit_of(options_.limits, s.now.memory, s.standard.spread);
    for (auto one = std::ranges::find_if(past, was_recorded); one != past.end(); one = std::find_if(one + 1, past.end(), was_recorded)) {
      const std::vector<Past> older(one + 1, past.end());
      const auto before = std::ranges::find_if(older, was_recorded);
      const Past* const best = best_of(older, s.pace);
      const double speed = one->speed(s.pace);
      const bool step = before != older.end() && before->speed(s.pace) > (1 + limit) * speed;
      if (step || (best && best->speed(s.pace) > (1 + limit + options_.limits.drift) * speed)) {
        past.erase(one + 1, past.end());
        return;
      }
    }
  }

  /// The best that was no luck: recorded, from several processes, or reached by three passes.
  static const Past* best_of(const std::vector<Past>& past, Pace pace) {
    constexpr int enough = 3;
    std::vector<const Past*> order;
    for (const Past& one : past) order.push_back(&one);
    std::ranges::stable_sort(order, std::greater{}, [&](const Past* one) { return one->speed(pace); });
    int seen = 0;
    for (const Past* one : order)
      if (++seen >= enough || was_recorded(*one)) return one;
    return nullptr;
  }

  /// What has no baseline is measured by more processes; where they agree, their rounds are the baseline.
  Result<void> record() {
    const auto fresh = those([](const Subject& s) { return s.recording; });
    for (int process = 1; process < options_.baseline_processes + options_.retries; ++process) {
      const auto wanting = those([this](const Subject& s) { return s.recording && std::ssize(s.processes) < options_.baseline_processes; });
      if (wanting.empty()) break;
      say(fmt::format("kernels without a baseline: {}; process {} of {}", wanting.size(), process + 1, std::max(process + 1, options_.baseline_processes)));
      rest(options_.pause_s);
      auto done = again(wanting, [this](Subject& s, const Measurement& m) {
        if (std::ssize(m.clean) < options_.limits.least) s.processes.pop_back(), s.now.problem = m.problem;  // another one is asked
      });
      if (!done) return done;
    }
    for (Subject* s : fresh) {
      if (std::ssize(s->processes) < options_.baseline_processes) {
        if (s->now.problem.empty()) s->now.problem = fmt::format("{} of {} fresh processes measured it", s->processes.size(), options_.baseline_processes);
        s->finding.outcome = Outcome::unmeasured;
        continue;
      }
      s->now = pooled(s->processes);
      s->pace = steadier_pace(s->processes);
      s->standard.spread = spread_of(s->processes, s->pace);
      s->finding = judge(s->now, s->standard, options_.limits);
      if (s->finding.outcome == Outcome::below_minimum) continue;
      s->finding.outcome = is_noisy(options_.limits, s->now.memory, s->standard.spread) ? Outcome::noisy : Outcome::recorded;
    }
    return {};
  }

  /// What failed is measured by fresh processes, and the one that speaks best for the kernel counts.
  Result<void> confirm() {
    for (int round = 0; round < options_.confirmations; ++round) {
      const auto accused = those([](const Subject& s) { return !s.recording && is_failure(s.finding.outcome); });
      if (accused.empty()) break;
      for (const Subject* s : accused) say(fmt::format("{}: {}; measured again, {} of {}", s->now.name, sentence(*s, options_), round + 1, options_.confirmations));
      if (auto done = confirm_once(accused, options_.pause_s * std::pow(3, round)); !done) return done;
    }
    return {};
  }

  /// A disturbed process neither confirms nor acquits: another one is asked.
  Result<void> confirm_once(std::vector<Subject*> accused, double pause) {
    for (int attempt = 0; attempt <= options_.retries && !accused.empty(); ++attempt) {
      rest(pause);
      const std::vector<Subject*> asked = accused;
      auto done = again(asked, [&](Subject& s, Measurement m) {
        const Finding finding = judge(m, s.standard, options_.limits);
        if (finding.outcome == Outcome::unmeasured) return;
        std::erase(accused, &s);
        if (!is_failure(finding.outcome) || speed_of(m, s.pace) > speed_of(s.now, s.pace)) s.finding = finding, s.now = std::move(m);
      });
      if (!done) return done;
    }
    for (Subject* s : accused) s->finding.outcome = Outcome::unmeasured, s->unconfirmed = true;
    return {};
  }

  Result<GateReport> save() {
    const auto run = store_->begin_run(context_, options_.source);
    if (!run) return fail(run.error());
    GateReport report{.context = context_, .allow_unmeasured = options_.allow_unmeasured};
    for (Subject& s : subjects_) {
      const auto id = store_->save(*run, context_, s.now, to_string(s.finding.outcome));
      if (!id) return fail(id.error());
      if (s.finding.outcome == Outcome::recorded)
        if (auto set = store_->set_baseline(s.fingerprint, *id, s.now.name, s.standard.spread, s.pace); !set) return fail(std::move(set.error()));
      auto verdict = verdict_of(s);
      auto past = store_->history(s.now.name, s.fingerprint, 3 * options_.limits.history);
      if (!past) return fail(std::move(past.error()));
      verdict.history.assign(past->rbegin(), past->rend());
      report.verdicts.push_back(std::move(verdict));
    }
    return note_missing(report).map([&] { return std::move(report); });
  }

  /// Kernels of this source that were here before. With --update-baseline their absence becomes what is right.
  Result<void> note_missing(GateReport& report) const {
    auto known = store_->gated(options_.source);
    if (!known) return fail(std::move(known.error()));
    for (std::string& name : *known)
      if (std::ranges::find(subjects_, name, [](const Subject& s) { return s.now.name; }) == subjects_.end()) report.missing.push_back(std::move(name));
    if (!options_.update_baseline) return {};
    for (const std::string& name : report.missing)
      if (auto forgotten = store_->forget(options_.source, name); !forgotten) return forgotten;
    return {};
  }

  Verdict verdict_of(Subject& s) const {
    return {.outcome = s.finding.outcome,
            .measurement = s.now,
            .efficiency = efficiency_of(s.now),
            .baseline = s.baseline ? efficiency_of(s.baseline->measurement) : 0,
            .minimum = s.standard.minimum,
            .against_baseline = s.finding.against_baseline,
            .against_best = s.finding.against_best,
            .processes = static_cast<int>(s.processes.size()),
            .reason = sentence(s, options_)};
  }

  const Measure& measure_;
  MeasurementStore* store_;
  const GateOptions& options_;
  Context context_;
  std::vector<std::string> names_;
  std::vector<Subject> subjects_;
};

}  // namespace

int GateReport::count(bool (*what)(Outcome)) const {
  return static_cast<int>(std::ranges::count_if(verdicts, [&](const Verdict& verdict) { return what(verdict.outcome); }));
}

int GateReport::exit_code() const {
  constexpr int failed = 1, not_measurable = 5;
  if (count(is_failure) > 0) return failed;
  return count(is_unmeasured) > 0 && !allow_unmeasured ? not_measurable : 0;
}

Result<GateReport> run_gate(const std::vector<std::string>& names, const Measure& measure, MeasurementStore& store, const GateOptions& options) {
  return Rule(measure, &store, options).run(names);
}

}  // namespace gambrel::kernels

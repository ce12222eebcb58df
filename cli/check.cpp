// gambrel check: fails when a kernel has become slower than its baseline, or slower than it may be.
#include <fmt/format.h>

#include <algorithm>
#include <cstdlib>
#include <iterator>
#include <limits>
#include <map>
#include <memory>
#include <tuple>

#include "base/text.hpp"
#include "cli/check_self_test.hpp"
#include "cli/check_sources.hpp"
#include "cli/progress.hpp"
#include "cli/suite_options.hpp"
#include "cli/verbs.hpp"
#include "kernels/timing/names.hpp"
#include "reports/check.hpp"

namespace gambrel::cli {
namespace {

using kernels::GateReport;
using kernels::KernelCase;

Diagnostic misused(std::string message, std::string hint) { return {{}, std::move(message), std::move(hint), Fault::usage}; }

class Check final : public Verb {
 public:
  std::string_view name() const override { return "check"; }
  std::string_view summary() const override { return "CI gate: fails if a kernel's efficiency fell below its baseline or its minimum"; }

  void declare(Options& options) override {
    options.positional("old", old_, "Of --ab: the old build's gambrel or own gate, or a command as of --command", false);
    options.positional("new", new_, "Of --ab: the new one", false);
    options.flag("--ab", ab_, "Compare two builds by turns, without a baseline: check --ab OLD NEW");
    options.choice("--suite", suite_, {"cpu", "opencl", "cuda"}, "Which kernels");
    options.option("--filter", filter_, "Only kernels whose names contain this regular expression; the gate's own choice if left out");
    options.option("--threads", threads_, "Thread counts, separated by commas");
    options.option("--rounds", rounds_, "Clean samples of each kernel in each process, and up to four times as many while the machine is busy");
    options.option("--db", database_, "SQLite file with baselines and history");
    options.flag("--update-baseline", update_, "What is measured now is what later runs are compared with");
    options.flag("--allow-unmeasured", allow_unmeasured_, "Exit 0, not 5, where a kernel was not measurable or too noisy");
    options.option("--min-efficiency", check_file_, "Check file with smallest efficiencies and limits (`gambrel schema check`)");
    options.option("--command", command_, "Instead of the suite: a command, run by turns with our reference; Google Benchmark's JSON on its standard output, or its CPU time");
    options.option("--from", from_, "Instead of measuring: Google Benchmark's JSON, or a CSV file with measured_us");
    options.option("--op", op_, "Of --from: kind of kernel, if a CSV file's columns do not tell it");
    options.option("--chip", chip_, "Of --from: hold a CSV file's rows against this chip's roofline");
    options.flag("--self-test", self_test_, "Count false alarms and found slowdowns of the gate on this machine");
    options.option("--timeout", timeout_, "Of --command and --ab: seconds that a run of a command may take");
    options.option("--context", facts_, "KEY=VALUE that a baseline depends on too, such as your kernels' compiler; may be repeated");
    options.option("--runs", runs_, "Of --self-test: runs of each condition");
    options.choice("--format", format_, {"table", "json", "github", "markdown"}, "How to print");
    options.option("--html", html_, "Also write a page with each kernel's history");
    options.option("--summary", summary_, "Also write Markdown, as for a workflow's job summary");
    options.note(
        "Exit codes: 0 no kernel is slower, or baselines were recorded; 1 a kernel failed; 2 wrong usage; 3 wrong input; 4 a command, the database or the\n"
        "environment failed; 5 a kernel was not measurable; 130 and 143 interrupted by SIGINT and SIGTERM.");
  }

  int run(const Session& session) override {
    if (const Diagnostics problems = contradictions(); !problems.empty()) return session.report(problems);
    // A worker is ended by the gate that started it.
    if (!std::getenv("GAMBREL_GATE_WORKER")) stop_ = &stop_requested();
    const int code = check(session);
    return stop_ && *stop_ ? interrupted_exit() : code;
  }

 private:
  int check(const Session& session) {
    auto options = gate_options(session);
    if (!options) return session.report(options.error());
    if (self_test_) return try_gate(session, std::move(*options));
    auto report = ab_ ? by_turns(*options) : !command_.empty() ? by_command(*options) : !from_.empty() ? by_file(session, *options) : by_suite(*options);
    if (!report) return session.report(report.error());
    return report->worker ? done : show(session, *report);
  }

  Result<kernels::GateOptions> gate_options(const Session& session) const {
    kernels::GateOptions options{.database = database_, .filter = filter_, .update_baseline = update_, .allow_unmeasured = allow_unmeasured_, .stop = stop_};
    const auto rounds = whole_number("--rounds", rounds_, kernels::least_clean, 10000);
    if (!rounds) return fail(rounds.error());
    options.sampling.rounds = *rounds, options.sampling.most_rounds = 4 * *rounds, options.sampling.attempts = 5 * *rounds;
    options.progress = [&session](const std::string& line) { session.say(line); };
    if (auto expression = kernels::name_expression(filter_); !expression) return fail(std::move(expression.error()));
    auto facts = given_facts(facts_);
    if (!facts) return fail(std::move(facts.error()));
    options.context = kernels::this_context();
    options.context->insert(options.context->end(), facts->begin(), facts->end());
    if (!check_file_.empty())
      if (auto read = read_check_file(check_file_, options); !read) return fail(std::move(read.error()));
    return options;
  }

  /// Options that are not as they are if left out, and the modes they mean something in: suite, a/b, command, file, test.
  Diagnostics without_effect() const {
    const char mode = ab_ ? 'a' : !command_.empty() ? 'c' : !from_.empty() ? 'f' : self_test_ ? 't' : 's';
    const std::tuple<const char*, bool, std::string_view> given[]{
        {"--suite", suite_ != "cpu", "sat"},         {"--threads", threads_ != "1", "sat"},  {"--rounds", rounds_ != "40", "sat"},
        {"--db", database_ != default_db, "scf"},    {"--update-baseline", update_, "scf"},  {"--allow-unmeasured", allow_unmeasured_, "sacf"},
        {"--op", !op_.empty(), "f"},                 {"--chip", !chip_.empty(), "f"},        {"--context", !facts_.empty(), "scf"},
        {"--timeout", timeout_ != "600", "ac"},      {"--runs", runs_ != "100", "t"},        {"--format", format_ != "table", "sacf"},
        {"--html", !html_.empty(), "sacf"},          {"--summary", !summary_.empty(), "sacf"}};
    const std::map<char, const char*> names{{'a', "--ab"}, {'c', "--command"}, {'f', "--from"}, {'s', "the suite"}, {'t', "--self-test"}};
    Diagnostics problems;
    for (const auto& [option, is_given, modes] : given)
      if (is_given && modes.find(mode) == modes.npos) problems.push_back(misused(fmt::format("{} means nothing with {}", option, names.at(mode)), "leave it out"));
    return problems;
  }

  Diagnostics contradictions() const {
    Diagnostics problems;
    if (ab_ == old_.empty() || ab_ == new_.empty()) problems.push_back(misused("--ab takes two builds or commands", "gambrel check --ab OLD NEW"));
    if (ab_ + !command_.empty() + !from_.empty() + self_test_ > 1) problems.push_back(misused("only one of --ab, --command, --from and --self-test", "leave the others out"));
    if (database_.empty()) problems.push_back(misused("--db names no file", "leave it out for " + std::string(default_db)));
    return problems.empty() ? without_effect() : problems;
  }

  /// The suite, by expression or as the gate chooses.
  Result<kernels::Gate> gate() const {
    auto cases = suite_cases(suite_, threads_);
    if (!cases) return fail(std::move(cases.error()));
    kernels::Gate gate;
    for (KernelCase& one : *cases)
      if (one.gate || !filter_.empty()) gate.add(std::move(one));
    return gate;
  }

  Result<GateReport> by_suite(kernels::GateOptions& options) const {
    options.source = source(fmt::format("suite {}, {} threads", suite_, threads_));
    return gate().and_then([&](const kernels::Gate& all) { return all.run(options); });
  }

  /// What is measured, for the notice about kernels that no longer are.
  std::string source(const std::string& what) const { return filter_.empty() ? what : fmt::format("{}, names with '{}'", what, filter_); }

  Result<kernels::BenchmarkCommand> command(const std::string& line) const {
    const auto timeout = number_in(timeout_);
    if (!timeout || !(*timeout > 0) || !(*timeout <= 1e6)) return fail(misused(fmt::format("--timeout is '{}'", timeout_), "seconds, above 0"));
    return kernels::BenchmarkCommand{.line = line, .timeout_s = *timeout, .stop = stop_};
  }

  Result<GateReport> by_turns(kernels::GateOptions& options) const {
    auto first = command(old_);
    if (!first) return fail(std::move(first.error()));
    // What prints no benchmarks is the same kernel on both sides.
    first->runs = 1, first->name = "command";
    kernels::BenchmarkCommand second = *first;
    second.line = new_;
    std::vector<std::string> arguments{"--suite", suite_, "--threads", threads_, "--rounds", rounds_};
    if (!filter_.empty()) arguments.insert(arguments.end(), {"--filter", filter_});
    Side before = build_or_command(*first, arguments), now = build_or_command(second, arguments);
    if (before.command && now.command) {  // a build measures only what the filter leaves
      const auto check = std::make_shared<MinimaCheck>(options.minimum, 2);
      before.measure = checked(before.measure, check), now.measure = checked(now.measure, check);
    }
    // Commands give few samples a run, builds forty.
    const int turns = before.command || now.command ? 16 : 5;
    auto report = run_comparison(only(before.measure, filter_, false), only(now.measure, filter_, false), options, turns);
    if (report && report->verdicts.empty()) return fail(misused(fmt::format("no kernel's name contains '{}' in either build", filter_), "leave --filter out"));
    return report;
  }

  Result<GateReport> by_command(kernels::GateOptions& options) const {
    auto line = command(command_);
    if (!line) return fail(std::move(line.error()));
    options.source = source("command " + command_);
    const kernels::Measure measure = only(checked(kernels::by_command(*line), std::make_shared<MinimaCheck>(options.minimum, 1)), filter_, true);
    return kernels::MeasurementStore::open(database_).and_then([&](kernels::MeasurementStore store) { return run_gate({}, measure, store, options); });
  }

  /// What is fed cannot be measured again, and a single time of each kernel has to do.
  Result<GateReport> by_file(const Session& session, kernels::GateOptions& options) const {
    auto fed = fed_measurements(session, from_, op_, chip_);
    if (!fed) return fail(std::move(fed.error()));
    const bool referenced = std::ranges::none_of(fed->measurements, [](const kernels::Measurement& m) { return m.anchor.empty(); });
    if (!referenced && !options.minimum.empty()) return fail(misused("a minimum is a share of a reference, and '" + from_ + "' holds times only", "--chip gives the rows of a CSV file their roofline; --command measures beside a reference"));
    if (auto fits = MinimaCheck(options.minimum, 1).add(fed->measurements); !fits) return fail(std::move(fits.error()));
    options.source = source("file " + from_.substr(from_.rfind('/') + 1));
    std::ranges::copy_if(*options.context, std::back_inserter(fed->context), [](const kernels::Fact& fact) { return fact.name.starts_with("context."); });
    options.context = std::move(fed->context);
    options.retries = options.confirmations = 0;
    options.baseline_processes = 1;
    if (std::ranges::all_of(fed->measurements, [](const kernels::Measurement& m) { return m.sampled < kernels::least_clean; })) options.limits.least = 1;
    // Two sets of times of different days differ by their days: no test of them says that the kernel did.
    if (!referenced) options.limits.chance = certain;
    const kernels::Measure measure = only([&](const auto&) -> Result<std::vector<kernels::Measurement>> { return fed->measurements; }, filter_, true);
    auto report = kernels::MeasurementStore::open(database_).and_then([&](kernels::MeasurementStore store) { return run_gate({}, measure, store, options); });
    if (report && !referenced)
      for (kernels::Verdict& verdict : report->verdicts) verdict.against_baseline.chance = verdict.against_best.chance = std::numeric_limits<double>::quiet_NaN();
    return report;
  }

  int try_gate(const Session& session, kernels::GateOptions options) const {
    const auto runs = whole_number("--runs", runs_, 1, 100000);
    if (!runs) return session.report(runs.error());
    const auto all = gate();
    if (!all) return session.report(all.error());
    if (std::getenv("GAMBREL_GATE_WORKER")) {
      const auto worked = all->run(options);
      return worked ? done : session.report(worked.error());
    }
    const auto cases = short_suite(*all);
    if (!cases) return session.report(cases.error());
    auto command = kernels::this_command();
    if (!command) return session.report(command.error());
    command->stop = stop_;
    SelfTest test{.worker = std::move(*command), .runs = *runs};
    for (const KernelCase& one : *cases) test.names.push_back(one.name());
    session.say(fmt::format("{} kernels; 4 conditions of {} runs", test.names.size(), *runs));
    return self_test(session, test, std::move(options));
  }

  /// What was chosen; else two products of a fraction of a millisecond and a kernel of memory.
  Result<std::vector<KernelCase>> short_suite(const kernels::Gate& gate) const {
    auto cases = gate.matching(filter_.empty() ? "^(gemm/f32/(onednn_packed|openblas)|softmax/f32/own)/" : filter_);
    if (!cases) return cases;
    // The first one is slowed down: the reference against itself would say nothing, and limits of memory are wide.
    std::erase_if(*cases, [](const KernelCase& one) { return one.kernel == "fma"; });
    std::ranges::stable_sort(*cases, {}, [](const KernelCase& one) { return kernels::describe(one).memory; });
    if (cases->empty() || kernels::describe(cases->front()).memory) return fail(misused("the self-test needs a compute kernel", "leave --filter out"));
    return cases;
  }

  int show(const Session& session, GateReport& report) const {
    for (const std::string& name : report.missing) session.say(fmt::format("{} had a baseline, and is no longer there{}", printable(name), update_ ? ": forgotten" : "; --update-baseline forgets it"));
    report.title = ab_ ? "Kernel efficiency, old build against new" : "Kernel efficiency";
    if (!html_.empty())
      if (const int failed = session.write_file(html_, reports::write_check_html(report)); failed != done) return failed;
    if (!summary_.empty())
      if (const int failed = session.write_file(summary_, reports::write_check(report, reports::CheckFormat::markdown)); failed != done) return failed;
    const int printed = session.print(reports::write_check(report, *reports::parse_check_format(format_)));
    return printed != done ? printed : report.exit_code();
  }

  static constexpr std::string_view default_db = "gambrel-baseline.sqlite";
  static constexpr double certain = 2;  ///< a chance that no p value reaches: the effect alone decides

  const std::atomic<bool>* stop_ = nullptr;
  std::vector<std::string> facts_;
  bool ab_ = false, update_ = false, allow_unmeasured_ = false, self_test_ = false;
  std::string old_, new_, suite_ = "cpu", filter_, threads_ = "1", rounds_ = "40", database_{default_db}, check_file_, command_, from_, op_, chip_, timeout_ = "600", runs_ = "100", format_ = "table", html_,
      summary_;
};

}  // namespace

std::unique_ptr<Verb> check_verb() { return std::make_unique<Check>(); }

}  // namespace gambrel::cli

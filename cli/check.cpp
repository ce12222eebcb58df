// gambrel check: fails when a kernel has become slower than its baseline, or slower than it may be.
#include <fmt/format.h>

#include <algorithm>
#include <cstdlib>

#include "cli/check_self_test.hpp"
#include "cli/check_sources.hpp"
#include "cli/suite_options.hpp"
#include "cli/verbs.hpp"
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
    options.positional("old", old_, "Of --ab: the old build's gambrel, or a command that prints Google Benchmark's JSON", false);
    options.positional("new", new_, "Of --ab: the new one", false);
    options.flag("--ab", ab_, "Compare two builds by turns, without a baseline: check --ab OLD NEW");
    options.choice("--suite", suite_, {"cpu", "opencl", "cuda"}, "Which kernels");
    options.option("--filter", filter_, "Only kernels whose names contain this regular expression; the gate's own choice if left out");
    options.option("--threads", threads_, "Thread counts, separated by commas");
    options.option("--rounds", rounds_, "Undisturbed samples of each kernel in each process");
    options.option("--db", database_, "SQLite file with baselines and history");
    options.flag("--update-baseline", update_, "What is measured now is what later runs are compared with");
    options.flag("--allow-unmeasured", allow_unmeasured_, "Exit 0, not 5, where too few samples were undisturbed");
    options.option("--min-efficiency", check_file_, "Check file with smallest efficiencies and limits (`gambrel schema check`)");
    options.option("--command", command_, "Instead of the suite: a command, run by turns with our reference; Google Benchmark's JSON on its standard output, or its CPU time");
    options.option("--from", from_, "Instead of measuring: Google Benchmark's JSON, or a CSV file with measured_us");
    options.option("--op", op_, "Of --from: kind of kernel, if a CSV file's columns do not tell it");
    options.option("--chip", chip_, "Of --from: hold a CSV file's rows against this chip's roofline");
    options.flag("--self-test", self_test_, "Count false alarms and found slowdowns of the gate on this machine");
    options.option("--runs", runs_, "Of --self-test: runs of each condition");
    options.choice("--format", format_, {"table", "json", "github", "markdown"}, "How to print");
    options.option("--html", html_, "Also write a page with each kernel's history");
    options.option("--summary", summary_, "Also write Markdown, as for a workflow's job summary");
  }

  int run(const Session& session) override {
    if (const Diagnostics problems = contradictions(); !problems.empty()) return session.report(problems);
    kernels::GateOptions options{.database = database_, .update_baseline = update_, .allow_unmeasured = allow_unmeasured_};
    const auto rounds = whole_number("--rounds", rounds_, kernels::least_clean, 10000);
    if (!rounds) return session.report(rounds.error());
    options.sampling.rounds = *rounds, options.sampling.attempts = 5 * *rounds;
    options.progress = [&session](const std::string& line) { session.say(line); };
    if (!check_file_.empty())
      if (auto read = read_check_file(check_file_, options); !read) return session.report(read.error());
    if (self_test_) return try_gate(session, std::move(options));
    auto report = ab_ ? by_turns(options) : !command_.empty() ? by_command(options) : !from_.empty() ? by_file(session, options) : by_suite(options);
    if (!report) return session.report(report.error());
    return report->worker ? done : show(session, *report);
  }

 private:
  Diagnostics contradictions() const {
    Diagnostics problems;
    if (ab_ == old_.empty() || ab_ == new_.empty()) problems.push_back(misused("--ab takes two builds or commands", "gambrel check --ab OLD NEW"));
    if (ab_ + !command_.empty() + !from_.empty() + self_test_ > 1) problems.push_back(misused("only one of --ab, --command, --from and --self-test", "leave the others out"));
    if (from_.empty() && !(op_.empty() && chip_.empty())) problems.push_back(misused("--op and --chip belong to --from", "gambrel check --from FILE.csv --chip CHIP"));
    if (ab_ && update_) problems.push_back(misused("--ab knows no baseline to update", "leave --update-baseline out"));
    return problems;
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
    options.filter = filter_;
    return gate().and_then([&](const kernels::Gate& all) { return all.run(options); });
  }

  Result<GateReport> by_turns(kernels::GateOptions& options) const {
    std::vector<std::string> arguments{"--suite", suite_, "--threads", threads_, "--rounds", rounds_};
    if (!filter_.empty()) arguments.insert(arguments.end(), {"--filter", filter_});
    return run_comparison(build_or_command(old_, arguments), build_or_command(new_, arguments), options, old_is_command() ? 16 : 5);
  }

  /// Commands give one sample a run, builds forty.
  bool old_is_command() const { return old_.find(' ') != std::string::npos; }

  Result<GateReport> by_command(kernels::GateOptions& options) const {
    return kernels::MeasurementStore::open(database_).and_then([&](kernels::MeasurementStore store) { return run_gate({}, kernels::by_command(command_), store, options); });
  }

  /// What is fed cannot be measured again, and a single time of each kernel has to do.
  Result<GateReport> by_file(const Session& session, kernels::GateOptions& options) const {
    auto fed = fed_measurements(session, from_, op_, chip_);
    if (!fed) return fail(std::move(fed.error()));
    options.retries = options.confirmations = 0;
    options.baseline_processes = 1;
    if (std::ranges::all_of(*fed, [](const kernels::Measurement& m) { return m.sampled < kernels::least_clean; })) options.limits.least = 1;
    const kernels::Measure measure = [&](const auto&) -> Result<std::vector<kernels::Measurement>> { return *fed; };
    return kernels::MeasurementStore::open(database_).and_then([&](kernels::MeasurementStore store) { return run_gate({}, measure, store, options); });
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
    report.title = ab_ ? "Kernel efficiency, old build against new" : "Kernel efficiency";
    if (!html_.empty())
      if (const int failed = session.write_file(html_, reports::write_check_html(report)); failed != done) return failed;
    if (!summary_.empty())
      if (const int failed = session.write_file(summary_, reports::write_check(report, reports::CheckFormat::markdown)); failed != done) return failed;
    const int printed = session.print(reports::write_check(report, *reports::parse_check_format(format_)));
    return printed != done ? printed : report.exit_code();
  }

  bool ab_ = false, update_ = false, allow_unmeasured_ = false, self_test_ = false;
  std::string old_, new_, suite_ = "cpu", filter_, threads_ = "1", rounds_ = "40", database_ = "gambrel-baseline.sqlite", check_file_, command_, from_, op_, chip_, runs_ = "100", format_ = "table", html_,
      summary_;
};

}  // namespace

std::unique_ptr<Verb> check_verb() { return std::make_unique<Check>(); }

}  // namespace gambrel::cli

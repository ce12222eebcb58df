// gambrel estimate: one run, predicted.
#include <unistd.h>

#include "cli/run_options.hpp"
#include "cli/verbs.hpp"
#include "reports/report.hpp"
#include "reports/trace.hpp"
#include "sim/predict.hpp"
#include "sim/timeline/step_tasks.hpp"

namespace gambrel::cli {
namespace {

class Estimate final : public Verb {
 public:
  std::string_view name() const override { return "estimate"; }
  std::string_view summary() const override { return "Time, memory and bound of a run, in total and per operator"; }

  void declare(Options& options) override {
    options.positional("run", file_, "Run file, or a name of `gambrel list runs`", false);
    inline_.declare(options);
    options.option("--plan", plan_, "best: search all plans; or a mapping such as '{tensor: 8, data: 4}'");
    options.option("--chips", chips_, "Chips used; the plan's product if left out");
    options.option("--set", settings_, "Override any key: path=value, relative with 2x; can be repeated");
    options.option("--trace", trace_, "Also write the step's schedule as a Chrome trace, for ui.perfetto.dev or chrome://tracing");
    options.choice("--format", format_, {"table", "json", "csv", "markdown"}, "How to print");
  }

  int run(const Session& session) override {
    auto settings = parse_settings(settings_);
    if (!settings) return session.report(settings.error());
    if (!plan_.empty()) settings->insert(settings->begin(), setting_of("--plan", "plan", plan_));
    if (!chips_.empty()) settings->insert(settings->begin(), setting_of("--chips", "chips", chips_));
    if (!file_.empty() && inline_.given())
      return session.report({{{}, "both a run file and options that stand for one are given", "change keys of a file with --set system=..., --set workload.batch=...", Fault::usage}});
    const auto estimate = file_.empty() ? inline_estimate(session, *settings) : estimate_file(session, file_, *settings);
    if (!estimate) return session.report(estimate.error());
    if (!trace_.empty())
      if (const int failed = session.write_file(trace_, trace(*estimate)); failed != 0) return failed;
    return session.print(reports::write_estimate(*estimate, *reports::parse_text_format(format_), isatty(STDOUT_FILENO) == 1));
  }

 private:
  static std::string trace(const sim::Estimate& estimate) {
    const std::string title = estimate.model_name + " on " + estimate.system;
    return reports::write_trace(sim::step_tasks(estimate), {.title = title, .streams = {"compute", "send onward", "send back", "network"}});
  }

  Result<sim::Estimate> inline_estimate(const Session& session, const std::vector<sim::Setting>& settings) const {
    return inline_.document()
        .and_then([&](Node document) { return sim::read_run(session.catalog(), std::move(document), settings); })
        .and_then([](const sim::Run& run) { return sim::estimate(run); });
  }

  std::string file_, trace_, plan_, chips_, format_ = "table";
  std::vector<std::string> settings_;
  InlineRun inline_;
};

}  // namespace

std::unique_ptr<Verb> estimate_verb() { return std::make_unique<Estimate>(); }

}  // namespace gambrel::cli

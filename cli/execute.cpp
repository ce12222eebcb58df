// gambrel execute: a run's graph computed on this machine, counted and timed beside what is predicted for it.
#include <fmt/format.h>

#include <charconv>
#include <cmath>
#include <cstdlib>
#include <fstream>
#include <optional>

#include "cli/kernel_options.hpp"
#include "cli/run_options.hpp"
#include "cli/verbs.hpp"
#include "kernels/scale_model.hpp"
#include "kernels/suite/fast_table.hpp"
#include "reports/execution.hpp"

namespace gambrel::cli {
namespace {

/// The whole text as a number, or nothing.
std::optional<double> number(const std::string& text) {
  double value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  return error == std::errc{} && end == text.data() + text.size() && std::isfinite(value) ? std::optional(value)
                                                                                          : std::nullopt;
}

/// Largest resident set of this process so far, bytes: "VmHWM:  12345 kB" of /proc; 0 where the system does not tell.
double process_peak() {
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);)
    if (line.starts_with("VmHWM:")) return 1024 * std::strtod(line.c_str() + 6, nullptr);
  return 0;
}

/// The one pass that is executed: of `generate` the prompt's, of training the forward pass of one micro-batch.
models::Step step_of(const sim::Run& run) {
  const sim::Workload& w = run.workload;
  models::Step step = run.step(w.batch, w.new_tokens, w.past_tokens);
  if (w.phase == sim::PhaseKind::generate) step = run.step(w.batch, w.input, 0);
  if (w.phase == sim::PhaseKind::train) {
    step = run.step(w.micro_batch, w.sequence, 0);
    step.training = true;
  }
  return step;
}

class Execute final : public Verb {
 public:
  std::string_view name() const override { return "execute"; }
  std::string_view summary() const override {
    return "Runs a run's graph on this machine: counts and times every operator beside its prediction";
  }

  void declare(Options& options) override {
    options.positional("run", file_, "Run file, or a name of `gambrel list runs`");
    options.option("--layers", layers_, "Only the first N layers");
    options.option("--width-fraction", fraction_,
                   "Every width (hidden, inner, heads, vocabulary) times this, above 0 and at most 1");
    options.option("--set", settings_, "Override any key of the run: path=value; can be repeated");
    options.choice("--kernels", kernels_, {"fast", "reference"}, "Whose times: the libraries' and our vector kernels (fp32, one thread), or the plain references");
    options.option("--chip", chip_, "Chip to predict for; this-machine if `gambrel calibrate --this-machine` has made it");
    options.choice("--format", format_, {"table", "json", "csv"}, "How to print");
  }

  int run(const Session& session) override {
    const auto layers = layers_.empty() ? std::optional(0.0) : number(layers_), fraction = number(fraction_);
    if (!layers || *layers != std::floor(*layers) || *layers > 100000 || (!layers_.empty() && *layers < 1))
      return misused(session, "--layers", layers_, "a whole number of at least 1");
    if (!fraction || *fraction <= 0 || *fraction > 1)
      return misused(session, "--width-fraction", fraction_, "a number above 0 and at most 1");
    const auto settings = parse_settings(settings_);
    if (!settings) return session.report(settings.error());
    const auto described = session.catalog().load("runs", file_).and_then([&](Node document) {
      return sim::read_run(session.catalog(), std::move(document), *settings);
    });
    if (!described) return session.report(described.error());
    return measure(session, *described, static_cast<int>(*layers), *fraction);
  }

 private:
  static int misused(const Session& session, std::string_view option, const std::string& text,
                     std::string_view allowed) {
    return session.report(
        {{{}, fmt::format("{} is '{}'", option, text), fmt::format("{} takes {}", option, allowed), Fault::usage}});
  }

  int measure(const Session& session, const sim::Run& run, int layers, double fraction) const {
    if (run.workload.largest_batch)
      return session.report({{run.workload_at, "batch: max is not executed", "--set workload.batch=1", Fault::input}});
    const models::ModelConfig model = kernels::scale_model(run.model, layers, fraction);
    const models::Step step = step_of(run);
    const bool fast = kernels_ == "fast";
    auto measured =
        kernels::measure_graph(model, models::build(model, {model.dtype, model.precision, run.precision}, step), step, {},
                               {.fast = fast ? &kernels::fast_table() : nullptr});
    if (!measured) return session.report(measured.error());
    const int all = run.model.layer_count(), done = model.layer_count();
    const std::string scaling = fmt::format(
        "executed: {} of {} layers, widths x {}, {} sequences of {} new tokens after {}; one rank, fp32, bytes in the run's formats",
        done, all, fraction, step.sequences, step.new_tokens, step.past_tokens);
    reports::ExecutionReport report{.run = run.id,
                                    .model = run.model.id,
                                    .scaling = scaling,
                                    .layers = done,
                                    .width_fraction = fraction,
                                    .measured = std::move(*measured),
                                    .kernels = fast ? kernels::fast_table_text() : "reference kernels",
                                    .process_peak_bytes = process_peak()};
    if (const int failed = predict(session, run, model, step, report); failed != Exit::done) return failed;
    return session.print(reports::write_execution(report, *reports::parse_text_format(format_)));
  }

  /// Of what was executed: fp32 throughout.
  int predict(const Session& session, const sim::Run& run, const models::ModelConfig& model, const models::Step& step,
              reports::ExecutionReport& report) const {
    const std::string name = chip_.empty() ? "this-machine" : chip_;
    if (chip_.empty() && !session.catalog().has("chips", name)) {
      report.note = "no prediction: `gambrel calibrate --this-machine` measures this machine first";
      return Exit::done;
    }
    const auto chip = load_kernel_chip(session, name);
    if (!chip) return session.report(chip.error());
    const DataType fp32 = Format::fp32;
    const models::Precision single{.all = {.weights = fp32, .activations = fp32, .kv_cache = fp32, .accumulate = fp32, .dispatch = fp32, .combine = fp32}, .overrides = {}};
    report.predicted = sim::predict_execution(models::build(model, {fp32, {}, single}, step), run.workload.routing, chip->chip, chip->book);
    report.chip = chip->chip.id;
    if (kernels_ != "fast") report.note = "the prediction is of fast kernels; the times are those of plain references";
    return Exit::done;
  }

  std::string file_, layers_, fraction_ = "1", format_ = "table", kernels_ = "fast", chip_;
  std::vector<std::string> settings_;
};

}  // namespace

std::unique_ptr<Verb> execute_verb() { return std::make_unique<Execute>(); }

}  // namespace gambrel::cli

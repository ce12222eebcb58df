// gambrel execute: a run's graph computed on this machine, counted and timed beside what is predicted for it.
#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstdlib>
#include <fstream>
#include <optional>

#include "cli/kernel_options.hpp"
#include "cli/run_options.hpp"
#include "cli/verbs.hpp"
#include "kernels/suite/fast_table.hpp"
#include "kernels/timing/peak_watch.hpp"
#include "kernels/weights/scale_model.hpp"
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

/// Multiply-adds, and reads of every memory of a processor but the first cache, whose rate is the clock's: working sets of half
/// of a cache, and of four times the last one.
std::vector<kernels::Watched> peaks_of(const hw::Chip& chip) {
  std::vector<kernels::Watched> peaks{{kernels::Anchor::fma_f32}};
  for (std::size_t i = 0; i + 1 < chip.memory.size(); ++i) {
    const hw::MemoryLevel& level = chip.memory[i == 0 ? 1 : i];
    peaks.push_back({kernels::Anchor::read, (i == 0 ? 4 : 0.5) * level.capacity.value / level.instances});
  }
  return peaks;
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
    options.choice("--format", format_, {"table", "json", "csv", "markdown"}, "How to print");
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
    std::optional<KernelChip> chip;
    if (const int failed = load_chip(session, chip); failed != Exit::done) return failed;
    std::optional<kernels::PeakWatch> watch;
    if (fast && chip && chip->chip.kind == hw::ChipKind::cpu) watch.emplace(peaks_of(chip->chip));
    kernels::MeasureWith with{.fast = fast ? &kernels::fast_table() : nullptr};
    if (watch) with.beside = [&] { return watch->visit(); };
    const models::Graph graph = executed_graph(model, step);
    auto measured = kernels::measure_graph(model, graph, step, {}, with);
    if (!measured) return session.report(measured.error());
    const int all = run.model.layer_count(), done = model.layer_count();
    const std::string scaling = fmt::format(
        "executed: {} of {} layers, widths x {}, {} sequences of {} new tokens after {}; one rank, fp32",
        done, all, fraction, step.sequences, step.new_tokens, step.past_tokens);
    reports::ExecutionReport report{.run = run.id,
                                    .model = run.model.id,
                                    .scaling = scaling,
                                    .layers = done,
                                    .width_fraction = fraction,
                                    .measured = std::move(*measured),
                                    .kernels = fast ? kernels::fast_table_text() : "reference kernels",
                                    .memory = sim::held_memory(graph),
                                    .process_peak_bytes = process_peak()};
    if (chip) predict(run, graph, *chip, watch ? watch->readings() : std::vector<kernels::PeakReading>{}, report);
    else report.note = "no prediction: `gambrel calibrate --this-machine` measures this machine first";
    return session.print(reports::write_execution(report, *reports::parse_text_format(format_)));
  }

  /// As it is executed: fp32 throughout, whatever formats the run asks for.
  static models::Graph executed_graph(const models::ModelConfig& model, const models::Step& step) {
    const DataType fp32 = Format::fp32;
    const models::Precision single{.all = {.weights = fp32, .activations = fp32, .kv_cache = fp32, .accumulate = fp32, .dispatch = fp32, .combine = fp32}, .overrides = {}};
    return models::build(model, {fp32, {}, single}, step);
  }

  /// The chip to predict for; none if this machine was not calibrated yet.
  int load_chip(const Session& session, std::optional<KernelChip>& chip) const {
    const std::string name = chip_.empty() ? "this-machine" : chip_;
    if (chip_.empty() && !session.catalog().has("chips", name)) return Exit::done;
    auto loaded = load_kernel_chip(session, name);
    if (!loaded) return session.report(loaded.error());
    chip = std::move(*loaded);
    return Exit::done;
  }

  /// By the calibration, and by it at the peaks that were taken beside the runs.
  void predict(const sim::Run& run, const models::Graph& graph, const KernelChip& chip, const std::vector<kernels::PeakReading>& readings, reports::ExecutionReport& report) const {
    report.predicted = sim::predict_execution(graph, run.workload.routing, chip.chip, chip.book);
    report.chip = chip.chip.id;
    if (kernels_ != "fast") report.note = "the prediction is of fast kernels; the times are those of plain references";
    const bool measurable = std::ranges::all_of(readings, [](const kernels::PeakReading& r) { return r.samples > 0; });
    if (!measurable) report.note = "no undisturbed sample of the peaks: other programs take the CPU";
    if (readings.empty() || !measurable) return;
    report.peaks = beside(chip.chip, readings);
    sim::PeakRatios ratios;
    for (const reports::PeakBeside& peak : report.peaks) ratios.memory.push_back(peak.rate / peak.calibrated);
    ratios.arithmetic = ratios.memory.front();
    ratios.memory.erase(ratios.memory.begin());
    ratios.memory.push_back(ratios.arithmetic);  // the first cache
    report.scaled = sim::predict_execution(graph, run.workload.routing, sim::at_peaks(chip.chip, ratios), chip.book);
  }

  /// What was taken, beside what the chip's file says: FMA, then its memories from the outermost on.
  static std::vector<reports::PeakBeside> beside(const hw::Chip& chip, const std::vector<kernels::PeakReading>& readings) {
    std::vector<reports::PeakBeside> peaks;
    for (std::size_t i = 0; i < readings.size(); ++i) {
      const auto& [of, rate, samples] = readings[i];
      if (of.bytes > 0) peaks.push_back({chip.memory[i - 1].level, of.bytes, rate, sim::calibrated_read_rate(chip, of.bytes)});
      else if (const hw::ComputeUnit* unit = chip.unit(hw::UnitKind::vector, Format::fp32)) peaks.push_back({"FMA fp32", 0, rate, unit->rate(Format::fp32)->value});
      else peaks.push_back({"FMA fp32", 0, rate, rate});
    }
    return peaks;
  }

  std::string file_, layers_, fraction_ = "1", format_ = "table", kernels_ = "fast", chip_;
  std::vector<std::string> settings_;
};

}  // namespace

std::unique_ptr<Verb> execute_verb() { return std::make_unique<Execute>(); }

}  // namespace gambrel::cli

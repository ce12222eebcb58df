// gambrel calibrate: measured kernels -> a chip's calibration file.
#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <ctime>
#include <filesystem>
#include <optional>

#include "base/load.hpp"
#include "base/schema.hpp"
#include "cli/kernel_options.hpp"
#include "cli/this_machine.hpp"
#include "cli/verbs.hpp"
#include "kernels/suite/parallel.hpp"
#include "sim/calibration/fit_kernel.hpp"
#include "sim/calibration/suite.hpp"
#include "sim/kernel_models/collective_model.hpp"
#include "sim/predict.hpp"

namespace gambrel::cli {
namespace {

std::string today() {
  const std::time_t now = std::time(nullptr);
  std::tm utc{};
  gmtime_r(&now, &utc);
  return fmt::format("{:04}-{:02}-{:02}", utc.tm_year + 1900, utc.tm_mon + 1, utc.tm_mday);
}

class Calibrate final : public Verb {
 public:
  std::string_view name() const override { return "calibrate"; }
  std::string_view summary() const override { return "Fit a chip's kernel models to measurements and write its calibration"; }

  void declare(Options& options) override {
    options.flag("--this-machine", this_machine_, "Measure this machine's CPU instead: writes the chip this-machine and its calibration");
    options.option("--out", machine_.out, "Of --this-machine: configuration folder to write into; the user's own if left out");
    options.flag("--quick", machine_.quick, "Of --this-machine: fewer sizes, in a third of the time");
    options.option("--seconds", seconds_, "Of --this-machine: CPU seconds to time kernels for, at least three visits of each; preparing operands and fitting come on top");
    options.option("--threads", threads_, "Of --this-machine: threads that a kernel runs on, and cores of the chip it becomes");
    options.option("--svg", machine_.svg, "Of --this-machine: write the empirical roofline as SVG");
    options.option("--html", machine_.html, "Of --this-machine: write it as a page to look around in");
    options.option("--chip", chip_, "Chip that was measured: a name or a YAML");
    options.option("--system", system_, "Instead of a chip, the system whose collectives were measured: they are kept apart from its chip's");
    options.option("--measurements", files_, "CSV file with the columns of estimate-ops and measured_us; can be repeated");
    options.option("--op", op_, "Kind of kernel, if the columns do not tell it");
    options.option("--suite", suite_, "Fit what training runs sustain to published runs instead: training");
    options.option("--split", split_, "Rows to fit, by a hash of their key: hash:K/N; errors are reported on the others");
    options.option("--folds", folds_, "Cross-validate within the fitted rows: number of folds (0: not)");
    options.option("--only", only_, "Fit this constant only; can be repeated: for few rows, where the others keep a relative's values");
    options.option("--output,-o", output_, "Where to write; configs/calibrations/CHIP.yaml of the configuration folder if left out");
  }

  int run(const Session& session) override {
    if (this_machine_) return here(session);
    if (!suite_.empty()) return sustained(session);
    if (chip_.empty() == system_.empty() || files_.empty()) return session.report({{{}, "--measurements and one of --chip and --system are needed", "gambrel calibrate --chip CHIP --measurements gemm.csv", Fault::usage}});
    const auto split = parse_split(split_);
    if (!split) return session.report(split.error());
    if (std::from_chars(folds_.data(), folds_.data() + folds_.size(), fold_count_).ptr != folds_.data() + folds_.size() || fold_count_ < 0 || fold_count_ > 100)
      return session.report({{{}, fmt::format("--folds '{}' is no number of folds", folds_), "0 to 100", Fault::usage}});
    std::string subject;  // what the file is written for
    if (!system_.empty()) {
      const auto system = load_system(session, system_);
      if (!system) return session.report(system.error());
      chip_ = system->chip().id, subject = system->id;
    }
    auto chip = load_kernel_chip(session, chip_);
    if (!chip) return session.report(chip.error());
    if (subject.empty()) subject = chip->chip.id;
    auto calibration = own_calibration(session, subject);
    if (!calibration) return session.report(calibration.error());
    const sim::KernelPredictor predictor(chip->chip, chip->book);
    for (const std::string& file : files_) {
      const auto kinds = load_measured(session, file, op_, chip->chip);
      if (!kinds) return session.report(kinds.error());
      for (const MeasuredRows& rows : *kinds) {
        if (const auto refused = refusal(rows, file, predictor)) return session.report({*refused});
        session.say(fmt::format("{}: {} rows of {} on {}, {} of other chips or operators", rows.file, rows.calls.size(), sim::to_string(rows.kind), chip->chip.id, rows.elsewhere));
        fit_rows(session, rows, *split, predictor, *calibration);
      }
    }
    if (report_.empty()) return session.report({{{}, "nothing was fitted, and nothing is written", "a fit needs two rows more than it has constants; --only fits fewer"}});
    return write(session, *calibration, subject);
  }

 private:
  /// Why rows of this kind are not fitted, as the options stand.
  std::optional<Diagnostic> refusal(const MeasuredRows& rows, const std::string& file, const sim::KernelPredictor& predictor) const {
    if (!system_.empty() && !sim::is_transfer(rows.kind))
      return Diagnostic{{}, fmt::format("{} holds rows of {}: --system is for collectives", file, sim::to_string(rows.kind)), "--chip for kernels of one chip", Fault::usage};
    for (const std::string& name : only_)
      if (!std::ranges::count(predictor.model(rows.kind).constants, name, &sim::Constant::name))
        return Diagnostic{{}, fmt::format("--only: {} has no constant '{}'", sim::to_string(rows.kind), name), "names as in a calibration file", Fault::usage};
    return std::nullopt;
  }

  int here(const Session& session) {
    if (!chip_.empty() || !system_.empty() || !suite_.empty() || !files_.empty())
      return session.report({{{}, "--this-machine measures for itself", "leave --chip, --system, --suite and --measurements out", Fault::usage}});
    const auto whole = [](const std::string& text, double& value) { return std::from_chars(text.data(), text.data() + text.size(), value).ptr == text.data() + text.size(); };
    double threads = 1;
    if (!seconds_.empty() && (!whole(seconds_, machine_.seconds) || !(machine_.seconds >= 1) || machine_.seconds > 36000))
      return session.report({{{}, fmt::format("--seconds is '{}'", seconds_), "1 to 36000", Fault::usage}});
    if (!whole(threads_, threads) || threads != std::floor(threads) || threads < 1 || threads > kernels::usable_threads())
      return session.report({{{}, fmt::format("--threads is '{}'", threads_), fmt::format("1 to {}, which this process may use", kernels::usable_threads()), Fault::usage}});
    machine_.threads = static_cast<int>(threads);
    return calibrate_this_machine(session, machine_);
  }

  int sustained(const Session& session) {
    if (chip_.empty() || !files_.empty()) return session.report({{{}, "--suite takes --chip and brings its own rows", "gambrel calibrate --chip CHIP --suite training", Fault::usage}});
    const auto split = parse_split(split_);
    if (!split) return session.report(split.error());
    auto calibration = own_calibration(session, chip_);
    if (!calibration) return session.report(calibration.error());
    auto sets = sim::read_suite(session.catalog(), suite_);
    if (!sets) return session.report(sets.error());
    auto fit = sim::fit_sustained(*sets, chip_, [&](const std::string& key) { return split->holds(key); }, sim::estimate);
    if (!fit) return session.report({{{}, fmt::format("suite {} has no row of {} in {} that is predicted", suite_, chip_, split_), "`gambrel validate --suite training` lists the rows"}});
    for (const sim::SuiteSet& set : *sets)
      for (const sim::SuiteRow& row : set.rows)
        if (row.run && row.run->system.chip().id == chip_) fit->tdp = row.run->system.chip().tdp.value;
    fit->suite = suite_, fit->date = today(), fit->split = split_;
    report_ = fmt::format("{} sustains {:.3f} of its products' measured rate\n{}{}", chip_, fit->share, score_line("fitted", fit->fitted), score_line("not seen by the fit", fit->reported));
    calibration->chip = chip_;
    calibration->sustained = std::move(*fit);
    return write(session, *calibration, chip_);
  }

  int write(const Session& session, const sim::Calibration& calibration, const std::string& chip) {
    const std::string path = output_.empty() ? (session.catalog().root() / "calibrations" / (chip + ".yaml")).string() : output_;
    if (const int failed = session.write_file(path, to_yaml(sim::to_node(calibration))); failed != done) return failed;
    session.say(fmt::format("wrote {}", path));
    return session.print(report_);
  }

  /// Kinds that are not measured this time keep their constants.
  static Result<sim::Calibration> own_calibration(const Session& session, const std::string& chip) {
    if (!session.catalog().has("calibrations", chip)) return sim::Calibration{chip, {}, {}};
    return session.catalog().load("calibrations", chip).and_then([](const Node& document) -> Result<sim::Calibration> {
      if (Diagnostics problems = validate(document, "calibration"); !problems.empty()) return fail(problems);
      return sim::read_calibration(document);
    });
  }

  void fit_rows(const Session& session, const MeasuredRows& rows, const sim::Split& split, const sim::KernelPredictor& predictor, sim::Calibration& calibration) {
    for (const sim::MeasuredGroup& group : sim::group_by_type(rows.calls, rows.seconds, predictor)) {
      std::vector<bool> fitted;
      for (const sim::KernelCall* call : group.calls) fitted.push_back(split.holds(rows.keys[static_cast<std::size_t>(call - rows.calls.data())]));
      const sim::MeasuredGroup inside = sim::select(group, fitted);
      fitted.flip();
      const sim::MeasuredGroup outside = sim::select(group, fitted);
      const sim::KernelModel& model = predictor.model(rows.kind);
      const auto searched = static_cast<std::size_t>(std::ranges::count_if(model.constants, [this](const sim::Constant& c) {
        return c.search != sim::Search::fixed && (only_.empty() || std::ranges::count(only_, c.name));
      }));
      const bool few = inside.calls.size() < 3 * searched;
      if (group.calls.size() < searched + 2) {
        session.say(fmt::format("  {}: {} rows are too few to fit {} constants; left as it was", group.type, group.calls.size(), searched));
        continue;
      }
      const sim::KernelFit* start = predictor.book().find(rows.kind, group.type).fit;
      sim::KernelFit fit{.kernel = rows.kind, .type = group.type};
      std::vector<double> usual;
      for (const sim::Constant& c : model.constants) usual.push_back(c.usual);
      const std::span<const double> from = start ? std::span<const double>(start->values) : usual;
      const sim::MeasuredGroup& used = few ? group : inside;
      fit.values = sim::fit_group(used, predictor, from, only_);
      fit.fitted = sim::judge(used, predictor, fit.values).all;
      const sim::Judgement out = sim::judge(outside, predictor, fit.values);
      // Too few rows to hold half of them back: each is predicted by a fit to all the others.
      const bool none_out = few || outside.calls.empty();
      const int folds = few ? static_cast<int>(group.calls.size()) : 5;
      fit.reported = none_out ? sim::cross_validate(used, predictor, from, folds, only_) : out.all;
      if (!none_out) fit.regimes = out.regimes;
      fit.file = rows.file, fit.file_hash = rows.hash, fit.date = today(), fit.split = few ? "hash:0/1" : split_;
      tell(fit, none_out ? fmt::format("{}-fold", folds) : "not seen by the fit", used, predictor);
      put(calibration, std::move(fit));
    }
  }

  void tell(const sim::KernelFit& fit, const std::string& how, const sim::MeasuredGroup& used, const sim::KernelPredictor& predictor) {
    report_ += fmt::format("{} {}\n{}{}", sim::to_string(fit.kernel), fit.type, score_line("fitted", fit.fitted), score_line(how, fit.reported));
    for (const auto& [regime, score] : fit.regimes) report_ += score_line(fmt::format("  bound by {}", regime), score);
    if (fold_count_ > 1) report_ += score_line(fmt::format("{}-fold, within fitted", fold_count_), sim::cross_validate(used, predictor, fit.values, fold_count_, only_));
  }

  static void put(sim::Calibration& calibration, sim::KernelFit fit) {
    for (sim::KernelFit& old : calibration.fits)
      if (old.kernel == fit.kernel && old.type == fit.type) {
        old = std::move(fit);
        return;
      }
    calibration.fits.push_back(std::move(fit));
  }

  std::string chip_, system_, op_, suite_, split_ = "hash:0/2", folds_ = "0", output_, report_;
  std::vector<std::string> files_, only_;
  int fold_count_ = 0;
  bool this_machine_ = false;
  ThisMachine machine_;
  std::string seconds_, threads_ = "1";
};

}  // namespace

std::unique_ptr<Verb> calibrate_verb() { return std::make_unique<Calibrate>(); }

}  // namespace gambrel::cli

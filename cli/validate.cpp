// gambrel validate: predicted beside measured kernels, or beside published measurements of whole runs.
#include <fmt/format.h>

#include <algorithm>
#include <charconv>

#include "cli/kernel_options.hpp"
#include "cli/verbs.hpp"
#include "reports/suite.hpp"
#include "reports/validation.hpp"
#include "sim/calibration/fit_kernel.hpp"
#include "sim/calibration/suite.hpp"
#include "sim/predict.hpp"

namespace gambrel::cli {
namespace {

class Validate final : public Verb {
 public:
  std::string_view name() const override { return "validate"; }
  std::string_view summary() const override { return "Predicted beside measured, kernels or whole runs: errors by group, worst rows, parity plot"; }

  void declare(Options& options) override {
    options.option("--suite", suite_, "Published measurements of whole runs instead: training, inference");
    options.option("--set", set_, "Only this set of the suite");
    options.option("--op", op_, "Kind of kernel, if the columns do not tell it");
    options.option("--chip", chip_, "Chip that was measured: a name or a YAML");
    options.option("--measurements", file_, "CSV file with the columns of estimate-ops and measured_us");
    options.option("--split", split_, "Judge only these rows: hash:K/N");
    options.option("--max-error", max_error_, "Exit 1 if the mean error exceeds it: 0.05 is 5 %");
    options.option("--html", html_, "Write a parity plot");
    options.choice("--format", format_, {"table", "json", "csv", "markdown"}, "How to print");
  }

  int run(const Session& session) override {
    double most = 0;
    if (!max_error_.empty() && (std::from_chars(max_error_.data(), max_error_.data() + max_error_.size(), most).ptr != max_error_.data() + max_error_.size() || !(most > 0)))
      return session.report({{{}, fmt::format("--max-error '{}' is no share", max_error_), "0.05 is 5 %", Fault::usage}});
    if (!suite_.empty()) return run_suite(session, most);
    if (chip_.empty() || file_.empty()) return session.report({{{}, "--chip and --measurements are needed, or --suite", "gambrel validate --op gemm --chip CHIP --measurements gemm.csv", Fault::usage}});
    const auto split = parse_split(split_);
    if (!split) return session.report(split.error());
    const auto chip = load_kernel_chip(session, chip_);
    if (!chip) return session.report(chip.error());
    const auto kinds = load_measured(session, file_, op_, chip->chip);
    if (!kinds) return session.report(kinds.error());
    const reports::Validation validation = validate(*kinds, *split, *chip);
    if (!html_.empty())
      if (const int failed = session.write_file(html_, reports::write_validation_html(validation)); failed != done) return failed;
    if (const int failed = session.print(reports::write_validation(validation, *reports::parse_text_format(format_))); failed != done) return failed;
    return judge(session, validation.groups.front().score, most, "the fit saw every row", "give rows outside the fitted split");
  }

 private:
  static int judge(const Session& session, const sim::Score& all, double most, std::string_view why_none, std::string hint) {
    if (most == 0) return done;
    if (all.rows == 0) return session.report({{{}, fmt::format("--max-error has nothing to judge: {}", why_none), std::move(hint)}});
    if (all.mean <= most) return done;
    session.say(fmt::format("the mean error {:.1f} % exceeds {:.1f} %", 100 * all.mean, 100 * most));
    return check_failed;
  }

  int run_suite(const Session& session, double most) const {
    if (!chip_.empty() || !file_.empty() || !op_.empty()) return session.report({{{}, "--suite brings its own runs and figures", "leave --op, --chip and --measurements out", Fault::usage}});
    auto sets = sim::read_suite(session.catalog(), suite_);
    if (!sets) return session.report(sets.error());
    if (!set_.empty()) std::erase_if(*sets, [&](const sim::SuiteSet& set) { return set.name != set_; });
    if (sets->empty()) return session.report({{{}, fmt::format("suite {} has no set '{}'", suite_, set_), "leave --set out to see its sets", Fault::usage}});
    for (sim::SuiteSet& set : *sets) sim::predict(set, sim::estimate);
    if (!html_.empty())
      if (const int failed = session.write_file(html_, reports::write_validation_html(reports::parity_of(suite_, *sets))); failed != done) return failed;
    if (const int failed = session.print(reports::write_suite(suite_, *sets, *reports::parse_text_format(format_))); failed != done) return failed;
    return judge(session, sim::score_of(*sets).score, most, "no row was predicted", "the rows' problems stand in the output");
  }

  /// Of several kinds, types are named with theirs: "softmax fp32".
  static reports::Validation validate(const std::vector<MeasuredRows>& kinds, const sim::Split& split, const KernelChip& chip) {
    const sim::KernelPredictor predictor(chip.chip, chip.book);
    const bool several = kinds.size() > 1;
    const MeasuredRows& first = kinds.front();
    reports::Validation v{.title = fmt::format("{} on {}: {}", several ? fmt::format("{} kinds of kernel", kinds.size()) : std::string(sim::to_string(first.kind)), chip.chip.id, first.file)};
    for (const MeasuredRows& rows : kinds) {
      add_rows(v, rows, split, predictor, several ? fmt::format("{} ", sim::to_string(rows.kind)) : "");
      const std::string from = provenance(rows, predictor);
      v.provenance += several ? fmt::format("{}{}: {}", v.provenance.empty() ? "" : "; ", sim::to_string(rows.kind), from) : from;
    }
    v.groups = groups_of(v.rows);
    return v;
  }

  static void add_rows(reports::Validation& v, const MeasuredRows& rows, const sim::Split& split, const sim::KernelPredictor& predictor, const std::string& before_type) {
    for (std::size_t i = 0; i < rows.calls.size(); ++i) {
      if (!split.holds(rows.keys[i])) continue;
      const sim::KernelPrediction p = predictor.predict(rows.calls[i]);
      const std::string_view type = predictor.model(rows.kind).type_of(rows.calls[i], predictor.figures());
      v.rows.push_back({rows.keys[i], fmt::format("{}{}", before_type, type), std::string(p.bound), p.seconds, rows.seconds[i], was_fitted(rows, i, type, predictor)});
    }
  }

  /// A row is the fit's if its calibration was made from a file of that name or content and its key is in the fitted part.
  static bool was_fitted(const MeasuredRows& rows, std::size_t i, std::string_view type, const sim::KernelPredictor& predictor) {
    const auto found = predictor.book().find(rows.kind, type);
    if (found.provenance != sim::Provenance::calibrated || (found.fit->file != rows.file && found.fit->file_hash != rows.hash)) return false;
    const auto split = parse_split(found.fit->split);
    return split && split->holds(rows.keys[i]);
  }

  static std::string provenance(const MeasuredRows& rows, const sim::KernelPredictor& predictor) {
    std::string text;
    for (const sim::MeasuredGroup& group : sim::group_by_type(rows.calls, rows.seconds, predictor)) {
      const auto found = predictor.book().find(rows.kind, group.type);
      const bool own = found.provenance == sim::Provenance::calibrated;
      text += fmt::format("{}{}: {}{}", text.empty() ? "" : "; ", group.type, sim::to_string(found.provenance), own ? fmt::format(", fitted on {} of {}", found.fit->split, found.fit->file) : "");
    }
    return text;
  }

  static std::vector<reports::ValidationGroup> groups_of(const std::vector<reports::ValidationRow>& rows) {
    std::vector<std::pair<std::string, std::pair<std::vector<double>, std::vector<double>>>> sums{{"all", {}}};
    auto add = [&](const std::string& name, const reports::ValidationRow& row) {
      auto it = std::ranges::find(sums, name, [](const auto& s) { return s.first; });
      if (it == sums.end()) it = sums.insert(sums.end(), {name, {}});
      it->second.first.push_back(row.predicted);
      it->second.second.push_back(row.measured);
    };
    for (const reports::ValidationRow& row : rows) {
      if (row.fitted) continue;
      add("all", row);
      add(row.type, row);
      add(row.type + ", bound by " + row.bound, row);
    }
    std::ranges::stable_sort(sums.begin() + 1, sums.end(), {}, [](const auto& s) { return s.first; });
    std::vector<reports::ValidationGroup> groups;
    for (const auto& [name, both] : sums) groups.push_back({name, sim::score(both.first, both.second)});
    return groups;
  }

  std::string suite_, set_, op_, chip_, file_, split_ = "hash:0/1", max_error_, html_, format_ = "table";
};

}  // namespace

std::unique_ptr<Verb> validate_verb() { return std::make_unique<Validate>(); }

}  // namespace gambrel::cli

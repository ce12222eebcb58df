// gambrel measure: the kernel suite on this machine, into a measurement store.
#include <fmt/format.h>

#include <algorithm>
#include <new>
#include <stdexcept>

#include "base/load.hpp"
#include "cli/suite_options.hpp"
#include "cli/verbs.hpp"
#include "kernels/suite/run_benchmarks.hpp"
#include "kernels/timing/gate.hpp"
#include "kernels/timing/store.hpp"
#include "reports/check.hpp"

namespace gambrel::cli {
namespace {

using kernels::Measurement;

constexpr std::size_t largest_csv = 512u << 20;

class Measuring final : public Verb {
 public:
  std::string_view name() const override { return "measure"; }
  std::string_view summary() const override { return "Time the kernel suite on this machine, into a measurement store or a CSV file"; }

  void declare(Options& options) override {
    options.choice("--suite", suite_, {"cpu", "opencl", "cuda"}, "Which kernels");
    options.option("--filter", filter_, "Only kernels whose names contain this regular expression");
    options.option("--threads", threads_, "Thread counts, separated by commas");
    options.option("--rounds", rounds_, "Clean samples of each kernel to take");
    options.option("--db", database_, "SQLite file that gets every measurement with its samples and context");
    options.option("--csv", csv_, "File that gets the times as `gambrel calibrate --measurements` reads them");
    options.option("--import", imported_, "Instead of measuring: a CSV file with measured_us, taken elsewhere, for --db");
    options.option("--device", device_, "Chip that the rows are of, in --csv, --format csv and the names of --import; of what is measured: this-machine");
    options.choice("--format", format_, {"table", "json", "csv", "markdown"}, "How to print");
  }

  int run(const Session& session) override {
    if (const Diagnostics problems = contradictions(); !problems.empty()) return session.report(problems);
    if (device_.empty() && imported_.empty()) device_ = "this-machine";
    auto store = open_store();
    if (!store) return session.report(store.error());
    const kernels::Context context = kernels::this_context();
    auto measured = imported_.empty() ? measure(session, store->get(), context) : import(store->get(), context);
    if (!measured) return session.report(measured.error());
    if (!csv_.empty())
      if (const int failed = session.write_file(csv_, kernels::to_csv(*measured, device_)); failed != done) return failed;
    if (const int failed = session.print(reports::write_measurements(*measured, context, *reports::parse_text_format(format_), device_)); failed != done) return failed;
    if (!imported_.empty() || std::ranges::any_of(*measured, is_measurable)) return done;
    session.say("nothing was measurable: other programs take the CPU");
    return not_measurable;
  }

 private:
  /// All rows of a CSV file that is written are of one chip.
  Diagnostics contradictions() const {
    const bool writes_rows = !csv_.empty() || format_ == "csv";
    if (!device_.empty() && imported_.empty() && !writes_rows) return {{{}, "--device means nothing without --csv, --format csv or --import", "leave it out", Fault::usage}};
    if (device_.empty() && !imported_.empty() && writes_rows) return {{{}, "--import with --csv or --format csv needs --device", "the chip that the rows are of: --device CHIP", Fault::usage}};
    return {};
  }

  using Store = std::unique_ptr<kernels::MeasurementStore>;

  Result<Store> open_store() const {
    if (database_.empty()) return nullptr;
    return kernels::MeasurementStore::open(database_).map([](kernels::MeasurementStore&& store) { return std::make_unique<kernels::MeasurementStore>(std::move(store)); });
  }

  Result<std::vector<kernels::KernelCase>> cases() const {
    auto all = suite_cases(suite_, threads_);
    if (!all) return fail(std::move(all.error()));
    kernels::Gate gate;
    for (kernels::KernelCase& one : *all) gate.add(std::move(one));
    return gate.matching(filter_);
  }

  Result<std::vector<Measurement>> measure(const Session& session, kernels::MeasurementStore* store, const kernels::Context& context) const {
    const auto rounds = whole_number("--rounds", rounds_, kernels::least_clean, 10000);
    if (!rounds) return fail(rounds.error());
    const auto chosen = cases();
    if (!chosen) return fail(chosen.error());
    std::int64_t run = 0;
    if (store) {
      auto begun = store->begin_run(context, "measure " + suite_);
      if (!begun) return fail(std::move(begun.error()));
      run = *begun;
    }
    Diagnostics problems;
    std::size_t finished = 0;
    const kernels::Sampling sampling{.rounds = *rounds, .attempts = 5 * *rounds};
    std::vector<Measurement> measured;
    try {
      measured = kernels::run_benchmarks(*chosen, sampling, [&](const Measurement& m) {
        session.say(fmt::format("{}/{} {}: {} of {} samples clean", ++finished, chosen->size(), m.name, m.clean.size(), m.sampled));
        if (!store || !problems.empty()) return;
        if (auto saved = store->save(run, context, m); !saved) problems = std::move(saved.error());
      });
    } catch (const std::bad_alloc&) {
      return fail(Diagnostic{{}, "memory is short for the operands that are measured", "--filter chooses fewer or smaller kernels", Fault::environment});
    } catch (const std::runtime_error& e) {  // a device refused, or a kernel is wrong
      return fail(Diagnostic{{}, e.what(), "--filter leaves it out", Fault::environment});
    }
    if (!problems.empty()) return fail(std::move(problems));
    return measured;
  }

  static bool is_measurable(const Measurement& m) { return std::ssize(m.clean) >= kernels::least_clean; }

  Result<std::vector<Measurement>> import(kernels::MeasurementStore* store, const kernels::Context& context) const {
    auto measured = read_text(imported_, largest_csv).and_then([this](const std::string& text) { return kernels::from_csv(text, imported_, device_); });
    if (!measured || !store) return measured;
    auto run = store->begin_run(context, "import " + imported_);
    if (!run) return fail(std::move(run.error()));
    for (const Measurement& m : *measured)
      if (auto saved = store->save(*run, {}, m); !saved) return fail(std::move(saved.error()));
    return measured;
  }

  std::string suite_ = "cpu", filter_, threads_ = "1", rounds_ = "40", database_, csv_, imported_, device_, format_ = "table";
};

}  // namespace

std::unique_ptr<Verb> measure_verb() { return std::make_unique<Measuring>(); }

}  // namespace gambrel::cli

#include "cli/this_machine.hpp"

#include <fmt/format.h>
#include <unistd.h>
#include <xxhash.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <filesystem>
#include <fstream>
#include <new>

#include "base/load.hpp"
#include "base/schema.hpp"
#include "base/text.hpp"
#include "cli/kernel_options.hpp"
#include "kernels/suite/survey.hpp"
#include "kernels/timing/context.hpp"
#include "reports/machine.hpp"
#include "reports/report.hpp"
#include "sim/calibration/this_machine.hpp"

namespace gambrel::cli {
namespace {

namespace fs = std::filesystem;
using kernels::Anchor;
using kernels::KernelCase;

constexpr const char* chip_name = "this-machine";
constexpr double usual_seconds = 200, quick_seconds = 40;
constexpr std::array<std::pair<Anchor, Format>, 4> peaks{{{Anchor::fma_f32, Format::fp32}, {Anchor::fma_f64, Format::fp64},
                                                          {Anchor::fma_bf16, Format::bf16}, {Anchor::fma_int8, Format::int8}}};

/// The first line of a file of the system; "" if it cannot be read.
std::string first_line(const fs::path& path) {
  std::ifstream file(path);
  std::string line;
  std::getline(file, line);
  return line;
}

/// Data caches of the first CPU, innermost first, as Linux tells them ("32K").
std::vector<std::pair<std::string, double>> nominal_caches() {
  std::vector<std::pair<std::string, double>> caches;
  const fs::path folder = "/sys/devices/system/cpu/cpu0/cache";
  for (int i = 0; i < 8; ++i) {
    const fs::path cache = folder / fmt::format("index{}", i);
    const std::string size = first_line(cache / "size"), type = first_line(cache / "type");
    if (size.empty() || type == "Instruction") continue;
    const double unit = size.back() == 'M' ? 1 << 20 : size.back() == 'K' ? 1 << 10 : 1;
    caches.emplace_back("L" + first_line(cache / "level"), std::strtod(size.c_str(), nullptr) * unit);
  }
  if (caches.empty()) caches = {{"L1", 32 << 10}, {"L2", 1 << 20}, {"L3", 16 << 20}};  // not told; capacities are fitted anyway
  return caches;
}

double main_memory() { return static_cast<double>(sysconf(_SC_PHYS_PAGES)) * static_cast<double>(sysconf(_SC_PAGESIZE)); }

std::string fact(const kernels::Context& context, std::string_view name) {
  const auto found = std::ranges::find(context, name, &kernels::Fact::name);
  return found == context.end() ? "" : found->value;
}

/// Peaks first, then working sets from a quarter of the first cache to far beyond the last.
std::vector<KernelCase> anchor_cases(int threads, double largest) {
  std::vector<KernelCase> cases;
  for (const auto& [anchor, format] : peaks)
    if (kernels::has(anchor)) cases.push_back(kernels::anchor_case(anchor, 0, threads));
  constexpr double step = 1.25;
  for (double bytes = 8192; bytes <= largest; bytes *= step)
    cases.push_back(kernels::anchor_case(Anchor::read, std::floor(bytes / 4096) * 4096, threads));
  return cases;
}

/// All rows of one kind: a measurement file, as text.
struct KindTable {
  std::string kind, text;
  std::vector<double> apart;  ///< how far two halves of each row's visits differ
};

class Calibration {
 public:
  Calibration(const Session& session, const ThisMachine& wanted) : session_(session), wanted_(wanted) {}

  int run() {
    if (const int failed = make_folders(); failed != done) return failed;
    const Clock::time_point begun = Clock::now();
    if (const int failed = measure(); failed != done) return failed;
    const Clock::time_point measured = Clock::now();
    if (const int failed = read_chip(); failed != done) return failed;
    if (const int failed = fit(); failed != done) return failed;
    session_.say(fmt::format("measured for {:.0f} s, fitted for {:.0f} s", in_seconds(measured - begun), in_seconds(Clock::now() - measured)));
    return write();
  }

 private:
  using Clock = std::chrono::steady_clock;
  static double in_seconds(Clock::duration time) { return std::chrono::duration<double>(time).count(); }

  fs::path folder() const { return wanted_.out.empty() ? session_.catalog().writable() : fs::path(wanted_.out); }

  /// Before minutes of measuring: what could not be written would be lost.
  int make_folders() const {
    if (wanted_.out.empty() && !session_.catalog().has_own())
      return session_.report({{{}, "GAMBREL_CONFIGS names the shipped folder alone", "--out DIR, or GAMBREL_CONFIGS=/shipped/configs:/my/configs", Fault::usage}});
    for (const char* name : {"chips", "calibrations", "measurements"}) {
      const fs::path made = folder() / name;
      std::error_code failed;
      fs::create_directories(made, failed);
      if (!failed && access(made.c_str(), W_OK) != 0) failed = {errno, std::generic_category()};
      if (failed) return session_.report({{{}, fmt::format("cannot write into '{}': {}", made.string(), failed.message()), "--out DIR writes elsewhere", Fault::environment}});
    }
    for (const std::string& picture : {wanted_.svg, wanted_.html})
      if (const fs::path in = fs::path(picture).parent_path(); !in.empty() && access(in.c_str(), W_OK) != 0)
        return session_.report({{{}, fmt::format("cannot write '{}': {}", picture, std::generic_category().message(errno)), "name a file in a folder of yours", Fault::environment}});
    return done;
  }

  int measure() {
    const auto nominal = nominal_caches();
    std::vector<KernelCase> cases = anchor_cases(wanted_.threads, 8 * nominal.back().second + (64 << 20));
    const std::size_t anchors = cases.size();
    rows_ = kernels::survey_cases(wanted_.threads, wanted_.quick);
    for (const kernels::SurveyCase& row : rows_) cases.push_back(row.kernel);
    const double seconds = wanted_.seconds > 0 ? wanted_.seconds : wanted_.quick ? quick_seconds : usual_seconds;
    session_.say(fmt::format("{} kernels at their sizes, about {:.0f} s on {} thread{} if the machine is idle, then the fit", cases.size(), 1.1 * seconds + 0.06 * static_cast<double>(cases.size()), wanted_.threads, wanted_.threads > 1 ? "s" : ""));
    std::size_t told = 0;
    try {
      measured_ = kernels::survey(cases, {.seconds = seconds, .memory = std::clamp(0.12 * main_memory(), 1e9, 1e10)}, [&](std::size_t now, std::size_t all) {
        if (10 * now / all == told) return;
        told = 10 * now / all;
        session_.say(fmt::format("  measured {} %", 10 * told));
      });
    } catch (const std::bad_alloc&) {
      return session_.report({{{}, "memory is short for the operands that are measured", "close other programs", Fault::environment}});
    }
    // A peak or a bandwidth is everybody's; of the kernels most have to be there.
    for (std::size_t i = 0; i < anchors; ++i)
      if (measured_[i].samples == 0) return unmeasured(cases[i].name());
    describe(cases, anchors, nominal);
    measured_.erase(measured_.begin(), measured_.begin() + static_cast<std::ptrdiff_t>(anchors));
    const std::vector<std::string> without = kernels::leave_out_unmeasured(rows_, measured_);
    if (without.size() > rows_.size()) return unmeasured(fmt::format("{} and {} other kernels", without.front(), without.size() - 1));
    if (!without.empty()) session_.say(fmt::format("{} of {} kernels gave no clean sample and are left out: {}", without.size(), without.size() + rows_.size(), fmt::join(without, ", ")));
    return done;
  }

  int unmeasured(const std::string& what) const {
    session_.report({{{}, fmt::format("{} gave no clean sample", what), "other programs take the CPU: try again, or --seconds for longer", Fault::environment}});
    return not_measurable;
  }

  void describe(const std::vector<KernelCase>& cases, std::size_t anchors, const std::vector<std::pair<std::string, double>>& nominal) {
    const kernels::Context context = kernels::this_context();
    machine_ = {.cpu = fact(context, "cpu"), .compiler = "g++ " + fact(context, "compiler"), .date = kernels::utc_now().substr(0, 10),
                .threads = wanted_.threads, .memory = main_memory(), .nominal = nominal};
    for (std::size_t i = 0; i < anchors; ++i) {
      const KernelCase& one = cases[i];
      if (one.anchor == Anchor::read) machine_.points.push_back({one.working_set / wanted_.threads, one.bytes / measured_[i].seconds});
      else machine_.peaks.emplace_back(std::ranges::find(peaks, one.anchor, &std::pair<Anchor, Format>::first)->second, one.flops / measured_[i].seconds);
    }
    machine_.levels = sim::fit_levels(machine_.points, nominal);
  }

  int read_chip() {
    document_ = sim::chip_document(machine_);
    if (Diagnostics problems = validate(document_, "chip"); !problems.empty()) return session_.report(problems);
    auto chip = hw::read_chip(document_);
    if (!chip) return session_.report(chip.error());
    chip_ = std::move(*chip);
    return done;
  }

  /// One table a kind, in the order of first appearance.
  std::vector<KindTable> tables() const {
    std::vector<KindTable> tables;
    for (std::size_t i = 0; i < rows_.size(); ++i) {
      auto table = std::ranges::find(tables, rows_[i].kind, &KindTable::kind);
      if (table == tables.end()) {
        table = tables.insert(table, {rows_[i].kind, "device,kernel,threads,", {}});
        for (const auto& [name, cell] : rows_[i].cells) table->text += name + ",";
        table->text += "measured_us,median_us,samples,apart\n";
      }
      table->text += fmt::format("{},{},{},", chip_name, rows_[i].kernel.kernel, rows_[i].kernel.threads);
      for (const auto& [name, cell] : rows_[i].cells) table->text += cell + ",";
      table->text += fmt::format("{:.5g},{:.5g},{},{:.4f}\n", 1e6 * measured_[i].seconds, 1e6 * measured_[i].median, measured_[i].samples, measured_[i].apart);
      table->apart.push_back(measured_[i].apart);
    }
    return tables;
  }

  int fit() {
    const sim::KernelPredictor predictor(chip_, {});
    calibration_.chip = chip_name;
    calibration_.models = sim::ModelSet::processor;
    for (const KindTable& table : tables()) {
      const std::string file = fmt::format("{}-{}.csv", chip_name, table.kind);
      files_.emplace_back(file, table.text);
      const auto rows = read_measured(table, file);
      if (!rows) return session_.report(rows.error());
      session_.say(fmt::format("  fitting {}", table.kind));
      for (sim::HeldOutFit& one : sim::fit_held_out({rows->kind, rows->calls, rows->seconds, rows->keys, file, rows->hash, machine_.date, table.apart}, predictor)) {
        tell(one);
        if (auto same = sim::as_own_kind(one.fit)) {
          report_ += fmt::format("{} {}\n  the same constants\n", sim::to_string(same->kernel), same->type);
          calibration_.fits.push_back(std::move(*same));
        }
        calibration_.fits.push_back(std::move(one.fit));
      }
    }
    return done;
  }

  static Result<MeasuredRows> read_measured(const KindTable& table, const std::string& file) {
    const auto csv = parse_csv(table.text, file);
    if (!csv) return fail(csv.error());
    MeasuredRows rows{.kind = *sim::parse_kernel_kind(table.kind), .calls = {}, .seconds = {}, .keys = {}, .file = file};
    rows.hash = fmt::format("{:016x}", XXH3_64bits(table.text.data(), table.text.size()));
    const auto reader = sim::RowReader::make(*csv, rows.kind);
    if (!reader) return fail(reader.error());
    const std::size_t measured = *csv->column("measured_us");
    for (const CsvRow& row : csv->rows) {
      auto call = reader->read(row);
      if (!call) return fail(call.error());
      rows.calls.push_back(std::move(*call));
      rows.seconds.push_back(1e-6 * std::strtod(row.cells[measured].c_str(), nullptr));
      rows.keys.push_back(reader->key(row));
    }
    return rows;
  }

  void tell(const sim::HeldOutFit& held_out) {
    const sim::KernelFit& fit = held_out.fit;
    report_ += fmt::format("{} {}\n{}{}", sim::to_string(fit.kernel), fit.type, score_line("fitted", fit.fitted), score_line("held out", fit.reported));
    for (const auto& [regime, score] : fit.regimes) report_ += score_line(fmt::format("  bound by {}", regime), score);
    report_ += score_line("two halves of visits", held_out.apart);
  }

  int write() {
    const fs::path out = folder();
    std::vector<std::pair<fs::path, std::string>> texts{{out / "chips" / fmt::format("{}.yaml", chip_name), to_yaml(document_)},
                                                        {out / "calibrations" / fmt::format("{}.yaml", chip_name), to_yaml(sim::to_node(calibration_))}};
    for (const auto& [name, text] : files_) texts.emplace_back(out / "measurements" / name, text);
    for (const auto& [path, text] : texts) {
      if (const int code = session_.write_file(path.string(), text); code != done) return code;
      session_.say(fmt::format("wrote {}", path.string()));
    }
    if (const int code = draw(); code != done) return code;
    return session_.print(summary() + report_);
  }

  /// The picture shows so many kernels that marks still lie apart.
  std::vector<sim::MeasuredPoint> points() const {
    constexpr std::size_t most_marks = 160;
    const std::size_t step = std::max<std::size_t>(1, rows_.size() / most_marks);
    std::vector<sim::MeasuredPoint> points;
    for (std::size_t i = 0; i < rows_.size(); i += step) {
      const KernelCase& kernel = rows_[i].kernel;
      const Format math = kernel.type == "bf16" && kernel.kernel == "gemm" ? Format::bf16 : kernel.type == "int8" && kernel.kernel == "gemm" ? Format::int8 : Format::fp32;
      points.push_back({kernel.name(), rows_[i].kind, math, kernel.flops, kernel.bytes, kernel.working_set, measured_[i].seconds});
    }
    return points;
  }

  int draw() const {
    if (wanted_.svg.empty() && wanted_.html.empty()) return done;
    const sim::Estimate roofline = sim::measured_roofline(machine_, points());
    const auto write = [&](const std::string& path, const auto& text) {
      if (path.empty()) return static_cast<int>(done);
      if (const int failed = session_.write_file(path, text()); failed != done) return failed;
      session_.say(fmt::format("wrote {}", path));
      return static_cast<int>(done);
    };
    if (const int failed = write(wanted_.svg, [&] { return reports::write_svg({"The roofline of this machine, measured", {roofline}}); }); failed != done) return failed;
    return write(wanted_.html, [&] { return reports::write_machine_html(machine_, roofline); });
  }

  std::string summary() const {
    std::string text = fmt::format("{}, {} thread{}\n", machine_.cpu, machine_.threads, machine_.threads > 1 ? "s" : "");
    for (const auto& [format, rate] : machine_.peaks) text += fmt::format("  {:<5} {:>8.1f} GFLOP/s\n", to_string(format), rate / 1e9);
    for (const sim::FittedLevel& level : machine_.levels)
      text += fmt::format("  {:<5} {:>8.1f} GB/s{}\n", level.name, level.bandwidth / 1e9, level.capacity > 0 ? fmt::format("  {:>8.0f} KiB usable", level.capacity / 1024) : "");
    return text + "\n";
  }

  const Session& session_;
  const ThisMachine& wanted_;
  std::vector<kernels::SurveyCase> rows_;
  std::vector<kernels::Surveyed> measured_;
  sim::MachineFigures machine_;
  Node document_;
  hw::Chip chip_;
  sim::Calibration calibration_;
  std::vector<std::pair<std::string, std::string>> files_;
  std::string report_;
};

}  // namespace

int calibrate_this_machine(const Session& session, const ThisMachine& wanted) { return Calibration(session, wanted).run(); }

}  // namespace gambrel::cli

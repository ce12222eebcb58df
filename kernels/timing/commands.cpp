#include "kernels/timing/commands.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <memory>

#include "base/load.hpp"
#include "base/text.hpp"
#include "kernels/timing/statistics.hpp"

namespace gambrel::kernels {
namespace {

constexpr LoadLimits benchmark_files{.bytes = 512u << 20, .depth = 16, .values = 50'000'000, .nonfinite_as_null = true};
constexpr double beyond_caches = 256e6;  // B
constexpr double least_cpu_share = 0.97;
constexpr double reference_work = 1e9;   // FLOPs or bytes that an anchor's stated time is for

/// Seconds of a row's time unit. Error: none of Google Benchmark's.
Result<double> unit_of(const Node& row) {
  static constexpr std::pair<std::string_view, double> units[]{{"ns", 1e-9}, {"us", 1e-6}, {"ms", 1e-3}, {"s", 1}};
  const std::string unit = row.text_or("time_unit", "ns");
  for (const auto& [name, seconds] : units)
    if (unit == name) return seconds;
  return fail(Diagnostic{row.find("time_unit")->at, fmt::format("'{}' is no unit of time", excerpt(unit)), "ns, us, ms or s"});
}

/// Work of one iteration: stated as such, or as a rate.
double work_of(const Node& row, std::string_view counter, std::string_view rate, double seconds) {
  const double work = row.number_or(counter, 0);
  return work > 0 ? work : row.number_or(rate, 0) * seconds;
}

bool is_run(const Node& row) { return row.is_mapping() && row.text_or("run_type", "iteration") == "iteration"; }

/// Why a benchmark was not run to its end; "" if it was.
std::string problem_of(const Node& row) {
  const bool failed = row.boolean_or("error_occurred", false);
  if (!failed && !row.boolean_or("skipped", false)) return "";
  const std::string message = row.text_or(failed ? "error_message" : "skip_message", "");
  return fmt::format("{}{}{}", failed ? "the benchmark failed" : "the benchmark was skipped", message.empty() ? "" : ": ", message);
}

Measurement& named(std::vector<Measurement>& all, const std::string& name) {
  const auto known = std::ranges::find(all, name, &Measurement::name);
  return known != all.end() ? *known : all.emplace_back(Measurement{.name = name, .kernel = name.substr(0, name.find('/'))});
}

/// One entry of Google Benchmark's list, added to its kernel's samples.
Result<void> read_run(const Node& row, std::vector<Measurement>& all) {
  const auto unit = unit_of(row);
  if (!unit) return fail(unit.error());
  const double seconds = *unit * row.number_or("real_time", 0), cpu = *unit * row.number_or("cpu_time", 0);
  const std::string name = row.text_or("run_name", row.text_or("name", "")), problem = problem_of(row);
  if (name.empty() || (!(seconds > 0) && problem.empty())) return fail(Diagnostic{row.at, "a benchmark needs a name and a real_time above 0", ""});
  Measurement& m = named(all, name);
  ++m.sampled;
  if (!problem.empty()) {
    m.problem = problem;
    return {};
  }
  m.threads = static_cast<int>(std::clamp(row.number_or("threads", 1), 1.0, 1e6));
  m.flops = work_of(row, "flops", "flops_per_second", seconds);
  m.bytes = work_of(row, "bytes", "bytes_per_second", seconds);
  // Manual times come with the CPU time of everything around them.
  if (m.threads > 1 || cpu >= least_cpu_share * seconds || name.ends_with("/manual_time") || name.ends_with("/real_time")) m.clean.push_back({seconds, 0});
  return {};
}

/// What a command printed and took, as samples without an anchor. `name`: of one that prints no benchmarks.
Result<std::vector<Measurement>> samples_of(const Finished& finished, const std::string& line, const std::string& name) {
  if (finished.code != 0)
    return fail(Diagnostic{{}, fmt::format("'{}' ended with {}", line, finished.code), "its own messages stand above", Fault::environment});
  const std::size_t first = finished.out.find_first_not_of(" \t\r\n");
  if (first != std::string::npos && finished.out[first] == '{') return from_benchmark_json(finished.out, line);
  if (!(finished.cpu > 0)) return fail(Diagnostic{{}, fmt::format("'{}' took no measurable time and printed no benchmark", line), "let it work for some milliseconds", Fault::input});
  return std::vector{Measurement{.name = name, .kernel = name, .sampled = 1, .clean = {{finished.cpu, 0}}}};
}

/// What an anchor did around a run; 0 if it was disturbed all the time before or after.
double around(double before, double after) { return before > 0 && after > 0 ? (before + after) / 2 : 0; }

/// Adds a run's samples, anchored to the speeds before and after it.
void add(std::vector<Measurement>& all, std::vector<Measurement>& run, const CommandAnchors::Speeds& before, const CommandAnchors::Speeds& after) {
  const CommandAnchors::Speeds speeds{around(before.flops_per_second, after.flops_per_second), around(before.bytes_per_second, after.bytes_per_second)};
  for (Measurement& one : run) {
    Measurement& known = named(all, one.name);
    const int sampled = known.sampled + one.sampled;
    const std::size_t first = known.clean.size();
    one.memory = known.memory;  // decided by its first run
    if (one.problem.empty()) one.problem = known.problem;
    std::vector<Round> rounds = std::move(known.clean);
    rounds.insert(rounds.end(), one.clean.begin(), one.clean.end());
    known = std::move(one);
    known.sampled = sampled, known.clean = std::move(rounds);
    anchor(known, speeds, first);
    if (!known.problem.empty()) known.clean.clear();
  }
}

double speed_of(const TimedAnchor& anchor) {
  std::vector<double> seconds;
  anchor.timed(1);
  for (int tries = 0; tries < 40 && seconds.size() < 5; ++tries)
    if (const Lap lap = anchor.timed(2); is_clean(lap)) seconds.push_back(lap.wall / 2);
  return seconds.empty() ? 0 : anchor.work / median(seconds);
}

}  // namespace

Result<std::vector<Measurement>> from_benchmark_json(std::string text, const std::string& file) {
  const auto document = parse_json(std::move(text), file, benchmark_files);
  if (!document) return fail(document.error());
  const Node* rows = document->find("benchmarks");
  if (!rows || !rows->is_sequence() || rows->items.empty())
    return fail(Diagnostic{rows ? rows->at : document->at, "there is no list 'benchmarks' with benchmarks in it", "Google Benchmark's JSON: --benchmark_format=json"});
  std::vector<Measurement> all;
  for (const Node& row : rows->items)
    if (is_run(row))
      if (auto read = read_run(row, all); !read) return fail(std::move(read.error()));
  // Times from before or after a failure are not those of a kernel that works.
  for (Measurement& m : all)
    if (!m.problem.empty()) m.clean.clear();
  if (all.empty()) return fail(Diagnostic{rows->at, "no benchmark in it was run", "aggregates alone are not enough: leave --benchmark_report_aggregates_only out"});
  return all;
}

CommandAnchors::CommandAnchors() : fma_(timed_anchor(Anchor::fma_f32, 1, 0)), read_(timed_anchor(Anchor::read, 1, beyond_caches)) {}

CommandAnchors::Speeds CommandAnchors::now() { return {speed_of(fma_), speed_of(read_)}; }

void anchor(Measurement& m, const CommandAnchors::Speeds& speeds, std::size_t first) {
  if (!(speeds.flops_per_second > 0) || !(speeds.bytes_per_second > 0)) {
    m.clean.resize(first);  // the anchor was disturbed all the time, and so was what ran beside it
    if (first == 0) return;
  }
  if (first == 0) m.memory = m.bytes / speeds.bytes_per_second > m.flops / speeds.flops_per_second;
  m.anchor = to_string(m.memory ? Anchor::read : Anchor::fma_f32);
  m.anchor_work = m.clock_work = reference_work;
  for (std::size_t i = first; i < m.clean.size(); ++i) {
    m.clean[i].clock_seconds = reference_work / speeds.flops_per_second;
    m.clean[i].anchor_seconds = m.memory ? reference_work / speeds.bytes_per_second : m.clean[i].clock_seconds;
  }
}

Measure by_command(const BenchmarkCommand& command) {
  auto anchors = std::make_shared<CommandAnchors>();
  return [command, anchors](const std::vector<std::string>& names) -> Result<std::vector<Measurement>> {
    std::vector<Measurement> all;
    const auto wanted = [&](const Measurement& m) { return names.empty() || std::ranges::count(names, m.name) > 0; };
    const auto settled = [&](const Measurement& m) { return !wanted(m) || !m.problem.empty() || std::ssize(m.clean) >= least_clean; };
    Command process = shell(command.line);
    process.timeout_s = command.timeout_s, process.stop = command.stop;
    CommandAnchors::Speeds before = anchors->now();
    for (int i = 0; i < command.runs && (all.empty() || !std::ranges::all_of(all, settled)); ++i) {
      auto finished = run(process);
      if (!finished) return fail(std::move(finished.error()));
      auto samples = samples_of(*finished, command.line, command.name.empty() ? command.line : command.name);
      if (!samples) return samples;
      const CommandAnchors::Speeds after = anchors->now();
      add(all, *samples, before, after);
      before = after;
    }
    std::erase_if(all, [&](const Measurement& m) { return !wanted(m); });
    return all;
  };
}

}  // namespace gambrel::kernels

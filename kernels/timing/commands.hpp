// Benchmarks that are programs of their own, in any language: run by turns with our anchors, read as Google Benchmark's JSON.
#pragma once

#include <string>

#include "kernels/timing/gate.hpp"

namespace gambrel::kernels {

/// Google Benchmark's JSON (--benchmark_format=json): each run is a sample, aggregates are left out. The work of an
/// iteration comes from counters `flops` and `bytes`, or from `flops_per_second` and `bytes_per_second`; a sample of one
/// thread whose CPU time is less than 0.97 of its time was disturbed. A benchmark of which a run failed or was skipped has
/// that as its `problem`, and no samples. Error with file:line:col: no such JSON, no benchmark, no unit of time.
Result<std::vector<Measurement>> from_benchmark_json(std::string text, const std::string& file);

/// The anchors of commands: FMA and reading a working set that no cache holds, in this process.
class CommandAnchors {
 public:
  CommandAnchors();
  /// What each takes now: the median of a few clean runs.
  struct Speeds {
    double flops_per_second = 0, bytes_per_second = 0;
  };
  Speeds now();

 private:
  TimedAnchor fma_, read_;
};

/// Anchors the rounds from `first` on to these speeds: memory if the kernel states bytes, and FLOPs that weigh less.
void anchor(Measurement& measurement, const CommandAnchors::Speeds& speeds, std::size_t first = 0);

/// A line for the shell that measures.
struct BenchmarkCommand {
  std::string line;
  int runs = 20;          ///< at most, until every benchmark has `least_clean` clean samples
  std::string name = "";  ///< of the one kernel that a command is which prints no benchmarks; "": the line
  double timeout_s = 600; ///< of a run
  const std::atomic<bool>* stop = nullptr;
};

/// Runs the line, its standard output read as Google Benchmark's JSON; one that prints none is one kernel, and its time the
/// CPU time of the process.
Measure by_command(const BenchmarkCommand& command);

}  // namespace gambrel::kernels

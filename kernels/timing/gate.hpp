// A gate for the efficiency of kernels, of gambrel's or of your own: register functions with their work, run it in CI.
#pragma once

#include <atomic>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "kernels/timing/context.hpp"
#include "kernels/timing/judge.hpp"
#include "kernels/timing/process.hpp"
#include "kernels/timing/sampler.hpp"
#include "kernels/timing/store.hpp"

namespace gambrel::kernels {

struct GateOptions {
  std::string database = "gambrel-baseline.sqlite";
  std::string filter;            ///< regular expression that a name has to contain; "" = all
  bool update_baseline = false;  ///< what is measured now becomes what later runs are compared with
  bool allow_unmeasured = false;
  /// Smallest efficiencies, as shares of the anchor's rate: regular expression of names -> share. The largest that fits holds.
  std::vector<std::pair<std::string, double>> minimum;
  Limits limits;
  Sampling sampling{.span_s = 0.4};
  int baseline_processes = 5;  ///< fresh ones that a new baseline is made of
  int retries = 2;             ///< fresh processes more where one had too few clean samples
  int confirmations = 2;       ///< fresh ones that have to fail as well
  /// Seconds before each further process of a new baseline, and before the first confirmation; thrice as long before each
  /// next one: so that one burst of a neighbour's does not have them all.
  double pause_s = 0.15;
  /// Where it is measured, which decides what baseline fits; nothing: this_context(). Facts of your own kernels, such as
  /// their compiler and its flags, are added to it.
  std::optional<Context> context;
  std::string source = "kernels";  ///< what is measured: a suite, a command, a file; for GateReport::missing
  const std::atomic<bool>* stop = nullptr;  ///< becomes true to end the run: its processes are ended, and it returns an error
  std::function<void(const std::string&)> progress;  ///< a line at a time
};

struct Verdict {
  Outcome outcome = Outcome::passed;
  Measurement measurement;          ///< of the process that speaks best for the kernel
  double efficiency = 0;            ///< by undisturbed times
  double baseline = 0;              ///< its efficiency; 0: there was none
  double minimum = 0;               ///< 0: none is asked for
  Comparison against_baseline, against_best;
  int processes = 1;                ///< that measured it
  std::string reason;               ///< one sentence
  std::vector<Past> history;        ///< oldest first, with this one
};

struct GateReport {
  std::string title;
  Context context;
  std::vector<Verdict> verdicts;
  std::vector<std::string> missing;  ///< kernels of the same source that have a baseline, and that nothing measured now
  bool allow_unmeasured = false;
  /// This process was started by a gate, only to measure: print nothing and end with 0.
  bool worker = false;

  int count(bool (*what)(Outcome)) const;
  /// 0 passed, 1 a kernel failed, 5 one was not measurable.
  int exit_code() const;
};

/// Measures the named kernels in a fresh process; of no names, all that it has.
using Measure = std::function<Result<std::vector<Measurement>>(const std::vector<std::string>& names)>;

/// The gate's rule for these kernels, or, of no names, for all that `measure` finds: measure; hold each kernel against
/// baseline, minimum and past; measure again, in fresh processes, what failed; record what has no baseline. Everything
/// measured goes to the store.
Result<GateReport> run_gate(const std::vector<std::string>& names, const Measure& measure, MeasurementStore& store, const GateOptions& options);

/// Interleaved, without a store: `before` and `now` measure by turns, `rounds` fresh processes each; what is slower by the
/// limits, in their rounds together and in `confirmations` turns more, fails, and so does what misses its minimum.
/// The limit is at least three standard errors of the two sides' difference; where that is wider than a limit may be, the
/// kernel is noisy unless it fails. What only one side measures is unmeasured.
Result<GateReport> run_comparison(const Measure& before, const Measure& now, const GateOptions& options, int rounds = 5);

class Gate {
 public:
  /// A case whose operands prepare() allocates and whose Call does the work.
  Gate& add(KernelCase kernel);
  /// A function that does `flops` FLOPs and has to move `bytes` bytes a call, on operands of its own. It is held against
  /// the anchor: `read` (as much memory as `bytes`) or an FMA loop of its type.
  Gate& add(const std::string& name, double flops, double bytes, Anchor anchor, std::function<void()> function);

  /// Starts this program again, with its own arguments, for each measurement: main() has to come to this call again.
  /// Errors: a kernel that is added twice, a wrong filter, a minimum for no kernel of this gate, the database.
  Result<GateReport> run(const GateOptions& options = {}) const;
  /// The cases whose names contain the expression. Error: it is none, or nothing does.
  Result<std::vector<KernelCase>> matching(const std::string& filter) const;

 private:
  std::vector<KernelCase> cases_;
};

/// Measures in a fresh process of this program, or of another build of it, whose main() comes to Gate::run.
Measure in_fresh_process(Command command);

}  // namespace gambrel::kernels

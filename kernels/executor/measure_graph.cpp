// First whether it fits into this machine's patience, then a run that counts and runs that are timed.
#include "kernels/executor/measure_graph.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <limits>

#include "kernels/timing/peak_watch.hpp"

namespace gambrel::kernels {
namespace {

double total_flops(const models::Graph& graph) {
  double sum = 0;
  for (const models::Op& op : graph.ops()) sum += op.count * models::work_of(graph, op).flops;
  return sum;
}

/// One layer's activations at a time, an operator's weights (drawn in fp64, used in fp32), all caches and states. Fast
/// kernels keep all weights three times: as drawn, as packed, and for other numbers of rows.
double bytes_needed(const models::Graph& graph, bool keeps) {
  double activations = 0, kept = 0, weights = 0, all = 0;
  for (const models::Tensor& t : graph.tensors()) {
    if (t.role == models::Role::activation) activations += t.elements();
    else if (t.role == models::Role::kv_cache || t.role == models::Role::state) kept += t.elements() * t.copies;
    else weights = std::max(weights, t.elements()), all += t.elements() * t.copies;
  }
  return 5 * activations + 4 * kept + 2 * 13 * weights + (keeps ? 12 * all : 0);
}

Diagnostics beyond(const models::Graph& graph, const MeasureLimits& limits, bool keeps) {
  const char* hint = "take --layers 2, --width-fraction 0.25, or fewer tokens: --set workload.batch=1";
  if (const double flops = total_flops(graph); flops > limits.flops)
    return {{{},
             fmt::format("the graph does {:.3g} FLOPs, more than the {:.3g} that reference kernels are given", flops,
                         limits.flops),
             hint,
             Fault::input}};
  if (const double bytes = bytes_needed(graph, keeps); bytes > limits.bytes)
    return {{{},
             fmt::format("running the graph needs {:.3g} GB of memory, more than {:.3g} GB", bytes / 1e9,
                         limits.bytes / 1e9),
             hint,
             Fault::input}};
  return {};
}

double now() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

constexpr double turn_s = 0.4;        ///< of runs until it is the turn of what is measured beside them,
constexpr int turn_runs = 5;          ///< or so many

/// Runs by turns with what is measured beside them.
class TimedRuns {
 public:
  TimedRuns(Executor<float>& executor, const models::Graph& graph, const models::Step& step, const MeasureWith& with)
      : executor_(executor), graph_(graph), step_(step), with_(with), seconds_(graph.ops().size()) {}

  Diagnostics take() {
    const int most = with_.fast ? std::max(2, with_.runs) : 1;
    if (with_.fast)  // packs weights and fills pages
      if (Diagnostics failed = run(false); !failed.empty()) return failed;
    for (const double end = now() + with_.seconds; runs < most && (runs < 2 || now() < end);)
      if (Diagnostics failed = turn(std::min(most, runs + turn_runs)); !failed.empty()) return failed;
    return {};
  }
  /// What disturbs a run only ever adds time, once the wandering clock is taken out.
  double seconds(models::OpId id) const {
    const double fastest = std::ranges::max(clocks_, {}, &ClockReading::rate).rate;
    double least = std::numeric_limits<double>::infinity();
    for (std::size_t i = 0; i < clocks_.size(); ++i) least = std::min(least, seconds_[id][i] / clock_slowness(clock_near(clocks_, clocks_[i].when), fastest));
    return least;
  }

  int runs = 0;
  double peak_bytes = 0;

 private:
  /// What is measured beside, then runs until there are `most`; one brings back what that took from the caches.
  Diagnostics turn(int most) {
    if (with_.beside) {
      clock_ = with_.beside();
      if (Diagnostics failed = run(false); !failed.empty()) return failed;
    }
    const int before = runs;
    for (const double end = now() + turn_s; runs < most && (runs == before || now() < end);)
      if (Diagnostics failed = run(true); !failed.empty()) return failed;
    return {};
  }

  Diagnostics run(bool counts) {
    const auto execution = executor_.run(graph_, step_);
    if (!execution) return execution.error();
    peak_bytes = std::max(peak_bytes, execution->peak_bytes);
    if (!counts) return {};
    for (std::size_t i = 0; i < seconds_.size(); ++i) seconds_[i].push_back(execution->ops[i].seconds);
    clocks_.push_back({now(), clock_}), ++runs;
    return {};
  }

  Executor<float>& executor_;
  const models::Graph& graph_;
  const models::Step& step_;
  const MeasureWith& with_;
  std::vector<std::vector<double>> seconds_;  ///< of each operator, a run each
  std::vector<ClockReading> clocks_;          ///< of each run, as its turn began
  double clock_ = 1;
};

}  // namespace

Result<MeasuredGraph> measure_graph(const models::ModelConfig& model, const models::Graph& graph,
                                    const models::Step& step, const MeasureLimits& limits, const MeasureWith& with) {
  if (Diagnostics problems = beyond(graph, limits, with.fast != nullptr); !problems.empty())
    return fail(std::move(problems));
  const auto counted = Executor<float>(model).run(graph, step);
  if (!counted) return fail(counted.error());
  MeasuredGraph measured{.ops = {}, .parameters = models::count_parameters(graph).total};
  Executor<float> executor(model, {}, {.count = false, .keep_weights = with.fast != nullptr, .fast = with.fast});
  TimedRuns timed(executor, graph, step, with);
  if (Diagnostics failed = timed.take(); !failed.empty()) return fail(std::move(failed));
  measured.runs = timed.runs, measured.peak_bytes = timed.peak_bytes;
  for (models::OpId id = 0; id < graph.ops().size(); ++id) {
    const models::Op& op = graph.op(id);
    const OpCount& count = counted->ops[id];
    const double vector = models::row_of(op.kind).contraction ? count.vector_flops : 0;
    measured.ops.push_back(
        {op.name, to_string(op.kind), count.executions, count.flops + vector, count.bytes, timed.seconds(id)});
  }
  return measured;
}

}  // namespace gambrel::kernels

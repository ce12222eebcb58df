// First whether it fits into this machine's patience, then a run that counts and runs that are timed.
#include "kernels/measure_graph.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <limits>

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

/// Seconds of each operator, the least over the runs: what disturbs a run only ever adds time.
tl::expected<std::vector<double>, Diagnostics> timed(Executor<float>& executor, const models::Graph& graph,
                                                     const models::Step& step, const MeasureWith& with,
                                                     MeasuredGraph& measured) {
  std::vector<double> least;
  const int most = with.fast ? std::max(2, with.runs) : 1;
  const double end = now() + with.seconds;
  // The first run of fast kernels packs weights and fills pages: it is not one of them.
  for (int run = with.fast ? -1 : 0; run < most && (run < 2 || now() < end); ++run) {
    const auto execution = executor.run(graph, step);
    if (!execution) return tl::unexpected(execution.error());
    measured.peak_bytes = std::max(measured.peak_bytes, execution->peak_bytes);
    if (run < 0) continue;
    least.resize(execution->ops.size(), std::numeric_limits<double>::infinity());
    for (std::size_t i = 0; i < least.size(); ++i) least[i] = std::min(least[i], execution->ops[i].seconds);
    measured.runs = run + 1;
  }
  return least;
}

}  // namespace

Result<MeasuredGraph> measure_graph(const models::ModelConfig& model, const models::Graph& graph,
                                    const models::Step& step, const MeasureLimits& limits, const MeasureWith& with) {
  if (Diagnostics problems = beyond(graph, limits, with.fast != nullptr); !problems.empty())
    return fail(std::move(problems));
  const auto counted = Executor<float>(model).run(graph, step);
  if (!counted) return fail(counted.error());
  MeasuredGraph measured{.ops = {}, .parameters = models::count_parameters(graph).total};
  Executor<float> executor(model, {}, {.count = false, .keep_weights = with.fast != nullptr, .fast = with.fast});
  const auto seconds = timed(executor, graph, step, with, measured);
  if (!seconds) return fail(seconds.error());
  for (models::OpId id = 0; id < graph.ops().size(); ++id) {
    const models::Op& op = graph.op(id);
    const OpCount& count = counted->ops[id];
    const double vector = models::row_of(op.kind).contraction ? count.vector_flops : 0;
    measured.ops.push_back(
        {op.name, to_string(op.kind), count.executions, count.flops + vector, count.bytes, (*seconds)[id]});
  }
  return measured;
}

}  // namespace gambrel::kernels

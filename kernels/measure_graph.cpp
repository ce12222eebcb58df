// First whether it fits into this machine's patience, then a run that counts and a run that is timed.
#include "kernels/measure_graph.hpp"

#include <fmt/format.h>

#include <algorithm>

namespace gambrel::kernels {
namespace {

double total_flops(const models::Graph& graph) {
  double sum = 0;
  for (const models::Op& op : graph.ops()) sum += op.count * models::work_of(graph, op).flops;
  return sum;
}

/// One layer's activations at a time, an operator's weights (drawn in fp64, used in fp32), all caches and states.
double bytes_needed(const models::Graph& graph) {
  double activations = 0, kept = 0, weights = 0;
  for (const models::Tensor& t : graph.tensors()) {
    if (t.role == models::Role::activation) activations += t.elements();
    else if (t.role == models::Role::kv_cache || t.role == models::Role::state) kept += t.elements() * t.copies;
    else weights = std::max(weights, t.elements());
  }
  return 5 * activations + 4 * kept + 2 * 13 * weights;
}

Diagnostics beyond(const models::Graph& graph, const MeasureLimits& limits) {
  const char* hint = "take --layers 2, --width-fraction 0.25, or fewer tokens: --set workload.batch=1";
  if (const double flops = total_flops(graph); flops > limits.flops)
    return {{{},
             fmt::format("the graph does {:.3g} FLOPs, more than the {:.3g} that reference kernels are given", flops,
                         limits.flops),
             hint,
             Fault::input}};
  if (const double bytes = bytes_needed(graph); bytes > limits.bytes)
    return {{{},
             fmt::format("running the graph needs {:.3g} GB of memory, more than {:.3g} GB", bytes / 1e9,
                         limits.bytes / 1e9),
             hint,
             Fault::input}};
  return {};
}

}  // namespace

Result<MeasuredGraph> measure_graph(const models::ModelConfig& model, const models::Graph& graph,
                                    const models::Step& step, const MeasureLimits& limits) {
  if (Diagnostics problems = beyond(graph, limits); !problems.empty()) return fail(std::move(problems));
  const auto counted = Executor<float>(model).run(graph, step);
  if (!counted) return fail(counted.error());
  const auto timed = Executor<float>(model, {}, {.count = false}).run(graph, step);
  if (!timed) return fail(timed.error());
  MeasuredGraph measured{.parameters = models::count_parameters(graph).total};
  for (models::OpId id = 0; id < graph.ops().size(); ++id) {
    const models::Op& op = graph.op(id);
    const OpCount& count = counted->ops[id];
    const double vector = models::row_of(op.kind).contraction ? count.vector_flops : 0;
    measured.ops.push_back(
        {op.name, to_string(op.kind), count.executions, count.flops + vector, count.bytes, timed->ops[id].seconds});
  }
  return measured;
}

}  // namespace gambrel::kernels

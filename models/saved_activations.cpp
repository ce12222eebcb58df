// What lies in memory between the two passes, and on top of it while a layer is run backward.
#include <algorithm>
#include <vector>

#include "models/backward_builder.hpp"

namespace gambrel::models {
namespace {

double bytes_of(const Tensor& t, double elements) { return t.elements() > 0 ? t.bytes() * elements / t.elements() : 0; }

/// Layers of a run, and of all of them.
std::map<Run, double> executions(const Graph& forward) {
  std::map<Run, double> counts;
  for (const Op& op : forward.ops()) counts[Run(op)] = std::max(counts[Run(op)], op.count);
  return counts;
}

/// Operators [first, last): each tensor that `counts` lives from its first to its last use among them; what was written
/// before them is there from the start, what is read after them until their end.
template <class Counts>
double peak(const Graph& graph, const std::vector<OpId>& born, const std::vector<OpId>& dead, OpId first, OpId last, Counts counts) {
  std::vector<double> change(last - first + 1, 0.0);
  for (TensorId t = 0; t < graph.tensors().size(); ++t) {
    if (!counts(t) || born[t] >= last || dead[t] < first) continue;
    const double bytes = graph.tensor(t).bytes();
    change[std::max(born[t], first) - first] += bytes;
    change[std::min(dead[t], last - 1) - first + 1] -= bytes;
  }
  double live = 0, most = 0;
  for (double c : change) most = std::max(most, live += c);
  return most;
}

/// The largest of any run's: everything but what was kept, and gradients of weights, which outlive the pass.
double working_bytes(const BackwardBuilder& builder) {
  const Graph& graph = builder.graph();
  const auto ops = static_cast<OpId>(graph.ops().size());
  std::vector<OpId> born(graph.tensors().size(), ops), dead(graph.tensors().size(), 0);
  for (OpId id = 0; id < ops; ++id)
    for (const Use& use : graph.op(id).uses) born[use.tensor] = std::min(born[use.tensor], id), dead[use.tensor] = id;
  const auto counts = [&](TensorId t) {
    return graph.tensor(t).role == Role::activation && !builder.is_kept(t) && !builder.is_weight_gradient(t);
  };
  double most = 0;
  for (OpId first = 0, last = 0; first < ops; first = last) {
    while (last < ops && Run(graph.op(last)) == Run(graph.op(first))) ++last;
    most = std::max(most, peak(graph, born, dead, first, last, counts));
  }
  return most;
}

/// What a builder that has run found to be kept. The format of weights' gradients is not asked.
SavedActivations saved_of(const Graph& forward, const BackwardBuilder& builder) {
  const std::map<Run, double> counts = executions(forward);
  double layers = 0, in_layers = 0;
  for (const auto& [run, count] : counts)
    if (run.part == ModelPart::layers) layers += count;
  SavedActivations saved;
  for (const auto& [key, elements] : builder.kept()) {
    const auto& [run, tensor] = key;
    if (builder.graph().tensor(tensor).role != Role::activation) continue;
    double& part = run.part == ModelPart::layers ? in_layers : run.part == ModelPart::embedding ? saved.embedding : saved.head;
    part += bytes_of(builder.graph().tensor(tensor), elements) * counts.at(run);
  }
  if (layers > 0) saved.per_layer = in_layers / layers;
  saved.working = working_bytes(builder);
  return saved;
}

}  // namespace

SavedActivations saved_activations(const Graph& forward, Recompute recompute) { return backward_and_saved(forward, recompute, {}).second; }

std::pair<Graph, SavedActivations> backward_and_saved(const Graph& forward, Recompute recompute, const TrainingPrecision& precision) {
  BackwardBuilder builder(forward, recompute, precision);
  builder.run();
  const SavedActivations saved = saved_of(forward, builder);
  return {builder.take(), saved};
}

}  // namespace gambrel::models

// FLOPs of a run as publications count them, from the unsharded graph: one definition of an operator's work.
#include "models/build.hpp"
#include "sim/calibration/suite.hpp"
#include "sim/predict.hpp"

namespace gambrel::sim {
namespace {

/// Of one forward pass.
struct Forward {
  double layers = 0, head = 0, attention = 0;
};

bool is_attention(models::OpKind kind) {
  using enum models::OpKind;
  return kind == attention || kind == attention_scores || kind == attention_values;
}

/// (query, key) pairs as papers count them over those the graph computes: s^2, or s^2 / 2 where we have s (s + 1) / 2.
/// Windows and chunks stay as computed.
double published_pairs(const models::Dims& dims, double past, bool causal) {
  const double queries = dims[models::Dim::queries], pairs = dims[models::Dim::pairs];
  if (pairs != models::score_pairs(queries, past, 0, 0)) return 1;
  return queries * (past + (causal && past == 0 ? queries / 2 : queries)) / pairs;
}

Forward forward(const Run& run, double sequences, double new_tokens, double past, double logits, bool causal) {
  models::Step step = run.step(1, new_tokens, past);
  step.logits = logits;
  step.fused_attention = true;
  const models::Graph graph = models::build(run.model, run.policy(), step);
  Forward sum;
  for (const models::Op& op : graph.ops()) {
    if (!models::row_of(op.kind).contraction) continue;
    const double flops = sequences * op.count * models::work_of(graph, op).flops;
    if (is_attention(op.kind)) sum.attention += flops * published_pairs(op.dims, past, causal);
    else (op.part == models::ModelPart::head ? sum.head : sum.layers) += flops;
  }
  return sum;
}

double inference_flops(const Run& run, const FlopCount& count) {
  const Workload& w = run.workload;
  const auto pass = [&](double new_tokens, double past, double logits) {
    const Forward f = forward(run, w.batch, new_tokens, past, logits, count.causal);
    const double weights = count.every_parameter ? 2 * parameters_of(run.model).total * w.batch * new_tokens : f.layers + f.head;
    return weights + f.attention;
  };
  if (w.phase != PhaseKind::generate) return pass(w.new_tokens, w.past_tokens, w.all_logits ? w.new_tokens : 1);
  const double steps = w.output - 1;  // the first token comes from prefill; attention is linear in the past: the mean will do
  return pass(w.input, 0, 1) + (steps > 0 ? steps * pass(1, w.input + (steps - 1) / 2, 1) : 0);
}

}  // namespace

double counted_flops(const Run& run, const FlopCount& count) {
  const Workload& w = run.workload;
  if (w.phase != PhaseKind::train) return inference_flops(run, count);
  Forward f = forward(run, w.global_batch, w.sequence, 0, w.sequence, count.causal);
  if (count.every_parameter) f.layers = 2 * parameters_of(run.model).total * w.global_batch * w.sequence, f.head = 0;
  const double passes = count.recomputed ? 4 : 3;  // of the head 3: it is not part of a layer
  return passes * (f.layers + f.attention) + 3 * f.head;
}

}  // namespace gambrel::sim

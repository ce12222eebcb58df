#include "sim/step_template.hpp"

#include <algorithm>
#include <set>

namespace gambrel::sim {
namespace {

using models::MeshAxis;
using models::ModelPart;
using models::Op;
using models::Role;

/// Applies `f` to each number of two costs.
template <class F>
PartCost combine(const PartCost& a, const PartCost& b, F f) {
  auto pass = [&](const PassCost& x, const PassCost& y) { return PassCost{f(x.compute, y.compute), f(x.network, y.network), f(x.hidden, y.hidden)}; };
  return {pass(a.forward, b.forward), pass(a.backward_inputs, b.backward_inputs), pass(a.backward_weights, b.backward_weights),
          f(a.weights, b.weights), f(a.experts, b.experts), f(a.dense_parameters, b.dense_parameters), f(a.expert_parameters, b.expert_parameters),
          f(a.kv_cache, b.kv_cache), f(a.saved, b.saved)};
}

/// Finds the part of a template that an operator belongs to.
class Parts {
 public:
  explicit Parts(StepTemplate& into) : into_(into) {}

  PartCost& of(const Op& op) {
    if (op.part == ModelPart::embedding) return into_.embedding;
    if (op.part == ModelPart::head) return into_.head;
    const auto found = std::ranges::find_if(into_.blocks, [&](const Block& b) { return b.first == op.first_layer && b.step == op.layer_step; });
    if (found != into_.blocks.end()) return found->layer;
    return into_.blocks.emplace_back(Block{op.first_layer, op.layer_step, static_cast<int>(op.count), {}}).layer;
  }

 private:
  StepTemplate& into_;
};

bool is_weight_gradient(const Op& op) { return op.name.ends_with(".wgrad"); }

/// Key and value blocks that go round while attention works on those before.
bool goes_round(const Op& op) {
  return op.communication && op.communication->axis == MeshAxis::context && op.communication->kind == CollectiveKind::point_to_point;
}

bool is_attention(const Op& op) {
  using enum models::OpKind;
  return op.kind == attention || op.kind == attention_backward || op.kind == attention_scores || op.kind == attention_values || op.kind == softmax;
}

/// Share of a collective's time that runs behind operators, as the plan asserts.
double hidden_share(const models::Communication& c, const ParallelismPlan& plan) {
  if (c.axis == MeshAxis::tensor) return plan.overlap_tensor;
  if (c.axis == MeshAxis::expert || c.axis == MeshAxis::expert_tensor) return plan.overlap_expert;
  return 0;
}

void add_operator(PassCost& pass, const Op& op, const OpEstimate& row, const ParallelismPlan& plan) {
  if (!op.communication) {
    pass.compute += row.time.value;
    return;
  }
  const double hidden = hidden_share(*op.communication, plan) * row.time.value;
  pass.hidden += hidden;
  pass.network += row.time.value - hidden;
}

/// The blocks of a ring that attention hides; kept apart until a part is complete.
struct Ring {
  double sent = 0, attention = 0;
};

void hide(PassCost& pass, const Ring& ring) {
  const double hidden = std::min(ring.sent, ring.attention);
  pass.network += ring.sent - hidden;
  pass.hidden += hidden;
}

template <class Select>
void add_passes(const Evaluated& e, const ParallelismPlan& plan, Parts& parts, Select select) {
  if (!e.phase) return;
  std::vector<std::pair<PassCost*, Ring>> rings;
  for (std::size_t i = 0; i < e.graph->ops().size(); ++i) {
    const Op& op = e.graph->ops()[i];
    const OpEstimate& row = e.phase->ops[i];
    PassCost& pass = select(parts.of(op), op);
    if (!goes_round(op)) add_operator(pass, op, row, plan);
    if (!goes_round(op) && !is_attention(op)) continue;
    auto found = std::ranges::find(rings, &pass, &std::pair<PassCost*, Ring>::first);
    Ring& ring = found != rings.end() ? found->second : rings.emplace_back(&pass, Ring{}).second;
    (goes_round(op) ? ring.sent : ring.attention) += row.time.value;
  }
  for (const auto& [pass, ring] : rings) hide(*pass, ring);
}

void add_kept(const models::Tensor& tensor, PartCost& part) {
  switch (tensor.role) {
    case Role::weight: part.weights += tensor.bytes(), part.dense_parameters += tensor.elements(); break;
    case Role::expert_weight: part.experts += tensor.bytes(), part.expert_parameters += tensor.elements(); break;
    case Role::kv_cache: case Role::state: part.kv_cache += tensor.bytes(); break;
    case Role::activation: break;
  }
}

/// Each tensor once in each part that reads it: a tied table is kept by the first and by the last stage.
void add_kept(const models::Graph& graph, Parts& parts, StepTemplate& out) {
  std::set<std::pair<const PartCost*, models::TensorId>> seen;
  for (const Op& op : graph.ops())
    for (const models::Use& use : op.uses) {
      const models::Tensor& tensor = graph.tensor(use.tensor);
      if (tensor.role == Role::activation || !seen.emplace(&parts.of(op), use.tensor).second) continue;
      add_kept(tensor, parts.of(op));
      if (op.part == ModelPart::head && seen.contains({&out.embedding, use.tensor})) out.tied_parameters += tensor.elements();
    }
}

/// What the last operator of the layers hands on.
double boundary_bytes(const models::Graph& graph) {
  double bytes = 0;
  for (const Op& op : graph.ops())
    for (const models::Use& use : op.uses)
      if (op.part == ModelPart::layers && use.write && graph.tensor(use.tensor).role == Role::activation) bytes = graph.tensor(use.tensor).bytes();
  return bytes;
}

}  // namespace

PassCost& PassCost::operator+=(const PassCost& o) {
  compute += o.compute, network += o.network, hidden += o.hidden;
  return *this;
}

PartCost operator+(const PartCost& a, const PartCost& b) { return combine(a, b, [](double x, double y) { return x + y; }); }
PartCost operator-(const PartCost& a, const PartCost& b) { return combine(a, b, [](double x, double y) { return x - y; }); }

std::vector<PartCost> StepTemplate::prefix() const {
  std::vector<const PartCost*> of(static_cast<std::size_t>(layers), nullptr);
  for (const Block& b : blocks)
    for (int i = 0; i < b.count; ++i) of[static_cast<std::size_t>(b.first + i * b.step)] = &b.layer;
  std::vector<PartCost> sums(1);
  for (const PartCost* layer : of) sums.push_back(layer ? sums.back() + *layer : sums.back());
  return sums;
}

StepTemplate make_template(const Evaluated& forward, const Evaluated* backward, const ParallelismPlan& plan) {
  StepTemplate out;
  out.blocks.reserve(forward.graph->ops().size());  // parts are referred to while blocks are added
  Parts parts(out);
  add_passes(forward, plan, parts, [](PartCost& part, const Op&) -> PassCost& { return part.forward; });
  if (backward) add_passes(*backward, plan, parts, [](PartCost& part, const Op& op) -> PassCost& { return is_weight_gradient(op) ? part.backward_weights : part.backward_inputs; });
  add_kept(*forward.graph, parts, out);
  for (const Block& b : out.blocks) out.layers = std::max(out.layers, b.first + (b.count - 1) * b.step + 1);
  out.boundary = boundary_bytes(*forward.graph);
  out.working = forward.graph->peak_activation_bytes();
  if (backward) {
    const models::SavedActivations saved = models::saved_activations(*forward.graph, plan.recompute);
    for (Block& b : out.blocks) b.layer.saved = saved.per_layer;
    out.embedding.saved = saved.embedding;
    out.head.saved = saved.head;
    out.working = saved.working;
  }
  return out;
}

std::vector<std::pair<int, int>> layer_ranges(int layers, int stages, int chunks) {
  const int parts = stages * chunks, least = layers / parts, rest = layers % parts, before = (parts - rest) / 2;
  std::vector<std::pair<int, int>> ranges;
  for (int i = 0, first = 0; i < parts; ++i) {
    const int size = least + (i >= before && i < before + rest ? 1 : 0);
    ranges.emplace_back(first, first + size);
    first += size;
  }
  return ranges;
}

}  // namespace gambrel::sim

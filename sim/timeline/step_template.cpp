#include "sim/timeline/step_template.hpp"

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

/// Part 0 is the embedding, 1 the head, 2 + i the i-th block.
PartCost& part_at(StepTemplate& step, std::size_t index) { return index == 0 ? step.embedding : index == 1 ? step.head : step.blocks[index - 2].layer; }

PassCost& pass_at(StepTemplate& step, std::size_t index) {
  PartCost& part = part_at(step, index / 3);
  return index % 3 == 0 ? part.forward : index % 3 == 1 ? part.backward_inputs : part.backward_weights;
}

/// Finds the part of a template that an operator belongs to.
class Parts {
 public:
  explicit Parts(StepTemplate& into) : into_(into) {}

  std::size_t index_of(const Op& op) {
    if (op.part == ModelPart::embedding) return 0;
    if (op.part == ModelPart::head) return 1;
    const auto found = std::ranges::find_if(into_.blocks, [&](const Block& b) { return b.first == op.first_layer && b.step == op.layer_step; });
    const auto block = static_cast<std::size_t>(found - into_.blocks.begin());
    if (found == into_.blocks.end()) into_.blocks.push_back({op.first_layer, op.layer_step, static_cast<int>(op.count), {}});
    return 2 + block;
  }
  PartCost& of(const Op& op) { return part_at(into_, index_of(op)); }

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

/// `passes_from`: 0 for the forward pass, 1 for the backward one.
void add_passes(const Evaluated& e, const ParallelismPlan& plan, std::size_t passes_from, Parts& parts, OpenTemplate& out) {
  if (!e.phase) return;
  for (std::size_t i = 0; i < e.graph->ops().size(); ++i) {
    const Op& op = e.graph->ops()[i];
    const double seconds = e.phase->ops[i].time.value;
    const std::size_t pass = 3 * parts.index_of(op) + passes_from + (passes_from > 0 && is_weight_gradient(op) ? 1 : 0);
    out.attention.resize(std::max(out.attention.size(), pass + 1));
    if (op.communication) {
      out.messages.push_back({static_cast<std::uint32_t>(pass), goes_round(op), hidden_share(*op.communication, plan), &op, e.graph, seconds});
      continue;
    }
    pass_at(out.closed, pass).compute += seconds;
    if (is_attention(op)) out.attention[pass] += seconds;
  }
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
  std::set<std::pair<std::size_t, models::TensorId>> seen;
  for (const Op& op : graph.ops())
    for (const models::Use& use : op.uses) {
      const models::Tensor& tensor = graph.tensor(use.tensor);
      if (tensor.role == Role::activation || !seen.emplace(parts.index_of(op), use.tensor).second) continue;
      add_kept(tensor, parts.of(op));
      if (op.part == ModelPart::head && seen.contains({0, use.tensor})) out.tied_parameters += tensor.elements(), out.tied_bytes += tensor.bytes();
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
PartCost operator*(double count, const PartCost& part) { return combine(part, part, [count](double x, double) { return count * x; }); }

PartCost StepTemplate::all_layers() const {
  PartCost sum;
  for (const Block& b : blocks) sum = sum + b.count * b.layer;
  return sum;
}

/// Blocks of a ring are sent while attention works on those before; what is longer than it is exposed.
void OpenTemplate::close(const std::vector<double>& seconds, StepTemplate& out) const {
  for (std::size_t pass = 0; pass < 3 * (2 + out.blocks.size()); ++pass) pass_at(out, pass).network = pass_at(out, pass).hidden = 0;
  for (std::size_t i = 0; i < messages.size(); ++i) {
    PassCost& pass = pass_at(out, messages[i].pass);
    const double hidden = messages[i].round ? 0 : messages[i].hidden_share * seconds[i];
    pass.hidden += hidden;
    pass.network += messages[i].round ? 0 : seconds[i] - hidden;
  }
  for (std::size_t pass = 0; pass < attention.size(); ++pass) {
    double sent = 0;
    for (std::size_t i = 0; i < messages.size(); ++i) sent += messages[i].round && messages[i].pass == pass ? seconds[i] : 0;
    const double hidden = std::min(sent, attention[pass]);
    pass_at(out, pass).network += sent - hidden;
    pass_at(out, pass).hidden += hidden;
  }
}

OpenTemplate open_template(const Evaluated& forward, const Evaluated* backward, const ParallelismPlan& plan, const models::SavedActivations* known) {
  OpenTemplate open;
  StepTemplate& out = open.closed;
  Parts parts(out);
  add_passes(forward, plan, 0, parts, open);
  if (backward) add_passes(*backward, plan, 1, parts, open);
  add_kept(*forward.graph, parts, out);
  for (const Block& b : out.blocks) out.layers = std::max(out.layers, b.first + (b.count - 1) * b.step + 1);
  out.boundary = boundary_bytes(*forward.graph);
  if (!backward) {
    out.working = forward.graph->peak_activation_bytes();
    return open;
  }
  const models::SavedActivations saved = known ? *known : models::saved_activations(*forward.graph, plan.recompute);
  for (Block& b : out.blocks) b.layer.saved = saved.per_layer;
  out.embedding.saved = saved.embedding;
  out.head.saved = saved.head;
  out.working = saved.working;
  return open;
}

StepTemplate make_template(const Evaluated& forward, const Evaluated* backward, const ParallelismPlan& plan) {
  OpenTemplate open = open_template(forward, backward, plan);
  std::vector<double> seconds;
  for (const OpenTemplate::Message& message : open.messages) seconds.push_back(message.seconds);
  StepTemplate out = open.closed;
  open.close(seconds, out);
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

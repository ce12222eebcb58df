// The optimizer's step: one pass over the parameters of each role and format, and the norm of their gradients.
#include <fmt/format.h>

#include <algorithm>
#include <vector>

#include "models/backward.hpp"
#include "models/dataflow.hpp"

namespace gambrel::models {
namespace {

/// First moment 3 (two products, their sum), second 4 (one product more), root, offset and quotient 3, update 2.
constexpr double adam_terms = 12;

/// Parameters of one role and one format.
struct Group {
  Role role;
  DataType type;
  double elements = 0;
  std::string name() const { return fmt::format("{}.{}", role == Role::expert_weight ? "expert" : "dense", to_string(type)); }
};

std::vector<Group> groups_of(const Graph& forward, double dense_share, double expert_share) {
  std::vector<Group> groups;
  const Dataflow flow = analyse(forward);
  std::vector<bool> seen(forward.tensors().size(), false);
  for (ValueId v = 0; v < flow.values.size(); ++v) {
    const TensorId id = flow.values[v].tensor;
    if (!flow.is_parameter(forward, v) || seen[id]) continue;
    seen[id] = true;
    const Tensor& t = forward.tensor(id);
    auto same = std::ranges::find_if(groups, [&](const Group& g) { return g.role == t.role && g.type == t.type; });
    if (same == groups.end()) same = groups.insert(groups.end(), Group{t.role, t.type});
    same->elements += t.elements() * t.copies * (t.role == Role::expert_weight ? expert_share : dense_share);
  }
  return groups;
}

Op update(const std::string& name, double elements, double terms) {
  Op op;
  op.name = name;
  op.kind = OpKind::elementwise;
  op.math = Format::fp32;
  op.dims[Dim::m] = 1;
  op.dims[Dim::n] = elements;
  op.dims[Dim::terms] = terms;
  return op;
}

class OptimizerStep {
 public:
  OptimizerStep(std::vector<Group> groups, const TrainingPrecision& precision) : groups_(std::move(groups)), precision_(precision) {
    for (const Group& g : groups_) gradients_.push_back(vector("gradients." + g.name(), g.elements, precision_.gradients));
  }

  // Sum of squares over everything this rank updates, then over the other ranks.
  void norm(const GradientNorm& norm) {
    const TensorId square = vector("optimizer.norm", 1, Format::fp32);
    for (std::size_t i = 0; i < groups_.size(); ++i) {
      Op op = update("optimizer.norm." + groups_[i].name(), groups_[i].elements, 2);
      op.uses = {{gradients_[i], false, groups_[i].elements}, {square, true, 1}};
      if (i > 0) op.uses.push_back({square, false, 1});
      graph_.add(std::move(op));
    }
    norm_ = square;
    if (norm.ranks <= 1) return;
    Op op = update("optimizer.norm.all_reduce", 1, 0);
    op.kind = OpKind::collective;
    op.communication = Communication{.kind = CollectiveKind::all_reduce, .axis = norm.axis, .ranks = norm.ranks, .bytes = 4};
    op.uses = {{square, false, 1}, {square, true, 1}};
    graph_.add(std::move(op));
  }

  void adam(std::size_t i) {
    const Group& g = groups_[i];
    Op op = update("optimizer." + g.name(), g.elements, adam_terms + (norm_ != no_id ? 1 : 0));
    auto both = [&](TensorId t) { op.uses.insert(op.uses.end(), {{t, false, g.elements}, {t, true, g.elements}}); };
    op.uses = {{gradients_[i], false, g.elements}};
    if (norm_ != no_id) op.uses.push_back({norm_, false, 1});
    for (const char* moment : {"first_moment.", "second_moment."}) both(vector(moment + g.name(), g.elements, precision_.moments));
    const TensorId weight = graph_.add(Tensor{.name = "weights." + g.name(), .shape = {g.elements}, .type = g.type, .role = g.role});
    if (precision_.master == g.type) {
      both(weight);
    } else {
      both(vector("master." + g.name(), g.elements, precision_.master));
      op.uses.push_back({weight, true, g.elements});
    }
    graph_.add(std::move(op));
  }

  Graph take() { return std::move(graph_); }

 private:
  TensorId vector(std::string name, double elements, const DataType& type) {
    return graph_.add(Tensor{.name = std::move(name), .shape = {elements}, .type = type, .role = Role::activation});
  }

  Graph graph_;
  std::vector<Group> groups_;
  const TrainingPrecision& precision_;
  std::vector<TensorId> gradients_;
  TensorId norm_ = no_id;
};

}  // namespace

Graph optimizer_step(const Graph& forward, const TrainingPrecision& precision, double dense_share, double expert_share, const GradientNorm& norm) {
  const std::vector<Group> groups = groups_of(forward, dense_share, expert_share);
  OptimizerStep step(groups, precision);
  if (norm.clip && !groups.empty()) step.norm(norm);
  for (std::size_t i = 0; i < groups.size(); ++i) step.adam(i);
  return step.take();
}

}  // namespace gambrel::models

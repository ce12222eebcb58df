// The backward graph's wiring, checked by numbers: every tensor is one number, every kind of operator a small function of
// its operands. Dual numbers through the forward graph give the slope in a random direction of the weights; the backward
// graph, computing only from the operands it names, must give the same.
#include <doctest/doctest.h>
#include <rapidcheck.h>

#include <cmath>
#include <map>
#include <set>

#include "models/backward.hpp"
#include "tests/laws/random_model.hpp"

using namespace gambrel;
using namespace gambrel::models;
using namespace gambrel::test;

namespace {

/// A value and its slope.
struct Dual {
  double v = 0, d = 0;
};
Dual operator+(Dual a, Dual b) { return {a.v + b.v, a.d + b.d}; }
Dual operator*(Dual a, Dual b) { return {a.v * b.v, a.d * b.v + a.v * b.d}; }
Dual wave(Dual x) { return {std::sin(x.v), std::cos(x.v) * x.d}; }

constexpr double kept_share = 0.5;  // what dropout's mask does

std::vector<std::size_t> reads_of(const Op& op) {
  std::vector<std::size_t> found;
  for (std::size_t i = 0; i < op.uses.size(); ++i)
    if (!op.uses[i].write) found.push_back(i);
  return found;
}

/// What one operator computes, and the derivative by each of its reads.
class Function {
 public:
  Function(const Graph& graph, OpId id) : graph_(graph), op_(graph.op(id)), reads_(reads_of(op_)) {
    for (OpId later = id; later < graph.ops().size() && lefts_ == 0; ++later)  // keys and values come last
      if (graph.op(later).kind == OpKind::attention_values) lefts_ = reads_.size() - (reads_of(graph.op(later)).size() - 1);
  }

  std::vector<Dual> operator()(const std::vector<Dual>& x) const {
    switch (op_.kind) {
      using enum OpKind;
      case gemm: case batched_gemm: case grouped_gemm: case conv1d: return {x[0] * x[1] + sum(x, 2)};
      case rms_norm: case layer_norm: return {wave(x[0]) * factors(x, 0) + offset(x)};
      case rotary: return {Dual{3, 0} * x[0]};
      case activation: case router_topk: return {wave(x[0])};
      case softmax: return {{std::tanh(x[0].v), (1 - std::tanh(x[0].v) * std::tanh(x[0].v)) * x[0].d}, {}};
      case dispatch: return {x[0]};
      case embedding: return {sum(x, 1)};
      case collective: return {is_statistics() ? Dual{1, 0} : sum(x, 0)};
      case cross_entropy: return {x[0], Dual{0.5, 0} * x[0] * x[0]};
      case attention_scores: case attention_values: return {product(x, 0, lefts_) * sum(x, lefts_)};
      case OpKind::elementwise: return this->elementwise(x);
      default: return {product(x, 0, x.size()), {}};
    }
  }

  /// `x(j)`: the value of read j, `y()`: the value written; asked for only where they are needed.
  template <class X, class Y>
  double slope(std::size_t i, X x, Y y) const {
    auto others = [&](std::size_t from, std::size_t to) {
      double result = 1;
      for (std::size_t j = from; j < to; ++j) result *= j == i || is_offset(j) ? 1 : x(j);
      return result;
    };
    switch (op_.kind) {
      using enum OpKind;
      case gemm: case batched_gemm: case grouped_gemm: case conv1d: return i > 1 ? 1 : x(1 - i);
      case rms_norm: case layer_norm: return is_offset(i) ? 1 : (i == 0 ? std::cos(x(0)) : std::sin(x(0))) * others(1, reads_.size());
      case rotary: return 3;
      case activation: case router_topk: return std::cos(x(0));
      case softmax: return 1 - y() * y();
      case cross_entropy: return y();
      case dispatch: case embedding: case collective: return 1;
      case attention_scores: case attention_values: {
        double rights = 0;
        for (std::size_t j = lefts_; j < reads_.size() && i < lefts_; ++j) rights += x(j);
        return others(0, lefts_) * (i < lefts_ ? rights : 1);
      }
      case elementwise: return is_dropout() ? kept_share : is_sum() ? 1 : others(0, reads_.size());
      default: return others(0, reads_.size());
    }
  }

  std::size_t lefts() const { return lefts_; }
  bool is_statistics() const {
    return op_.communication && op_.communication->kind == CollectiveKind::all_reduce && !op_.communication->backward_only && op_.uses[reads_[0]].tensor != op_.uses.back().tensor;
  }

 private:
  const std::string& name(std::size_t read) const { return graph_.tensor(op_.uses[reads_[read]].tensor).name; }
  bool is_offset(std::size_t read) const { return op_.kind == OpKind::layer_norm && name(read).ends_with(".bias"); }
  bool is_dropout() const { return op_.name.ends_with("dropout"); }
  bool is_sum() const { return !op_.name.ends_with("shared.scale"); }
  std::vector<Dual> elementwise(const std::vector<Dual>& x) const {
    if (is_dropout()) return {Dual{kept_share, 0} * x[0], {kept_share, 0}};
    return {is_sum() ? sum(x, 0) : product(x, 0, x.size())};
  }
  static Dual sum(const std::vector<Dual>& x, std::size_t from) {
    Dual result;
    for (std::size_t j = from; j < x.size(); ++j) result = result + x[j];
    return result;
  }
  static Dual product(const std::vector<Dual>& x, std::size_t from, std::size_t to) {
    Dual result{1, 0};
    for (std::size_t j = from; j < to; ++j) result = result * x[j];
    return result;
  }
  Dual factors(const std::vector<Dual>& x, std::size_t except) const {
    Dual result{1, 0};
    for (std::size_t j = 0; j < x.size(); ++j)
      if (j != except && !is_offset(j)) result = result * x[j];
    return result;
  }
  Dual offset(const std::vector<Dual>& x) const {
    for (std::size_t j = 0; j < x.size(); ++j)
      if (is_offset(j)) return x[j];
    return {};
  }

  const Graph& graph_;
  const Op& op_;
  std::vector<std::size_t> reads_;
  std::size_t lefts_ = 0;
};

/// The forward graph's numbers by name: a tensor's own, or of the operator that wrote it in place.
struct Forward {
  std::map<std::string, Dual> values;
  std::vector<std::vector<std::string>> names;  // [operator][use]
  double slope = 0;
};

bool is_weight(const Tensor& t) { return t.role == Role::weight || t.role == Role::expert_weight; }

Forward run_forward(const Graph& graph) {
  Forward run;
  std::vector<std::string> current;
  for (const Tensor& t : graph.tensors()) {
    current.push_back(t.name);
    run.values[t.name] = {draw(50, 150) / 100, is_weight(t) ? draw(-100, 100) / 100 : 0};
  }
  for (OpId id = 0; id < graph.ops().size(); ++id) {
    const Op& op = graph.op(id);
    std::vector<Dual> x;
    std::vector<std::string> names(op.uses.size());
    std::set<TensorId> read;
    for (std::size_t i : reads_of(op)) x.push_back(run.values.at(names[i] = current[op.uses[i].tensor])), read.insert(op.uses[i].tensor);
    const std::vector<Dual> y = Function(graph, id)(x);
    std::size_t next = 0;
    for (std::size_t i = 0; i < op.uses.size(); ++i) {
      const TensorId t = op.uses[i].tensor;
      if (!op.uses[i].write) continue;
      if (read.contains(t) && !(op.communication && op.communication->backward_only)) current[t] = op.name;
      names[i] = current[t];
      if (next < y.size()) run.values[current[t]] = y[next];
      ++next;
    }
    if (op.kind == OpKind::cross_entropy) run.slope = y[1].d;
    run.names.push_back(std::move(names));
  }
  return run;
}

/// Runs a backward graph on the forward's numbers.
class Backward {
 public:
  Backward(const Graph& forward, const Forward& values, const Graph& graph) : forward_(forward), values_(values), graph_(graph) {
    for (OpId id = 0; id < forward.ops().size(); ++id) ids_[forward.op(id).name] = id;
    for (const Tensor& t : forward.tensors())
      if (is_weight(t)) weights_.insert(t.name + ".grad");
    for (const Tensor& t : graph.tensors()) {
      const auto kept = values.values.find(t.name);
      numbers_.push_back(kept != values.values.end() ? kept->second.v : 0);
    }
    std::set<TensorId> written;  // and nothing that this pass computes is known before
    for (const Op& op : graph.ops())
      for (const Use& use : op.uses)
        if (use.write) numbers_[use.tensor] = 0;
    for (const Op& op : graph.ops()) run(op);
  }

  /// The sum over weights of gradient x direction.
  double slope() const {
    double sum = 0;
    for (TensorId t = 0; t < graph_.tensors().size(); ++t) {
      const std::string& name = graph_.tensor(t).name;
      if (weights_.contains(name)) sum += numbers_[t] * values_.values.at(name.substr(0, name.size() - 5)).d;
    }
    return sum;
  }

 private:
  void run(const Op& op) {
    const OpId id = forward_of(op.name);
    std::vector<Dual> x;
    for (std::size_t i : reads_of(op)) x.push_back({numbers_[op.uses[i].tensor], 0});
    if (op.name.ends_with(".recompute")) return write(op, Function(forward_, id)(x));
    if (op.name.ends_with(".again") || op.name.ends_with(".sum.backward")) {
      Dual sum;
      for (Dual term : x) sum = sum + term;
      return write(op, {sum});
    }
    if (!Function(forward_, id).is_statistics()) differentiate(op, id);
  }

  void write(const Op& op, const std::vector<Dual>& y) {
    std::size_t next = 0;
    for (const Use& use : op.uses)
      if (use.write && next < y.size()) numbers_[use.tensor] = y[next++].v;
  }

  void differentiate(const Op& op, OpId id) {
    const Op& forward = forward_.op(id);
    const Function function(forward_, id);
    const std::vector<std::size_t> reads = reads_of(forward);
    auto value = [&](const std::string& name) {
      for (const Use& use : op.uses)
        if (!use.write && graph_.tensor(use.tensor).name == name) return numbers_[use.tensor];
      std::string there;
      for (const Use& use : op.uses) there += " " + graph_.tensor(use.tensor).name;
      RC_FAIL(op.name + " needs " + name + ", has" + there);
      return 0.0;
    };
    auto x = [&](std::size_t j) { return value(values_.names[id][reads[j]]); };
    auto y = [&] {
      for (std::size_t i = 0; i < forward.uses.size(); ++i)
        if (forward.uses[i].write) return value(values_.names[id][i]);
      return 0.0;
    };
    const double arrived = arrived_at(op);
    std::set<std::size_t> used;
    for (std::size_t j = 0; j < function.lefts() && (op.name.ends_with(".key.dgrad") || op.name.ends_with(".value.dgrad")); ++j) used.insert(j);
    for (const Use& use : op.uses) {
      if (!use.write) continue;
      const std::size_t i = read_of(op, use, id, used);
      const double sent = arrived * function.slope(i, x, y);
      const bool in_place = !weights_.contains(graph_.tensor(use.tensor).name) && reads_tensor(op, use.tensor);
      numbers_[use.tensor] = sent + (in_place ? 0 : numbers_[use.tensor]);
    }
  }

  bool reads_tensor(const Op& op, TensorId t) const {
    for (const Use& use : op.uses)
      if (!use.write && use.tensor == t) return true;
    return false;
  }

  /// The one gradient among the reads that is no sum over micro-batches. The loss has slope 1.
  double arrived_at(const Op& op) const {
    for (const Use& use : op.uses) {
      const std::string& name = graph_.tensor(use.tensor).name;
      if (!use.write && name.find(".grad") != name.npos && !weights_.contains(name) && name.find("statistics.grad") == name.npos) return numbers_[use.tensor];
    }
    RC_ASSERT(op.kind == OpKind::cross_entropy);
    return 1;
  }

  /// Which of the forward's reads a written gradient is of: the next of that name; what is done in place, of that in place.
  std::size_t read_of(const Op& op, const Use& use, OpId id, std::set<std::size_t>& used) const {
    const Op& forward = forward_.op(id);
    const std::vector<std::size_t> reads = reads_of(forward);
    const std::string& name = graph_.tensor(use.tensor).name;
    for (std::size_t j = 0; j < reads.size(); ++j)
      if (!used.contains(j) && name.starts_with(forward_.tensor(forward.uses[reads[j]].tensor).name + ".grad")) return used.insert(j), j;
    if (!reads_tensor(op, use.tensor)) RC_FAIL(op.name + " writes " + name);
    return 0;
  }

  /// The operator whose name is the longest leading part.
  OpId forward_of(std::string name) const {
    for (;;) {
      const std::size_t dot = name.rfind('.');
      if (dot == name.npos) return 0;
      name.resize(dot);
      if (const auto found = ids_.find(name); found != ids_.end()) return found->second;
    }
  }

  const Graph& forward_;
  const Forward& values_;
  const Graph& graph_;
  std::map<std::string, OpId> ids_;
  std::set<std::string> weights_;
  std::vector<double> numbers_;
};

}  // namespace

TEST_CASE("the backward graph computes the slope of the loss, from the operands it names") {
  CHECK(rc::check("sum of gradient x direction == dual number", [] {
    Step step{.sequences = draw(1, 3), .new_tokens = draw(2, 20)};
    step.training = true, step.dropout = coin(), step.fused_attention = coin(), step.fused_experts = coin();
    Sharding sharding{.tensor = one_of<double>({1, 1, 2}), .context = one_of<double>({1, 1, 2}), .expert = one_of<double>({1, 2})};
    sharding.sequence = sharding.tensor > 1 && coin();
    sharding.exchange = one_of<ContextExchange>({ContextExchange::ring, ContextExchange::all_gather, ContextExchange::ulysses});
    using enum Layout;
    if (!sharding.sequence) sharding.layout = one_of<Layout>({weight_stationary_1d, weight_stationary_2d, weight_gathered});
    const bool experts = sharding.layout != weight_stationary_2d;  // whose exchanges have one name twice there
    const Graph forward = build(random_model(experts), {DataType(Format::bf16), {}, {}}, step, sharding);
    const Forward values = run_forward(forward);
    RC_PRE(std::abs(values.slope) < 1e100);  // products of what no norm has bounded
    const Recompute recompute = one_of<Recompute>({Recompute::none, Recompute::selective, Recompute::full});
    const Graph graph = backward(forward, recompute, {});
    const double slope = Backward(forward, values, graph).slope();
    RC_LOG() << slope << " instead of " << values.slope << "\n";
    RC_ASSERT(std::abs(slope - values.slope) <= 1e-6 * (std::abs(values.slope) + 1));
  }));
}

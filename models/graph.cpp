// Boost.Graph 1.74 copies edge iterators that g++ 12 takes for uninitialised; they are not.
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"

#include "models/graph.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <boost/graph/adjacency_list.hpp>
#include <boost/graph/topological_sort.hpp>
#include <limits>
#include <ranges>

namespace gambrel::models {

namespace {
constexpr OpId no_op = std::numeric_limits<OpId>::max();
}

struct Graph::Wiring {
  using Boost = boost::adjacency_list<boost::vecS, boost::vecS, boost::directedS, boost::no_property, TensorId>;
  Boost boost;
  std::vector<OpId> writer;  // of each tensor, the operator that wrote it last
};

Graph::Graph() : wiring_(std::make_unique<Wiring>()) {}
Graph::Graph(const Graph& o) : ops_(o.ops_), tensors_(o.tensors_), wiring_(std::make_unique<Wiring>(*o.wiring_)) {}
Graph::Graph(Graph&&) noexcept = default;
Graph::~Graph() = default;

Graph& Graph::operator=(Graph o) noexcept {
  ops_.swap(o.ops_);
  tensors_.swap(o.tensors_);
  wiring_.swap(o.wiring_);
  return *this;
}

TensorId Graph::add(Tensor tensor) {
  tensors_.push_back(std::move(tensor));
  wiring_->writer.push_back(no_op);
  return static_cast<TensorId>(tensors_.size() - 1);
}

OpId Graph::add(Op op) {
  const auto id = static_cast<OpId>(boost::add_vertex(wiring_->boost));
  for (const Use& use : op.uses) {
    OpId& writer = wiring_->writer[use.tensor];
    if (!use.write && writer != no_op) boost::add_edge(writer, id, use.tensor, wiring_->boost);
  }
  for (const Use& use : op.uses)
    if (use.write) wiring_->writer[use.tensor] = id;
  ops_.push_back(std::move(op));
  return id;
}

std::vector<Edge> Graph::edges() const {
  std::vector<Edge> result;
  const auto& g = wiring_->boost;
  for (OpId producer = 0; producer < ops_.size(); ++producer)
    for (auto [it, end] = boost::out_edges(producer, g); it != end; ++it)
      result.push_back({producer, static_cast<OpId>(target(*it, g)), g[*it]});
  return result;
}

std::vector<OpId> Graph::topological_order() const {
  std::vector<OpId> order;
  boost::topological_sort(wiring_->boost, std::back_inserter(order));
  std::ranges::reverse(order);
  return order;
}

double Graph::peak_activation_bytes() const {
  // Operators are added in an order in which they can run; a tensor lives from its first to its last use.
  std::vector<OpId> first(tensors_.size(), no_op), last(tensors_.size(), 0);
  for (OpId id = 0; id < ops_.size(); ++id)
    for (const Use& use : ops_[id].uses) {
      first[use.tensor] = std::min(first[use.tensor], id);
      last[use.tensor] = std::max(last[use.tensor], id);
    }
  std::vector<double> change(ops_.size() + 1, 0.0);
  for (TensorId t = 0; t < tensors_.size(); ++t) {
    if (tensors_[t].role != Role::activation || first[t] == no_op) continue;
    const double bytes = tensors_[t].bytes();
    change[first[t]] += bytes;
    change[last[t] + 1] -= bytes;
  }
  double live = 0, peak = 0;
  for (double c : change) peak = std::max(peak, live += c);
  return peak;
}

std::string Graph::to_dot() const {
  std::string text = "digraph gambrel {\n  rankdir=TB; node [shape=box, fontname=\"sans-serif\"];\n";
  for (OpId id = 0; id < ops_.size(); ++id)
    text += fmt::format("  {} [label=\"{}\\n{} x{}\"];\n", id, ops_[id].name, to_string(ops_[id].kind), ops_[id].count);
  for (const Edge& e : edges()) {
    const Tensor& t = tensors_[e.tensor];
    text += fmt::format("  {} -> {} [label=\"[{}] {}\"];\n", e.producer, e.consumer, fmt::join(t.shape, ", "), to_string(t.type));
  }
  return text + "}\n";
}

double Work::bytes(Role role) const {
  const auto i = static_cast<std::size_t>(role);
  return read_bytes[i] + written_bytes[i];
}

double Work::bytes() const {
  double sum = 0;
  for (int i = 0; i < role_count; ++i) sum += bytes(static_cast<Role>(i));
  return sum;
}

namespace {

constexpr double per_read = 2, per_written = 4;  // see the declaration of work_of

bool is_weight(Role role) { return role == Role::weight || role == Role::expert_weight; }

/// Rows that are copied as they are: dispatched, exchanged.
bool copies(const Graph& graph, const Op& op, Format format) {
  if (row_of(op.kind).contraction) return false;
  return std::ranges::any_of(op.uses, [&](const Use& use) { return !use.write && graph.tensor(use.tensor).type.format == format; });
}

/// What one operand adds to the work on the vector unit.
void convert(Work& work, const Graph& graph, const Op& op, const Use& use, const Tensor& tensor) {
  const double bits = tensor.type.element_bits(), math = DataType(op.math).element_bits();
  const bool kept = tensor.role == Role::activation || tensor.role == Role::kv_cache;
  if (use.write && kept && bits <= 8 && !copies(graph, op, tensor.type.format)) work.conversions += per_written * use.elements;
  if (use.write || !row_of(op.kind).contraction || bits > 16) return;
  if (bits < math) work.conversions += per_read * use.elements;
  else if (bits <= 8 && tensor.type.format == op.math) work.narrow += use.elements;
  if (is_weight(tensor.role) && tensor.stored_share != 1 && op.skipped == 0) work.expanded += use.elements;
}

}  // namespace

Work work_of(const Graph& graph, const Op& op) {
  const OpRow& row = row_of(op.kind);
  Work work{.flops = row.flops(op.dims) * (1 - op.skipped), .vector_flops = row.vector_flops(op.dims)};
  for (const Use& use : op.uses) {
    const Tensor& tensor = graph.tensor(use.tensor);
    convert(work, graph, op, use, tensor);
    if (use.on_chip) continue;
    const double elements = tensor.elements();
    const double bytes = elements > 0 ? tensor.bytes() * (use.elements / elements) : 0;
    (use.write ? work.written_bytes : work.read_bytes)[static_cast<std::size_t>(tensor.role)] += bytes;
  }
  return work;
}

std::vector<LoweredOp> lower(const Graph& graph) {
  std::vector<LoweredOp> rows;
  rows.reserve(graph.ops().size());
  for (const Op& op : graph.ops()) rows.push_back({op.kind, op.math, op.sparse_weights, op.count, op.dims, work_of(graph, op), op.fused});
  return rows;
}

}  // namespace gambrel::models

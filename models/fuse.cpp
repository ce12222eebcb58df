#include "models/fuse.hpp"

#include <algorithm>
#include <limits>
#include <set>

namespace gambrel::models {
namespace {

constexpr OpId none = std::numeric_limits<OpId>::max();

bool is_norm(const Op& op) { return op.kind == OpKind::rms_norm || op.kind == OpKind::layer_norm; }
bool is_product(const Op& op) { return op.kind == OpKind::gemm || op.kind == OpKind::grouped_gemm; }
bool starts_attention(const Op& op) { return op.kind == OpKind::attention || op.kind == OpKind::attention_scores; }

Use* find_use(Op& op, bool write, TensorId tensor) {
  const auto found = std::ranges::find_if(op.uses, [&](const Use& use) { return use.write == write && use.tensor == tensor; });
  return found == op.uses.end() ? nullptr : &*found;
}
bool reads(const Op& op, TensorId tensor) {
  return std::ranges::any_of(op.uses, [&](const Use& use) { return !use.write && use.tensor == tensor; });
}
bool covers(const Op& op, int layer) {
  const int offset = layer - op.first_layer;
  return op.part == ModelPart::layers && offset >= 0 && offset % op.layer_step == 0 && offset / op.layer_step < op.count;
}

/// True if each execution of `reader` follows the same execution of `writer`: in one layer, or in neighbouring ones of a
/// repeated pattern.
bool in_step(const Op& writer, const Op& reader) {
  const int distance = reader.first_layer - writer.first_layer;
  return writer.part == reader.part && writer.count == reader.count && writer.layer_step == reader.layer_step && distance >= 0 &&
         (distance == 0 || distance < reader.layer_step);
}

class Fuser {
 public:
  Fuser(const Graph& graph, const Fusion& fusion) : graph_(graph), fusion_(fusion), ops_(graph.ops()) {}

  Graph fused() {
    std::vector<OpId> writer(graph_.tensors().size(), none);
    for (OpId id = 0; id < ops_.size(); ++id) {
      if (fusion_.norms && is_norm(ops_[id])) join_addition(id, writer[ops_[id].uses.front().tensor]);
      if (fusion_.activation != Epilogue::none && ops_[id].kind == OpKind::activation) join_product(id);
      if (fusion_.rotary && ops_[id].kind == OpKind::kv_append) join_rotary(id);
      for (const Use& use : ops_[id].uses)
        if (use.write) writer[use.tensor] = id;
    }
    Graph result;
    for (const Tensor& tensor : graph_.tensors()) result.add(tensor);
    for (Op& op : ops_) result.add(std::move(op));
    return result;
  }

 private:
  bool is_addition(OpId id) const { return id != none && ops_[id].kind == OpKind::elementwise; }

  /// The last operator of the layer before the second execution of a repeated one.
  OpId end_of_layer_before(const Op& op) const {
    const int layer = op.first_layer + op.layer_step - 1;
    for (auto id = static_cast<OpId>(ops_.size()); id-- > 0;)
      if (covers(ops_[id], layer)) return id;
    return none;
  }

  /// One addition feeds one norm: `writers` holds those that already do. The edge from the end of a repeated layer to
  /// its start is not in the graph, so additions are told apart by which way their sum goes.
  void join_addition(OpId id, OpId direct) {
    Op& norm = ops_[id];
    double share = 0;  // of the executions
    const bool repeated = norm.count > 1 && !(direct != none && in_step(ops_[direct], norm));
    if (is_addition(direct) && followed_.insert(direct).second) share = repeated ? 1 / norm.count : 1;
    if (repeated)
      if (const OpId last = end_of_layer_before(norm); is_addition(last) && followed_around_.insert(last).second) share += 1 - 1 / norm.count;
    if (share == 0) return;
    norm.fused = true;
    Use& sum = norm.uses.front();
    if (share > 1 - 1e-9) sum.on_chip = true;
    else sum.elements *= 1 - share;
  }

  void join_product(OpId id) {
    Op& activation = ops_[id];
    if (id == 0 || !is_product(ops_[id - 1])) return;
    Use& in = activation.uses.front();
    Use* out = find_use(ops_[id - 1], true, in.tensor);
    const Use* result = &activation.uses.back();
    const bool gated = in.elements > result->elements;
    if (!out || (gated && fusion_.activation == Epilogue::simple)) return;
    if (std::ranges::count_if(ops_, [&](const Op& op) { return reads(op, in.tensor); }) != 1) return;  // another wants the product itself
    activation.fused = in.on_chip = out->on_chip = true;
  }

  void join_rotary(OpId id) {
    Op& append = ops_[id];
    if (id > 1 && ops_[id - 2].fused && ops_[id - 2].kind == OpKind::rotary) append.fused = true;  // a latent's, its norm between
    if (id == 0 || ops_[id - 1].kind != OpKind::rotary || ops_[id - 1].count != append.count) return;
    append.fused = true;
    Op& rotary = ops_[id - 1];
    const TensorId rotated = rotary.uses.front().tensor;
    Use *written = find_use(rotary, true, rotated), *read = find_use(append, false, rotated);
    if (!written || !read) return;
    const double keys = std::min({rotated_keys(id), written->elements, read->elements});
    for (OpId later = id + 1; later < ops_.size(); ++later)
      if (const Use* use = find_use(ops_[later], false, rotated))
        if (!starts_attention(ops_[later]) || use->elements > graph_.tensor(rotated).elements() - keys) return;
    written->elements -= keys;
    read->elements -= keys;
  }

  /// Elements of the keys among those that the rotary embedding before `append` turns.
  double rotated_keys(OpId append) const {
    const TensorId cache = ops_[append].uses.back().tensor;
    for (OpId id = append + 1; id < ops_.size(); ++id)
      if (const Op& core = ops_[id]; starts_attention(core) && reads(core, cache)) {
        const Dims& turned = ops_[append - 1].dims;
        return turned[Dim::m] * turned[Dim::n] * core.dims[Dim::kv_heads] / (core.dims[Dim::heads] + core.dims[Dim::kv_heads]);
      }
    return 0;
  }

  const Graph& graph_;
  const Fusion& fusion_;
  std::vector<Op> ops_;
  std::set<OpId> followed_, followed_around_;
};

}  // namespace

Graph fuse(const Graph& graph, const Fusion& fusion) { return Fuser(graph, fusion).fused(); }

}  // namespace gambrel::models

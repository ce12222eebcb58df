#include "sim/refine.hpp"

#include <algorithm>

#include "sim/kernel_models/array_model.hpp"

namespace gambrel::sim {
namespace {

using models::Dim;
using models::OpKind;
using models::Role;

/// What the attention of a model finds: a processor's models are told what was touched in between.
hw::Chip without_cache(hw::Chip chip) {
  if (model_set(chip.kind) == ModelSet::processor) return chip;
  for (std::size_t i = 1; i < chip.memory.size(); ++i) chip.memory[i].capacity = Bytes{0};
  return chip;
}

/// The type of the first operand of a role that is read; the activations' if there is none.
DataType operand_type(const models::Graph& graph, const models::Op& op, std::initializer_list<Role> roles, DataType otherwise) {
  for (const models::Use& use : op.uses)
    if (!use.write && std::ranges::count(roles, graph.tensor(use.tensor).role)) return graph.tensor(use.tensor).type;
  return otherwise;
}

KernelKind attention_kind(const models::Dims& d) {
  const bool latent = d[Dim::qk_width] != d[Dim::v_width];
  if (d[Dim::queries] > 1) return latent ? KernelKind::mla_prefill : KernelKind::attention_prefill;
  return latent ? KernelKind::mla_decode : KernelKind::attention_decode;
}

/// Batched and grouped products, the pieces of an unfused attention among them, are tiled as one product is. What reads
/// and writes without a product, scans and look-ups included, is elementwise.
std::optional<KernelKind> kind_of(const models::Op& op) {
  switch (op.kind) {
    case OpKind::gemm: case OpKind::batched_gemm: case OpKind::grouped_gemm: case OpKind::attention_scores: case OpKind::attention_values:
      return KernelKind::gemm;
    case OpKind::attention: case OpKind::attention_backward: return attention_kind(op.dims);
    case OpKind::expert_ffn: case OpKind::expert_ffn_backward: return KernelKind::moe;
    case OpKind::rms_norm: case OpKind::layer_norm: case OpKind::softmax: case OpKind::rotary: case OpKind::elementwise: case OpKind::activation:
    case OpKind::embedding: case OpKind::dispatch: case OpKind::combine: case OpKind::kv_append: case OpKind::router_topk: case OpKind::sampling:
    case OpKind::ssm_scan: case OpKind::ssm_scan_backward: case OpKind::conv1d: case OpKind::cross_entropy:
      return KernelKind::elementwise;
    case OpKind::collective: return std::nullopt;
  }
  return std::nullopt;
}

/// Rate of a fused backward pass over the forward's: FlashAttention-2 on H100, heads of 128, 8,192 tokens, reaches 369
/// TFLOP/s forward and 335 forward and backward, so 323 backward (Dao-AILab/flash-attention@0251105a, its bar labels).
constexpr double backward_rate = 0.87;

OpKind forward_kind(OpKind kind) {
  return kind == OpKind::attention_backward ? OpKind::attention : kind == OpKind::expert_ffn_backward ? OpKind::expert_ffn : kind;
}

/// A fused backward pass as so many times the forward kernel of the same shape: no row measures one.
KernelPrediction as_backward(KernelPrediction p, const models::Op& op) {
  const OpKind forward = forward_kind(op.kind);
  if (forward == op.kind || p.provenance == Provenance::analytic) return p;
  const double times = models::row_of(op.kind).flops(op.dims) / models::row_of(forward).flops(op.dims) / backward_rate;
  p.seconds *= times, p.low *= times, p.high *= times;
  p.provenance = std::max(p.provenance, Provenance::transferred);
  return p;
}

/// Sparse weights in the dense kernel's measure: no row measures them.
KernelPrediction as_sparse(KernelPrediction p, const KernelCall& call) {
  const bool sparse = call.stored_share != 1 || call.sparse_speed != 1;
  if (sparse && p.provenance < Provenance::transferred) p.provenance = Provenance::transferred;
  return p;
}

/// Experts that get tokens, by the share of their weights that is read; all of them outside experts.
double experts_hit(const models::Graph& graph, const models::Op& op) {
  double share = 0;
  for (const models::Use& use : op.uses)
    if (const models::Tensor& t = graph.tensor(use.tensor); t.role == Role::expert_weight) share = std::max(share, use.elements / t.elements());
  return op.dims[Dim::groups] * (share > 0 ? share : 1);
}

/// Zeros that kernels skip make a narrower product; of what is left the weights may still be stored in fewer bytes.
void leave_out_zeros(KernelCall& call, const models::Graph& graph, const models::Op& op) {
  const bool experts = call.op.kind == OpKind::expert_ffn;
  if (!experts && call.kind != KernelKind::gemm) return;
  for (const models::Use& use : op.uses)
    if (const models::Tensor& t = graph.tensor(use.tensor); !use.write && t.stored_share != 1) call.stored_share = t.stored_share;
  if (op.skipped == 0) return;
  call.op.dims[experts ? Dim::n : Dim::k] *= 1 - op.skipped;
  call.stored_share = call.stored_share == 1 ? 1 : call.stored_share / (1 - op.skipped);
}

/// Bytes that all of a graph's operators touch, once through: what a processor's caches see between two uses of a weight.
double touched_bytes(const models::Graph& graph) {
  double bytes = 0;
  for (const models::Op& op : graph.ops()) bytes += op.count * models::work_of(graph, op).bytes();
  return bytes;
}

/// Several equal products as one: each further one is further columns. FLOPs, weights and results are the same.
void merge_products(models::Dims& dims, const Product& p) {
  dims[Dim::m] = p.m;
  dims[Dim::n] = p.items * p.n;
  dims[Dim::k] = p.k;
}

/// An activation in a product's epilogue: it works on registers, beside the next tile's arithmetic.
bool in_epilogue(const models::Op& op) { return op.fused && op.kind == OpKind::activation; }

/// Rotary embedding and cache write as one kernel. It is the first of the two that the attention models' rows time
/// (TensorRT-LLM), so that here it costs no more than its roofline.
bool in_attention(const models::Graph& graph, std::size_t i) {
  const auto appends = [&](std::size_t at) { return at < graph.ops().size() && graph.ops()[at].fused && graph.ops()[at].kind == OpKind::kv_append; };
  if (graph.ops()[i].kind != OpKind::rotary) return appends(i);
  return appends(i + 1) || appends(i + 2) || appends(i + 3);  // a latent's key is rotated, and its norm run, in between
}

}  // namespace

std::optional<KernelCall> kernel_call(const models::Graph& graph, const models::Op& op, const models::Routing& routing) {
  const auto kind = kind_of(op);
  if (!kind) return std::nullopt;
  KernelCall call;
  call.kind = *kind;
  call.op = {forward_kind(op.kind), op.math, op.sparse_weights, op.count, op.dims, models::work_of(graph, op), op.fused};
  call.activations = operand_type(graph, op, {Role::activation}, Format::bf16);
  call.stored = operand_type(graph, op, {Role::weight, Role::expert_weight, Role::kv_cache}, call.activations);
  if (call.op.kind == OpKind::attention) {
    call.context = op.dims[Dim::keys];
    // Fewer pairs than a causal mask leaves: a window holds them back.
    const double causal = models::score_pairs(op.dims[Dim::queries], op.dims[Dim::keys] - op.dims[Dim::queries], 0, 0);
    if (op.dims[Dim::pairs] < causal) call.window = std::max(1.0, op.dims[Dim::pairs] / op.dims[Dim::queries]);
  }
  if (call.kind == KernelKind::gemm) merge_products(call.op.dims, products_of(op.kind, op.dims, experts_hit(graph, op)).front());
  leave_out_zeros(call, graph, op);
  if (op.kind == OpKind::softmax) call.op.dims[Dim::n] = op.dims[Dim::keys];
  if (call.op.kind == OpKind::expert_ffn) {
    call.routing = routing;
    call.all_experts = op.dims[Dim::groups];
    call.tokens = op.dims[Dim::m] / op.dims[Dim::top_k];
  }
  return call;
}

std::vector<RefinedOp> refined_ops(const models::Graph& graph, const models::Routing& routing, const Machine& machine) {
  const double touched = touched_bytes(graph);
  std::vector<RefinedOp> refined;
  for (std::size_t i = 0; i < graph.ops().size(); ++i) {
    const models::Op& op = graph.ops()[i];
    RefinedOp one{.call = kernel_call(graph, op, routing), .keeps_roofline = in_epilogue(op) || in_attention(graph, i), .experts_hit = experts_hit(graph, op)};
    if (auto& call = one.call) {
      one.cold_caches = call->op.kind == OpKind::attention;
      call->between = touched;
      if (const MathRate& rate = machine.rate_of(op.math); op.sparse_weights) call->sparse_speed = rate.sparse_rate / rate.rate;
    }
    refined.push_back(std::move(one));
  }
  return refined;
}

Refiner::Refiner(const Run& run)
    : run_(run), machine_(make_machine(run.system.chip(), run.placement, run.sparsity_pattern)),
      kernels_(run.system.chip(), run.calibration.for_models(), run.assume),
      attention_(without_cache(run.system.chip()), run.calibration.for_models(), run.assume) {}

void Refiner::use_arrays(OpEstimate& row, const models::Graph& graph, const models::Op& op) const {
  if (!models::row_of(op.kind).contraction || machine_.rate_of(op.math).arrays == 0) return;
  const models::LoweredOp lowered{op.kind, op.math, op.sparse_weights, op.count, op.dims, models::work_of(graph, op), op.fused};
  row.t_math = std::max(row.t_math, Seconds{array_seconds(machine_.rate_of(op.math), lowered, experts_hit(graph, op))});
  row.time = row.time_low = row.time_high = std::max(row.time, row.t_math);
  if (row.t_math > row.t_mem) row.bound = "compute";
}

void Refiner::use_kernel(OpEstimate& row, const KernelPrediction& p) const {
  row.time = std::max(row.time, Seconds{p.seconds});
  row.time_low = std::max(row.time_low, Seconds{p.low});
  row.time_high = std::max(row.time, Seconds{p.high});
  if (p.bound == "launch") row.bound = "launch";
}

void Refiner::refine(Phase& phase, const models::Graph& graph) const {
  const std::vector<RefinedOp> refined = refined_ops(graph, run_.workload.routing, machine_);
  for (std::size_t i = 0; i < phase.ops.size(); ++i) {
    OpEstimate& row = phase.ops[i];
    const models::Op& op = graph.ops()[i];
    if (row.provenance == Provenance::assumed) continue;
    KernelPrediction p;  // analytic
    if (const auto& call = refined[i].call) p = as_sparse(as_backward((refined[i].cold_caches ? attention_ : kernels_).predict(*call), op), *call);
    if (p.provenance == Provenance::analytic) use_arrays(row, graph, op);
    else if (!refined[i].keeps_roofline) use_kernel(row, p);
    row.provenance = p.provenance;
  }
}

}  // namespace gambrel::sim

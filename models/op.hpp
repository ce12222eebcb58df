// Operators and tensors of the dataflow graph, and the one operator table: what each kind computes.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/collective.hpp"
#include "base/data_type.hpp"
#include "models/sharding.hpp"

namespace gambrel::models {

/// Extents of an operator's loops. Fractional ones are expectations (rows an expert gets).
enum class Dim : std::uint8_t {
  batch,        ///< sequences, or independent matrices
  m, n, k,      ///< rows (tokens), output width, contracted width
  heads,        ///< query heads
  kv_heads,     ///< key/value heads they share
  queries,      ///< new tokens of one sequence
  keys,         ///< tokens of one sequence that at least one query sees
  pairs,        ///< (query, key) pairs of one sequence and head that are computed
  qk_width,     ///< elements contracted for a score
  v_width,      ///< elements of a value
  groups,       ///< experts
  top_k,        ///< experts a token goes to
  projections,  ///< matrices of an expert: 3 gated, 2 not
  terms,        ///< arithmetic operations per element
  state         ///< state-space elements per channel
};
inline constexpr int dim_count = 16;

struct Dims {
  std::array<double, dim_count> extent{};
  double& operator[](Dim d) { return extent[static_cast<std::size_t>(d)]; }
  double operator[](Dim d) const { return extent[static_cast<std::size_t>(d)]; }
};

/// What a tensor is for; it decides where the tensor is placed and whether it is a parameter.
enum class Role : std::uint8_t { weight, expert_weight, kv_cache, state, activation };
inline constexpr int role_count = 5;

struct Tensor {
  std::string name;
  std::vector<double> shape;   ///< elements per axis, outermost first; experts are an axis
  DataType type;
  Role role = Role::activation;
  double copies = 1;           ///< layers that each have one of their own
  double stored_share = 1;     ///< bytes stored over dense bytes: below 1 if sparse, indices included
  double active_share = 1;     ///< of a weight: the share one token multiplies with (top_k / experts)
  bool looked_up = false;      ///< a table whose rows are copied, never multiplied

  double elements() const;     ///< of one copy
  double bytes() const;        ///< of one copy, scales and sparsity included
};

using TensorId = std::uint32_t;
using OpId = std::uint32_t;

/// One operand of one execution: `elements` of the tensor that are moved (rows gathered, window read, experts hit).
struct Use {
  TensorId tensor = 0;
  bool write = false;
  double elements = 0;
  bool on_chip = false;  ///< handed over inside one kernel: no memory traffic
};

/// What a collective operator does, and among which ranks. It reads what a rank sends and writes what it then has; an
/// all_reduce works in place. What an all_gather writes is not kept for a backward pass but gathered again there, and so
/// are keys and values that went round the context axis (Korthikanti et al. 2022, arXiv 2205.05198 section 4.2.2).
struct Communication {
  CollectiveKind kind = CollectiveKind::all_reduce;
  MeshAxis axis = MeshAxis::tensor;
  double ranks = 1;   ///< of the group; the context axis may be merged into data's (gradients)
  double bytes = 0;   ///< the whole message as nccl-tests count: gathered, or still to be scattered; all-to-all: sent by one rank
  double stride = 1;  ///< between the group's members, in ranks of the axis: a part of an axis that layouts split in two
  double steps = 1;   ///< messages of `bytes` each, one after the other (a ring's hops)
  bool backward_only = false;  ///< nothing is sent forward; the backward pass runs `kind` on the gradient (Megatron's f)
  bool forward_only = false;   ///< the backward pass has nothing to send: every rank holds the whole gradient
};

/// Where in the model an operator stands.
enum class ModelPart : std::uint8_t { embedding, layers, head };

enum class OpKind : std::uint8_t {
  gemm, batched_gemm, grouped_gemm, attention, attention_scores, attention_values, softmax, rms_norm, layer_norm,
  rotary, elementwise, activation, embedding, router_topk, dispatch, expert_ffn, combine, kv_append, sampling,
  ssm_scan, conv1d, collective, cross_entropy, attention_backward, expert_ffn_backward, ssm_scan_backward
};
inline constexpr int op_kind_count = 26;

struct Op {
  std::string name;            ///< path, "layers.0-31.attn.qkv"
  OpKind kind = OpKind::gemm;
  Dims dims;
  double count = 1;            ///< executions in the graph (layers)
  Format math = Format::bf16;  ///< format of the contraction's operands; fp32 for vector work
  bool sparse_weights = false; ///< N:M structured: units that can, skip the zeros
  double skipped = 0;          ///< share of the contraction that any kernel skips: whole blocks of zeros, inputs that are zero
  std::optional<Communication> communication;  ///< of a collective
  ModelPart part = ModelPart::layers;
  int first_layer = 0, layer_step = 1;         ///< in part `layers`: layers first, first + step, ... `count` of them
  bool fused = false;          ///< runs inside the kernel of the operator before it: no launch of its own
  std::vector<Use> uses;
};

/// A row of the operator table. FLOPs count a multiply-add as two. `flops` is the operator's nominal work (of a
/// contraction its multiply-adds); `vector_flops` the part that runs on the vector unit.
struct OpRow {
  OpKind kind;
  std::string_view name;
  bool contraction;
  double (*flops)(const Dims&);
  double (*vector_flops)(const Dims&);
  std::string_view formula;    ///< both, as printed in the documentation
};

const std::array<OpRow, op_kind_count>& op_table();
const OpRow& row_of(OpKind kind);
std::string_view to_string(OpKind kind);
std::string_view to_string(Role role);

/// (query, key) pairs of `queries` new tokens after `past` ones: causal sum over i of past + i, exactly
/// s (s + 1) / 2 without a past; a sliding window of w sees at most w keys, the token itself included; a chunk of c
/// sees its own chunk only; not causal: queries x (past + queries).
double score_pairs(double queries, double past, double window, double chunk, bool causal = true);

/// Keys that at least one of those queries sees: what a fused attention reads of the cache.
double keys_read(double queries, double past, double window, double chunk);

/// The format a contraction runs in: the wider operand's; floating beats integer (weight-only formats are
/// dequantised to the activations').
Format math_format(Format activations, Format weights);

}  // namespace gambrel::models

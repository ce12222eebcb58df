// The operator table: one row a kind, the formula readable beside its words.
#include <algorithm>
#include <cmath>

#include "models/op.hpp"

namespace gambrel::models {
namespace {

using D = Dim;

double none(const Dims&) { return 0.0; }
double gemm(const Dims& d) { return 2 * d[D::m] * d[D::n] * d[D::k]; }
double batched_gemm(const Dims& d) { return d[D::batch] * gemm(d); }
double per_element(const Dims& d) { return d[D::m] * d[D::n] * d[D::terms]; }
double scores(const Dims& d) { return 2 * d[D::batch] * d[D::heads] * d[D::pairs] * d[D::qk_width]; }
double values(const Dims& d) { return 2 * d[D::batch] * d[D::heads] * d[D::pairs] * d[D::v_width]; }
double attention(const Dims& d) { return scores(d) + values(d); }
// Per score: scale, running maximum, subtract, exponentiate, sum.
double softmax(const Dims& d) { return 5 * d[D::batch] * d[D::heads] * d[D::pairs]; }
double expert_ffn(const Dims& d) { return d[D::projections] * gemm(d); }
double router(const Dims& d) { return d[D::m] * d[D::groups] * (5 + d[D::top_k]); }
double combine(const Dims& d) { return 2 * d[D::m] * d[D::n] * d[D::top_k]; }
// Per channel and state element: decay and input products, their sum (3), the output's multiply-add (2); per channel
// the skip D x and the step size (3). Mamba-2, arXiv 2405.21060 eq. 1 as a recurrence.
double ssm_scan(const Dims& d) { return d[D::m] * d[D::n] * (5 * d[D::state] + 3); }
double conv1d(const Dims& d) { return 2 * d[D::m] * d[D::n] * d[D::k]; }
// Scores again, gradients of values, weights, queries and keys: five products for the forward's two, 2.5x if qk = v
// (Dao 2023, arXiv 2307.08691 section 3.1.2). Per score: scale, subtract, exponentiate; subtract, multiply, scale; and
// the output times its gradient, once a row.
double attention_backward(const Dims& d) { return 2 * d[D::batch] * d[D::heads] * d[D::pairs] * (3 * d[D::qk_width] + 2 * d[D::v_width]); }
double softmax_backward(const Dims& d) { return 6 * d[D::batch] * d[D::heads] * d[D::pairs] + 2 * d[D::batch] * d[D::heads] * d[D::queries] * d[D::v_width]; }
// The inner activations were never stored: the first product again, then two for each of the forward's.
double expert_ffn_backward(const Dims& d) { return (3 * d[D::projections] - 1) * gemm(d); }
double ssm_scan_backward(const Dims& d) { return 3 * ssm_scan(d); }

constexpr std::array<OpRow, op_kind_count> table{{
    {OpKind::gemm, "gemm", true, gemm, per_element, "2 m n k; vector: terms m n (bias)"},
    {OpKind::batched_gemm, "batched_gemm", true, batched_gemm, none, "2 batch m n k"},
    {OpKind::grouped_gemm, "grouped_gemm", true, gemm, per_element, "2 m n k, m rows over all groups; vector: terms m n (bias)"},
    {OpKind::attention, "attention", true, attention, softmax, "2 batch heads pairs (qk + v); vector: 5 batch heads pairs"},
    {OpKind::attention_scores, "attention_scores", true, scores, none, "2 batch heads pairs qk"},
    {OpKind::attention_values, "attention_values", true, values, none, "2 batch heads pairs v"},
    {OpKind::softmax, "softmax", false, softmax, softmax, "5 batch heads pairs"},
    {OpKind::rms_norm, "rms_norm", false, per_element, per_element, "4 m n: square, sum, scale, gain"},
    {OpKind::layer_norm, "layer_norm", false, per_element, per_element, "7 m n: sum, centre, square, sum, scale, gain, bias"},
    {OpKind::rotary, "rotary", false, per_element, per_element, "3 m n: two products and their sum"},
    {OpKind::elementwise, "elementwise", false, per_element, per_element, "terms m n"},
    {OpKind::activation, "activation", false, per_element, per_element, "terms m n: swiglu 5, geglu 9, silu 4, gelu 8, relu 1, relu2 2"},
    {OpKind::embedding, "embedding", false, none, none, "0: rows are copied"},
    {OpKind::router_topk, "router_topk", false, router, router, "m groups (5 + top_k): softmax and top_k comparisons"},
    {OpKind::dispatch, "dispatch", false, none, none, "0: rows are copied to their experts"},
    {OpKind::expert_ffn, "expert_ffn", true, expert_ffn, per_element, "2 projections m n k, m rows over all experts; vector: terms m n"},
    {OpKind::combine, "combine", false, combine, combine, "2 m n top_k"},
    {OpKind::kv_append, "kv_append", false, none, none, "0: rows are copied into the cache"},
    {OpKind::sampling, "sampling", false, per_element, per_element, "5 m n: softmax over the vocabulary"},
    {OpKind::ssm_scan, "ssm_scan", false, ssm_scan, ssm_scan, "m n (5 state + 3)"},
    {OpKind::conv1d, "conv1d", false, conv1d, conv1d, "2 m n k, depthwise"},
    {OpKind::collective, "collective", false, none, none, "0: the network's work"},
    {OpKind::cross_entropy, "cross_entropy", false, per_element, per_element, "5 m n: softmax over the vocabulary and its logarithm"},
    {OpKind::attention_backward, "attention_backward", true, attention_backward, softmax_backward, "2 batch heads pairs (3 qk + 2 v); vector: 6 batch heads pairs + 2 batch heads queries v"},
    {OpKind::expert_ffn_backward, "expert_ffn_backward", true, expert_ffn_backward, per_element, "2 (3 projections - 1) m n k; vector: terms m n"},
    {OpKind::ssm_scan_backward, "ssm_scan_backward", false, ssm_scan_backward, ssm_scan_backward, "3 m n (5 state + 3): the states again, then both factors' gradients"},
}};

constexpr bool in_order() {
  for (std::size_t i = 0; i < table.size(); ++i)
    if (table[i].kind != static_cast<OpKind>(i)) return false;
  return true;
}
static_assert(in_order(), "one row for each OpKind, in the enumeration's order");

}  // namespace

const std::array<OpRow, op_kind_count>& op_table() { return table; }
const OpRow& row_of(OpKind kind) { return table[static_cast<std::size_t>(kind)]; }
std::string_view to_string(OpKind kind) { return row_of(kind).name; }

std::string_view to_string(Role role) {
  static constexpr std::array<std::string_view, role_count> names{"weight", "expert_weight", "kv_cache", "state", "activation"};
  return names[static_cast<std::size_t>(role)];
}

std::string_view to_string(MeshAxis axis) {
  static constexpr std::array<std::string_view, mesh_axis_count> names{"tensor", "context", "data", "pipeline", "expert_tensor", "expert", "expert_data"};
  return names[static_cast<std::size_t>(axis)];
}

double Tensor::elements() const {
  double product = 1;
  for (double extent : shape) product *= extent;
  return product;
}

double Tensor::bytes() const {
  const double columns = shape.empty() ? 1 : shape.back();
  return type.stored_bytes(columns > 0 ? elements() / columns : 0, columns) * stored_share;
}

namespace {

// Sum of min(first + i, cap) for i = 0 .. n-1.
double capped_series(double first, double n, double cap) {
  const double uncapped = std::clamp(cap - first + 1, 0.0, n);
  return uncapped * first + uncapped * (uncapped - 1) / 2 + (n - uncapped) * cap;
}

// Pairs of the tokens at positions [0, end) when each sees the keys of its own chunk up to itself.
double chunked_pairs(double end, double chunk) {
  const double whole = std::floor(end / chunk), rest = end - whole * chunk;
  return whole * chunk * (chunk + 1) / 2 + rest * (rest + 1) / 2;
}

}  // namespace

double score_pairs(double queries, double past, double window, double chunk, bool causal) {
  if (!causal) return queries * (past + queries);
  if (chunk > 0) return chunked_pairs(past + queries, chunk) - chunked_pairs(past, chunk);
  if (window > 0) return capped_series(past + 1, queries, window);
  return queries * past + queries * (queries + 1) / 2;
}

double keys_read(double queries, double past, double window, double chunk) {
  if (chunk > 0) return past + queries - std::floor(past / chunk) * chunk;
  if (window > 0) return std::min(past + queries, queries + window - 1);
  return past + queries;
}

Format math_format(Format activations, Format weights) {
  const bool a = is_floating(activations), w = is_floating(weights);
  if (a != w) return a ? activations : weights;
  return DataType(weights).element_bits() > DataType(activations).element_bits() ? weights : activations;
}

}  // namespace gambrel::models

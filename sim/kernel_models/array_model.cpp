#include "sim/kernel_models/array_model.hpp"

#include <algorithm>

#include "sim/kernel_models/systolic.hpp"

namespace gambrel::sim {

using models::Dim;
using models::OpKind;

std::vector<Product> products_of(OpKind kind, const models::Dims& d, double experts_hit) {
  const double m = d[Dim::m], n = d[Dim::n], k = d[Dim::k];
  const double items = d[Dim::batch] * d[Dim::kv_heads], keys = d[Dim::pairs] / std::max(1.0, d[Dim::queries]);
  const double queries = d[Dim::queries] * d[Dim::heads] / std::max(1.0, d[Dim::kv_heads]);
  const Product scores{items, queries, keys, d[Dim::qk_width]}, values{items, queries, d[Dim::v_width], keys};
  const double groups = std::max(1.0, experts_hit), rows = m / groups, wide = (d[Dim::projections] - 1) * n;
  switch (kind) {
    case OpKind::gemm: return {{1, m, n, k}};
    case OpKind::batched_gemm: return {{d[Dim::batch], m, n, k}};
    case OpKind::grouped_gemm: return {{groups, rows, n, k}};
    case OpKind::expert_ffn: return {{groups, rows, wide, k}, {groups, rows, k, n}};
    case OpKind::attention: return {scores, values};
    case OpKind::attention_scores: return {scores};
    case OpKind::attention_values: return {values};
    // Scores again, then the gradients of weights, values, queries and keys.
    case OpKind::attention_backward:
      return {scores, {items, queries, keys, d[Dim::v_width]}, {items, keys, d[Dim::v_width], queries}, {items, queries, d[Dim::qk_width], keys}, {items, keys, d[Dim::qk_width], queries}};
    // The first product again, then both gradients of each.
    case OpKind::expert_ffn_backward: return {{groups, rows, wide, k}, {groups, rows, k, wide}, {groups, wide, k, rows}, {groups, rows, n, k}, {groups, k, n, rows}};
    default: return {};
  }
}

double array_seconds(const MathRate& rate, const models::LoweredOp& op, double experts_hit) {
  double cycles = 0;
  for (const Product& p : products_of(op.kind, op.dims, experts_hit))
    if (p.flops() > 0) cycles += shared_cycles(p.items, p.m, p.n, p.k, rate.rows, rate.columns, rate.dataflow, rate.arrays);
  // A cycle of all arrays, in their own time: formats that run at a multiple of the clock's rate take a part of it.
  return cycles * 2 * rate.rows * rate.columns * rate.arrays / rate.of(op);
}

}  // namespace gambrel::sim

// Inside sim/ only: an operator's matrix products, and their time on a chip's systolic arrays.
#pragma once

#include <vector>

#include "sim/machine.hpp"

namespace gambrel::sim {

/// `items` independent products of m x k by k x n; extents may be expectations.
struct Product {
  double items = 1, m = 0, n = 0, k = 0;
  double flops() const { return 2 * items * m * n * k; }
};

/// The products of a contraction; their FLOPs sum to the operator's. Query heads that share keys are rows of one product,
/// and a mask leaves each query its mean number of keys. `experts_hit`: of a routed operator, those that get tokens.
std::vector<Product> products_of(models::OpKind kind, const models::Dims& dims, double experts_hit);

/// Seconds on the unit's arrays, whose rate is that of full arrays: matrices are padded to whole arrays, operands of the
/// next fold are loaded while one computes, fill and drain are paid once a product. Needs `rate.arrays` > 0.
double array_seconds(const MathRate& rate, const models::LoweredOp& op, double experts_hit);

}  // namespace gambrel::sim

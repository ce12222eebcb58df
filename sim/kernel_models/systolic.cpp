#include "sim/kernel_models/systolic.hpp"

#include <algorithm>
#include <cmath>

namespace gambrel::sim {
namespace {

/// Folds of the two axes that lie on the array, and how long the third one streams.
struct Folds {
  double count, stream, load;  ///< `load`: cycles to put the stationary operand in place, 0 if none is
};

Folds folds_of(double m, double n, double k, double rows, double columns, hw::Dataflow dataflow) {
  using enum hw::Dataflow;
  switch (dataflow) {
    case output_stationary: return {std::ceil(m / rows) * std::ceil(n / columns), k, 0};
    case weight_stationary: return {std::ceil(k / rows) * std::ceil(n / columns), m, rows};
    case input_stationary: return {std::ceil(k / rows) * std::ceil(m / columns), n, rows};
  }
  return {};
}

}  // namespace

double systolic_cycles(double m, double n, double k, double rows, double columns, hw::Dataflow dataflow) {
  const Folds f = folds_of(m, n, k, rows, columns, dataflow);
  return f.count * (f.stream + f.load + rows + columns - 2) - 1;
}

double overlapped_cycles(double m, double n, double k, double rows, double columns, hw::Dataflow dataflow) {
  const Folds f = folds_of(m, n, k, rows, columns, dataflow);
  // A fold cannot be shorter than loading the next stationary operand.
  return f.count * std::max(f.stream, f.load) + f.load + rows + columns - 2;
}

double shared_cycles(double items, double m, double n, double k, double rows, double columns, hw::Dataflow dataflow, double arrays) {
  const Folds f = folds_of(m, n, k, rows, columns, dataflow);
  const double dealt = std::ceil(items * f.count / arrays) * std::max(f.stream, f.load);
  const double cut = items * f.count * std::max(std::ceil(f.stream / arrays), f.load);
  return std::min(dealt, cut) + f.load + rows + columns - 2;
}

}  // namespace gambrel::sim

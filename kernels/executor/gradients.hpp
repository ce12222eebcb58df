// Inside kernels/ only: how a kernel of the backward graph finds its operands, and the kernels themselves.
#pragma once

#include <Eigen/Dense>

#include "kernels/executor/op_run.hpp"

namespace gambrel::kernels {

inline bool is_gradient(std::string_view name) { return name.find(".grad") != name.npos; }

/// The gradient that came back: the first one among the reads, but for sums that ranks added up.
template <class T>
View<T>& arrived(OpRun<T>& run) {
  return *std::ranges::find_if(run.reads, [](const View<T>& view) {
    return is_gradient(view.tensor->name) && !view.is(".statistics.grad");
  });
}

/// A gradient that is added to: of a weight, read and written; of an activation, written.
template <class T>
struct Sum {
  View<T>*read = nullptr, *write = nullptr;
  explicit operator bool() const { return write != nullptr; }
  T* at(std::size_t row, std::size_t column, std::size_t n, std::size_t rows = 1) const {
    if (read) read->at(row, column, n, rows);
    return write->at(row, column, n, rows);
  }
  T* all() const { return at(0, 0, write->width(), write->rows()); }
};

/// Of the tensor whose name ends so: ".gain".
template <class T>
Sum<T> gradient_of(OpRun<T>& run, std::string_view ending) {
  const std::string name = std::string(ending) + ".grad";
  return {run.find(name), run.find_write(name)};
}

template <class T>
using GradientMatrix = Eigen::Matrix<T, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
template <class T>
using GradientBlock = Eigen::Map<GradientMatrix<T>, 0, Eigen::OuterStride<>>;

/// Rows and columns of a view or of a sum as a matrix.
template <class T, class Operand>
GradientBlock<T> block_of(Operand& operand, std::size_t width, std::size_t row, std::size_t rows, std::size_t columns) {
  return {operand.at(row, 0, columns, rows), static_cast<Eigen::Index>(rows), static_cast<Eigen::Index>(columns),
          Eigen::OuterStride<>(static_cast<Eigen::Index>(width))};
}

// products
template <class T>
void run_gemm_dgrad(OpRun<T>&);
template <class T>
void run_gemm_wgrad(OpRun<T>&);
template <class T>
void run_grouped_dgrad(OpRun<T>&);
template <class T>
void run_grouped_wgrad(OpRun<T>&);
template <class T>
void run_bias_wgrad(OpRun<T>&);
template <class T>
void run_expert_ffn_backward(OpRun<T>&);
// attention
template <class T>
void run_attention_backward(OpRun<T>&);
template <class T>
void run_scores_query_dgrad(OpRun<T>&);
template <class T>
void run_scores_key_dgrad(OpRun<T>&);
template <class T>
void run_softmax_backward(OpRun<T>&);
template <class T>
void run_values_weights_dgrad(OpRun<T>&);
template <class T>
void run_values_value_dgrad(OpRun<T>&);
// rows
template <class T>
void run_norm_backward(OpRun<T>&);
template <class T>
void run_rotary_backward(OpRun<T>&);
template <class T>
void run_activation_backward(OpRun<T>&);
template <class T>
void run_scale_backward(OpRun<T>&);
template <class T>
void run_sum_backward(OpRun<T>&);
template <class T>
void run_embedding_backward(OpRun<T>&);
template <class T>
void run_loss_backward(OpRun<T>&);
// routing
template <class T>
void run_router_backward(OpRun<T>&);
template <class T>
void run_dispatch_backward(OpRun<T>&);
template <class T>
void run_combine_backward(OpRun<T>&);
// state space
template <class T>
void run_conv1d_dgrad(OpRun<T>&);
template <class T>
void run_conv1d_wgrad(OpRun<T>&);
template <class T>
void run_ssm_scan_backward(OpRun<T>&);

/// Gradient of an activation of `inner` outputs: `gradient` of those, of the inputs into `to` (2 inner if gated). Returns twice its FLOPs.
template <class T>
double activate_backward(models::Activation activation, const T* in, const T* gradient, T* to, std::size_t inner);

}  // namespace gambrel::kernels

// Reference kernels of matrix products: plain, batched by head, grouped by expert, and a whole expert at once.
#include <Eigen/Dense>

#include "kernels/executor/numerics.hpp"
#include "kernels/executor/op_run.hpp"

namespace gambrel::kernels {
namespace {

using models::Dim;

template <class T>
using Matrix = Eigen::Matrix<T, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
template <class T>
using Block = Eigen::Map<Matrix<T>, 0, Eigen::OuterStride<>>;

/// Rows and columns of an operand as a matrix.
template <class T>
Block<T> block(View<T>& view, std::size_t row, std::size_t rows, std::size_t column, std::size_t columns) {
  return {view.at(row, column, columns, rows), static_cast<Eigen::Index>(rows), static_cast<Eigen::Index>(columns),
          Eigen::OuterStride<>(static_cast<Eigen::Index>(view.width()))};
}

/// y = x w^T in a narrow accumulator. False: the run's numerics want none.
template <class T, class X, class W, class Y>
bool multiplied_narrow(const OpRun<T>& run, const X& x, const W& w, Y& y) {
  if constexpr (std::is_same_v<T, float>)
    if (const auto accumulator = run.options.numerics ? run.options.numerics->accumulator(run.op) : std::nullopt) {
      auto size = [](Eigen::Index n) { return static_cast<std::size_t>(n); };
      multiply_narrow({x.data(), w.data(), y.data(), size(x.rows()), size(w.rows()), size(x.cols()),
                       size(x.outerStride()), size(w.outerStride()), size(y.outerStride())},
                      *accumulator);
      return true;
    }
  return false;
}

/// y = x w^T, and the FLOPs of it.
template <class T, class X, class W, class Y>
double multiply(const OpRun<T>& run, const X& x, const W& w, Y& y) {
  if (!multiplied_narrow(run, x, w, y)) y.noalias() = x * w.transpose();
  return 2.0 * static_cast<double>(x.rows()) * static_cast<double>(w.rows()) * static_cast<double>(x.cols());
}

/// The same by the library's kernel, biases added: y [m, n] of rows of `x` from `row` on. False: there is none.
template <class T>
bool multiplied_fast(OpRun<T>& run, std::size_t matrix, const T* x, std::size_t x_stride, const T* bias, T* y,
                     std::size_t y_stride, std::size_t m) {
  if constexpr (std::is_same_v<T, float>) {
    if (run.packed.size() <= matrix) return false;
    run.options.fast->gemm(run.packed[matrix], x, x_stride, bias, y, y_stride, m);
    return true;
  }
  return false;
}

template <class X>
std::size_t rows_in(const X& x) {
  return static_cast<std::size_t>(x.rows());
}

template <class X, class Y>
double flops_of(const X& x, const Y& y) {
  return 2.0 * static_cast<double>(x.rows()) * static_cast<double>(y.cols()) * static_cast<double>(x.cols());
}

/// Adds n biases to each row; returns the additions.
template <class Y, class T>
double add_bias(Y& y, const T* bias) {
  y.rowwise() += Eigen::Map<const Eigen::Matrix<T, 1, Eigen::Dynamic>>(bias, y.cols());
  return static_cast<double>(y.size());
}

/// The rows that go to each of a rank's experts.
template <class T>
std::vector<std::vector<std::size_t>> rows_of_experts(OpRun<T>& run, std::size_t experts) {
  std::vector<std::vector<std::size_t>> rows(experts);
  const std::vector<Tag>& tags = run.reads[0].buffer().tags;
  for (std::size_t i = 0; i < tags.size(); ++i) rows[tags[i].expert - run.place.expert * experts].push_back(i);
  return rows;
}

template <class T>
Matrix<T> gather(View<T>& in, const std::vector<std::size_t>& rows) {
  Matrix<T> x(rows.size(), in.width());
  for (std::size_t i = 0; i < rows.size(); ++i) x.row(i) = block(in, rows[i], 1, 0, in.width());
  return x;
}

template <class T>
void scatter(const Matrix<T>& y, View<T>& out, const std::vector<std::size_t>& rows) {
  for (std::size_t i = 0; i < rows.size(); ++i) block(out, rows[i], 1, 0, out.width()) = y.row(i);
}

/// Runs `one(expert, x)` on the rows of each expert that has any.
template <class T, class One>
void each_expert(OpRun<T>& run, std::size_t width, One one) {
  View<T>&in = run.reads[0], &out = run.writes[0];
  out.shape(in.rows(), width);
  out.buffer().tags = in.buffer().tags;
  const auto rows = rows_of_experts(run, run.dim(Dim::groups));
  for (std::size_t e = 0; e < rows.size(); ++e)
    if (!rows[e].empty()) scatter<T>(one(e, gather(in, rows[e])), out, rows[e]);
}

}  // namespace

// A router works on the tokens that no other rank has.
template <class T>
void run_gemm(OpRun<T>& run) {
  View<T>&in = run.reads[0], &weight = run.reads[1], &out = run.writes[0];
  const std::size_t m = run.path == "moe.router" ? std::min(run.dim(Dim::m), in.rows()) : in.rows();
  const std::size_t n = weight.rows(), k = weight.width();
  out.shape(m, n);
  if (m == in.rows()) out.buffer().know(in.buffer());
  auto y = block(out, 0, m, 0, n);
  const auto x = block(in, run.own_row(in, m), m, 0, k);
  const T* bias = run.reads.size() > 2 ? run.reads[2].all() : nullptr;
  if (multiplied_fast(run, 0, x.data(), in.width(), bias, y.data(), n, m)) {
    weight.all();
    run.products += flops_of(x, y), run.vector += bias ? static_cast<double>(y.size()) : 0;
    return;
  }
  run.products += multiply(run, x, block(weight, 0, n, 0, k), y);
  if (bias) run.vector += add_bias(y, bias);
}

// Each head has its own matrix and its own part of every row, of which it takes the first k.
template <class T>
void run_batched_gemm(OpRun<T>& run) {
  View<T>&in = run.reads[0], &weight = run.reads[1], &out = run.writes[0];
  const std::size_t batch = run.dim(Dim::batch), m = run.dim(Dim::m), n = run.dim(Dim::n), k = weight.width();
  for (std::size_t b = 0; b < batch; ++b) {
    auto y = block(out, 0, m, b * n, n);
    run.products += multiply(run, block(in, 0, m, b * (in.width() / batch), k), block(weight, b * n, n, 0, k), y);
  }
}

template <class T>
void run_grouped_gemm(OpRun<T>& run) {
  View<T>& weight = run.reads[1];
  const std::size_t n = run.dim(Dim::n), k = weight.width();
  View<T>* bias = run.find(".bias");
  each_expert(run, n, [&](std::size_t e, const Matrix<T>& x) {
    Matrix<T> y(x.rows(), n);
    const auto w = block(weight, e * n, n, 0, k);
    if (multiplied_fast<T>(run, e, x.data(), k, nullptr, y.data(), n, rows_in(x))) run.products += flops_of(x, y);
    else run.products += multiply(run, x, w, y);
    if (bias) run.vector += add_bias(y, bias->at(e, 0, n));
    return y;
  });
}

/// z = activation of y, an expert's rows; returns its operations.
template <class T>
double activate_rows(const OpRun<T>& run, const Matrix<T>& y, Matrix<T>& z, std::size_t inner) {
  if constexpr (std::is_same_v<T, float>)
    if (run.options.fast && run.options.fast->swiglu && run.spec->moe->activation == models::Activation::swiglu) {
      run.options.fast->swiglu(y.data(), z.data(), rows_in(y), inner);
      return 5.0 * static_cast<double>(z.size());
    }
  double operations = 0;
  for (Eigen::Index i = 0; i < y.rows(); ++i)
    operations += activate(run.spec->moe->activation, y.row(i).data(), z.row(i).data(), inner);
  return operations;
}

template <class T>
void run_expert_ffn(OpRun<T>& run) {
  View<T>&up = run.reads[1], &down = run.reads[2];
  const std::size_t inner = run.dim(Dim::n), hidden = run.dim(Dim::k), wide = up.rows() / run.dim(Dim::groups);
  View<T>* bias = run.find(".bias");
  each_expert(run, hidden, [&](std::size_t e, const Matrix<T>& x) {
    Matrix<T> y(x.rows(), wide), z(x.rows(), inner), result(x.rows(), hidden);
    const auto w = block(up, e * wide, wide, 0, hidden);
    if (multiplied_fast<T>(run, 2 * e, x.data(), hidden, nullptr, y.data(), wide, rows_in(x))) run.products += flops_of(x, y);
    else run.products += multiply(run, x, w, y);
    if (bias) add_bias(y, bias->at(e, 0, wide));  // the table leaves these additions out
    run.vector += activate_rows(run, y, z, inner);
    if constexpr (std::is_same_v<T, float>)
      if (run.options.numerics)
        run.options.numerics->inner(run.op, {z.data(), static_cast<std::size_t>(z.size())}, inner);
    const auto v = block(down, e * hidden, hidden, 0, inner);
    if (multiplied_fast<T>(run, 2 * e + 1, z.data(), inner, nullptr, result.data(), hidden, rows_in(z)))
      run.products += flops_of(z, result);
    else run.products += multiply(run, z, v, result);
    if (bias) add_bias(result, bias->at(e, wide, hidden));
    return result;
  });
}

template void run_gemm(OpRun<double>&);
template void run_gemm(OpRun<float>&);
template void run_batched_gemm(OpRun<double>&);
template void run_batched_gemm(OpRun<float>&);
template void run_grouped_gemm(OpRun<double>&);
template void run_grouped_gemm(OpRun<float>&);
template void run_expert_ffn(OpRun<double>&);
template void run_expert_ffn(OpRun<float>&);

}  // namespace gambrel::kernels

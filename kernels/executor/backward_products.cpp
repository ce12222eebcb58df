// Reference kernels of products' gradients: dx = dy W, dW = dy^T x, and those of a whole expert at once.
#include "kernels/executor/gradients.hpp"

namespace gambrel::kernels {
namespace {

using models::Dim;

template <class T>
double flops(const GradientMatrix<T>& a, const GradientMatrix<T>& b) {
  return 2.0 * static_cast<double>(a.rows()) * static_cast<double>(a.cols()) * static_cast<double>(b.cols());
}

/// The rows that go to each of a rank's experts.
template <class T>
std::vector<std::vector<std::size_t>> rows_of_experts(const OpRun<T>& run, const std::vector<Tag>& tags,
                                                      std::size_t experts) {
  std::vector<std::vector<std::size_t>> rows(experts);
  for (std::size_t i = 0; i < tags.size(); ++i) rows[tags[i].expert - run.place.expert * experts].push_back(i);
  return rows;
}

template <class T>
GradientMatrix<T> gather(View<T>& in, const std::vector<std::size_t>& rows) {
  GradientMatrix<T> x(rows.size(), in.width());
  for (std::size_t i = 0; i < rows.size(); ++i) std::copy_n(in.at(rows[i], 0, in.width()), in.width(), &x(i, 0));
  return x;
}

template <class T>
void scatter(const GradientMatrix<T>& y, View<T>& out, const std::vector<std::size_t>& rows) {
  for (std::size_t i = 0; i < rows.size(); ++i) std::copy_n(&y(i, 0), out.width(), out.at(rows[i], 0, out.width()));
}

/// Row `e` of `biases` from a column on gets the sum of the rows.
template <class T>
void add_rows(const Sum<T>& biases, std::size_t e, std::size_t first, const GradientMatrix<T>& dy) {
  T* to = biases.at(e, first, dy.cols());
  for (Eigen::Index i = 0; i < dy.rows(); ++i)
    for (Eigen::Index j = 0; j < dy.cols(); ++j) to[j] += dy(i, j);
}

template <class T>
void add_product(const Sum<T>& weight, std::size_t first_row, const GradientMatrix<T>& dy, const GradientMatrix<T>& x) {
  auto dw = block_of<T>(weight, weight.write->width(), first_row, dy.cols(), x.cols());
  dw.noalias() += dy.transpose() * x;
}

}  // namespace

// The forward may have worked on some rows and on the first columns of its input.
template <class T>
void run_gemm_dgrad(OpRun<T>& run) {
  View<T>&dy = arrived(run), &weight = run.reads[1], &dx = run.writes[0];
  const std::size_t n = weight.rows(), k = weight.width(), m = dy.rows();
  const auto y = block_of<T>(dy, dy.width(), 0, m, n), w = block_of<T>(weight, k, 0, n, k);
  auto x = block_of<T>(dx, dx.width(), run.own_row(dx, m), m, k);
  x.noalias() += y * w;
  run.products += 2.0 * static_cast<double>(m) * static_cast<double>(n) * static_cast<double>(k);
}

template <class T>
void run_gemm_wgrad(OpRun<T>& run) {
  View<T>&dy = arrived(run), &in = run.reads[1];
  const Sum<T> weight{run.reads.size() > 2 ? &run.reads[2] : nullptr, &run.writes[0]};
  const std::size_t n = weight.write->rows(), k = weight.write->width(), m = dy.rows();
  const auto y = block_of<T>(dy, dy.width(), 0, m, n), x = block_of<T>(in, in.width(), run.own_row(in, m), m, k);
  auto dw = block_of<T>(weight, k, 0, n, k);
  dw.noalias() += y.transpose() * x;
  run.products += 2.0 * static_cast<double>(m) * static_cast<double>(n) * static_cast<double>(k);
}

// Of experts' matrices a row of biases each.
template <class T>
void run_bias_wgrad(OpRun<T>& run) {
  View<T>& dy = arrived(run);
  const Sum<T> bias = gradient_of(run, ".bias");
  const std::size_t n = dy.width();
  const std::size_t experts = run.forward.kind == models::OpKind::grouped_gemm ? whole(run.forward.dims[Dim::groups]) : 1;
  for (std::size_t row = 0; row < dy.rows(); ++row) {
    const std::size_t e = experts > 1 ? dy.buffer().tags[row].expert - run.place.expert * experts : 0;
    const T* y = dy.at(row, 0, n);
    T* to = bias.at(e, 0, n);
    for (std::size_t i = 0; i < n; ++i) to[i] += y[i];
    run.vector += static_cast<double>(n);
  }
}

template <class T>
void run_grouped_dgrad(OpRun<T>& run) {
  View<T>&dy = arrived(run), &weight = run.reads[1], &dx = run.writes[0];
  const std::size_t experts = run.dim(Dim::groups), n = weight.rows() / experts, k = weight.width();
  dx.shape(dy.rows(), k);
  dx.buffer().know(dy.buffer());
  const auto rows = rows_of_experts(run, dy.buffer().tags, experts);
  for (std::size_t e = 0; e < experts; ++e) {
    if (rows[e].empty()) continue;
    const GradientMatrix<T> y = gather(dy, rows[e]), w = block_of<T>(weight, k, e * n, n, k);
    scatter<T>(y * w, dx, rows[e]);
    run.products += flops<T>(y, w);
  }
}

template <class T>
void run_grouped_wgrad(OpRun<T>& run) {
  View<T>&dy = arrived(run), &in = run.reads[1];
  const Sum<T> weight{run.reads.size() > 2 ? &run.reads[2] : nullptr, &run.writes[0]};
  const std::size_t experts = run.dim(Dim::groups), n = weight.write->rows() / experts;
  const auto rows = rows_of_experts(run, dy.buffer().tags, experts);
  for (std::size_t e = 0; e < experts; ++e) {
    if (rows[e].empty()) continue;
    const GradientMatrix<T> y = gather(dy, rows[e]), x = gather(in, rows[e]);
    add_product<T>(weight, e * n, y, x);
    run.products += 2.0 * static_cast<double>(y.rows()) * static_cast<double>(y.cols()) * static_cast<double>(x.cols());
  }
}

// The first product and the activation again, then two products for each of the forward's.
template <class T>
void run_expert_ffn_backward(OpRun<T>& run) {
  View<T>&in = run.reads[0], &up = run.reads[1], &down = run.reads[2], &dy = arrived(run), &dx = run.writes[0];
  View<T>* bias = run.find("moe.experts.bias");
  const Sum<T> dup = gradient_of(run, "moe.experts.up"), ddown = gradient_of(run, "moe.experts.down"),
               dbias = gradient_of(run, "moe.experts.bias");
  const std::size_t experts = run.dim(Dim::groups), inner = run.dim(Dim::n), hidden = run.dim(Dim::k),
                    wide = up.rows() / experts;
  dx.shape(in.rows(), hidden);
  dx.buffer().know(in.buffer());
  const auto rows = rows_of_experts(run, in.buffer().tags, experts);
  for (std::size_t e = 0; e < experts; ++e) {
    if (rows[e].empty()) continue;
    const GradientMatrix<T> x = gather(in, rows[e]), y = gather(dy, rows[e]),
                            w = block_of<T>(up, hidden, e * wide, wide, hidden),
                            v = block_of<T>(down, inner, e * hidden, hidden, inner);
    GradientMatrix<T> a = x * w.transpose(), z(x.rows(), inner), da(x.rows(), wide);
    if (bias) a.rowwise() += Eigen::Map<const Eigen::Matrix<T, 1, Eigen::Dynamic>>(bias->at(e, 0, wide), wide);
    const GradientMatrix<T> dz = y * v;
    for (Eigen::Index i = 0; i < x.rows(); ++i) {
      run.vector += activate(run.spec->moe->activation, &a(i, 0), &z(i, 0), inner);
      run.vector += activate_backward(run.spec->moe->activation, &a(i, 0), &dz(i, 0), &da(i, 0), inner);
    }
    add_product<T>(ddown, e * hidden, y, z);
    add_product<T>(dup, e * wide, da, x);
    if (bias) add_rows(dbias, e, 0, da), add_rows(dbias, e, wide, y), bias->at(e, wide, hidden);
    scatter<T>(da * w, dx, rows[e]);
    run.products += 3 * flops<T>(da, w) + 2 * flops<T>(y, v);
  }
}

#define GAMBREL_INSTANTIATE(T)                   \
  template void run_gemm_dgrad(OpRun<T>&);       \
  template void run_gemm_wgrad(OpRun<T>&);       \
  template void run_bias_wgrad(OpRun<T>&);       \
  template void run_grouped_dgrad(OpRun<T>&);    \
  template void run_grouped_wgrad(OpRun<T>&);    \
  template void run_expert_ffn_backward(OpRun<T>&);
GAMBREL_INSTANTIATE(double)
GAMBREL_INSTANTIATE(float)
#undef GAMBREL_INSTANTIATE

}  // namespace gambrel::kernels

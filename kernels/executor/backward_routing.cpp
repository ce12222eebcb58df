// Reference kernels of gradients around the experts.
#include <algorithm>
#include <cmath>

#include "kernels/executor/gradients.hpp"

namespace gambrel::kernels {

using models::Dim;

// Weights of the chosen experts are softmax probabilities over all experts, divided by their sum if so wished; the choice itself has no
// gradient.
template <class T>
void run_router_backward(OpRun<T>& run) {
  View<T>&logits = run.reads[0], &chosen = run.reads[1], &dchosen = arrived(run), &dlogits = run.writes[0];
  const std::size_t experts = run.dim(Dim::groups), k = run.dim(Dim::top_k);
  std::vector<T> p(experts), dp(experts);
  for (std::size_t row = 0; row < logits.rows(); ++row) {
    const T *x = logits.at(row, 0, experts), *y = chosen.at(row, 0, 2 * k), *d = dchosen.at(row, 0, 2 * k);
    const T top = *std::max_element(x, x + experts);
    T all = 0, kept = 0, turn = 0, sum = 0;
    for (std::size_t e = 0; e < experts; ++e) all += p[e] = std::exp(x[e] - top);
    for (T& value : p) value /= all;
    std::fill(dp.begin(), dp.end(), T(0));
    for (std::size_t j = 0; j < k; ++j) kept += p[static_cast<std::size_t>(y[2 * j])], turn += y[2 * j + 1] * d[2 * j + 1];
    for (std::size_t j = 0; j < k; ++j)
      dp[static_cast<std::size_t>(y[2 * j])] = run.options.normalise_top_k ? (d[2 * j + 1] - turn) / kept : d[2 * j + 1];
    for (std::size_t e = 0; e < experts; ++e) sum += p[e] * dp[e];
    T* to = dlogits.at(row, 0, experts);
    for (std::size_t e = 0; e < experts; ++e) to[e] += p[e] * (dp[e] - sum);
    run.vector += static_cast<double>(experts * (5 + k));
  }
}

// The copies' gradients are added, as a combination with weights of 1.
template <class T>
void run_dispatch_backward(OpRun<T>& run) {
  View<T>&chosen = run.reads[0], &drows = arrived(run), &dx = run.writes[0];
  const std::size_t m = run.dim(Dim::m), n = run.dim(Dim::n), k = run.dim(Dim::top_k), first = run.own_row(dx, m);
  for (std::size_t row = 0; row < m; ++row) {
    chosen.at(row, 0, 2 * k);
    T* to = dx.at(first + row, 0, n);
    for (std::size_t j = 0; j < k; ++j) {
      const T* d = drows.at(row * k + j, 0, n);
      for (std::size_t i = 0; i < n; ++i) to[i] += d[i];
      run.vector += 2.0 * static_cast<double>(n);
    }
  }
}

// Each copy's gradient is the token's times the expert's weight; the weight's is their product. The table counts a dispatch: no FLOPs.
template <class T>
void run_combine_backward(OpRun<T>& run) {
  View<T>&in = run.reads[0], &chosen = run.reads[1], &dy = arrived(run), &dx = run.writes[0], &dchosen = run.writes[1];
  const std::size_t m = run.dim(Dim::m), n = run.dim(Dim::n), k = run.dim(Dim::top_k), first = run.own_row(dy, m);
  dx.shape(m * k, n);
  for (std::size_t row = 0; row < m; ++row) {
    const T *choice = chosen.at(row, 0, 2 * k), *d = dy.at(first + row, 0, n);
    T* dchoice = dchosen.at(row, 0, 2 * k);
    for (std::size_t j = 0; j < k; ++j) {
      const T* x = in.at(row * k + j, 0, n);
      T *to = dx.at(row * k + j, 0, n), sum = 0;
      for (std::size_t i = 0; i < n; ++i) to[i] = choice[2 * j + 1] * d[i], sum += x[i] * d[i];
      dchoice[2 * j + 1] += sum;
      dx.buffer().tags.push_back({.expert = static_cast<std::size_t>(choice[2 * j]), .row = row * k + j});
    }
  }
}

#define GAMBREL_INSTANTIATE(T)                    \
  template void run_router_backward(OpRun<T>&);   \
  template void run_dispatch_backward(OpRun<T>&); \
  template void run_combine_backward(OpRun<T>&);
GAMBREL_INSTANTIATE(double)
GAMBREL_INSTANTIATE(float)
#undef GAMBREL_INSTANTIATE

}  // namespace gambrel::kernels

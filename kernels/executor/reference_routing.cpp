// Reference kernels around the experts: choosing them, copying tokens to them, adding up what comes back.
#include <algorithm>
#include <cmath>

#include "kernels/executor/op_run.hpp"

namespace gambrel::kernels {
namespace {

using models::Dim;

/// Indices of the k largest, the first of equals; one comparison an expert for each.
template <class T>
std::vector<std::size_t> largest(const std::vector<T>& values, std::size_t k, double& operations) {
  std::vector<std::size_t> chosen;
  std::vector<bool> taken(values.size());
  while (chosen.size() < k) {
    std::size_t best = values.size();
    for (std::size_t e = 0; e < values.size(); ++e) {
      if (!taken[e] && (best == values.size() || values[e] > values[best])) best = e;
      operations += 1;
    }
    taken[best] = true;
    chosen.push_back(best);
  }
  return chosen;
}

template <class T>
std::vector<T> softmax(const T* x, std::size_t n) {
  const T top = *std::max_element(x, x + n);
  std::vector<T> p(n);
  T sum = 0;
  for (std::size_t i = 0; i < n; ++i) sum += p[i] = std::exp(x[i] - top);
  for (T& value : p) value /= sum;
  return p;
}

}  // namespace

// A token's row: index and weight of each of its experts in turn.
template <class T>
void run_router_topk(OpRun<T>& run) {
  View<T>&logits = run.reads[0], &out = run.writes[0];
  const std::size_t experts = run.dim(Dim::groups), k = run.dim(Dim::top_k);
  for (std::size_t row = 0; row < logits.rows(); ++row) {
    const std::vector<T> p = softmax(logits.at(row, 0, experts), experts);
    run.vector += 5.0 * static_cast<double>(experts);
    const std::vector<std::size_t> chosen = largest(p, k, run.vector);
    T sum = 0, *y = out.at(row, 0, 2 * k);
    for (std::size_t e : chosen) sum += p[e];
    for (std::size_t j = 0; j < k; ++j) {
      y[2 * j] = static_cast<T>(chosen[j]);
      y[2 * j + 1] = run.options.normalise_top_k ? p[chosen[j]] / sum : p[chosen[j]];
    }
  }
}

// A row for each token and expert, the tokens in order.
template <class T>
void run_dispatch(OpRun<T>& run) {
  View<T>&in = run.reads[0], &chosen = run.reads[1], &out = run.writes[0];
  const std::size_t m = run.dim(Dim::m), n = run.dim(Dim::n), k = run.dim(Dim::top_k), first = run.own_row(in, m);
  out.shape(m * k, n);
  for (std::size_t row = 0; row < m; ++row) {
    const T* choice = chosen.at(row, 0, 2 * k);
    for (std::size_t j = 0; j < k; ++j) {
      std::copy_n(in.at(first + row, 0, n), n, out.at(row * k + j, 0, n));
      out.buffer().tags.push_back({.expert = static_cast<std::size_t>(choice[2 * j]), .row = row * k + j});
    }
  }
}

template <class T>
void run_combine(OpRun<T>& run) {
  View<T>&in = run.reads[0], &chosen = run.reads[1], &out = run.writes[0];
  const std::size_t m = run.dim(Dim::m), n = run.dim(Dim::n), k = run.dim(Dim::top_k);
  for (std::size_t row = 0; row < m; ++row) {
    const T* choice = chosen.at(row, 0, 2 * k);
    T* y = out.at(row, 0, n);
    for (std::size_t j = 0; j < k; ++j) {
      const T* x = in.at(row * k + j, 0, n);
      for (std::size_t i = 0; i < n; ++i) y[i] += choice[2 * j + 1] * x[i];
      run.vector += 2.0 * static_cast<double>(n);
    }
  }
}

#define GAMBREL_INSTANTIATE(T)              \
  template void run_router_topk(OpRun<T>&); \
  template void run_dispatch(OpRun<T>&);    \
  template void run_combine(OpRun<T>&);
GAMBREL_INSTANTIATE(double)
GAMBREL_INSTANTIATE(float)
#undef GAMBREL_INSTANTIATE

}  // namespace gambrel::kernels

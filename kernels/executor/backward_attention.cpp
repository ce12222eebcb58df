// Reference kernels of attention's gradients, fused and in pieces.
#include <numeric>

#include "kernels/executor/gradients.hpp"
#include "kernels/executor/heads.hpp"

namespace gambrel::kernels {
namespace {

using models::Dim;
using models::OpKind;

/// Reads of the forward's operator, and how many of them stand left of keys (or values): queries, sinks, weights.
template <class T>
std::size_t forward_reads(const OpRun<T>& run) {
  return static_cast<std::size_t>(std::ranges::count_if(run.forward.uses, [](const auto& use) { return !use.write; }));
}

template <class T>
std::size_t left_reads(const OpRun<T>& run) {
  const auto& ops = run.graph.ops();
  auto values = std::ranges::find_if(ops, [&](const auto& op) { return &op == &run.forward; });
  while (values->kind != OpKind::attention_values) ++values;
  const auto keys = std::ranges::count_if(values->uses, [](const auto& use) { return !use.write; }) - 1;
  return forward_reads(run) - static_cast<std::size_t>(keys);
}

/// `views`, the first of which stands for the forward's read `first`, each for the next.
template <class T>
std::vector<View<T>*> in_place_of_reads(const OpRun<T>& run, std::vector<View<T>*> views, std::size_t first) {
  std::vector<View<T>*> all(forward_reads(run), nullptr);
  for (std::size_t i = 0; i < views.size() && first + i < all.size(); ++i) all[first + i] = views[i];
  return all;
}

template <class T>
std::vector<View<T>*> pointers(std::vector<View<T>>& views, std::size_t first, std::size_t count) {
  std::vector<View<T>*> result;
  for (std::size_t i = first; i < std::min(views.size(), first + count); ++i) result.push_back(&views[i]);
  return result;
}

template <class T, class Head>
void each_head(const OpRun<T>& run, Head head) {
  for (std::size_t s = 0; s < run.dim(Dim::batch); ++s)
    for (std::size_t h = 0; h < run.dim(Dim::heads); ++h) head(s, h);
}

/// The gradient of a rank's sinks: a softmax' gradients add up to 0, so a sink's is what those of the scores lack. `dsinks` is a weight's.
template <class T>
void add_to_sink(const Sum<T>& dsinks, std::size_t head, T gradient) {
  *dsinks.at(0, head, 1) += gradient;
}

/// Rows of the scores (or weights) of one head.
template <class T>
GradientBlock<T> of_head(const OpRun<T>& run, View<T>& matrix, std::size_t s, std::size_t h, std::size_t n) {
  return block_of<T>(matrix, matrix.width(), (s * run.dim(Dim::heads) + h) * n, n, matrix.width());
}

}  // namespace

// Probabilities again from the forward's notes, D = dO . O once a row (Dao 2023, arXiv 2307.08691 algorithm 2).
template <class T>
void run_attention_backward(OpRun<T>& run) {
  const std::size_t reads = forward_reads(run);
  const Heads<T> heads(run, pointers(run.reads, 0, reads));
  const Heads<T> gradients(run, pointers(run.writes, 0, reads));
  View<T>&out = run.reads[reads], &dout = arrived(run);
  const Sum<T> dsinks = gradient_of(run, ".sinks");
  const auto keys = heads.keys(heads.seen_here());
  const std::size_t n = heads.queries().size(), width = run.dim(Dim::v_width), all = run.dim(Dim::heads);
  const T scale = scale_of(run);
  each_head(run, [&](std::size_t s, std::size_t h) {
    const Matrix<T> q = heads.load_queries(s, h), k = heads.load_keys(s, h, keys), v = heads.load_values(s, h, keys);
    Matrix<T> dq = Matrix<T>::Zero(q.rows(), q.cols()), dk = Matrix<T>::Zero(k.rows(), k.cols()),
              dv = Matrix<T>::Zero(v.rows(), v.cols());
    for (std::size_t i = 0; i < n; ++i) {
      const auto [at, end] = range_of(keys, sight(run, heads.queries()[i]));
      const auto row = static_cast<Eigen::Index>(i);
      const std::size_t place = s * n + i;
      const Eigen::Map<const Matrix<T>> o(out.at(place, h * width, width), 1, width),
          d(dout.at(place, h * width, width), 1, width);
      const T note = out.buffer().notes[place * all + h], sum = o.cwiseProduct(d).sum();
      const Matrix<T> p =
          ((q.row(row) * k.middleRows(at, end - at).transpose()).array() * scale - note).exp().matrix();
      const Matrix<T> ds =
          (p.array() * ((d * v.middleRows(at, end - at).transpose()).array() - sum) * scale).matrix();
      dv.middleRows(at, end - at).noalias() += p.transpose() * d;
      dk.middleRows(at, end - at).noalias() += ds.transpose() * q.row(row);
      dq.row(row).noalias() += ds * k.middleRows(at, end - at);
      const std::size_t head = run.first_head() + h;
      if (dsinks) add_to_sink(dsinks, head, -std::exp(*heads.sinks()->at(0, head, 1) - note) * sum);
      const auto seen = static_cast<double>(end - at);
      run.products += 2 * seen * static_cast<double>(3 * q.cols() + 2 * v.cols());
      run.vector += 6 * seen + 2 * static_cast<double>(width);
    }
    gradients.add_queries(s, h, dq);
    gradients.add_keys(s, h, keys, dk);
    gradients.add_values(s, h, keys, dv);
  });
}

// Of a latent attention's scores the rotated keys that all heads share are a left operand, too: their gradient is found here, and its
// work counted with that of the other keys.
template <class T>
void run_scores_query_dgrad(OpRun<T>& run) {
  const std::size_t lefts = left_reads(run), reads = forward_reads(run);
  const Heads<T> heads(run, in_place_of_reads(run, pointers(run.reads, 1, reads), lefts > 1 ? 0 : lefts));
  const Heads<T> gradients(run, in_place_of_reads(run, pointers(run.writes, 0, lefts), 0));
  View<T>& dscores = arrived(run);
  const Sum<T> dsinks = gradient_of(run, ".sinks");
  const auto keys = heads.keys(heads.seen_by_all());
  const std::size_t n = heads.queries().size();
  each_head(run, [&](std::size_t s, std::size_t h) {
    const Matrix<T> k = heads.load_keys(s, h, keys), ds = of_head(run, dscores, s, h, n);
    gradients.add_queries(s, h, ds * k);
    if (lefts > 1 && run.spec->latent) {
      Matrix<T> dk = ds.transpose() * heads.load_queries(s, h);
      gradients.add_keys(s, h, keys, dk);
    } else if (lefts > 1) {
      heads.load_queries(s, h);
    }
    if (dsinks) {
      const std::size_t head = run.first_head() + h;
      heads.sinks()->at(0, head, 1);
      add_to_sink(dsinks, head, -ds.sum() / scale_of(run));
    }
    run.products += 2.0 * static_cast<double>(ds.size()) * static_cast<double>(k.cols());
  });
}

template <class T>
void run_scores_key_dgrad(OpRun<T>& run) {
  const std::size_t lefts = left_reads(run), reads = forward_reads(run);
  const Heads<T> heads(run, in_place_of_reads(run, pointers(run.reads, 1, lefts), 0));
  const Heads<T> gradients(run, in_place_of_reads(run, pointers(run.writes, 0, reads), lefts));
  View<T>& dscores = arrived(run);
  const auto keys = gradients.keys(gradients.seen_by_all());
  const std::size_t n = heads.queries().size();
  for (std::size_t i = 2; i <= lefts; ++i) {  // the graph has it read all left operands
    const std::size_t width = std::min(run.reads[i].width(), run.spec->latent ? whole(run.spec->latent->rope_head_dim) : run.reads[i].width());
    run.reads[i].at(0, run.reads[i].width() - width, width, run.reads[i].rows());
  }
  each_head(run, [&](std::size_t s, std::size_t h) {
    const Matrix<T> q = heads.load_queries(s, h), ds = of_head(run, dscores, s, h, n);
    gradients.add_keys(s, h, keys, ds.transpose() * q);
    run.products += 2.0 * static_cast<double>(ds.size()) * static_cast<double>(q.cols());
  });
}

// dS = P (dP - sum of P dP) x scale: five operations a score.
template <class T>
void run_softmax_backward(OpRun<T>& run) {
  View<T>&p = run.reads[0], &dp = arrived(run), &ds = run.writes[0];
  ds.shape(p.rows(), p.width());
  ds.buffer().know(p.buffer());
  const T scale = scale_of(run);
  for (std::size_t row = 0; row < p.rows(); ++row) {
    const T *x = p.at(row, 0, p.width()), *dx = dp.at(row, 0, p.width());
    T* out = ds.at(row, 0, p.width());
    T sum = 0;
    for (std::size_t i = 0; i < p.width(); ++i) sum += x[i] * dx[i];
    for (std::size_t i = 0; i < p.width(); ++i) out[i] = x[i] * (dx[i] - sum) * scale;
    run.vector += 5.0 * static_cast<double>(p.width());
  }
}

template <class T>
void run_values_weights_dgrad(OpRun<T>& run) {
  const Heads<T> heads(run, in_place_of_reads(run, pointers(run.reads, 1, forward_reads(run)), 1));
  View<T>&dout = arrived(run), &dp = run.writes[0];
  const auto keys = heads.keys(heads.seen_by_all());
  const std::size_t n = heads.queries().size(), width = run.dim(Dim::v_width);
  dp.shape(run.dim(Dim::batch) * run.dim(Dim::heads) * n, keys.size());
  for (const auto& key : keys) dp.buffer().places.push_back(key.place);
  each_head(run, [&](std::size_t s, std::size_t h) {
    const Matrix<T> v = heads.load_values(s, h, keys);
    for (std::size_t i = 0; i < n; ++i) {
      const Eigen::Map<const Matrix<T>> d(dout.at(s * n + i, h * width, width), 1, width);
      T* out = dp.at((s * run.dim(Dim::heads) + h) * n + i, 0, keys.size());
      Eigen::Map<Matrix<T>>(out, 1, keys.size()) = d * v.transpose();
    }
    run.products += 2.0 * static_cast<double>(n * keys.size()) * static_cast<double>(width);
  });
}

template <class T>
void run_values_value_dgrad(OpRun<T>& run) {
  const Heads<T> gradients(run, in_place_of_reads(run, pointers(run.writes, 0, forward_reads(run)), 1));
  View<T>&dout = arrived(run), &weights = run.reads[1];
  const auto keys = gradients.keys(gradients.seen_by_all());
  const std::size_t n = gradients.queries().size(), width = run.dim(Dim::v_width);
  each_head(run, [&](std::size_t s, std::size_t h) {
    Matrix<T> d(n, width);
    for (std::size_t i = 0; i < n; ++i)
      std::copy_n(dout.at(s * n + i, h * width, width), width, d.row(static_cast<Eigen::Index>(i)).data());
    gradients.add_values(s, h, keys, of_head(run, weights, s, h, n).transpose() * d);
    run.products += 2.0 * static_cast<double>(n * keys.size()) * static_cast<double>(width);
  });
}

#define GAMBREL_INSTANTIATE(T)                       \
  template void run_attention_backward(OpRun<T>&);   \
  template void run_scores_query_dgrad(OpRun<T>&);   \
  template void run_scores_key_dgrad(OpRun<T>&);     \
  template void run_softmax_backward(OpRun<T>&);     \
  template void run_values_weights_dgrad(OpRun<T>&); \
  template void run_values_value_dgrad(OpRun<T>&);
GAMBREL_INSTANTIATE(double)
GAMBREL_INSTANTIATE(float)
#undef GAMBREL_INSTANTIATE

}  // namespace gambrel::kernels

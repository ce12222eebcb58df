// Reference kernels of attention: of heads and latent, fused and in three pieces, and the copy into the cache.
#include <limits>

#include "kernels/executor/heads.hpp"
#include "kernels/executor/numerics.hpp"

namespace gambrel::kernels {
namespace {

using models::Dim;

/// Maximum and sum of exponentials of a query's scores.
template <class T>
struct Norm {
  T largest = -std::numeric_limits<T>::infinity(), sum = 0;
  double operations = 0;
};

/// Softmax of n scores in place; a sink takes part in the sum alone. Five operations a score.
template <class T>
Norm<T> softmax(T* scores, std::size_t n, T scale, const T* sink) {
  Norm<T> norm{.operations = 5.0 * static_cast<double>(n)};
  if (sink) norm.largest = *sink;
  for (std::size_t i = 0; i < n; ++i) norm.largest = std::max(norm.largest, scores[i] *= scale);
  if (std::isinf(norm.largest)) {  // nothing is seen
    std::fill_n(scores, n, T(0));
    return norm;
  }
  if (sink) norm.sum = std::exp(*sink - norm.largest);
  for (std::size_t i = 0; i < n; ++i) norm.sum += scores[i] = std::exp(scores[i] - norm.largest);
  for (std::size_t i = 0; i < n; ++i) scores[i] /= norm.sum;
  return norm;
}

/// Where ranks attended to a part of the keys each, what they need to add up their results; a sink counts on the first of them only.
template <class T>
void write_statistics(OpRun<T>& run, std::size_t row, std::size_t head, const Norm<T>& norm) {
  if (run.writes.size() < 2) return;
  T* out = run.writes[1].at(row, 2 * head, 2);
  out[0] = norm.largest, out[1] = norm.sum;
}

template <class T>
const T* sink_here(const OpRun<T>& run, const T* sink) {
  return run.writes.size() > 1 && run.place.context > 0 ? nullptr : sink;
}

/// What stands for x w^T: Eigen's product, or one in the run's narrow accumulator.
template <class T, class X, class W>
Matrix<T> multiply(const OpRun<T>& run, const X& x, const W& w) {
  if constexpr (std::is_same_v<T, float>)
    if (const auto accumulator = run.options.numerics ? run.options.numerics->accumulator(run.op) : std::nullopt) {
      const Matrix<T> a = x, b = w;
      Matrix<T> y(a.rows(), b.rows());
      auto size = [](Eigen::Index n) { return static_cast<std::size_t>(n); };
      multiply_narrow({a.data(), b.data(), y.data(), size(a.rows()), size(b.rows()), size(a.cols()), size(a.cols()),
                       size(b.cols()), size(b.rows())},
                      *accumulator);
      return y;
    }
  return x * w.transpose();
}

template <class T>
void round_probabilities(const OpRun<T>& run, T* values, std::size_t n) {
  if constexpr (std::is_same_v<T, float>)
    if (run.options.numerics) run.options.numerics->probabilities(run.op, {values, n});
}

/// The library's kernel, where it can do what is asked. False: it cannot.
template <class T>
bool run_fast_attention(OpRun<T>& run) {
  if constexpr (std::is_same_v<T, float>) {
    const FastKernels* fast = run.options.fast;
    const models::GroupedAttention* a = run.spec->attention ? &*run.spec->attention : nullptr;
    if (!fast || !fast->attention || run.options.numerics || !a || a->sinks || a->chunk > 0 || !a->causal) return false;
    if (run.sharding.context > 1) return false;
    const std::size_t heads = run.dim(Dim::heads), kv_heads = run.dim(Dim::kv_heads), d = whole(a->head_dim);
    const std::size_t n = run.new_tokens();
    View<T>&q = run.reads[0], &kv = run.reads.back(), &out = run.writes[0];
    for (std::size_t s = 0; s < run.dim(Dim::batch); ++s) {
      const T* k = kv.at(s * run.total(), kv.width() - 2 * kv_heads * d, 2 * kv_heads * d, run.total());
      fast->attention({.q = q.at(s * n, 0, heads * d, n), .k = k, .v = k + kv_heads * d,
                       .out = out.at(s * n, 0, heads * d, n), .queries = n, .keys = run.total(), .heads = heads,
                       .kv_heads = kv_heads, .qk_width = d, .v_width = d, .q_stride = q.width(), .k_stride = kv.width(),
                       .v_stride = kv.width(), .out_stride = out.width(), .window = whole(a->window),
                       .scale = scale_of(run)});
    }
    const double pairs = run.op.dims[Dim::batch] * run.op.dims[Dim::heads] * run.op.dims[Dim::pairs];
    run.products += 4.0 * pairs * static_cast<double>(d), run.vector += 5.0 * pairs;  // what it is asked for
    return true;
  }
  return false;
}

template <class T, class Head>
void each_head(const OpRun<T>& run, Head head) {
  for (std::size_t s = 0; s < run.dim(Dim::batch); ++s)
    for (std::size_t h = 0; h < run.dim(Dim::heads); ++h) head(s, h);
}

}  // namespace

// Only the pairs that a token sees are computed.
template <class T>
void run_attention(OpRun<T>& run) {
  if (run_fast_attention(run)) return;
  const Heads<T> heads = Heads<T>::of(run);
  const std::size_t n = heads.queries().size(), width = run.dim(Dim::v_width);
  const auto keys = heads.keys(heads.seen_here());
  std::vector<T> notes(run.writes[0].rows() * run.dim(Dim::heads));
  each_head(run, [&](std::size_t s, std::size_t h) {
    const Matrix<T> q = heads.load_queries(s, h), k = heads.load_keys(s, h, keys), v = heads.load_values(s, h, keys);
    const T* sink = heads.sinks() ? sink_here(run, heads.sinks()->at(0, run.first_head() + h, 1)) : nullptr;
    for (std::size_t i = 0; i < n; ++i) {
      const auto [at, end] = range_of(keys, sight(run, heads.queries()[i]));
      Matrix<T> weights = multiply(run, q.row(i), k.middleRows(at, end - at));
      const Norm<T> norm = softmax(weights.data(), static_cast<std::size_t>(end - at), scale_of(run), sink);
      round_probabilities(run, weights.data(), static_cast<std::size_t>(end - at));
      T* out = run.writes[0].at(s * n + i, h * width, width);
      Eigen::Map<Matrix<T>>(out, 1, width) = multiply(run, weights, v.middleRows(at, end - at).transpose());
      notes[(s * n + i) * run.dim(Dim::heads) + h] = norm.largest + std::log(norm.sum);
      write_statistics(run, s * n + i, h, norm);
      run.vector += norm.operations;
      run.products += 2.0 * static_cast<double>(end - at) * static_cast<double>(q.cols() + v.cols());
    }
  });
  run.writes[0].buffer().notes = std::move(notes);
}

template <class T>
void run_attention_scores(OpRun<T>& run) {
  const Heads<T> heads = Heads<T>::of(run);
  const auto keys = heads.keys(heads.seen_by_all());
  const std::size_t n = heads.queries().size(), width = keys.size();
  if (heads.sinks()) heads.sinks()->all();  // handed on to the softmax
  run.writes[0].shape(run.dim(Dim::batch) * run.dim(Dim::heads) * n, width);
  for (const auto& key : keys) run.writes[0].buffer().places.push_back(key.place);
  each_head(run, [&](std::size_t s, std::size_t h) {
    const Matrix<T> q = heads.load_queries(s, h), k = heads.load_keys(s, h, keys);
    T* out = run.writes[0].at((s * run.dim(Dim::heads) + h) * n, 0, width, n);
    Eigen::Map<Matrix<T>>(out, n, width) = multiply(run, q, k);
    run.products += 2.0 * static_cast<double>(n * width) * static_cast<double>(q.cols());
  });
}

// All scores are exponentiated; those that a token does not see then count as 0. Columns of a matrix of scores are keys at `places`.
template <class T>
void run_softmax(OpRun<T>& run) {
  const Heads<T> heads(run, {});
  const std::vector<std::size_t>& places = run.reads[0].buffer().places;
  const std::size_t n = heads.queries().size(), width = places.size();
  run.writes[0].shape(run.reads[0].rows(), width);
  run.writes[0].buffer().places = places;
  each_head(run, [&](std::size_t s, std::size_t h) {
    const T* sink = run.sinks.empty() ? nullptr : sink_here(run, &run.sinks[run.first_head() + h]);
    for (std::size_t i = 0; i < n; ++i) {
      const std::size_t row = (s * run.dim(Dim::heads) + h) * n + i;
      const T* in = run.reads[0].at(row, 0, width);
      T* out = run.writes[0].at(row, 0, width);
      const Sight seen = sight(run, heads.queries()[i]);
      for (std::size_t j = 0; j < width; ++j)
        out[j] = seen.holds(places[j]) ? in[j] : -std::numeric_limits<T>::infinity();
      const Norm<T> norm = softmax(out, width, scale_of(run), sink);
      run.vector += norm.operations;
      write_statistics(run, s * n + i, h, norm);
    }
  });
}

template <class T>
void run_attention_values(OpRun<T>& run) {
  const Heads<T> heads = Heads<T>::of(run);
  const auto keys = heads.keys(heads.seen_by_all());
  const std::size_t n = heads.queries().size(), width = run.dim(Dim::v_width);
  each_head(run, [&](std::size_t s, std::size_t h) {
    const Matrix<T> values = heads.load_values(s, h, keys);
    const T* in = run.reads[0].at((s * run.dim(Dim::heads) + h) * n, 0, keys.size(), n);
    const Matrix<T> y = multiply(run, Eigen::Map<const Matrix<T>>(in, n, keys.size()), values.transpose());
    for (std::size_t i = 0; i < n; ++i)
      std::copy_n(y.row(i).data(), width, run.writes[0].at(s * n + i, h * width, width));
    run.products += 2.0 * static_cast<double>(n * keys.size()) * static_cast<double>(values.cols());
  });
}

// Keys and values stand behind the queries; rotated latent keys behind the latent, or alone. The cache gets longer by the tokens whose
// keys this rank keeps: all of its own, or of those that all context ranks computed alike every one in turn.
template <class T>
void run_kv_append(OpRun<T>& run) {
  Buffer<T>& cache = run.writes[0].buffer();
  const std::size_t sequences = whole(run.writes[0].tensor->shape[0]), held = cache.places.size(),
                    ranks = whole(run.sharding.context);
  const Buffer<T>& fresh = run.reads[0].buffer();
  const std::vector<std::size_t>& places = fresh.places.empty() ? run.tokens.positions : fresh.places;
  std::vector<std::size_t> kept;
  for (std::size_t i = 0; i < places.size(); ++i)
    if (run.new_tokens() >= ranks || places[i] % ranks == run.place.context) kept.push_back(i);
  for (std::size_t i : kept) cache.places.push_back(places[i]);
  if (const std::size_t room = cache.rows / sequences; room != held + kept.size()) {
    Buffer<T> longer(sequences * (held + kept.size()), cache.width);
    for (std::size_t s = 0; s < sequences; ++s)
      std::copy_n(cache.row(s * room), held * cache.width, longer.row(s * (held + kept.size())));
    longer.places = std::move(cache.places);
    cache = std::move(longer);
  }
  std::size_t column = 0;
  for (std::size_t r = 0; r < run.reads.size(); ++r) {
    View<T>& in = run.reads[r];
    std::size_t width = cache.width / run.reads.size();
    if (run.spec->latent) width = whole(r == 0 ? run.spec->latent->kv_lora_rank : run.spec->latent->rope_head_dim);
    for (std::size_t s = 0; s < sequences; ++s)
      for (std::size_t i = 0; i < kept.size(); ++i)
        std::copy_n(in.at(s * places.size() + kept[i], in.width() - width, width), width,
                    run.writes[0].at(s * (held + kept.size()) + held + i, column, width));
    column += width;
  }
}

template void run_attention(OpRun<double>&);
template void run_attention(OpRun<float>&);
template void run_attention_scores(OpRun<double>&);
template void run_attention_scores(OpRun<float>&);
template void run_softmax(OpRun<double>&);
template void run_softmax(OpRun<float>&);
template void run_attention_values(OpRun<double>&);
template void run_attention_values(OpRun<float>&);
template void run_kv_append(OpRun<double>&);
template void run_kv_append(OpRun<float>&);

}  // namespace gambrel::kernels

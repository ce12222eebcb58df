// Reference kernels of attention: of heads and latent, fused and in three pieces, and the copy into the cache.
#include <Eigen/Dense>

#include "kernels/op_run.hpp"

namespace gambrel::kernels {
namespace {

using models::Dim;

template <class T>
using Matrix = Eigen::Matrix<T, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;

/// Columns of an operand that belong to one head's query, key or value, and where they go.
template <class T>
struct Piece {
  View<T>* view;
  std::size_t column, width;
};

template <class T>
Matrix<T> load(std::vector<Piece<T>> pieces, std::size_t first_row, std::size_t rows) {
  std::size_t width = 0;
  for (const Piece<T>& piece : pieces) width += piece.width;
  Matrix<T> loaded(rows, width);
  std::size_t column = 0;
  for (const Piece<T>& piece : pieces) {
    for (std::size_t i = 0; i < rows; ++i)
      std::copy_n(piece.view->at(first_row + i, piece.column, piece.width), piece.width, loaded.row(i).data() + column);
    column += piece.width;
  }
  return loaded;
}

/// Which elements of the operands are a head's queries, keys and values.
template <class T>
class Heads {
 public:
  explicit Heads(OpRun<T>& run) : run_(run) {
    for (View<T>& view : run.reads)
      if (!view.is(".sinks") && !view.is("attn.softmax")) operands_.push_back(&view);
    expanded_ = run.find("attn.kv_b");
    heads_ = run.dim(Dim::heads), kv_heads_ = run.dim(Dim::kv_heads);
  }

  Matrix<T> queries(std::size_t sequence, std::size_t head) {
    const std::size_t n = run_.new_tokens();
    return load(query_pieces(head), sequence * n, n);
  }
  /// Of `n` keys from position `first` on.
  Matrix<T> keys(std::size_t sequence, std::size_t head, std::size_t first, std::size_t n) {
    return load(key_pieces(head), sequence * run_.total() + first, n);
  }
  Matrix<T> values(std::size_t sequence, std::size_t head, std::size_t first, std::size_t n) {
    return load<T>({value_piece(head)}, sequence * run_.total() + first, n);
  }

 private:
  using Pieces = std::vector<Piece<T>>;
  const models::LatentAttention& latent() const { return *run_.spec->latent; }

  Pieces query_pieces(std::size_t head) const {
    if (run_.spec->attention) return {{operands_[0], head * width_of_head(), width_of_head()}};
    const std::size_t nope = whole(latent().nope_head_dim), rope = whole(latent().rope_head_dim),
                      lora = whole(latent().kv_lora_rank);
    if (expanded_) return {{operands_[0], head * (nope + rope), nope + rope}};
    return {{operands_[0], head * lora, lora}, {operands_[1], head * (nope + rope) + nope, rope}};
  }

  Pieces key_pieces(std::size_t head) const {
    if (run_.spec->attention)
      return {{operands_.back(), first_key() + kv_head(head) * width_of_head(), width_of_head()}};
    const std::size_t nope = whole(latent().nope_head_dim), rope = whole(latent().rope_head_dim),
                      v = whole(latent().v_head_dim);
    if (!expanded_) return {{operands_.back(), 0, whole(latent().kv_lora_rank) + rope}};
    View<T>* rotated = operands_[1];  // alone, or behind the latent
    return {{expanded_, head * (nope + v), nope}, {rotated, rotated->width() - rope, rope}};
  }

  Piece<T> value_piece(std::size_t head) const {
    if (run_.spec->attention)
      return {operands_.back(), first_key() + (kv_heads_ + kv_head(head)) * width_of_head(), width_of_head()};
    const std::size_t nope = whole(latent().nope_head_dim), v = whole(latent().v_head_dim);
    if (!expanded_) return {operands_.back(), 0, whole(latent().kv_lora_rank)};
    return {expanded_, head * (nope + v) + nope, v};
  }

  std::size_t width_of_head() const { return whole(run_.spec->attention->head_dim); }
  std::size_t kv_head(std::size_t head) const { return head / (heads_ / kv_heads_); }
  /// A cache holds keys and values only; without one they stand behind the queries.
  std::size_t first_key() const { return operands_.back()->width() - 2 * kv_heads_ * width_of_head(); }

  OpRun<T>& run_;
  std::vector<View<T>*> operands_;
  View<T>* expanded_ = nullptr;
  std::size_t heads_ = 1, kv_heads_ = 1;
};

/// Positions [first, end) that a token sees.
struct Sight {
  std::size_t first, end;
};

template <class T>
Sight sight(const OpRun<T>& run, std::size_t query) {
  const std::size_t position = run.past() + query;
  if (!run.spec->attention) return {0, position + 1};
  const models::GroupedAttention& a = *run.spec->attention;
  if (!a.causal) return {0, run.total()};
  const std::size_t window = whole(a.window), chunk = whole(a.chunk);
  if (chunk > 0) return {position / chunk * chunk, position + 1};
  return {window > 0 && position + 1 > window ? position + 1 - window : 0, position + 1};
}

template <class T>
T scale_of(const OpRun<T>& run) {
  const double width = run.spec->attention ? run.spec->attention->head_dim
                                           : run.spec->latent->nope_head_dim + run.spec->latent->rope_head_dim;
  return static_cast<T>(1 / std::sqrt(width));
}

/// Softmax of n scores in place; a sink takes part in the sum alone. Five operations a score.
template <class T>
double softmax(T* scores, std::size_t n, T scale, const T* sink) {
  T largest = sink ? *sink : scores[0] * scale;
  for (std::size_t i = 0; i < n; ++i) largest = std::max(largest, scores[i] *= scale);
  T sum = sink ? std::exp(*sink - largest) : T(0);
  for (std::size_t i = 0; i < n; ++i) sum += scores[i] = std::exp(scores[i] - largest);
  for (std::size_t i = 0; i < n; ++i) scores[i] /= sum;
  return 5.0 * static_cast<double>(n);
}

/// Position of the first key that is in the matrix of scores.
template <class T>
std::size_t first_seen(const OpRun<T>& run) {
  return run.total() - run.dim(Dim::keys);
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
  Heads<T> heads(run);
  View<T>* sinks = run.find(".sinks");
  each_head(run, [&](std::size_t s, std::size_t h) {
    const Matrix<T> q = heads.queries(s, h);
    const std::size_t width = run.dim(Dim::v_width);
    const std::size_t first = sight(run, 0).first, all = run.total() - first;
    const Matrix<T> keys = heads.keys(s, h, first, all), values = heads.values(s, h, first, all);
    for (std::size_t i = 0; i < run.new_tokens(); ++i) {
      const Sight seen = sight(run, i);
      const auto n = static_cast<Eigen::Index>(seen.end - seen.first),
                 at = static_cast<Eigen::Index>(seen.first - first);
      Eigen::Matrix<T, 1, Eigen::Dynamic> weights = q.row(i) * keys.middleRows(at, n).transpose();
      run.vector += softmax(weights.data(), seen.end - seen.first, scale_of(run), sinks ? sinks->at(0, h, 1) : nullptr);
      Eigen::Map<Eigen::Matrix<T, 1, Eigen::Dynamic>>(run.writes[0].at(s * run.new_tokens() + i, h * width, width),
                                                      width) = weights * values.middleRows(at, n);
      run.products += 2.0 * static_cast<double>(n) * static_cast<double>(q.cols() + values.cols());
    }
  });
}

template <class T>
void run_attention_scores(OpRun<T>& run) {
  Heads<T> heads(run);
  const std::size_t n = run.new_tokens(), width = run.dim(Dim::keys);
  if (View<T>* sinks = run.find(".sinks")) sinks->all();  // handed on to the softmax
  each_head(run, [&](std::size_t s, std::size_t h) {
    const Matrix<T> q = heads.queries(s, h), keys = heads.keys(s, h, first_seen(run), width);
    T* out = run.writes[0].at((s * run.dim(Dim::heads) + h) * n, 0, width, n);
    Eigen::Map<Matrix<T>>(out, n, width).noalias() = q * keys.transpose();
    run.products += 2.0 * static_cast<double>(n * width) * static_cast<double>(q.cols());
  });
}

// All scores are exponentiated; those that a token does not see then count as 0.
template <class T>
void run_softmax(OpRun<T>& run) {
  const std::size_t n = run.new_tokens(), width = run.dim(Dim::keys);
  const T* sinks = run.sinks.empty() ? nullptr : run.sinks.data();
  each_head(run, [&](std::size_t s, std::size_t h) {
    for (std::size_t i = 0; i < n; ++i) {
      const std::size_t row = (s * run.dim(Dim::heads) + h) * n + i;
      const T* in = run.reads[0].at(row, 0, width);
      T* out = run.writes[0].at(row, 0, width);
      const Sight seen = sight(run, i);
      for (std::size_t j = 0; j < width; ++j) {
        const std::size_t position = first_seen(run) + j;
        out[j] = position >= seen.first && position < seen.end ? in[j] : -std::numeric_limits<T>::infinity();
      }
      run.vector += softmax(out, width, scale_of(run), sinks ? sinks + h : nullptr);
    }
  });
}

template <class T>
void run_attention_values(OpRun<T>& run) {
  Heads<T> heads(run);
  const std::size_t n = run.new_tokens(), keys = run.dim(Dim::keys), width = run.dim(Dim::v_width);
  each_head(run, [&](std::size_t s, std::size_t h) {
    const Matrix<T> values = heads.values(s, h, first_seen(run), keys);
    const T* in = run.reads[0].at((s * run.dim(Dim::heads) + h) * n, 0, keys, n);
    const Matrix<T> y = Eigen::Map<const Matrix<T>>(in, n, keys) * values;
    for (std::size_t i = 0; i < n; ++i)
      std::copy_n(y.row(i).data(), width, run.writes[0].at(s * n + i, h * width, width));
    run.products += 2.0 * static_cast<double>(n * keys) * static_cast<double>(values.cols());
  });
}

// Keys and values stand behind the queries; rotated latent keys behind the latent, or alone.
template <class T>
void run_kv_append(OpRun<T>& run) {
  View<T>& cache = run.writes[0];
  const std::size_t n = run.new_tokens();
  std::size_t column = 0;
  for (std::size_t r = 0; r < run.reads.size(); ++r) {
    View<T>& in = run.reads[r];
    std::size_t width = cache.width();
    if (run.spec->latent) width = whole(r == 0 ? run.spec->latent->kv_lora_rank : run.spec->latent->rope_head_dim);
    for (std::size_t row = 0; row < in.rows(); ++row)
      std::copy_n(in.at(row, in.width() - width, width), width,
                  cache.at(row / n * run.total() + run.past() + row % n, column, width));
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

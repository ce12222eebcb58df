// Inside kernels/ only: which elements of an attention's operands are one head's queries, keys and values.
#pragma once

#include <Eigen/Dense>

#include "kernels/executor/op_run.hpp"

namespace gambrel::kernels {

template <class T>
using Matrix = Eigen::Matrix<T, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;

/// Positions [first, end) that the query at `position` sees.
struct Sight {
  std::size_t first, end;
  bool holds(std::size_t place) const { return first <= place && place < end; }
};

template <class T>
Sight sight(const OpRun<T>& run, std::size_t position) {
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

/// Of keys sorted by position those that are seen: [begin, end).
template <class Keys>
std::pair<Eigen::Index, Eigen::Index> range_of(const Keys& keys, Sight seen) {
  auto index = [&](std::size_t place) {
    return std::ranges::lower_bound(keys, place, {}, [](const auto& key) { return key.place; }) - keys.begin();
  };
  return {index(seen.first), index(seen.end)};
}

/// Columns of an operand that belong to one head.
template <class T>
struct HeadPart {
  View<T>* view;
  std::size_t column, width;
};

/// The operands of an attention or one of its pieces, seen head by head. `operands`: a view for each read of the forward's operator,
/// in its order; null where there is none. Given the views of gradients instead, it tells where each head's gradients go.
template <class T>
class Heads {
 public:
  using Parts = std::vector<HeadPart<T>>;
  /// A row of a sequence's keys: which of the sources has it, where, and its position.
  struct Key {
    std::size_t source, row, place;
  };

  Heads(OpRun<T>& run, const std::vector<View<T>*>& operands);
  /// Of a forward operator: its reads.
  static Heads of(OpRun<T>& run) {
    std::vector<View<T>*> views;
    for (View<T>& view : run.reads) views.push_back(&view);
    return Heads(run, views);
  }

  View<T>* sinks() const { return sinks_; }
  /// Positions of one sequence's queries.
  const std::vector<std::size_t>& queries() const { return queries_; }
  /// Keys of a sequence that lie here and that `seen` holds, by position.
  std::vector<Key> keys(Sight seen) const;
  /// Positions that some query of this rank sees, or any of the step's new tokens.
  Sight seen_here() const;
  Sight seen_by_all() const { return {sight(run_, run_.past()).first, run_.total()}; }

  Matrix<T> load_queries(std::size_t sequence, std::size_t head) const;
  Matrix<T> load_keys(std::size_t sequence, std::size_t head, const std::vector<Key>& keys) const;
  Matrix<T> load_values(std::size_t sequence, std::size_t head, const std::vector<Key>& keys) const;
  void add_queries(std::size_t sequence, std::size_t head, const Matrix<T>& gradient) const;
  void add_keys(std::size_t sequence, std::size_t head, const std::vector<Key>& keys, const Matrix<T>& gradient) const;
  void add_values(std::size_t sequence, std::size_t head, const std::vector<Key>& keys, const Matrix<T>& gradient) const;

 private:
  /// Views that together hold keys and values of the same tokens; they may be one and the same.
  struct Source {
    View<T>*k, *v, *rotated;
    std::size_t per_sequence;
    std::vector<std::size_t> places;
  };
  bool absorbs() const;
  Source source_of(const std::vector<View<T>*>& own) const;
  void locate(Source& source) const;
  Parts query_parts(std::size_t head) const;
  Parts key_parts(const Source& source, std::size_t head) const;
  Parts value_parts(const Source& source, std::size_t head) const;
  template <class PartsOf>
  Matrix<T> load(std::size_t sequence, const std::vector<Key>& keys, PartsOf parts_of) const;
  template <class PartsOf>
  void add(std::size_t sequence, const std::vector<Key>& keys, const Matrix<T>& gradient, PartsOf parts_of) const;
  const models::LatentAttention& latent() const { return *run_.spec->latent; }
  std::size_t head_dim() const { return whole(run_.spec->attention->head_dim); }

  OpRun<T>& run_;
  std::vector<View<T>*> queries_of_;
  View<T>* sinks_ = nullptr;
  std::vector<Source> sources_;
  std::vector<std::size_t> queries_;
  bool absorbed_ = false;
  std::size_t heads_ = 1, kv_heads_ = 1;
};

extern template class Heads<double>;
extern template class Heads<float>;

}  // namespace gambrel::kernels

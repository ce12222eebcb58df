// Inside kernels/ only: what a reference kernel sees of one execution of an operator on one rank.
#pragma once

#include <algorithm>
#include <cmath>
#include <string>
#include <string_view>
#include <vector>

#include "kernels/executor.hpp"
#include "kernels/weights.hpp"
#include "models/graph.hpp"

namespace gambrel::kernels {

/// Where a row that was sent to an expert belongs: its expert, the rank and row it came from, and which member of a
/// gathered group brought it.
struct Tag {
  std::size_t expert = 0, rank = 0, row = 0, part = 0;
};

/// A matrix, row-major. Rows sent to experts carry tags.
template <class T>
struct Buffer {
  std::size_t rows = 0, width = 0;
  std::vector<T> data;
  std::vector<Tag> tags;

  Buffer() = default;
  Buffer(std::size_t row_count, std::size_t row_width)
      : rows(row_count), width(row_width), data(row_count * row_width) {}
  T* row(std::size_t i) { return data.data() + i * width; }
  const T* row(std::size_t i) const { return data.data() + i * width; }
};

/// One operand. Kernels reach its elements through `at`, which notes which of them were touched.
template <class T>
class View {
 public:
  View(Buffer<T>& buffer, const models::Tensor& of, bool counts) : tensor(&of), buffer_(&buffer), counts_(counts) {}

  /// `n` elements of a row from a column on; `rows` > 1: of as many rows.
  T* at(std::size_t row, std::size_t column, std::size_t n, std::size_t rows = 1) {
    if (counts_) mark(row, column, n, rows);
    return buffer_->data.data() + row * buffer_->width + column;
  }
  T* all() { return at(0, 0, width(), rows()); }
  /// The same, counted each time: rows of a table that are looked up.
  T* look_up(std::size_t row) {
    gathered_ += static_cast<double>(width());
    return buffer_->row(row);
  }
  void shape(std::size_t rows, std::size_t width) { *buffer_ = Buffer<T>(rows, width); }

  std::size_t rows() const { return buffer_->rows; }
  std::size_t width() const { return buffer_->width; }
  Buffer<T>& buffer() { return *buffer_; }
  bool is(std::string_view ending) const { return tensor->name.ends_with(ending); }
  double touched() const { return gathered_ + static_cast<double>(std::count(touched_.begin(), touched_.end(), 1)); }

  const models::Tensor* tensor;

 private:
  void mark(std::size_t row, std::size_t column, std::size_t n, std::size_t rows) {
    touched_.resize(buffer_->data.size());
    for (std::size_t r = row; r < row + rows; ++r)
      std::fill_n(touched_.begin() + static_cast<std::ptrdiff_t>(r * buffer_->width + column), n, 1);
  }
  Buffer<T>* buffer_;
  bool counts_;
  double gathered_ = 0;
  std::vector<unsigned char> touched_;
};

inline std::size_t whole(double extent) { return static_cast<std::size_t>(std::llround(extent)); }

template <class T>
struct OpRun {
  const models::Op& op;
  std::string_view path;  ///< of the operator within its layer, "attn.qkv"
  const models::ModelConfig& model;
  const models::LayerSpec* spec;
  const models::Step& step;
  const models::Sharding& sharding;
  const ExecutorOptions& options;
  RankPlace place;
  std::size_t first_sequence = 0;      ///< of this rank's among all
  std::vector<View<T>> reads, writes;  ///< in the order of the operator's uses
  Buffer<T>* latent_keys = nullptr;    ///< of a latent attention's rotary: what ends in the heads' shared keys
  std::vector<T> sinks;                ///< of a softmax in memory: one a head
  double aside = 0;                    ///< elements touched outside the uses (latent_keys), read and written back
  double products = 0, vector = 0;     ///< FLOPs done: of contractions, and on single elements

  std::size_t dim(models::Dim d) const { return whole(op.dims[d]); }
  std::size_t new_tokens() const { return whole(step.new_tokens); }
  std::size_t past() const { return whole(step.past_tokens); }
  std::size_t total() const { return past() + new_tokens(); }
  View<T>* find(std::string_view ending) {
    for (View<T>& view : reads)
      if (view.is(ending)) return &view;
    return nullptr;
  }
  /// First row of this rank's own part of `view`, of which the operator works on `rows` only.
  std::size_t own_row(const View<T>& view, std::size_t rows) const {
    return view.rows() > rows ? place.tensor * rows : 0;
  }
};

/// The reference kernel of a kind; null: there is none.
template <class T>
using Kernel = void (*)(OpRun<T>&);
template <class T>
Kernel<T> kernel_of(models::OpKind kind);

// products
template <class T>
void run_gemm(OpRun<T>&);
template <class T>
void run_batched_gemm(OpRun<T>&);
template <class T>
void run_grouped_gemm(OpRun<T>&);
template <class T>
void run_expert_ffn(OpRun<T>&);
// attention
template <class T>
void run_attention(OpRun<T>&);
template <class T>
void run_attention_scores(OpRun<T>&);
template <class T>
void run_softmax(OpRun<T>&);
template <class T>
void run_attention_values(OpRun<T>&);
template <class T>
void run_kv_append(OpRun<T>&);
// rows
template <class T>
void run_norm(OpRun<T>&);
template <class T>
void run_rotary(OpRun<T>&);
template <class T>
void run_elementwise(OpRun<T>&);
template <class T>
void run_activation(OpRun<T>&);
template <class T>
void run_embedding(OpRun<T>&);
template <class T>
void run_sampling(OpRun<T>&);
template <class T>
void run_cross_entropy(OpRun<T>&);
// routing
template <class T>
void run_router_topk(OpRun<T>&);
template <class T>
void run_dispatch(OpRun<T>&);
template <class T>
void run_combine(OpRun<T>&);
// state space
template <class T>
void run_conv1d(OpRun<T>&);
template <class T>
void run_ssm_scan(OpRun<T>&);

/// An activation of `inner` outputs from `in` (2 inner if gated: gates first); returns its FLOPs.
template <class T>
double activate(models::Activation activation, const T* in, T* out, std::size_t inner);

/// One rank's side of a collective: what it sends and, after the call, what it has.
template <class T>
struct Member {
  Buffer<T>* in;
  Buffer<T>* out;
  std::size_t rank;
};
/// Moves the data of one group. False: this collective is not one that the executor knows.
template <class T>
bool run_collective(const models::Op& op, std::string_view path, std::vector<Member<T>>& group, double experts);

}  // namespace gambrel::kernels

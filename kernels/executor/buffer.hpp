// Inside kernels/ only: a matrix of one rank, with what is known of its rows, and an operator's view of it.
#pragma once

#include <algorithm>
#include <cstddef>
#include <string_view>
#include <vector>

#include "kernels/executor/page_pool.hpp"
#include "models/op.hpp"

namespace gambrel::kernels {

/// Where a row that was sent to an expert belongs: its expert, the rank and row it came from, and which member of a
/// gathered group brought it.
struct Tag {
  std::size_t expert = 0, rank = 0, row = 0, part = 0;
};

/// A token of the run: its sequence among all data ranks' and its position there.
struct Token {
  std::size_t sequence = 0, position = 0;
  auto operator<=>(const Token&) const = default;
};

/// A matrix, row-major.
template <class T>
struct Buffer {
  std::size_t rows = 0, width = 0;
  Values<T> data;
  std::vector<Tag> tags;             ///< of rows sent to experts
  std::vector<Token> tokens;         ///< of the rows, where they are not simply the rank's
  std::vector<std::size_t> places;   ///< positions of one sequence's rows, alike in all: of keys and whole sequences
  std::vector<T> notes;              ///< for the gradient: of an attention's output a row and head each the logarithm of the sum of exponentials; of a convolution what silu was applied to

  Buffer() = default;
  Buffer(std::size_t row_count, std::size_t row_width)
      : rows(row_count), width(row_width), data(row_count * row_width) {}
  T* row(std::size_t i) { return data.data() + i * width; }
  const T* row(std::size_t i) const { return data.data() + i * width; }
  void forget() { tags.clear(), tokens.clear(), places.clear(), notes.clear(); }
  /// What is known of the rows of another matrix holds for those of this one.
  void know(const Buffer& other) { tags = other.tags, tokens = other.tokens, places = other.places; }
  std::size_t bytes() const { return data.size() * sizeof(T); }
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
  /// Zeros in this shape; memory that has it is taken as it is, for nothing was written to a result before.
  void shape(std::size_t rows, std::size_t width) {
    if (buffer_->rows != rows || buffer_->width != width) *buffer_ = Buffer<T>(rows, width);
    else buffer_->forget();
  }

  std::size_t rows() const { return buffer_->rows; }
  std::size_t width() const { return buffer_->width; }
  Buffer<T>& buffer() { return *buffer_; }
  const Buffer<T>& buffer() const { return *buffer_; }
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

}  // namespace gambrel::kernels

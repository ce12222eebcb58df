// Inside kernels/suite/ only: a kernel that turns rows into rows, with its operands; threads share the rows.
#pragma once

#include <algorithm>

#include "kernels/suite/support.hpp"

namespace gambrel::kernels {

struct RowShape {
  std::size_t rows = 1, in = 1, out = 1;  ///< elements of a row read and written
};

class RowCall : public Checked {
 public:
  RowCall(const RowShape& shape, int threads)
      : shape_(shape), threads_(threads), x_(filled(shape.rows * shape.in, 1)), y_(make_pages<float>(shape.rows * shape.out)) {
    for (std::size_t i = 0; i < shape.rows * shape.in; ++i) x_[i] *= 4;  // so that exponentials differ
  }
  void run() override {
    share(threads_, shape_.rows, [&](std::size_t first, std::size_t last) {
      part(first, last - first, x_.get() + first * shape_.in, y_.get() + first * shape_.out);
    });
  }
  double error() const override {
    std::vector<double> expected(shape_.rows * shape_.out);
    for (std::size_t row = 0; row < shape_.rows; ++row) {
      const std::vector<double> x(x_.get() + row * shape_.in, x_.get() + (row + 1) * shape_.in);
      reference(row, x, std::span(expected).subspan(row * shape_.out, shape_.out));
    }
    return relative_error(expected, [&](std::size_t i) { return y_[i]; });
  }

 protected:
  virtual void part(std::size_t first, std::size_t rows, const float* x, float* y) = 0;
  virtual void reference(std::size_t row, const std::vector<double>& x, std::span<double> y) const = 0;

  RowShape shape_;
  int threads_;
  Pages<float> x_, y_;
};

/// Sizes at which rows are checked: few, of a length that fills no vector.
inline std::size_t small_rows(std::size_t rows) { return std::min<std::size_t>(rows, 5); }
inline std::size_t small_columns(std::size_t columns) { return std::min<std::size_t>(columns, 211); }

// Rows of the default suite: in the second level, in the third, and in DRAM.
inline constexpr std::size_t row_counts[] = {16, 256, 2048}, row_columns = 4096;
/// What the gate takes works from the second cache: no neighbour shares it, so that fresh processes agree.
inline constexpr std::size_t gate_rows = 16;

}  // namespace gambrel::kernels

// Inside kernels/suite/ only: queries, cache and result of an attention, and the plain reference for all its forms.
#pragma once

#include <algorithm>

#include "kernels/suite/cases.hpp"
#include "kernels/suite/own/own.hpp"
#include "kernels/suite/support.hpp"

namespace gambrel::kernels {

/// q and out [batch, queries, heads, head_dim]; k and v [batch, kv_heads, keys, head_dim], the last `queries` of them new.
class AttentionOperands : public Checked {
 public:
  AttentionOperands(const HeadShape& shape, std::size_t queries, std::size_t keys, int threads)
      : shape_(shape), queries_(queries), keys_(keys), threads_(threads), q_(filled(shape.batch * queries * shape.heads * shape.head_dim, 1)),
        k_(filled(shape.batch * shape.kv_heads * keys * shape.head_dim, 2)), v_(filled(shape.batch * shape.kv_heads * keys * shape.head_dim, 3)),
        out_(make_pages<float>(shape.batch * queries * shape.heads * shape.head_dim)) {
    for (std::size_t i = 0; i < shape.batch * queries * shape.heads * shape.head_dim; ++i) q_[i] *= 3;  // so that weights differ
  }
  std::string selected() const override { return own_.vectors; }

  double error() const override {
    std::vector<double> expected(shape_.batch * queries_ * shape_.heads * shape_.head_dim);
    for (std::size_t b = 0; b < shape_.batch; ++b)
      for (std::size_t i = 0; i < queries_; ++i)
        for (std::size_t h = 0; h < shape_.heads; ++h) refer(b, i, h, expected.data() + row_of(b, i, h));
    return relative_error(expected, [&](std::size_t i) { return out_[i]; });
  }

 protected:
  std::size_t row_of(std::size_t b, std::size_t i, std::size_t h) const { return ((b * queries_ + i) * shape_.heads + h) * shape_.head_dim; }
  std::size_t cache_of(std::size_t b, std::size_t h) const {
    return (b * shape_.kv_heads + h / (shape_.heads / shape_.kv_heads)) * keys_ * shape_.head_dim;
  }

  HeadShape shape_;
  std::size_t queries_, keys_;
  int threads_;
  Pages<float> q_, k_, v_, out_;
  const OwnKernels& own_ = own_kernels();

 private:
  /// Scores, softmax and sum of one query head in fp64: what every version has to equal.
  void refer(std::size_t b, std::size_t i, std::size_t h, double* out) const {
    const std::size_t width = shape_.head_dim, seen = keys_ - queries_ + i + 1;
    const float *q = q_.get() + row_of(b, i, h), *k = k_.get() + cache_of(b, h), *v = v_.get() + cache_of(b, h);
    std::vector<double> weight(seen);
    for (std::size_t key = 0; key < seen; ++key) {
      for (std::size_t j = 0; j < width; ++j) weight[key] += static_cast<double>(q[j]) * k[key * width + j];
      weight[key] /= std::sqrt(static_cast<double>(width));
    }
    const double most = *std::max_element(weight.begin(), weight.end());
    double total = 0;
    for (double& w : weight) total += w = std::exp(w - most);
    for (std::size_t key = 0; key < seen; ++key)
      for (std::size_t j = 0; j < width; ++j) out[j] += weight[key] / total * v[key * width + j];
  }
};

/// Row of the suite for an attention of `queries` new tokens that end at `keys`.
inline KernelCase attention_row(std::string kernel, std::string_view version, const HeadShape& shape, std::size_t queries, std::size_t keys, int threads) {
  const auto extent = [](std::size_t n) { return static_cast<double>(n); };
  std::vector<std::pair<std::string, double>> sizes{{"batch_size", extent(shape.batch)}, {"isl", extent(queries)}, {"kv_tokens", extent(keys)},
                                                    {"num_heads", extent(shape.heads)}, {"num_key_value_heads", extent(shape.kv_heads)},
                                                    {"head_dim", extent(shape.head_dim)}};
  KernelCase row = named(std::move(kernel), "f32", version, {"own"}, std::move(sizes), threads);
  const models::AttentionShape one{.batch = extent(shape.batch), .queries = extent(queries), .past = extent(keys - queries), .heads = extent(shape.heads),
                                   .kv_heads = extent(shape.kv_heads), .qk_width = extent(shape.head_dim), .v_width = extent(shape.head_dim)};
  set_work(row, models::single_attention(one, Format::fp32, Format::fp32), Anchor::fma_f32);
  row.tolerance = 1e-5;
  return row;
}

}  // namespace gambrel::kernels

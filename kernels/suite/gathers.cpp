// Purpose: rows copied by an index - embeddings by token, and a routed FFN's tokens to their experts.
// Reference: each row compared with where it came from. Version: own (memcpy a row).
#include "kernels/suite/cases.hpp"
#include "kernels/suite/own/own.hpp"
#include "kernels/suite/support.hpp"

#include <algorithm>

namespace gambrel::kernels {
namespace {

class Gather : public Checked {
 public:
  Gather(std::vector<std::int32_t> index, std::size_t table_rows, std::size_t width, int threads)
      : index_(std::move(index)), width_(width), threads_(threads), table_(filled(table_rows * width, 1)), y_(make_pages<float>(index_.size() * width)) {}
  void run() override {
    share(threads_, index_.size(), [&](std::size_t first, std::size_t last) {
      own_.gather(table_.get(), index_.data() + first, y_.get() + first * width_, last - first, width_);
    });
  }
  double error() const override {
    std::vector<double> expected(index_.size() * width_);
    for (std::size_t i = 0; i < expected.size(); ++i) expected[i] = table_[static_cast<std::size_t>(index_[i / width_]) * width_ + i % width_];
    return relative_error(expected, [&](std::size_t i) { return y_[i]; });
  }

 private:
  std::vector<std::int32_t> index_;
  std::size_t width_;
  int threads_;
  Pages<float> table_, y_;
  const OwnKernels& own_ = own_kernels();
};

/// Spread without a pattern that a prefetcher could follow: multiples of an odd number, large beside the count.
std::vector<std::int32_t> scattered(std::size_t count, std::size_t range) {
  std::vector<std::int32_t> index(count);
  for (std::size_t i = 0; i < count; ++i) index[i] = static_cast<std::int32_t>((i + 1) * 2654435761u % range);
  return index;
}

/// Token t goes to experts t * top_k + j modulo their number; all tokens of an expert come together.
std::vector<std::int32_t> by_expert(std::size_t tokens, std::size_t experts, std::size_t top_k) {
  std::vector<std::int32_t> index;
  for (std::size_t expert = 0; expert < experts; ++expert)
    for (std::size_t pair = expert; pair < tokens * top_k; pair += experts) index.push_back(static_cast<std::int32_t>(pair / top_k));
  return index;
}

}  // namespace

KernelCase embedding_case(std::string_view version, std::size_t tokens, std::size_t vocabulary, std::size_t hidden, int threads) {
  const double m = static_cast<double>(tokens), v = static_cast<double>(vocabulary), n = static_cast<double>(hidden);
  KernelCase row = named("embedding", "f32", version, {"own"}, {{"rows", m}, {"vocab", v}, {"cols", n}}, threads);
  set_work(row,
           operation(models::OpKind::embedding, {{models::Dim::m, m}, {models::Dim::n, n}},
                     {{.shape = {v, n}, .role = models::Role::weight, .share = m / v}}, {.shape = {m, n}}),
           Anchor::fma_f32);
  set_calls(
      row, [=] { return std::make_unique<Gather>(scattered(tokens, vocabulary), vocabulary, hidden, threads); },
      [=] { return std::make_unique<Gather>(scattered(7, 100), 100, std::min<std::size_t>(hidden, 211), threads); });
  return row;
}

KernelCase dispatch_case(std::string_view version, std::size_t tokens, std::size_t hidden, std::size_t experts, std::size_t top_k, int threads) {
  const double m = static_cast<double>(tokens), n = static_cast<double>(hidden), e = static_cast<double>(experts), k = static_cast<double>(top_k);
  KernelCase row = named("dispatch", "f32", version, {"own"}, {{"num_tokens", m}, {"hidden_size", n}, {"num_experts", e}, {"topk", k}}, threads);
  set_work(row,
           operation(models::OpKind::dispatch, {{models::Dim::m, m}, {models::Dim::n, n}, {models::Dim::top_k, k}},
                     {{.shape = {m, n}}}, {.shape = {m * k, n}}),
           Anchor::fma_f32);
  set_calls(
      row, [=] { return std::make_unique<Gather>(by_expert(tokens, experts, top_k), tokens, hidden, threads); },
      [=] { return std::make_unique<Gather>(by_expert(9, experts, top_k), 9, std::min<std::size_t>(hidden, 211), threads); });
  return row;
}

void add_gathers(Rows& rows, int threads) {
  rows.push_back(embedding_case("own", 256, 16384, 2048, threads));
  rows.push_back(dispatch_case("own", 256, 2048, 8, 2, threads));
}

}  // namespace gambrel::kernels

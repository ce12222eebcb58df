// Purpose: the FFN of a routed layer, each expert on the rows that were sent to it.
// Reference: three loops in fp64. Version: oneDNN's products with packed weights, one after another, SwiGLU of our own on the same threads.
#include "kernels/suite/cases.hpp"
#include "kernels/suite/libraries.hpp"
#include "kernels/suite/own/own.hpp"
#include "kernels/suite/support.hpp"

namespace gambrel::kernels {
namespace {

struct Shape {
  std::size_t rows, hidden, inner, experts;  ///< rows: over all experts, in their order
};

class ExpertFfn : public Checked {
 public:
  ExpertFfn(const Shape& shape, int threads)
      : shape_(shape), threads_(threads), x_(filled(shape.rows * shape.hidden, 1)), up_(filled(shape.experts * 2 * shape.inner * shape.hidden, 2)),
        down_(filled(shape.experts * shape.hidden * shape.inner, 3)), gates_(make_pages<float>(shape.rows * 2 * shape.inner)),
        inner_(make_pages<float>(shape.rows * shape.inner)), y_(make_pages<float>(shape.rows * shape.hidden)) {
    for (std::size_t i = 0; i < shape.rows * shape.hidden; ++i) x_[i] *= 0.25f;  // gates of usual size
    for (std::size_t e = 0; e < shape.experts; ++e) {
      const std::size_t rows = end(e) - begin(e);
      if (rows == 0) continue;
      experts_.push_back({e, {OneDnnType::f32, rows, 2 * shape.inner, shape.hidden, true, threads}, {OneDnnType::f32, rows, shape.hidden, shape.inner, true, threads}});
      experts_.back().up.set_weights(up_.get() + e * 2 * shape.inner * shape.hidden);
      experts_.back().down.set_weights(down_.get() + e * shape.hidden * shape.inner);
    }
  }
  void run() override {
    for (Expert& expert : experts_) {
      const std::size_t first = begin(expert.index), rows = end(expert.index) - first;
      expert.up.run(x_.get() + first * shape_.hidden, gates_.get() + first * 2 * shape_.inner);
      activate(first, rows);
      expert.down.run(inner_.get() + first * shape_.inner, y_.get() + first * shape_.hidden);
    }
  }
  std::string selected() const override { return experts_.front().up.selected(); }

  double error() const override {
    std::vector<double> expected(shape_.rows * shape_.hidden);
    for (std::size_t e = 0; e < shape_.experts; ++e)
      for (std::size_t row = begin(e); row < end(e); ++row) refer(e, row, expected.data() + row * shape_.hidden);
    return relative_error(expected, [&](std::size_t i) { return y_[i]; });
  }

 private:
  struct Expert {
    std::size_t index;
    OneDnnProduct up, down;
  };
  /// On oneDNN's own threads, which spin until its next product: others beside them would hardly get a CPU.
  void activate(std::size_t first, std::size_t rows) {
#pragma omp parallel for num_threads(threads_) if (threads_ > 1)
    for (int i = 0; i < threads_; ++i) {
      const auto [from, to] = piece(rows, i, threads_);
      if (from < to) own_.swiglu(gates_.get() + (first + from) * 2 * shape_.inner, inner_.get() + (first + from) * shape_.inner, to - from, shape_.inner);
    }
  }
  std::size_t begin(std::size_t expert) const { return shape_.rows * expert / shape_.experts; }
  std::size_t end(std::size_t expert) const { return begin(expert + 1); }

  void refer(std::size_t e, std::size_t row, double* y) const {
    const auto dot = [](const float* w, const auto* x, std::size_t n) {
      double sum = 0;
      for (std::size_t i = 0; i < n; ++i) sum += static_cast<double>(w[i]) * x[i];
      return sum;
    };
    const float *x = x_.get() + row * shape_.hidden, *up = up_.get() + e * 2 * shape_.inner * shape_.hidden;
    std::vector<double> inner(shape_.inner);
    for (std::size_t i = 0; i < shape_.inner; ++i) {
      const double gate = dot(up + i * shape_.hidden, x, shape_.hidden);
      inner[i] = gate / (1 + std::exp(-gate)) * dot(up + (shape_.inner + i) * shape_.hidden, x, shape_.hidden);
    }
    for (std::size_t i = 0; i < shape_.hidden; ++i) y[i] = dot(down_.get() + (e * shape_.hidden + i) * shape_.inner, inner.data(), shape_.inner);
  }

  Shape shape_;
  int threads_;
  Pages<float> x_, up_, down_, gates_, inner_, y_;
  std::vector<Expert> experts_;
  const OwnKernels& own_ = own_kernels();
};

}  // namespace

KernelCase expert_ffn_case(std::string_view version, std::size_t tokens, std::size_t hidden, std::size_t inner, std::size_t experts, std::size_t top_k, int threads) {
  const auto extent = [](std::size_t n) { return static_cast<double>(n); };
  KernelCase row = named("moe", "f32", version, {"onednn_packed"},
                         {{"num_tokens", extent(tokens)}, {"hidden_size", extent(hidden)}, {"inter_size", extent(inner)}, {"topk", extent(top_k)}, {"num_experts", extent(experts)}}, threads);
  row.library = onednn_version();
  row.tolerance = 2e-5;
  const std::size_t routed = tokens * top_k;
  set_work(row,
           models::single_expert_ffn({.routed = extent(routed), .hidden = extent(hidden), .inner = extent(inner), .experts = extent(experts),
                                      .hit = extent(std::min(routed, experts)), .top_k = extent(top_k), .projections = 3},
                                     Format::fp32, Format::fp32),
           Anchor::fma_f32);
  row.working_set += 4 * 3 * extent(routed * inner);  // what lies between the products
  set_calls(
      row, [=] { return std::make_unique<ExpertFfn>(Shape{routed, hidden, inner, experts}, threads); },
      [=] {
        return std::make_unique<ExpertFfn>(Shape{std::min<std::size_t>(routed, 13), std::min<std::size_t>(hidden, 48), std::min<std::size_t>(inner, 80), std::min<std::size_t>(experts, 4)}, threads);
      });
  return row;
}

void add_expert_ffn(Rows& rows, int threads) {
  rows.push_back(expert_ffn_case("onednn_packed", 64, 512, 1024, 8, 2, threads));   // 50 MiB of weights, 16 rows an expert
  rows.push_back(expert_ffn_case("onednn_packed", 512, 512, 1024, 8, 2, threads));  // 128 rows an expert
}

}  // namespace gambrel::kernels

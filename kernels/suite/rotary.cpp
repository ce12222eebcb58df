// Purpose: rotary position embedding (Su et al. 2021, arXiv 2104.09864) of queries or keys.
// Reference: fp64. Version: own (vectors; sines and cosines from a table of the positions).
#include "kernels/suite/cases.hpp"
#include "kernels/suite/own/own.hpp"
#include "kernels/suite/row_call.hpp"

namespace gambrel::kernels {
namespace {

class Rotary : public RowCall {
 public:
  Rotary(std::size_t tokens, std::size_t heads, std::size_t width, int threads)
      : RowCall({tokens, heads * width, heads * width}, threads), heads_(heads), half_(width / 2),
        cosine_(make_pages<float>(tokens * half_)), sine_(make_pages<float>(tokens * half_)) {
    for (std::size_t i = 0; i < tokens * half_; ++i) {
      const double frequency = std::pow(10000.0, -static_cast<double>(i % half_) / static_cast<double>(half_));
      const double angle = static_cast<double>(i / half_) * frequency;
      cosine_[i] = static_cast<float>(std::cos(angle)), sine_[i] = static_cast<float>(std::sin(angle));
    }
  }
  std::string selected() const override { return own_.vectors; }

 protected:
  void part(std::size_t first, std::size_t rows, const float* x, float* y) override {
    own_.rotary(x, cosine_.get() + first * half_, sine_.get() + first * half_, y, rows, heads_, 2 * half_);
  }
  void reference(std::size_t row, const std::vector<double>& x, std::span<double> y) const override {
    for (std::size_t i = 0; i < x.size(); ++i) {
      const std::size_t in_head = i % (2 * half_), column = in_head % half_;
      const double c = cosine_[row * half_ + column], s = sine_[row * half_ + column];
      y[i] = in_head < half_ ? x[i] * c - x[i + half_] * s : x[i] * c + x[i - half_] * s;
    }
  }

 private:
  std::size_t heads_, half_;
  Pages<float> cosine_, sine_;
  const OwnKernels& own_ = own_kernels();
};

}  // namespace

KernelCase rotary_case(std::string_view version, std::size_t tokens, std::size_t heads, std::size_t head_dim, int threads) {
  const double m = static_cast<double>(tokens), h = static_cast<double>(heads), d = static_cast<double>(head_dim);
  KernelCase row = named("rotary", "f32", version, {"own"}, {{"rows", m}, {"num_heads", h}, {"head_dim", d}}, threads);
  set_work(row,
           operation(models::OpKind::rotary, {{models::Dim::m, m}, {models::Dim::n, h * d}, {models::Dim::terms, 3}},
                     {{.shape = {m, h * d}}, {.shape = {m, d}}}, {.shape = {m, h * d}}),
           Anchor::fma_f32);
  set_calls(
      row, [=] { return std::make_unique<Rotary>(tokens, heads, head_dim, threads); },
      [=] { return std::make_unique<Rotary>(small_rows(tokens), std::min<std::size_t>(heads, 3), head_dim, threads); });
  return row;
}

void add_rotary(Rows& rows, int threads) {
  for (const std::size_t count : row_counts) rows.push_back(rotary_case("own", count, row_columns / 128, 128, threads));
}

}  // namespace gambrel::kernels

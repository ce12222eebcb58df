// Purpose: softmax along rows, as attention without a fused kernel and sampling need it.
// Reference: exponentials in fp64. Versions: own (vectors, a polynomial for e^x), oneDNN.
#include "kernels/suite/cases.hpp"
#include "kernels/suite/libraries.hpp"
#include "kernels/suite/own/own.hpp"
#include "kernels/suite/row_call.hpp"

namespace gambrel::kernels {
namespace {

class Softmax : public RowCall {
 public:
  using RowCall::RowCall;
  std::string selected() const override { return own_.vectors; }

 protected:
  void part(std::size_t, std::size_t rows, const float* x, float* y) override { own_.softmax(x, y, rows, shape_.in); }
  void reference(std::size_t, const std::vector<double>& x, std::span<double> y) const override {
    const double most = *std::max_element(x.begin(), x.end());
    double total = 0;
    for (const double value : x) total += std::exp(value - most);
    for (std::size_t i = 0; i < x.size(); ++i) y[i] = std::exp(x[i] - most) / total;
  }

 private:
  const OwnKernels& own_ = own_kernels();
};

class OneDnnSoftmax : public Softmax {
 public:
  OneDnnSoftmax(const RowShape& shape, int threads) : Softmax(shape, threads), kernel_(OneDnnRows::softmax, shape.rows, shape.in, threads) {}
  void run() override { kernel_.run(x_.get(), nullptr, nullptr, y_.get()); }
  std::string selected() const override { return kernel_.selected(); }

 private:
  OneDnnRowKernel kernel_;
};

std::unique_ptr<Checked> make(bool own, std::size_t rows, std::size_t columns, int threads) {
  const RowShape shape{rows, columns, columns};
  if (own) return std::make_unique<Softmax>(shape, threads);
  return std::make_unique<OneDnnSoftmax>(shape, threads);
}

}  // namespace

KernelCase softmax_case(std::string_view version, std::size_t rows, std::size_t columns, int threads) {
  const double m = static_cast<double>(rows), n = static_cast<double>(columns);
  KernelCase row = named("softmax", "f32", version, {"own", "onednn"}, {{"rows", m}, {"cols", n}}, threads);
  set_work(row, models::single_vector(models::OpKind::softmax, m, n, 0, Format::fp32), Anchor::fma_f32);
  const bool own = version == "own";
  if (!own) row.library = onednn_version();
  set_calls(
      row, [=] { return make(own, rows, columns, threads); },
      [=] { return make(own, small_rows(rows), small_columns(columns), threads); });
  return row;
}

void add_softmax(Rows& rows, int threads) {
  for (const std::string_view version : {"own", "onednn"})
    for (const std::size_t count : row_counts) {
      rows.push_back(softmax_case(version, count, row_columns, threads));
      rows.back().gate = version == "own" && count == gate_rows;
    }
}

}  // namespace gambrel::kernels

// Purpose: silu(gate) * up, between the products of a gated FFN (Shazeer 2020, arXiv 2002.05202).
// Reference: fp64. Version: own (vectors, a polynomial for e^x).
#include "kernels/suite/cases.hpp"
#include "kernels/suite/own/own.hpp"
#include "kernels/suite/row_call.hpp"

namespace gambrel::kernels {
namespace {

class Swiglu : public RowCall {
 public:
  using RowCall::RowCall;
  std::string selected() const override { return own_.vectors; }

 protected:
  void part(std::size_t, std::size_t rows, const float* x, float* y) override { own_.swiglu(x, y, rows, shape_.out); }
  void reference(std::size_t, const std::vector<double>& x, std::span<double> y) const override {
    for (std::size_t i = 0; i < y.size(); ++i) y[i] = x[i] / (1 + std::exp(-x[i])) * x[y.size() + i];
  }

 private:
  const OwnKernels& own_ = own_kernels();
};

}  // namespace

KernelCase swiglu_case(std::string_view version, std::size_t rows, std::size_t columns, int threads) {
  const double m = static_cast<double>(rows), n = static_cast<double>(columns);
  KernelCase row = named("swiglu", "f32", version, {"own"}, {{"rows", m}, {"cols", n}}, threads);
  set_work(row,
           operation(models::OpKind::activation, {{models::Dim::m, m}, {models::Dim::n, n}, {models::Dim::terms, 5}},
                     {{.shape = {m, 2 * n}}}, {.shape = {m, n}}),
           Anchor::fma_f32);
  const auto make = [threads](std::size_t count, std::size_t width) { return std::make_unique<Swiglu>(RowShape{count, 2 * width, width}, threads); };
  set_calls(
      row, [=] { return make(rows, columns); }, [=] { return make(small_rows(rows), small_columns(columns)); });
  return row;
}

void add_swiglu(Rows& rows, int threads) {
  for (const std::size_t count : row_counts) {
    rows.push_back(swiglu_case("own", count, row_columns, threads));
    rows.back().gate = count == gate_rows;
  }
}

}  // namespace gambrel::kernels

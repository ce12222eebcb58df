// Purpose: RMSNorm (Zhang and Sennrich 2019, arXiv 1910.07467) and LayerNorm along rows, with gains (and biases).
// Reference: sums in fp64. Versions: own (vectors); oneDNN has LayerNorm only.
#include "kernels/suite/cases.hpp"
#include "kernels/suite/libraries.hpp"
#include "kernels/suite/own/own.hpp"
#include "kernels/suite/row_call.hpp"

namespace gambrel::kernels {
namespace {

constexpr float epsilon = 1e-5f;

class Norm : public RowCall {
 public:
  Norm(const RowShape& shape, int threads) : RowCall(shape, threads), gain_(filled(shape.in, 2)), bias_(filled(shape.in, 3)) {}
  std::string selected() const override { return own_.vectors; }

 protected:
  Pages<float> gain_, bias_;
  const OwnKernels& own_ = own_kernels();
};

class RmsNorm : public Norm {
 public:
  using Norm::Norm;

 protected:
  void part(std::size_t, std::size_t rows, const float* x, float* y) override {
    own_.rms_norm(x, gain_.get(), y, rows, shape_.in, epsilon);
  }
  void reference(std::size_t, const std::vector<double>& x, std::span<double> y) const override {
    double squares = 0;
    for (const double value : x) squares += value * value;
    const double scale = 1 / std::sqrt(squares / static_cast<double>(x.size()) + epsilon);
    for (std::size_t i = 0; i < x.size(); ++i) y[i] = x[i] * scale * gain_[i];
  }
};

class LayerNorm : public Norm {
 public:
  using Norm::Norm;

 protected:
  void part(std::size_t, std::size_t rows, const float* x, float* y) override {
    own_.layer_norm(x, gain_.get(), bias_.get(), y, rows, shape_.in, epsilon);
  }
  void reference(std::size_t, const std::vector<double>& x, std::span<double> y) const override {
    double sum = 0, squares = 0;
    for (const double value : x) sum += value;
    const double mean = sum / static_cast<double>(x.size());
    for (const double value : x) squares += (value - mean) * (value - mean);
    const double scale = 1 / std::sqrt(squares / static_cast<double>(x.size()) + epsilon);
    for (std::size_t i = 0; i < x.size(); ++i) y[i] = (x[i] - mean) * scale * gain_[i] + bias_[i];
  }
};

class OneDnnLayerNorm : public LayerNorm {
 public:
  OneDnnLayerNorm(const RowShape& shape, int threads)
      : LayerNorm(shape, threads), kernel_(OneDnnRows::layer_norm, shape.rows, shape.in, threads) {}
  void run() override { kernel_.run(x_.get(), gain_.get(), bias_.get(), y_.get()); }
  std::string selected() const override { return kernel_.selected(); }

 private:
  OneDnnRowKernel kernel_;
};

/// `terms` as in the operator table; a row's gains (and biases) are read once.
template <class Call>
void complete(KernelCase& row, models::OpKind kind, double terms, double parameters, std::size_t rows, std::size_t columns) {
  const double m = static_cast<double>(rows), n = static_cast<double>(columns);
  set_work(row,
           operation(kind, {{models::Dim::m, m}, {models::Dim::n, n}, {models::Dim::terms, terms}},
                     {{.shape = {m, n}}, {.shape = {parameters, n}, .role = models::Role::weight}}, {.shape = {m, n}}),
           Anchor::fma_f32);
  set_calls(
      row, [=, threads = row.threads] { return std::make_unique<Call>(RowShape{rows, columns, columns}, threads); },
      [=, threads = row.threads] {
        return std::make_unique<Call>(RowShape{small_rows(rows), small_columns(columns), small_columns(columns)}, threads);
      });
}

KernelCase begin(std::string kernel, std::string_view version, std::initializer_list<std::string_view> versions, std::size_t rows, std::size_t columns, int threads) {
  return named(std::move(kernel), "f32", version, versions, {{"rows", static_cast<double>(rows)}, {"cols", static_cast<double>(columns)}}, threads);
}

}  // namespace

KernelCase rms_norm_case(std::string_view version, std::size_t rows, std::size_t columns, int threads) {
  KernelCase row = begin("rms_norm", version, {"own"}, rows, columns, threads);
  complete<RmsNorm>(row, models::OpKind::rms_norm, 4, 1, rows, columns);
  return row;
}

KernelCase layer_norm_case(std::string_view version, std::size_t rows, std::size_t columns, int threads) {
  KernelCase row = begin("layer_norm", version, {"own", "onednn"}, rows, columns, threads);
  if (version == "own") complete<LayerNorm>(row, models::OpKind::layer_norm, 7, 2, rows, columns);
  else complete<OneDnnLayerNorm>(row, models::OpKind::layer_norm, 7, 2, rows, columns), row.library = onednn_version();
  return row;
}

void add_norms(Rows& rows, int threads) {
  for (const std::size_t count : row_counts) {
    rows.push_back(rms_norm_case("own", count, row_columns, threads));
    rows.back().gate = count == gate_rows;
  }
  for (const std::string_view version : {"own", "onednn"})
    for (const std::size_t count : row_counts) rows.push_back(layer_norm_case(version, count, row_columns, threads));
}

}  // namespace gambrel::kernels

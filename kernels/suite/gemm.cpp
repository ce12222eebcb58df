// Purpose: y[m,n] = x[m,k] W[n,k]^T, the linear layers of a model, on several tokens.
// Reference: three loops in fp64. Versions: oneDNN with packed and with plain weights (f32, bf16, int8), OpenBLAS, Eigen.
#include "kernels/suite/gemm.hpp"

#include <algorithm>
#include <cmath>
#include <stdexcept>

#include "kernels/suite/libraries.hpp"
#include "kernels/suite/own/own.hpp"
#include "kernels/suite/support.hpp"
#include "kernels/timing/vectors.hpp"

namespace gambrel::kernels {
namespace {

double value(float x) { return x; }
double value(std::uint16_t bf16) { return from_bf16(bf16); }
double value(std::int8_t x) { return x; }
double value(std::uint8_t x) { return x; }
double value(std::int32_t x) { return x; }

struct Size {
  std::size_t m, n, k;
};

template <class X, class W, class Y>
class Gemm : public Checked {
 public:
  explicit Gemm(const Size& size)
      : size_(size), x_(make_pages<X>(size.m * size.k)), w_(make_pages<W>(size.n * size.k)), y_(make_pages<Y>(size.m * size.n)) {
    fill(std::span(x_.get(), size.m * size.k), 1);
    fill(std::span(w_.get(), size.n * size.k), 2);
  }
  double error() const override {
    const auto [m, n, k] = size_;
    std::vector<double> reference(m * n);
    for (std::size_t i = 0; i < m; ++i)
      for (std::size_t j = 0; j < n; ++j)
        for (std::size_t l = 0; l < k; ++l) reference[i * n + j] += value(x_[i * k + l]) * value(w_[j * k + l]);
    return relative_error(reference, [&](std::size_t i) { return value(y_[i]); });
  }

 protected:
  Size size_;
  Pages<X> x_;
  Pages<W> w_;
  Pages<Y> y_;
};

template <class X, class W, class Y>
class WithOneDnn : public Gemm<X, W, Y> {
 public:
  WithOneDnn(const Size& size, OneDnnType type, bool packed, int threads)
      : Gemm<X, W, Y>(size), product_(type, size.m, size.n, size.k, packed, threads) {
    product_.set_weights(this->w_.get());
  }
  void run() override { product_.run(this->x_.get(), this->y_.get()); }
  std::string selected() const override { return product_.selected(); }

 private:
  OneDnnProduct product_;
};

/// Without a comparison of its own: the product is WithOneDnn's.
class Streamed : public Call {
 public:
  Streamed(const Size& size, std::size_t copies, int threads) : x_(filled(size.m * size.k, 1)), y_(make_pages<float>(size.m * size.n)) {
    const Pages<float> weights = filled(size.n * size.k, 2);
    for (std::size_t i = 0; i < copies; ++i) products_.emplace_back(OneDnnType::f32, size.m, size.n, size.k, true, threads).set_weights(weights.get());
  }
  void run() override {
    products_[next_].run(x_.get(), y_.get());
    next_ = (next_ + 1) % products_.size();
  }
  std::string selected() const override { return products_.front().selected(); }

 private:
  Pages<float> x_, y_;
  std::vector<OneDnnProduct> products_;
  std::size_t next_ = 0;
};

class WithOpenBlas : public Gemm<float, float, float> {
 public:
  WithOpenBlas(const Size& size, int threads) : Gemm(size), threads_(threads) {}
  void run() override { openblas_product(x_.get(), w_.get(), y_.get(), size_.m, size_.n, size_.k, threads_); }
  std::string selected() const override { return openblas_core(); }

 private:
  int threads_;
};

class WithEigen : public Gemm<float, float, float> {
 public:
  WithEigen(const Size& size, int threads) : Gemm(size), threads_(threads) {}
  void run() override { own_.eigen_gemm(x_.get(), w_.get(), y_.get(), size_.m, size_.n, size_.k, threads_); }
  std::string selected() const override { return own_.eigen_instructions(); }

 private:
  int threads_;
  const OwnKernels& own_ = own_kernels();
};

std::unique_ptr<Checked> make(const GemmVersion& v, const Size& size, int threads) {
  const bool packed = v.version == "onednn_packed";
  if (v.version == "openblas") return std::make_unique<WithOpenBlas>(size, threads);
  if (v.version == "eigen") return std::make_unique<WithEigen>(size, threads);
  if (v.type == "bf16")
    return std::make_unique<WithOneDnn<std::uint16_t, std::uint16_t, std::uint16_t>>(size, OneDnnType::bf16, packed, threads);
  if (v.type == "int8")
    return std::make_unique<WithOneDnn<std::uint8_t, std::int8_t, std::int32_t>>(size, OneDnnType::int8, packed, threads);
  return std::make_unique<WithOneDnn<float, float, float>>(size, OneDnnType::f32, packed, threads);
}

struct TypeRow {
  std::string_view name;
  Format operands, result;
  Anchor anchor;
  double tolerance;
};
constexpr TypeRow types[] = {{"f32", Format::fp32, Format::fp32, Anchor::fma_f32, 1e-5},
                             {"bf16", Format::bf16, Format::bf16, Anchor::fma_bf16, 8e-3},
                             {"int8", Format::int8, Format::int32, Anchor::fma_int8, 1e-12}};

std::string library(std::string_view version) {
  return version == "openblas" ? openblas_version() : version == "eigen" ? own_kernels().eigen_version() : onednn_version();
}

}  // namespace

std::vector<GemmVersion> gemm_versions() {
  std::vector<GemmVersion> rows{{"f32", "onednn_packed"}, {"f32", "onednn"}, {"f32", "openblas"}, {"f32", "eigen"}};
  if (has(Anchor::fma_bf16)) rows.insert(rows.end(), {{"bf16", "onednn_packed"}, {"bf16", "onednn"}});
  if (has(Anchor::fma_int8)) rows.insert(rows.end(), {{"int8", "onednn_packed"}, {"int8", "onednn"}});
  return rows;
}

KernelCase gemm_case(std::string_view type, std::string_view version, std::size_t m, std::size_t n, std::size_t k, int threads) {
  const std::vector<GemmVersion> versions = gemm_versions();
  const auto found = std::find_if(versions.begin(), versions.end(), [&](const GemmVersion& v) { return v.type == type && v.version == version; });
  if (found == versions.end()) throw std::invalid_argument("gemm_case: no such version here");
  const auto& row = *std::find_if(std::begin(types), std::end(types), [&](const TypeRow& t) { return t.name == type; });
  KernelCase result{.kernel = "gemm", .type = std::string(type), .version = std::string(version), .library = library(version),
                    .sizes = {{"m", static_cast<double>(m)}, {"n", static_cast<double>(n)}, {"k", static_cast<double>(k)}},
                    .threads = threads, .tolerance = row.tolerance};
  set_work(result, models::single_gemm(static_cast<double>(m), static_cast<double>(n), static_cast<double>(k), row.operands, row.operands, row.result), row.anchor);
  const Size size{m, n, k}, small{std::min<std::size_t>(m, 37), std::min<std::size_t>(n, 70), std::min<std::size_t>(k, 130)};
  set_calls(
      result, [=, v = *found] { return make(v, size, threads); }, [=, v = *found] { return make(v, small, threads); });
  return result;
}

KernelCase streamed_gemm_case(std::size_t m, std::size_t n, std::size_t k, double bytes, int threads) {
  KernelCase row = gemm_case("f32", "onednn_packed", m, n, k, threads);
  const auto copies = static_cast<std::size_t>(std::ceil(bytes / (sizeof(float) * static_cast<double>(n * k))));
  row.sizes.emplace_back("copies", static_cast<double>(copies));
  row.working_set = sizeof(float) * static_cast<double>(copies * n * k);
  row.prepare = [=, size = Size{m, n, k}] { return std::make_unique<Streamed>(size, copies, threads); };
  return row;
}

void add_gemm(Rows& rows, int threads) {
  constexpr Size sizes[] = {{256, 256, 256}, {512, 512, 512}, {32, 2048, 2048}, {256, 2048, 2048}};
  for (const GemmVersion& v : gemm_versions())
    for (const Size& size : sizes) {
      rows.push_back(gemm_case(v.type, v.version, size.m, size.n, size.k, threads));
      rows.back().gate = size.m == 256 && size.n == 256;  // a call well below a scheduler's slice
    }
}

}  // namespace gambrel::kernels

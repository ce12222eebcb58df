// Purpose: y[n] = W[n,k] x[k], the linear layers of one token: reads each weight once.
// Reference: fp64 on the weights as they are stored. Versions: own with f32, bf16, int8 and int4 weights turned into f32
// (own) or multiplied in integers (own_dot); OpenBLAS and oneDNN on f32.
#include <algorithm>
#include <stdexcept>

#include "kernels/suite/cases.hpp"
#include "kernels/suite/gemm.hpp"
#include "kernels/suite/libraries.hpp"
#include "kernels/suite/own/own.hpp"
#include "kernels/suite/support.hpp"
#include "kernels/timing/vectors.hpp"

namespace gambrel::kernels {
namespace {

class Gemv : public Checked {
 public:
  Gemv(std::size_t n, std::size_t k, int threads) : n_(n), k_(k), threads_(threads), x_(filled(k, 1)), y_(make_pages<float>(n)) {}
  std::string selected() const override { return own_.vectors; }
  double error() const override {
    std::vector<double> expected(n_);
    for (std::size_t row = 0; row < n_; ++row)
      for (std::size_t i = 0; i < k_; ++i) expected[row] += weight(row, i) * x_[i];
    return relative_error(expected, [&](std::size_t i) { return y_[i]; });
  }

 protected:
  virtual double weight(std::size_t row, std::size_t i) const = 0;
  /// f(first row, rows, y of the first) on each thread's rows, by sixteens.
  template <class F>
  void share_rows(const F& f) {
    parallel(threads_, [&](int i) {
      const auto [first, last] = piece(n_, i, threads_, int4_rows);
      if (first < last) f(first, last - first, y_.get() + first);
    });
  }

  std::size_t n_, k_;
  int threads_;
  Pages<float> x_, y_;
  const OwnKernels& own_ = own_kernels();
};

class F32 : public Gemv {
 public:
  F32(std::size_t n, std::size_t k, int threads) : Gemv(n, k, threads), w_(filled(n * k, 2)) {}
  void run() override {
    share_rows([&](std::size_t first, std::size_t n, float* y) { own_.gemv_f32(w_.get() + first * k_, x_.get(), y, n, k_); });
  }

 protected:
  double weight(std::size_t row, std::size_t i) const override { return w_[row * k_ + i]; }
  Pages<float> w_;
};

class OpenBlas : public F32 {
 public:
  using F32::F32;
  void run() override { openblas_product(x_.get(), w_.get(), y_.get(), 1, n_, k_, threads_); }
  std::string selected() const override { return openblas_core(); }
};

class OneDnn : public F32 {
 public:
  OneDnn(std::size_t n, std::size_t k, int threads) : F32(n, k, threads), product_(OneDnnType::f32, 1, n, k, true, threads) {
    product_.set_weights(w_.get());
  }
  void run() override { product_.run(x_.get(), y_.get()); }
  std::string selected() const override { return product_.selected(); }

 private:
  OneDnnProduct product_;
};

class Bf16 : public Gemv {
 public:
  Bf16(std::size_t n, std::size_t k, int threads) : Gemv(n, k, threads), w_(make_pages<std::uint16_t>(n * k)) { fill(std::span(w_.get(), n * k), 2); }
  void run() override {
    share_rows([&](std::size_t first, std::size_t n, float* y) { own_.gemv_bf16(w_.get() + first * k_, x_.get(), y, n, k_); });
  }

 protected:
  double weight(std::size_t row, std::size_t i) const override { return from_bf16(w_[row * k_ + i]); }

 private:
  Pages<std::uint16_t> w_;
};

class Int8 : public Gemv {
 public:
  Int8(std::size_t n, std::size_t k, int threads) : Gemv(n, k, threads), w_(make_pages<std::int8_t>(n * k)), scales_(filled(n, 3)) { fill(std::span(w_.get(), n * k), 2); }
  void run() override {
    share_rows([&](std::size_t first, std::size_t n, float* y) {
      own_.gemv_int8(w_.get() + first * k_, scales_.get() + first, x_.get(), y, n, k_);
    });
  }

 protected:
  double weight(std::size_t row, std::size_t i) const override { return static_cast<double>(w_[row * k_ + i]) * scales_[row]; }
  Pages<std::int8_t> w_;
  Pages<float> scales_;
};

/// x as bytes b with x = scale (b - 128); 128 times a row's sum of weights is known beforehand.
class Int8Dot : public Int8 {
 public:
  Int8Dot(std::size_t n, std::size_t k, int threads)
      : Int8(n, k, threads), bytes_(make_pages<std::uint8_t>(k)), sums_(make_pages<std::int32_t>(n)), whole_(make_pages<std::int32_t>(n)) {
    for (std::size_t i = 0; i < n * k; ++i) sums_[i / k] += 128 * w_[i];
  }
  void run() override {
    const float scale = quantise();
    share_rows([&](std::size_t first, std::size_t n, float* y) {
      own_.gemv_int8_dot(w_.get() + first * k_, bytes_.get(), whole_.get() + first, n, k_);
      for (std::size_t i = 0; i < n; ++i) y[i] = static_cast<float>(whole_[first + i] - sums_[first + i]) * scales_[first + i] * scale;
    });
  }

 private:
  float quantise() {
    float most = 0;
    for (std::size_t i = 0; i < k_; ++i) most = std::max(most, std::fabs(x_[i]));
    const float inverse = most > 0 ? 127 / most : 1;
    for (std::size_t i = 0; i < k_; ++i) bytes_[i] = static_cast<std::uint8_t>(x_[i] * inverse + 128.5f);
    return 1 / inverse;
  }

  Pages<std::uint8_t> bytes_;
  Pages<std::int32_t> sums_, whole_;
};

class Int4 : public Gemv {
 public:
  Int4(std::size_t n, std::size_t k, int threads) : Gemv(n, k, threads), w_(make_pages<std::uint8_t>(n * k / 2)), scales_(make_pages<std::uint16_t>(n * k / int4_group)) {
    // Any bytes are weights in the layout of own/gemv_int4.cpp.
    auto* const words = reinterpret_cast<std::uint16_t*>(w_.get());
    for (std::size_t i = 0; i < n * k / 4; ++i) words[i] = static_cast<std::uint16_t>((i + 1) * 2654435761u >> 13);
    fill(std::span(scales_.get(), n * k / int4_group), 3);
  }
  void run() override {
    share_rows([&](std::size_t first, std::size_t n, float* y) {
      own_.gemv_int4(w_.get() + first * k_ / 2, scales_.get() + first * k_ / int4_group, x_.get(), y, n, k_);
    });
  }

 protected:
  double weight(std::size_t row, std::size_t i) const override {
    const std::size_t group = row / int4_rows * (k_ / int4_group) + i / int4_group, lane = row % int4_rows, in_group = i % int4_group;
    const std::uint8_t byte = w_[group * 256 + in_group % 16 / 4 * 64 + lane * 4 + in_group % 4];
    return ((in_group < 16 ? byte & 15 : byte >> 4) - 8) * static_cast<double>(from_bf16(scales_[group * int4_rows + lane]));
  }
  Pages<std::uint8_t> w_;
  Pages<std::uint16_t> scales_;
};

class Int4Dot : public Int4 {
 public:
  Int4Dot(std::size_t n, std::size_t k, int threads)
      : Int4(n, k, threads), values_(make_pages<std::int8_t>(k)), group_scales_(make_pages<float>(k / int4_group)), offsets_(make_pages<std::int32_t>(k / int4_group)) {}
  void run() override {
    const QuantisedRow x{values_.get(), group_scales_.get(), offsets_.get()};
    own_.quantise_groups(x_.get(), x, k_);
    share_rows([&](std::size_t first, std::size_t n, float* y) {
      own_.gemv_int4_dot(w_.get() + first * k_ / 2, scales_.get() + first * k_ / int4_group, x, y, n, k_);
    });
  }

 private:
  Pages<std::int8_t> values_;
  Pages<float> group_scales_;
  Pages<std::int32_t> offsets_;
};

using Make = std::unique_ptr<Checked> (*)(std::size_t n, std::size_t k, int threads);
template <class Call>
std::unique_ptr<Checked> make(std::size_t n, std::size_t k, int threads) {
  return std::make_unique<Call>(n, k, threads);
}

struct VersionRow {
  std::string_view type, version;
  Make make;
  double tolerance;
  bool (*here)();
};
bool always() { return true; }
bool int4_dot() { return usable_vectors() == Vectors::avx2 || has_int8_dot(); }
// Integer products: activations are off by half of a 127th of the largest, at random.
constexpr VersionRow table[] = {{"f32", "own", make<F32>, 1e-5, always},         {"f32", "openblas", make<OpenBlas>, 1e-5, always},
                                {"f32", "onednn_packed", make<OneDnn>, 1e-5, always}, {"bf16", "own", make<Bf16>, 1e-5, always},
                                {"int8", "own", make<Int8>, 1e-5, always},       {"int8", "own_dot", make<Int8Dot>, 1e-2, has_int8_dot},
                                {"int4", "own", make<Int4>, 1e-5, always},       {"int4", "own_dot", make<Int4Dot>, 1e-2, int4_dot}};

DataType weight_type(std::string_view type) {
  DataType of = type == "f32" ? Format::fp32 : type == "bf16" ? Format::bf16 : type == "int8" ? Format::int8 : Format::int4;
  if (type == "int8") of.scale = {Scale::Per::channel, 0, 0, Format::fp32};
  if (type == "int4") of.scale = {Scale::Per::block, 1, int4_group, Format::bf16};
  return of;
}

}  // namespace

std::vector<GemvVersion> gemv_versions() {
  std::vector<GemvVersion> versions;
  for (const VersionRow& row : table)
    if (row.here()) versions.push_back({row.type, row.version});
  return versions;
}

KernelCase gemv_case(std::string_view type, std::string_view version, std::size_t n, std::size_t k, int threads) {
  const auto* const found = std::find_if(std::begin(table), std::end(table), [&](const VersionRow& v) { return v.type == type && v.version == version && v.here(); });
  if (found == std::end(table)) throw std::invalid_argument("gemv_case: no such version here");
  KernelCase row = named("gemv", std::string(type), version, {version}, {{"n", static_cast<double>(n)}, {"k", static_cast<double>(k)}}, threads);
  if (version == "openblas") row.library = openblas_version();
  if (version == "onednn_packed") row.library = onednn_version();
  row.tolerance = found->tolerance;
  set_work(row, models::single_gemm(1, static_cast<double>(n), static_cast<double>(k), Format::fp32, weight_type(type), Format::fp32),
           version == "own_dot" ? Anchor::fma_int8 : Anchor::fma_f32);
  set_calls(
      row, [=, make = found->make] { return make(n, k, threads); },
      [=, make = found->make] { return make(std::min<std::size_t>(n, 48), std::min<std::size_t>(k, 192), threads); });
  return row;
}

void add_gemv(Rows& rows, int threads) {
  for (const GemvVersion& v : gemv_versions())
    for (const std::size_t n : {256, 1024, 4096, 28672}) {  // of k = 4096: f32 4, 16, 64 and 448 MiB; int4 0.6, 2.25, 9 and 63 MiB
      if (n == 28672 && v.type != "int8" && v.type != "int4") continue;
      rows.push_back(gemv_case(v.type, v.version, n, 4096, threads));
      rows.back().gate = v.type == "int4" && n == 256;
    }
}

}  // namespace gambrel::kernels

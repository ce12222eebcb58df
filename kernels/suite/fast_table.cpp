// Purpose: the suite's kernels behind the executor's table. Reference: the executor's own operators
// (tests/unit/fast_table_test.cpp). Versions: one thread, fp32.
#include "kernels/suite/fast_table.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <vector>

#include "kernels/suite/libraries.hpp"
#include "kernels/suite/own/own.hpp"
#include "kernels/timing/pages.hpp"

namespace gambrel::kernels {
namespace {

/// oneDNN packs for a number of rows: one product a number, made when it is first asked for.
class PackedProduct {
 public:
  PackedProduct(const float* weights, std::size_t m, std::size_t n, std::size_t k) : n_(n), k_(k), plain_(weights, weights + n * k) { of(m); }

  void run(const float* x, std::size_t x_stride, float* y, std::size_t y_stride, std::size_t m) {
    if (x_stride != k_) x = gathered(x, x_stride, m);
    if (y_stride == n_) return of(m).run(x, y);
    result_.resize(m * n_);
    of(m).run(x, result_.data());
    for (std::size_t i = 0; i < m; ++i) std::copy_n(result_.data() + i * n_, n_, y + i * y_stride);
  }
  std::size_t columns() const { return n_; }

 private:
  OneDnnProduct& of(std::size_t m) {
    const auto known = products_.find(m);
    if (known != products_.end()) return known->second;
    OneDnnProduct& product = products_.try_emplace(m, OneDnnType::f32, m, n_, k_, true, 1).first->second;
    product.set_weights(plain_.data());
    return product;
  }
  const float* gathered(const float* x, std::size_t stride, std::size_t m) {
    operand_.resize(m * k_);
    for (std::size_t i = 0; i < m; ++i) std::copy_n(x + i * stride, k_, operand_.data() + i * k_);
    return operand_.data();
  }

  std::size_t n_, k_;
  std::vector<float> plain_, operand_, result_;
  std::map<std::size_t, OneDnnProduct> products_;
};

FastKernels::Packed pack(const float* weights, std::size_t m, std::size_t n, std::size_t k) {
  return std::make_shared<PackedProduct>(weights, m, n, k);
}

void gemm(const FastKernels::Packed& weights, const float* x, std::size_t x_stride, const float* bias, float* y, std::size_t y_stride, std::size_t m) {
  auto& product = *static_cast<PackedProduct*>(const_cast<void*>(weights.get()));  // its products are a cache
  product.run(x, x_stride, y, y_stride, m);
  if (!bias) return;
  for (std::size_t i = 0; i < m; ++i)
    for (std::size_t j = 0; j < product.columns(); ++j) y[i * y_stride + j] += bias[j];
}

/// Any widths and windows: what our own kernels leave out.
void attend_plainly(const AttentionCall& a) {
  std::vector<float> weight(a.keys);
  for (std::size_t i = 0; i < a.queries; ++i)
    for (std::size_t h = 0; h < a.heads; ++h) {
      const std::size_t kv = h / (a.heads / a.kv_heads), seen = a.keys - a.queries + i + 1;
      const std::size_t first = a.window > 0 && seen > a.window ? seen - a.window : 0;
      const float* q = a.q + i * a.q_stride + h * a.qk_width;
      float most = -INFINITY, total = 0;
      for (std::size_t key = first; key < seen; ++key) {
        const float* k = a.k + key * a.k_stride + kv * a.qk_width;
        float score = 0;
        for (std::size_t j = 0; j < a.qk_width; ++j) score += q[j] * k[j];
        most = std::max(most, weight[key] = score * a.scale);
      }
      float* out = a.out + i * a.out_stride + h * a.v_width;
      std::fill_n(out, a.v_width, 0.0f);
      for (std::size_t key = first; key < seen; ++key) {
        const float share = std::exp(weight[key] - most);
        total += share;
        const float* v = a.v + key * a.v_stride + kv * a.v_width;
        for (std::size_t j = 0; j < a.v_width; ++j) out[j] += share * v[j];
      }
      for (std::size_t j = 0; j < a.v_width; ++j) out[j] /= total;
    }
}

/// Whether our own kernels do it: a window that holds every key is none.
bool ours(const AttentionCall& a) {
  const bool scaled = std::abs(a.scale * std::sqrt(static_cast<float>(a.qk_width)) - 1) < 1e-5f;
  return (a.window == 0 || a.window >= a.keys) && a.qk_width == a.v_width && a.qk_width % 16 == 0 && a.qk_width <= max_head_width && scaled && a.k_stride == a.v_stride;
}

void prefill(const AttentionCall& a) {
  const OwnKernels& own = own_kernels();
  const std::size_t block = own.attention_block(), padded = (a.keys + block - 1) / block * block, group = a.heads / a.kv_heads;
  static thread_local Pages<float> transposed;
  static thread_local std::size_t room = 0;
  if (room < padded * a.qk_width) transposed = make_pages<float>(room = padded * a.qk_width);
  std::fill_n(transposed.get() + (padded - block) * a.qk_width, block * a.qk_width, 0.0f);
  for (std::size_t kv = 0; kv < a.kv_heads; ++kv) {
    own.transpose_keys(a.k + kv * a.qk_width, transposed.get(), a.keys, a.k_stride, a.qk_width);
    for (std::size_t h = kv * group; h < (kv + 1) * group; ++h)
      own.attention_prefill({.q = a.q + h * a.qk_width, .transposed = transposed.get(), .values = a.v + kv * a.v_width, .out = a.out + h * a.v_width, .first = 0,
                             .last = a.queries, .past = a.keys - a.queries, .keys = a.keys, .width = a.qk_width, .q_stride = a.q_stride, .kv_stride = a.v_stride});
  }
}

void decode(const AttentionCall& a) {
  own_kernels().attention_decode({.q = a.q, .k = a.k, .v = a.v, .out = a.out, .heads = a.heads / a.kv_heads, .keys = a.keys, .width = a.qk_width, .kv_stride = a.k_stride,
                                  .kv_heads = a.kv_heads});
}

/// Queries that lie between keys and values, in rows as far apart as those of the result: our own kernel knows one stride.
AttentionCall with_queries_apart(AttentionCall call) {
  static thread_local std::vector<float> queries;
  queries.resize(call.queries * call.out_stride);
  for (std::size_t i = 0; i < call.queries; ++i) std::copy_n(call.q + i * call.q_stride, call.heads * call.qk_width, queries.data() + i * call.out_stride);
  call.q = queries.data(), call.q_stride = call.out_stride;
  return call;
}

void attention(const AttentionCall& call) {
  if (!ours(call)) return attend_plainly(call);
  if (call.queries == 1) return decode(call);
  prefill(call.q_stride == call.out_stride ? call : with_queries_apart(call));
}

void rms_norm(const float* x, const float* gain, float* y, std::size_t rows, std::size_t n, float epsilon) {
  own_kernels().rms_norm(x, gain, y, rows, n, epsilon);
}

void swiglu(const float* in, float* out, std::size_t rows, std::size_t inner) { own_kernels().swiglu(in, out, rows, inner); }

/// Cosines and sines by position, made once for a width and base, as an engine does when it loads a model.
struct Turns {
  std::size_t width = 0;
  double base = 0;
  std::vector<float> cosine, sine;

  void reach(std::size_t position, std::size_t wanted_width, double wanted_base) {
    if (width != wanted_width || base != wanted_base) *this = {wanted_width, wanted_base, {}, {}};
    for (std::size_t at = cosine.size() / (width / 2); at <= position; ++at)
      for (std::size_t i = 0; i < width / 2; ++i) {
        const double angle = static_cast<double>(at) * std::pow(base, -2.0 * static_cast<double>(i) / static_cast<double>(width));
        cosine.push_back(static_cast<float>(std::cos(angle)));
        sine.push_back(static_cast<float>(std::sin(angle)));
      }
  }
};

void rotary(float* x, std::size_t position, std::size_t heads, std::size_t width, double base) {
  static thread_local Turns turns;
  turns.reach(position, width, base);
  const float *cosine = turns.cosine.data() + position * (width / 2), *sine = turns.sine.data() + position * (width / 2);
  own_kernels().rotary(x, cosine, sine, x, 1, heads, width);
}

/// Memory decides: the narrowest vectors keep up with it.
void add(const float* a, const float* b, float* y, std::size_t n) {
  using V [[gnu::vector_size(16), gnu::aligned(4), gnu::may_alias]] = float;
  constexpr std::size_t lanes = 4, together = 4;
  const auto at = [](const float* p) { return *reinterpret_cast<const V*>(p); };
  std::size_t i = 0;
  for (; i + together * lanes <= n; i += together * lanes) {
    V sums[together];
    for (std::size_t j = 0; j < together; ++j) sums[j] = at(a + i + j * lanes) + at(b + i + j * lanes);
    for (std::size_t j = 0; j < together; ++j) *reinterpret_cast<V*>(y + i + j * lanes) = sums[j];
  }
  for (; i < n; ++i) y[i] = a[i] + b[i];
}

/// The largest value by vectors, then where it stands first: a search for both at once goes element by element.
std::size_t argmax(const float* x, std::size_t n) {
  constexpr std::size_t lanes = 16;
  float most[lanes], largest = x[0];
  std::fill_n(most, lanes, x[0]);
  std::size_t i = 0;
  for (; i + lanes <= n; i += lanes)
    for (std::size_t lane = 0; lane < lanes; ++lane) most[lane] = x[i + lane] > most[lane] ? x[i + lane] : most[lane];
  for (; i < n; ++i) largest = std::max(largest, x[i]);
  for (const float one : most) largest = std::max(largest, one);
  return static_cast<std::size_t>(std::find(x, x + n, largest) - x);
}

}  // namespace

const FastKernels& fast_table() {
  static const FastKernels table{.pack = pack, .gemm = gemm, .attention = attention, .rms_norm = rms_norm, .swiglu = swiglu, .rotary = rotary, .add = add, .argmax = argmax};
  return table;
}

std::string fast_table_text() { return fmt::format("{} with packed weights; own kernels, {}", onednn_version(), own_kernels().vectors); }

}  // namespace gambrel::kernels

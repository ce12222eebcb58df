// Which sizes the survey visits: for each kernel all regimes that its model tells apart, on a fixed pseudo-random grid.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <random>

#include "kernels/suite/cases.hpp"
#include "kernels/suite/executed.hpp"
#include "kernels/suite/gemm.hpp"
#include "kernels/suite/survey.hpp"

namespace gambrel::kernels {
namespace {

/// Log-uniform draws, the same with every standard library.
class Draw {
 public:
  double between(double low, double high) {
    const double share = static_cast<double>(engine_()) / 4294967296.0;
    return low * std::pow(high / low, share);
  }
  std::size_t whole(double low, double high, std::size_t step = 1) {
    const auto value = static_cast<std::size_t>(between(low, high)) / step * step;
    return std::max(value, step);
  }

 private:
  std::mt19937 engine_{20260731};
};

ProductSize draw_product(Draw& draw, std::size_t i) {
  switch (i % 5) {
    case 0: return {i % 15 == 0 ? 1 : draw.whole(2, 65), draw.whole(256, 8192, 64), draw.whole(256, 8192, 64)};
    case 1: return {i % 15 == 1 ? 1 : draw.whole(2, 17), draw.whole(256, 4096, 64), draw.whole(256, 4096, 64)};
    case 2: return {draw.whole(65, 2048), draw.whole(768, 6144, 64), draw.whole(768, 6144, 64)};
    case 3: return {draw.whole(4, 1500), draw.whole(4, 1500), draw.whole(4, 1500)};
    default: return {8 * draw.whole(1, 192), 8 * draw.whole(1, 192), 8 * draw.whole(1, 192)};
  }
}

std::string text(double value) { return fmt::format("{:.0f}", value); }

std::string dtype_of(std::string_view type) { return type == "f32" ? "fp32" : std::string(type); }

/// Left out: what no library of the fast path would call, and would take a seventh of the time.
bool surveyed(const GemmVersion& version) { return version.version != "eigen"; }

std::vector<std::pair<std::string, std::string>> product_cells(std::string_view type, std::string_view version, const KernelCase& kernel, double working_set) {
  return {{"dtype", dtype_of(type)}, {"weight_dtype", dtype_of(type)}, {"version", std::string(version)},
          {"m", text(kernel.sizes[0].second)}, {"n", text(kernel.sizes[1].second)}, {"k", text(kernel.sizes[2].second)}, {"working_set_bytes", text(working_set)}};
}

void add_products(std::vector<SurveyCase>& cases, int threads, bool quick) {
  for (const GemmVersion& version : gemm_versions()) {
    if (!surveyed(version)) continue;
    for (const ProductSize& size : product_sizes(quick ? 45 : 90)) {
      SurveyCase row{.kind = "gemm", .cells = {}, .kernel = gemm_case(version.type, version.version, size.m, size.n, size.k, threads)};
      row.cells = product_cells(version.type, version.version, row.kernel, row.kernel.working_set);
      cases.push_back(std::move(row));
    }
  }
}

/// Few rows against weights from main memory, as when a model generates: other layers' were there in between. The products
/// above come back to theirs at once, and find part of 60 MB in a cache of 32.
void add_streamed_products(std::vector<SurveyCase>& cases, int threads, bool quick) {
  constexpr double most = 6e7, all = 2.7e8;  // B
  Draw draw;
  for (int i = 0; i < (quick ? 8 : 16);) {
    const std::size_t m = i % 3 == 0 ? draw.whole(2, 17) : 1, n = draw.whole(512, 16384, 64), k = draw.whole(512, 8192, 64);
    if (4 * static_cast<double>(n * k) > most) continue;
    ++i;
    SurveyCase row{.kind = "gemm", .cells = {}, .kernel = streamed_gemm_case(m, n, k, all, threads)};
    row.cells = product_cells("f32", "onednn_packed", row.kernel, row.kernel.working_set);
    cases.push_back(std::move(row));
  }
}

/// One row of x: weights decide, whatever their format.
void add_vector_products(std::vector<SurveyCase>& cases, int threads, bool quick) {
  for (const GemvVersion& version : gemv_versions()) {
    // The others are products of one row above. In 4-bit integers the operator table charges conversions that are not done.
    if (!version.version.starts_with("own") || (version.type == "int4" && version.version.ends_with("_dot"))) continue;
    Draw draw;
    for (int i = 0; i < (quick ? 14 : 24); ++i) {
      const std::size_t n = draw.whole(256, 8192, 64), k = draw.whole(256, 8192, 64);
      SurveyCase row{.kind = "gemm", .cells = {}, .kernel = gemv_case(version.type, version.version, n, k, threads)};
      const bool integer = version.version.ends_with("_dot");  // x is rounded to 8 bits first
      row.cells = {{"dtype", integer ? "int8" : "fp32"}, {"weight_dtype", dtype_of(version.type)}, {"version", fmt::format("{}_gemv", version.version)},
                   {"m", "1"}, {"n", text(static_cast<double>(n))}, {"k", text(static_cast<double>(k))}, {"working_set_bytes", text(row.kernel.working_set)}};
      cases.push_back(std::move(row));
    }
  }
}

/// An operator on rows: how to make its case, and how many elements of `columns` a row reads and writes (at least one).
struct RowKernel {
  std::string_view op;
  double read, written;
  KernelCase (*make)(std::size_t rows, std::size_t columns, int threads);
};

constexpr std::size_t head_dim = 64, vocabulary = 16000, experts = 8, top_k = 2;

// One thread runs what `execute` runs; the executor has no other threads, so that of several the suite's kernels and streams stand for it.
KernelCase turned(std::size_t rows, std::size_t columns, int threads) {
  return threads == 1 ? executed_rotary_case(rows, columns / head_dim, head_dim) : rotary_case("own", rows, columns / head_dim, head_dim, threads);
}
KernelCase added(std::size_t rows, std::size_t columns, int threads) {
  return threads == 1 ? executed_add_case(rows, columns) : stream_case(Anchor::triad, 12 * static_cast<double>(rows * columns) / threads, threads);
}
KernelCase appended(std::size_t rows, std::size_t columns, int threads) {
  return threads == 1 ? executed_append_case(rows, columns) : stream_case(Anchor::copy, 8 * static_cast<double>(rows * columns) / threads, threads);
}
KernelCase attended(const HeadShape& shape, std::size_t queries, std::size_t keys, int threads) {
  if (threads == 1) return executed_attention_case(shape, queries, keys);
  return queries > 1 ? attention_prefill_case("own", shape, queries, keys - queries, threads) : attention_decode_case("own", shape, keys, threads);
}

constexpr RowKernel row_kernels[] = {
    {"rms_norm", 1, 1, [](std::size_t r, std::size_t c, int t) { return rms_norm_case("own", r, c, t); }},
    {"layer_norm", 1, 1, [](std::size_t r, std::size_t c, int t) { return layer_norm_case("own", r, c, t); }},
    {"softmax", 1, 1, [](std::size_t r, std::size_t c, int t) { return softmax_case("own", r, c, t); }},
    {"activation", 2, 1, [](std::size_t r, std::size_t c, int t) { return swiglu_case("own", r, c, t); }},
    {"rotary", 1, 1, turned},
    {"embedding", 1, 1, [](std::size_t r, std::size_t c, int t) { return embedding_case("own", r, vocabulary, c, t); }},
    {"elementwise", 2, 1, added},
    {"kv_append", 1, 1, appended},
    {"sampling", 1, 0, [](std::size_t r, std::size_t c, int) { return executed_argmax_case(r, c); }},
    {"dispatch", top_k, top_k, [](std::size_t r, std::size_t c, int t) { return dispatch_case("own", r, c, experts, top_k, t); }},
};

void add_rows(std::vector<SurveyCase>& cases, int threads, bool quick) {
  constexpr double width = 4;
  for (const RowKernel& kernel : row_kernels) {
    Draw draw;
    for (int i = 0; i < (quick ? 16 : 28); ++i) {
      const std::size_t columns = draw.whole(64, 8192, 64), rows = draw.whole(1, std::min(4096.0, 8e6 / static_cast<double>(columns)));
      SurveyCase row{.kind = "elementwise", .cells = {}, .kernel = kernel.make(rows, columns, threads)};
      const double elements = static_cast<double>(rows * columns);
      row.cells = {{"bytes_read", text(width * kernel.read * elements)}, {"bytes_written", text(width * std::max(kernel.written * elements, static_cast<double>(rows)))}, {"dtype", "fp32"},
                   {"tokens", text(static_cast<double>(rows))}, {"hidden", text(static_cast<double>(columns))}, {"op", std::string(kernel.op)},
                   {"working_set_bytes", text(row.kernel.working_set)}};
      cases.push_back(std::move(row));
    }
  }
}

/// 1, 2, 4 ... of which few are the largest.
std::size_t draw_power(Draw& draw, std::size_t choices) { return std::size_t{1} << (draw.whole(1, static_cast<double>(choices) + 1) - 1); }

/// From a KV head for each query head to one for sixteen, groups that are no power of two among them.
HeadShape draw_heads(Draw& draw, std::size_t batches) {
  const std::size_t kv_heads = draw_power(draw, 5), group = draw.whole(1, 17);
  return {.batch = draw_power(draw, batches), .heads = kv_heads * group, .kv_heads = kv_heads, .head_dim = draw.whole(1, 5) * 64};
}

std::vector<std::pair<std::string, std::string>> attention_cells(const HeadShape& shape, std::string_view length, double tokens) {
  return {{"batch_size", text(static_cast<double>(shape.batch))}, {std::string(length), text(tokens)}, {"num_heads", text(static_cast<double>(shape.heads))},
          {"num_key_value_heads", text(static_cast<double>(shape.kv_heads))}, {"head_dim", text(static_cast<double>(shape.head_dim))},
          {"attn_dtype", "fp32"}, {"kv_cache_dtype", "fp32"}};
}

void add_prefill(std::vector<SurveyCase>& cases, int threads, bool quick) {
  Draw draw;
  const std::size_t count = quick ? 20 : 36;
  for (std::size_t prefill = 0; prefill < count;) {
    const HeadShape shape = draw_heads(draw, 1);
    const std::size_t tokens = draw.whole(16, 1500);
    const double elements = static_cast<double>(tokens * tokens * shape.heads * shape.head_dim);
    if (elements > 2e9) continue;
    cases.push_back({"attention_prefill", attention_cells(shape, "isl", static_cast<double>(tokens)), attended(shape, tokens, tokens, threads)});
    ++prefill;
  }
}

/// Every eighth time more than caches hold, as in a model whose weights come in between.
void add_decoding(std::vector<SurveyCase>& cases, int threads, bool quick) {
  constexpr double most_cache = 1.6e8, least_streamed = 4e7, most_products = 1e8;  // B; B; multiply-adds of scores
  Draw draw;
  for (int i = 0; i < (quick ? 32 : 60); ++i) {
    HeadShape shape = draw_heads(draw, 4);
    std::size_t keys = draw.whole(16, 8192);
    const auto token = [&] { return 8 * static_cast<double>(shape.batch * shape.kv_heads * shape.head_dim); };  // B of keys and values
    if (i % 8 == 7) keys = static_cast<std::size_t>(draw.between(least_streamed, most_cache) / token());
    if (token() * static_cast<double>(keys) > most_cache) shape.batch = 1;
    keys = std::min(keys, static_cast<std::size_t>(most_products / static_cast<double>(shape.batch * shape.heads * shape.head_dim)));
    cases.push_back({"attention_decode", attention_cells(shape, "kv_tokens", static_cast<double>(keys)), attended(shape, 1, keys, threads)});
  }
}

void add_experts(std::vector<SurveyCase>& cases, int threads, bool quick) {
  Draw draw;
  for (int i = 0; i < (quick ? 16 : 28); ++i) {
    const std::size_t tokens = draw.whole(1, 512), hidden = draw.whole(128, 2048, 64), inner = draw.whole(128, 2048, 64);
    const std::size_t all = std::size_t{1} << (1 + draw.whole(1, 4)), chosen = std::min<std::size_t>(draw.whole(1, 5), all);
    SurveyCase row{.kind = "moe", .cells = {}, .kernel = expert_ffn_case("onednn_packed", tokens, hidden, inner, all, chosen, threads)};
    row.cells = {{"dtype", "fp32"}, {"num_tokens", text(static_cast<double>(tokens))}, {"hidden_size", text(static_cast<double>(hidden))},
                 {"inter_size", text(static_cast<double>(inner))}, {"topk", text(static_cast<double>(chosen))}, {"num_experts", text(static_cast<double>(all))}};
    cases.push_back(std::move(row));
  }
}

}  // namespace

std::vector<ProductSize> product_sizes(std::size_t count) {
  constexpr double most = 1e9;  // multiply-adds
  Draw draw;
  std::vector<ProductSize> sizes;
  while (sizes.size() < count)
    if (const ProductSize s = draw_product(draw, sizes.size()); static_cast<double>(s.m) * static_cast<double>(s.n) * static_cast<double>(s.k) <= most)
      sizes.push_back(s);
  return sizes;
}

std::vector<SurveyCase> survey_cases(int threads, bool quick) {
  std::vector<SurveyCase> cases;
  for (const auto add : {add_products, add_streamed_products, add_vector_products, add_rows, add_prefill, add_decoding, add_experts}) add(cases, threads, quick);
  return cases;
}

}  // namespace gambrel::kernels

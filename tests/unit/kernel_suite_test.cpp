// Every kernel of the suite equals its reference, at every vector width of this CPU; its work is the operator table's.
#include "kernels/suite/suite.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdlib>
#include <limits>
#include <set>
#include <stdexcept>

#include "kernels/suite/cases.hpp"
#include "kernels/suite/gemm.hpp"
#include "kernels/suite/own/own.hpp"
#include "kernels/suite/parallel.hpp"
#include "kernels/suite/support.hpp"
#include "vectors_support.hpp"

using namespace gambrel::kernels;
namespace models = gambrel::models;

namespace {

void check_error(const KernelCase& row) {
  INFO(row.name());
  if (row.error) CHECK(row.error() < row.tolerance);
}

/// One row for each kernel, type and version: the sizes at which they are checked are nearly the same.
std::vector<KernelCase> one_of_each(int threads) {
  std::vector<KernelCase> rows;
  std::set<std::string> seen;
  for (KernelCase& row : cpu_suite({threads}))
    if (seen.insert(row.kernel + row.type + row.version).second) rows.push_back(std::move(row));
  return rows;
}

/// A cache in one call against parts of 3000 keys, joined in fp64.
void check_joined(std::size_t heads, std::size_t width, std::size_t keys) {
  auto q = make_pages<float>(heads * width), k = make_pages<float>(keys * width), v = make_pages<float>(keys * width);
  fill(std::span(q.get(), heads * width), 1), fill(std::span(k.get(), keys * width), 2), fill(std::span(v.get(), keys * width), 3);
  for (const char* vectors : {"avx512", "avx2", "scalar"}) {
    const WithVectors here(vectors);
    INFO(std::string(vectors), " ", heads, " heads ", width, " wide, ", keys, " keys");
    std::vector<float> out(heads * width), joined(heads * width), most(heads), totals(heads);
    const auto attend = [&](std::size_t first, std::size_t count, float* to, float* largest, float* total) {
      own_kernels().attention_decode({.q = q.get(), .k = k.get() + first * width, .v = v.get() + first * width, .out = to, .heads = heads,
                                      .keys = count, .width = width, .kv_stride = width, .most = largest, .totals = total});
    };
    attend(0, keys, out.data(), nullptr, nullptr);
    std::vector<double> sum(heads), expected(heads * width);
    for (std::size_t first = 0; first < keys; first += 3000) {  // scores stay small, so no shift is needed
      attend(first, std::min<std::size_t>(3000, keys - first), joined.data(), most.data(), totals.data());
      for (std::size_t h = 0; h < heads; ++h) {
        sum[h] += std::exp(static_cast<double>(most[h])) * totals[h];
        for (std::size_t i = 0; i < width; ++i) expected[h * width + i] += std::exp(static_cast<double>(most[h])) * joined[h * width + i];
      }
    }
    for (std::size_t i = 0; i < expected.size(); ++i) expected[i] /= sum[i / width];
    // Rounding of sums in fp32 grows with their length.
    CHECK(relative_error(expected, [&](std::size_t i) { return out[i]; }) < 2e-5 * std::sqrt(static_cast<double>(keys) / 15000));
  }
}

}  // namespace

TEST_CASE("every kernel equals its reference") {
  for (const KernelCase& row : cpu_suite({1})) check_error(row);
}

TEST_CASE("every kernel equals its reference with narrower vectors") {
  for (const char* width : {"avx2", "scalar"}) {
    const WithVectors here(width);
    for (const KernelCase& row : one_of_each(1)) check_error(row);
  }
}

TEST_CASE("every kernel equals its reference on two threads") {
  if (usable_threads() < 2) return;
  for (const KernelCase& row : one_of_each(2)) check_error(row);
}

TEST_CASE("RMSNorm of many rows gives what each row gives alone, in place too") {
  // Columns that end within a vector and within a block, rows that end within a block, one row too long for any, operands beyond the caches.
  for (const auto& [count, n] : {std::pair<std::size_t, std::size_t>{37, 4099}, {5, 2049}, {19, 211}, {9, 16387}, {2, 70001}, {420, 4096}})
    for (const char* vectors : {"avx512", "avx2", "scalar"}) {
      const WithVectors here(vectors);
      INFO(std::string(vectors), " ", count, " rows of ", n);
      auto x = filled(count * n, 1), gain = filled(n, 2), y = make_pages<float>(count * n);
      const auto norm = [&, columns = n](const float* from, float* to, std::size_t rows) { own_kernels().rms_norm(from, gain.get(), to, rows, columns, 1e-5f); };
      norm(x.get(), y.get(), count);
      for (const std::size_t row : {std::size_t{0}, count / 2, count - 1}) {
        double squares = 0;
        std::vector<double> expected(n);
        for (std::size_t i = 0; i < n; ++i) squares += static_cast<double>(x[row * n + i]) * x[row * n + i];
        for (std::size_t i = 0; i < n; ++i) expected[i] = x[row * n + i] * gain[i] / std::sqrt(squares / static_cast<double>(n) + 1e-5);
        CHECK(relative_error(expected, [&, first = row * n](std::size_t i) { return y[first + i]; }) < 1e-6);
      }
      norm(x.get(), x.get(), count);
      CHECK(std::memcmp(x.get(), y.get(), count * n * sizeof(float)) == 0);
    }
}

TEST_CASE("attention equals its reference whatever its heads, widths and lengths") {
  for (const char* width : {"avx512", "avx2", "scalar"}) {
    const WithVectors here(width);
    for (const HeadShape& shape : {HeadShape{2, 3, 1, 16}, HeadShape{1, 5, 5, 64}, HeadShape{1, 7, 1, 96}, HeadShape{1, 4, 2, 256}})
      for (const auto& [queries, past] : {std::pair<std::size_t, std::size_t>{1, 0}, {7, 0}, {64, 64}, {70, 3}}) {
        check_error(attention_prefill_case("own", shape, queries, past, 1));
        check_error(attention_decode_case("own", shape, queries + past, 1));
      }
  }
}

TEST_CASE("a long cache gives the same result as its parts joined") {
  // Four heads together, two and one. Beyond the caches, rows of eight vectors are read in the order of memory: 128, 64 or 32 elements.
  check_joined(5, 144, 15001);
  check_joined(7, 128, 16501);
  check_joined(3, 64, 32805);
  check_joined(6, 32, 65601);
}

TEST_CASE("key/value heads of one call give what each gives alone") {
  for (const char* vectors : {"avx512", "avx2", "scalar"}) {
    const WithVectors here(vectors);
    for (const auto& [kv_heads, group, width, keys] : {std::array<std::size_t, 4>{1, 4, 128, 300}, {2, 4, 128, 203}, {8, 1, 64, 517}, {3, 7, 96, 17}, {2, 300, 16, 65}, {70, 5, 16, 33}, {8, 4, 128, 1}}) {
      INFO(std::string(vectors), " ", kv_heads, " heads, each for ", group, ", ", width, " wide, ", keys, " keys");
      const std::size_t row = kv_heads * width, stride = 2 * row, heads = kv_heads * group;  // each token's keys, then its values
      auto q = make_pages<float>(heads * width), cache = make_pages<float>(keys * stride);
      fill(std::span(q.get(), heads * width), 1), fill(std::span(cache.get(), keys * stride), 2);
      std::vector<float> together(heads * width), joined(heads * width), most(heads), totals(heads);
      DecodePart part{.q = q.get(), .k = cache.get(), .v = cache.get() + row, .out = together.data(), .heads = group, .keys = keys, .width = width, .kv_stride = stride, .kv_heads = kv_heads};
      own_kernels().attention_decode(part);
      part.out = joined.data(), part.most = most.data(), part.totals = totals.data();
      own_kernels().attention_decode(part);
      for (std::size_t kv = 0; kv < kv_heads; ++kv) {
        std::vector<float> dense_k(keys * width), dense_v(keys * width), alone(group * width);
        for (std::size_t key = 0; key < keys; ++key) {
          std::copy_n(cache.get() + key * stride + kv * width, width, dense_k.data() + key * width);
          std::copy_n(cache.get() + key * stride + row + kv * width, width, dense_v.data() + key * width);
        }
        own_kernels().attention_decode({.q = q.get() + kv * group * width, .k = dense_k.data(), .v = dense_v.data(), .out = alone.data(), .heads = group, .keys = keys, .width = width, .kv_stride = width});
        const std::size_t first = kv * group * width;
        const std::vector<double> expected(alone.begin(), alone.end());
        CHECK(relative_error(expected, [&](std::size_t i) { return together[first + i]; }) < 2e-6);
        CHECK(relative_error(expected, [&](std::size_t i) { return joined[first + i] / totals[kv * group + i / width]; }) < 2e-6);
      }
    }
  }
}

TEST_CASE("a cache that threads share gives the same result as one thread's") {
  const int threads = std::min(usable_threads(), 3);
  check_error(attention_decode_case("own", {1, 4, 1, 64}, 203, threads));
  check_error(attention_decode_case("own", {1, 4, 1, 64}, 17, threads));
}

TEST_CASE("names are unique, work is finite, and what can be timed can be prepared") {
  std::set<std::string> names;
  std::vector<int> counts{1};
  if (usable_threads() > 1) counts.push_back(2);
  for (const KernelCase& row : cpu_suite(counts)) {
    INFO(row.name());
    CHECK(names.insert(row.name()).second);
    CHECK(row.prepare != nullptr);
    CHECK(std::isfinite(row.flops + row.bytes + row.working_set));
    CHECK(row.flops + row.bytes > (row.kernel == "launch" ? -1 : 0));
  }
  CHECK(names.contains("gemm/f32/onednn_packed/m512.n512.k512/1t"));
}

TEST_CASE("no thread count that this process cannot run on is offered") {
  CHECK(cpu_suite({usable_threads() + 1}).empty());
  CHECK(cpu_suite({0, -1}).empty());
}

TEST_CASE("the gate's part of the suite is small: operands below 64 MiB") {
  std::size_t count = 0;
  for (const KernelCase& row : cpu_suite({1})) {
    if (!row.gate) continue;
    ++count;
    CHECK(row.working_set < 64 << 20);
    CHECK(row.error != nullptr);
  }
  CHECK(count >= 8);
}

TEST_CASE("FLOPs and bytes of a row are the operator table's") {
  const KernelCase gemm = gemm_case("f32", "openblas", 3, 5, 7, 1);
  CHECK(gemm.flops == 2 * 3 * 5 * 7);
  CHECK(gemm.bytes == 4 * (3 * 7 + 5 * 7 + 3 * 5));
  const KernelCase gemv = gemv_case("int4", "own", 32, 64, 1);
  CHECK(gemv.flops == 2 * 32 * 64);
  CHECK(gemv.bytes == 32 * 64 / 2 + 32 * 2 * 2 + 4 * (32 + 64));  // nibbles, a bf16 scale for 32 of them, x and y
  const KernelCase prefill = attention_prefill_case("own", {2, 4, 2, 64}, 10, 5, 1);
  CHECK(prefill.flops == 2 * 4 * models::score_pairs(10, 5, 0, 0) * 4 * 64);
  CHECK(prefill.bytes == 4.0 * 2 * (2 * 10 * 4 * 64 + 2 * 15 * 2 * 64));
  const KernelCase decode = attention_decode_case("own", {1, 4, 2, 64}, 15, 1);
  CHECK(decode.flops == 4 * 15 * 4 * 64);
  const KernelCase swiglu = swiglu_case("own", 6, 10, 1);
  CHECK(swiglu.flops == 5 * 6 * 10);
  CHECK(swiglu.bytes == 4 * 6 * (20 + 10));
  const KernelCase norm = rms_norm_case("own", 6, 10, 1);
  CHECK(norm.flops == 4 * 6 * 10);
  CHECK(norm.bytes == 4 * (6 * 10 + 10 + 6 * 10));
  const KernelCase embedding = embedding_case("own", 4, 100, 8, 1);
  CHECK(embedding.flops == 0);
  CHECK(embedding.bytes == doctest::Approx(4 * 2 * 4 * 8));
  const KernelCase experts = expert_ffn_case("onednn_packed", 8, 16, 32, 4, 2, 1);
  CHECK(experts.flops == 3 * 2.0 * 16 * 32 * 16);
}

TEST_CASE("efficiency is measured against what bounds the kernel") {
  CHECK(gemm_case("f32", "onednn", 512, 512, 512, 1).anchor == Anchor::fma_f32);
  CHECK(gemv_case("f32", "own", 4096, 4096, 1).anchor == Anchor::read);
  CHECK(rms_norm_case("own", 256, 4096, 1).anchor == Anchor::copy);
  CHECK(attention_decode_case("own", {1, 8, 8, 128}, 1024, 1).anchor == Anchor::read);
}

TEST_CASE("a version that is not there is refused by name") {
  CHECK_THROWS_AS(gemm_case("f32", "cublas", 1, 1, 1, 1), std::invalid_argument);
  CHECK_THROWS_AS(gemv_case("int3", "own", 16, 64, 1), std::invalid_argument);
  CHECK_THROWS_AS(rms_norm_case("onednn", 1, 1, 1), std::invalid_argument);
  const WithVectors narrow("scalar");
  CHECK_THROWS_AS(gemv_case("int4", "own_dot", 16, 64, 1), std::invalid_argument);
}

TEST_CASE("an error is relative to the largest element and infinite for what is no number") {
  const std::vector<double> reference{1, -4, 2};
  const std::vector<double> near{1, -4.4, 2}, broken{1, std::numeric_limits<double>::quiet_NaN(), 2};
  CHECK(relative_error(reference, [&](std::size_t i) { return near[i]; }) == doctest::Approx(0.1));
  CHECK(std::isinf(relative_error(reference, [&](std::size_t i) { return broken[i]; })));
}

TEST_CASE("bf16 rounds to nearest, ties to even") {
  CHECK(from_bf16(to_bf16(1.0f)) == 1.0f);
  CHECK(from_bf16(to_bf16(1.0f + 0x1p-8f)) == 1.0f);                     // a tie: down to even
  CHECK(from_bf16(to_bf16(1.0f + 3 * 0x1p-8f)) == 1.0f + 4 * 0x1p-8f);  // a tie: up to even
  CHECK(from_bf16(to_bf16(-3.1415927f)) == -3.140625f);
}

TEST_CASE("pieces cover everything once, at multiples of the step") {
  for (const std::size_t n : {0, 1, 15, 16, 17, 100})
    for (const int parts : {1, 2, 3, 7}) {
      std::size_t next = 0;
      for (int i = 0; i < parts; ++i) {
        const auto [first, last] = piece(n, i, parts, 16);
        CHECK(first == next);
        CHECK((last % 16 == 0 || last == n));
        next = last;
      }
      CHECK(next == n);
    }
}

TEST_CASE("a parallel region runs each part once and is over when it returns") {
  for (int round = 0; round < 200; ++round)
    for (const int threads : {1, 2, 3}) {
      std::vector<int> ran(static_cast<std::size_t>(threads));
      parallel(threads, [&](int i) { ++ran[static_cast<std::size_t>(i)]; });
      CHECK(ran == std::vector<int>(static_cast<std::size_t>(threads), 1));
    }
}

TEST_CASE("OpenCL devices say what they are, and their kernels equal the references") {
  for (const KernelCase& row : opencl_suite()) {
    check_error(row);
    CHECK(row.library.starts_with("OpenCL: "));
    CHECK((row.library.ends_with("(CPU)") || row.library.ends_with("(GPU)") || row.library.ends_with("(accelerator)")));
    if (row.kernel != "gemv") continue;
    const auto call = row.prepare();
    CHECK(call->device_seconds() == 0);
    call->run();
    CHECK(call->device_seconds() > 0);
  }
}

TEST_CASE("without its plugin the CUDA suite says how to get it") {
  setenv("GAMBREL_CUDA_PLUGIN", "/nowhere/libgambrel_cuda.so", 1);
  const auto cases = cuda_suite();
  unsetenv("GAMBREL_CUDA_PLUGIN");
  REQUIRE(!cases);
  CHECK(cases.error().front().fault == gambrel::Fault::environment);
  CHECK(cases.error().front().hint.find("GAMBREL_CUDA") != std::string::npos);
}

// Anchors compute what they say, at every vector width of this CPU, and their work is what was asked for.
#include "kernels/timing/anchor.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <cstdint>
#include <numeric>
#include <vector>

#include "kernels/timing/anchor_loops.hpp"
#include "kernels/timing/pages.hpp"
#include "kernels/timing/vectors.hpp"
#include "vectors_support.hpp"

using namespace gambrel::kernels;

namespace {

constexpr Anchor anchors[] = {Anchor::fma_f32, Anchor::fma_f64, Anchor::fma_bf16, Anchor::fma_int8, Anchor::read, Anchor::copy, Anchor::triad};

std::vector<const AnchorLoops*> tables_here() {
  std::vector<const AnchorLoops*> tables{&anchor_loops_baseline};
#if defined(__x86_64__)
  if (usable_vectors() >= Vectors::avx2) tables.push_back(&anchor_loops_avx2);
  if (usable_vectors() >= Vectors::avx512) tables.push_back(&anchor_loops_avx512);
#endif
  return tables;
}

}  // namespace

TEST_CASE("an anchor's name is read back, and no other name is") {
  for (const Anchor anchor : anchors) CHECK(parse_anchor(to_string(anchor)) == anchor);
  CHECK(!parse_anchor("fma"));
  CHECK(!parse_anchor(""));
}

TEST_CASE("GAMBREL_VECTORS takes a narrower width, never a wider one, and ignores what it does not know") {
  const Vectors widest = usable_vectors();
  {
    const WithVectors narrow("scalar");
    CHECK(vector_extension() == "scalar");
    CHECK(!has(Anchor::fma_bf16));
    CHECK(!has(Anchor::fma_int8));
    CHECK(has(Anchor::fma_f32));
    CHECK(has(Anchor::read));
  }
  {
    const WithVectors wide("avx512");
    CHECK(usable_vectors() == widest);
  }
  {
    const WithVectors unknown("mmx");
    CHECK(usable_vectors() == widest);
  }
}

TEST_CASE("read sums, copy copies, triad adds three times, at every width") {
  const std::size_t n = 5 * anchor_block;
  for (const AnchorLoops* loops : tables_here()) {
    Pages<float> a = make_pages<float>(n), b = make_pages<float>(n), c = make_pages<float>(n);
    std::iota(a.get(), a.get() + n, 1.0f);
    std::iota(b.get(), b.get() + n, -7.0f);
    CHECK(loops->read(a.get(), n) == doctest::Approx(n * (n + 1) / 2.0).epsilon(1e-6));
    loops->triad(a.get(), b.get(), c.get(), n);
    for (std::size_t i = 0; i < n; ++i) REQUIRE(c[i] == a[i] + 3 * b[i]);
    loops->copy(a.get(), b.get(), n);
    CHECK(std::equal(a.get(), a.get() + n, b.get()));
  }
}

TEST_CASE("an anchor of given work does it: whole rounds and blocks, never more than asked for") {
  for (const char* width : {"scalar", "avx2", "avx512"}) {
    const WithVectors here(width);
    for (const Anchor anchor : anchors) {
      const auto loop = make_anchor_doing(anchor, 64 << 10, 3 << 21);
      CHECK(loop->work() <= 3 << 21);
      CHECK(loop->work() > 0.99 * (3 << 21));
      loop->run();
    }
  }
}

TEST_CASE("an anchor without its instruction is the f32 one") {
  const WithVectors narrow("scalar");
  CHECK(make_anchor_doing(Anchor::fma_int8, 0, 1e6)->work() == make_anchor_doing(Anchor::fma_f32, 0, 1e6)->work());
}

TEST_CASE("a timed anchor has work, however small its set") {
  for (const Anchor anchor : {Anchor::fma_f32, Anchor::read, Anchor::triad}) {
    const auto loop = make_anchor(anchor, 1, 1e-5);
    CHECK(loop->work() > 0);
    loop->run();
  }
}

TEST_CASE("pages are zero, aligned to 2 MiB and as long as asked for") {
  const Pages<char> pages = make_pages<char>((2 << 20) + 1);
  CHECK(reinterpret_cast<std::uintptr_t>(pages.get()) % (2 << 20) == 0);
  CHECK(pages[0] == 0);
  CHECK(pages[2 << 20] == 0);
  const Pages<double> none = make_pages<double>(0);
  CHECK(none != nullptr);
}

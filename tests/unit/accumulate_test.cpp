#include "kernels/numerics/accumulate.hpp"

#include <doctest/doctest.h>

#include <cmath>
#include <limits>
#include <vector>

using namespace gambrel::kernels;

namespace {

using Floats = std::vector<float>;

Floats ones(std::size_t count) { return Floats(count, 1.0F); }

}  // namespace

TEST_CASE("an accumulator of b mantissa bits stops counting at 2^(b + 1)") {
  const Floats a = ones(5000);
  CHECK(dot(a, a) == 5000.0F);
  CHECK(dot(a, a, {.layout = bf16_layout}) == 256.0F);
  CHECK(dot(a, a, {.layout = narrow_accumulator(7)}) == 256.0F);
  CHECK(dot(a, a, {.layout = narrow_accumulator(10)}) == 2048.0F);
  CHECK(dot(a, a, {.layout = fp16_layout}) == 2048.0F);
}

TEST_CASE("promoting to fp32 bounds what a narrow accumulator loses") {
  const Floats a = ones(5000);
  CHECK(dot(a, a, {.layout = bf16_layout, .promote_every = 128}) == 5000.0F);
  CHECK(dot(a, a, {.layout = bf16_layout, .promote_every = 512}) == 9 * 256.0F + 256.0F);
}

TEST_CASE("ties go to even, or are cut") {
  // 256 + 1 lies between 256 and 258 of bf16; 258 + 1 between 258 and 260.
  CHECK(dot(Floats{256, 1}, ones(2), {.layout = bf16_layout}) == 256.0F);
  CHECK(dot(Floats{258, 1}, ones(2), {.layout = bf16_layout}) == 260.0F);
  CHECK(dot(Floats{258, 1}, ones(2), {.layout = bf16_layout, .rounding = Rounding::toward_zero}) == 258.0F);
  CHECK(dot(Floats{-258, -1}, ones(2), {.layout = bf16_layout, .rounding = Rounding::toward_zero}) == -258.0F);
}

TEST_CASE("an addition is rounded once, however small the addend") {
  // x y = 2^-24 (1 - 2^-30): with an odd fp32 it is just less than a tie, but a double would round it to that tie.
  const float x = std::ldexp(1 + std::ldexp(1.0F, -15), -12), y = std::ldexp(1 - std::ldexp(1.0F, -15), -12);
  const float odd = 1 + std::ldexp(1.0F, -23);
  CHECK(dot(Floats{odd, x}, Floats{1, y}) == odd);
  CHECK(dot(Floats{odd, x}, Floats{1, -y}) == odd);
  CHECK(dot(Floats{odd, x, x}, Floats{1, y, y}) == odd);
  CHECK_MESSAGE(static_cast<float>(odd + static_cast<double>(x) * y) != odd, "what a sum in double would have given");
}

TEST_CASE("overflow, infinities and subnormals") {
  const float infinity = std::numeric_limits<float>::infinity(), huge = std::numeric_limits<float>::max();
  const float tiny = std::numeric_limits<float>::denorm_min();
  CHECK(dot({}, {}) == 0.0F);
  CHECK(dot(Floats{huge, huge}, ones(2)) == infinity);
  CHECK(dot(Floats{huge, huge}, ones(2), {.rounding = Rounding::toward_zero}) == huge);
  CHECK_MESSAGE(dot(Floats{huge, -huge}, Floats{2, 2}) == infinity, "what has overflowed stays so");
  CHECK(std::isnan(dot(Floats{infinity, -infinity}, ones(2))));
  CHECK(dot(Floats{tiny, tiny}, ones(2)) == 2 * tiny);
  CHECK_MESSAGE(dot(Floats{tiny, tiny}, Floats{0.5F, 0.75F}) == tiny, "0.5 is a tie to 0, 0.75 rounds up");
}

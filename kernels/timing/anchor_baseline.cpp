// Anchors for what every CPU of this architecture has: NEON on AArch64, SSE2 on x86-64 (a product and a sum, no FMA).
#include "kernels/timing/anchor_loops.hpp"
#include "kernels/timing/anchor_memory_loops.hpp"

#if defined(__aarch64__)
#include <arm_neon.h>
#endif

namespace gambrel::kernels {
namespace {

using Vector = float __attribute__((vector_size(16)));
using Wide = double __attribute__((vector_size(16)));

#if defined(__aarch64__)
Vector multiply_add(Vector sum, Vector x, Vector y) { return vfmaq_f32(sum, x, y); }
Wide multiply_add(Wide sum, Wide x, Wide y) { return vfmaq_f64(sum, x, y); }
#else
template <class V>
V multiply_add(V sum, V x, V y) {
  return sum + x * y;
}
#endif

// Starts and factors are read through volatile memory, each by itself: else the eight equal sums would become one.
template <class V, class Element>
void multiply_adds(std::size_t rounds) {
  volatile Element zero = 0, one = 1, small = static_cast<Element>(0x1p-40);
  const V x = V{} + one, y = V{} + small;
  V s0 = V{} + zero, s1 = V{} + zero, s2 = V{} + zero, s3 = V{} + zero;
  V s4 = V{} + zero, s5 = V{} + zero, s6 = V{} + zero, s7 = V{} + zero;
  for (; rounds > 0; --rounds) {
    s0 = multiply_add(s0, x, y), s1 = multiply_add(s1, x, y), s2 = multiply_add(s2, x, y), s3 = multiply_add(s3, x, y);
    s4 = multiply_add(s4, x, y), s5 = multiply_add(s5, x, y), s6 = multiply_add(s6, x, y), s7 = multiply_add(s7, x, y);
  }
  zero = ((s0 + s1) + (s2 + s3) + (s4 + s5) + (s6 + s7))[0];
}

}  // namespace

const AnchorLoops anchor_loops_baseline{.fma_f32 = {multiply_adds<Vector, float>, 8 * 4 * 2},
                                        .fma_f64 = {multiply_adds<Wide, double>, 8 * 2 * 2},
                                        .fma_bf16 = {},
                                        .fma_int8 = {},
                                        .read = read_all<Vector>,
                                        .copy = copy_all<Vector>,
                                        .triad = triad_all<Vector>};

}  // namespace gambrel::kernels

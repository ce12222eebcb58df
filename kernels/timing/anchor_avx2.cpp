// Anchors for 256-bit vectors: 12 accumulators of the 16 registers, enough for two pipes of five cycles.
#include "kernels/timing/anchor_loops.hpp"

#if defined(__x86_64__)
#include "kernels/timing/anchor_memory_loops.hpp"

namespace gambrel::kernels {
namespace {

using Vector = float __attribute__((vector_size(32)));

#define GAMBREL_ROW(op, a) #op " %%ymm14, %%ymm15, %%ymm" #a "\n\t"
#define GAMBREL_ROUND(op)                                                                                        \
  GAMBREL_ROW(op, 0) GAMBREL_ROW(op, 1) GAMBREL_ROW(op, 2) GAMBREL_ROW(op, 3) GAMBREL_ROW(op, 4) GAMBREL_ROW(op, 5) \
  GAMBREL_ROW(op, 6) GAMBREL_ROW(op, 7) GAMBREL_ROW(op, 8) GAMBREL_ROW(op, 9) GAMBREL_ROW(op, 10) GAMBREL_ROW(op, 11)
#define GAMBREL_ZERO(a) "vpxor %%ymm" #a ", %%ymm" #a ", %%ymm" #a "\n\t"
#define GAMBREL_ZEROS                                                                                             \
  GAMBREL_ZERO(0) GAMBREL_ZERO(1) GAMBREL_ZERO(2) GAMBREL_ZERO(3) GAMBREL_ZERO(4) GAMBREL_ZERO(5) GAMBREL_ZERO(6)    \
  GAMBREL_ZERO(7) GAMBREL_ZERO(8) GAMBREL_ZERO(9) GAMBREL_ZERO(10) GAMBREL_ZERO(11)
#define GAMBREL_PEAK(op, broadcast)                                                                               \
  asm volatile(broadcast " %[x], %%ymm14\n\t" broadcast " %[y], %%ymm15\n\t" GAMBREL_ZEROS                        \
               ".p2align 4\n1:\n\t" GAMBREL_ROUND(op) "sub $1, %[n]\n\tjnz 1b"                                    \
               : [n] "+r"(rounds)                                                                                 \
               : [x] "m"(x), [y] "m"(y)                                                                           \
               : "cc", "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", "xmm9", "xmm10",   \
                 "xmm11", "xmm14", "xmm15")

void fma_f32(std::size_t rounds) {
  const float x = 1, y = 0x1p-40f;
  GAMBREL_PEAK(vfmadd231ps, "vbroadcastss");
}
void fma_f64(std::size_t rounds) {
  const double x = 1, y = 0x1p-40;
  GAMBREL_PEAK(vfmadd231pd, "vbroadcastsd");
}

}  // namespace

const AnchorLoops anchor_loops_avx2{.fma_f32 = {fma_f32, 12 * 8 * 2},
                                    .fma_f64 = {fma_f64, 12 * 4 * 2},
                                    .fma_bf16 = {},
                                    .fma_int8 = {},
                                    .read = read_all<Vector>,
                                    .copy = copy_all<Vector>,
                                    .triad = triad_all<Vector>};

}  // namespace gambrel::kernels

#endif

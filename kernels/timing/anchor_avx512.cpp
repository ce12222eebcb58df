// Anchors for 512-bit vectors. The peaks are assembly: GCC 12 spills accumulators that it allots itself, and then shows a
// third of the peak.
#include "kernels/timing/anchor_loops.hpp"

#if defined(__x86_64__)
#include "kernels/timing/anchor_memory_loops.hpp"

namespace gambrel::kernels {
namespace {

using Vector = float __attribute__((vector_size(64)));

// 16 independent accumulators: enough for two pipes of eight cycles. Operands are 1 and 2^-40, so that sums stay normal
// numbers and the data are not all zero, which would draw less power and raise the clock.
#define GAMBREL_ROW(op, a) #op " %%zmm16, %%zmm17, %%zmm" #a "\n\t"
#define GAMBREL_ROUND(op)                                                                                        \
  GAMBREL_ROW(op, 0) GAMBREL_ROW(op, 1) GAMBREL_ROW(op, 2) GAMBREL_ROW(op, 3) GAMBREL_ROW(op, 4) GAMBREL_ROW(op, 5) \
  GAMBREL_ROW(op, 6) GAMBREL_ROW(op, 7) GAMBREL_ROW(op, 8) GAMBREL_ROW(op, 9) GAMBREL_ROW(op, 10)                \
  GAMBREL_ROW(op, 11) GAMBREL_ROW(op, 12) GAMBREL_ROW(op, 13) GAMBREL_ROW(op, 14) GAMBREL_ROW(op, 15)
#define GAMBREL_ZERO(a) "vpxord %%zmm" #a ", %%zmm" #a ", %%zmm" #a "\n\t"
#define GAMBREL_ZEROS                                                                                             \
  GAMBREL_ZERO(0) GAMBREL_ZERO(1) GAMBREL_ZERO(2) GAMBREL_ZERO(3) GAMBREL_ZERO(4) GAMBREL_ZERO(5) GAMBREL_ZERO(6)    \
  GAMBREL_ZERO(7) GAMBREL_ZERO(8) GAMBREL_ZERO(9) GAMBREL_ZERO(10) GAMBREL_ZERO(11) GAMBREL_ZERO(12)                 \
  GAMBREL_ZERO(13) GAMBREL_ZERO(14) GAMBREL_ZERO(15)
#define GAMBREL_PEAK(op, broadcast)                                                                               \
  asm volatile(broadcast " %[x], %%zmm16\n\t" broadcast " %[y], %%zmm17\n\t" GAMBREL_ZEROS                        \
               ".p2align 4\n1:\n\t" GAMBREL_ROUND(op) "sub $1, %[n]\n\tjnz 1b"                                    \
               : [n] "+r"(rounds)                                                                                 \
               : [x] "m"(x), [y] "m"(y)                                                                           \
               : "cc", "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", "xmm9", "xmm10",   \
                 "xmm11", "xmm12", "xmm13", "xmm14", "xmm15", "xmm16", "xmm17")

void fma_f32(std::size_t rounds) {
  const float x = 1, y = 0x1p-40f;
  GAMBREL_PEAK(vfmadd231ps, "vbroadcastss");
}
void fma_f64(std::size_t rounds) {
  const double x = 1, y = 0x1p-40;
  GAMBREL_PEAK(vfmadd231pd, "vbroadcastsd");
}
void fma_bf16(std::size_t rounds) {
  const unsigned x = 0x3F803F80u, y = 0x2B802B80u;  // pairs of 1 and of 2^-40
  GAMBREL_PEAK(vdpbf16ps, "vpbroadcastd");
}
void dot_int8(std::size_t rounds) {
  const unsigned x = 0x01FF0302u, y = 0x03010205u;  // signed and unsigned bytes; sums wrap
  GAMBREL_PEAK(vpdpbusd, "vpbroadcastd");
}

}  // namespace

// Of 16 vectors: 2 FLOPs a lane, 4 of a bf16 pair, 8 of an int8 quad.
const AnchorLoops anchor_loops_avx512{.fma_f32 = {fma_f32, 16 * 16 * 2},
                                      .fma_f64 = {fma_f64, 16 * 8 * 2},
                                      .fma_bf16 = {fma_bf16, 16 * 16 * 4},
                                      .fma_int8 = {dot_int8, 16 * 16 * 8},
                                      .read = read_all<Vector>,
                                      .copy = copy_all<Vector>,
                                      .triad = triad_all<Vector>};

}  // namespace gambrel::kernels

#endif

// Inside kernels/timing/ only: the anchors' inner loops, one table for each vector width, compiled for that width.
#pragma once

#include <cstddef>

namespace gambrel::kernels {

/// Multiply-adds on registers alone; a round does `work` FLOPs or OPs. Null where the width has no instruction for it.
struct ArithmeticLoop {
  void (*run)(std::size_t rounds) = nullptr;
  double work = 0;
};

/// Lengths are multiples of anchor_block elements, pointers aligned to 64 bytes.
struct AnchorLoops {
  ArithmeticLoop fma_f32, fma_f64, fma_bf16, fma_int8;
  float (*read)(const float* a, std::size_t n);
  void (*copy)(const float* a, float* b, std::size_t n);
  void (*triad)(const float* a, const float* b, float* c, std::size_t n);  ///< c = a + 3 b
};
inline constexpr std::size_t anchor_block = 128;

extern const AnchorLoops anchor_loops_baseline, anchor_loops_avx2, anchor_loops_avx512;

}  // namespace gambrel::kernels

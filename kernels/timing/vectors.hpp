// Which vector instructions may be used here: found at run time, so that one program serves every CPU of its kind.
#pragma once

#include <string_view>

namespace gambrel::kernels {

/// avx512: F, BW, DQ and VL together; avx2: with FMA; scalar: what the compiler's baseline has.
enum class Vectors { scalar, neon, avx2, avx512 };
std::string_view to_string(Vectors vectors);

/// The widest that this CPU and its system can run. The environment GAMBREL_VECTORS=scalar|avx2|avx512 takes a narrower
/// one (for tests, and to see what width is worth); a wider one than the CPU's has no effect. Read at every call.
Vectors usable_vectors();

/// Instructions beside the width: dot products of bf16 pairs (VDPBF16PS) and of int8 quads (VPDPBUSD).
bool has_bf16_dot();
bool has_int8_dot();

}  // namespace gambrel::kernels

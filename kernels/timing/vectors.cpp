// The compiler's own CPU detection, which also asks whether the system saves the wide registers.
#include "kernels/timing/vectors.hpp"

#include <algorithm>
#include <array>
#include <cstdlib>

namespace gambrel::kernels {
namespace {

#if defined(__x86_64__)
Vectors widest() {
  if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") &&
      __builtin_cpu_supports("avx512vl"))
    return Vectors::avx512;
  return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") ? Vectors::avx2 : Vectors::scalar;
}
bool bf16_dot() { return __builtin_cpu_supports("avx512bf16"); }
bool int8_dot() { return __builtin_cpu_supports("avx512vnni"); }
#elif defined(__aarch64__)
Vectors widest() { return Vectors::neon; }
bool bf16_dot() { return false; }
bool int8_dot() { return false; }
#else
Vectors widest() { return Vectors::scalar; }
bool bf16_dot() { return false; }
bool int8_dot() { return false; }
#endif

constexpr std::array<std::string_view, 4> names{"scalar", "neon", "avx2", "avx512"};

}  // namespace

std::string_view to_string(Vectors vectors) { return names[static_cast<std::size_t>(vectors)]; }

Vectors usable_vectors() {
  const Vectors here = widest();
  const char* wish = std::getenv("GAMBREL_VECTORS");
  const auto* const row = std::find(names.begin(), names.end(), wish ? wish : "");
  return row == names.end() ? here : std::min(here, static_cast<Vectors>(row - names.begin()));
}

bool has_bf16_dot() { return usable_vectors() == Vectors::avx512 && bf16_dot(); }
bool has_int8_dot() { return usable_vectors() == Vectors::avx512 && int8_dot(); }

}  // namespace gambrel::kernels

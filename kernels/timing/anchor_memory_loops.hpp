// Inside kernels/timing/anchor_*.cpp only: read, copy and triad over vectors of a given width.
// Included by files that are compiled for different CPUs: all of it is in an unnamed namespace and nothing else is
// included, so that the linker never takes one file's wide code for another's.
#pragma once

#include "kernels/timing/anchor_loops.hpp"

namespace gambrel::kernels {
namespace {

template <class V>
V at(const float* p) {
  return *reinterpret_cast<const V*>(p);
}

// Eight sums: an addition takes three to four cycles, and two start in each. They are named one by one because an array
// of them is spilled to memory.
template <class V>
float read_all(const float* a, std::size_t n) {
  constexpr std::size_t w = sizeof(V) / sizeof(float);
  V s0{}, s1{}, s2{}, s3{}, s4{}, s5{}, s6{}, s7{};
  for (const float* const end = a + n; a < end; a += 8 * w) {
    s0 += at<V>(a), s1 += at<V>(a + w), s2 += at<V>(a + 2 * w), s3 += at<V>(a + 3 * w);
    s4 += at<V>(a + 4 * w), s5 += at<V>(a + 5 * w), s6 += at<V>(a + 6 * w), s7 += at<V>(a + 7 * w);
  }
  const V sum = ((s0 + s1) + (s2 + s3)) + ((s4 + s5) + (s6 + s7));
  float total = 0;
  for (std::size_t i = 0; i < w; ++i) total += sum[i];
  return total;
}

template <class V>
void copy_all(const float* a, float* b, std::size_t n) {
  constexpr std::size_t w = sizeof(V) / sizeof(float);
  for (std::size_t i = 0; i < n; i += 4 * w)
    for (std::size_t j = 0; j < 4; ++j) *reinterpret_cast<V*>(b + i + j * w) = at<V>(a + i + j * w);
}

template <class V>
void triad_all(const float* a, const float* b, float* c, std::size_t n) {
  constexpr std::size_t w = sizeof(V) / sizeof(float);
  for (std::size_t i = 0; i < n; i += 4 * w)
    for (std::size_t j = 0; j < 4; ++j)
      *reinterpret_cast<V*>(c + i + j * w) = at<V>(a + i + j * w) + 3.0f * at<V>(b + i + j * w);
}

}  // namespace
}  // namespace gambrel::kernels

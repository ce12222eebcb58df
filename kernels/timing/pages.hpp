// Memory for what is timed: aligned to 2 MiB and in pages of that size where the system gives them.
#pragma once

#include <algorithm>
#include <cstddef>
#include <memory>

namespace gambrel::kernels {

inline constexpr std::size_t huge_page = std::size_t{2} << 20;

/// Bytes of whole huge pages, one at the least.
constexpr std::size_t whole_pages(std::size_t bytes) { return (std::max<std::size_t>(bytes, 1) + huge_page - 1) / huge_page * huge_page; }

struct PageFree {
  std::size_t bytes = 0;
  void operator()(void* memory) const;
};

/// `count` elements of T, zeroed and already touched. With 4 KiB pages a set of 16 MiB costs ten times the latency, and a
/// page that is touched first while the clock runs costs a fault. Throws std::bad_alloc.
template <class T>
using Pages = std::unique_ptr<T[], PageFree>;

void* allocate_pages(std::size_t bytes);

template <class T>
Pages<T> make_pages(std::size_t count) {
  return {static_cast<T*>(allocate_pages(count * sizeof(T))), PageFree{count * sizeof(T)}};
}

}  // namespace gambrel::kernels

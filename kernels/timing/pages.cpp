// mmap with room to align, then madvise: transparent huge pages need no privileges and no reserved pool.
#include "kernels/timing/pages.hpp"

#include <sys/mman.h>

#include <cstdint>
#include <cstring>
#include <new>

namespace gambrel::kernels {
namespace {

constexpr std::size_t huge = std::size_t{2} << 20;

std::size_t rounded(std::size_t bytes) { return (bytes + huge - 1) / huge * huge; }

}  // namespace

void* allocate_pages(std::size_t bytes) {
  const std::size_t size = rounded(bytes == 0 ? 1 : bytes);
  void* const mapped = mmap(nullptr, size + huge, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (mapped == MAP_FAILED) throw std::bad_alloc();
  char* const begin = static_cast<char*>(mapped);
  const std::size_t skipped = (huge - reinterpret_cast<std::uintptr_t>(begin) % huge) % huge;
  if (skipped > 0) munmap(begin, skipped);
  if (skipped < huge) munmap(begin + skipped + size, huge - skipped);
#ifdef MADV_HUGEPAGE
  madvise(begin + skipped, size, MADV_HUGEPAGE);
#endif
  std::memset(begin + skipped, 0, bytes);
  return begin + skipped;
}

void PageFree::operator()(void* memory) const { munmap(memory, rounded(bytes == 0 ? 1 : bytes)); }

}  // namespace gambrel::kernels

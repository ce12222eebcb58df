// mmap with room to align, then madvise: transparent huge pages need no privileges and no reserved pool.
#include "kernels/timing/pages.hpp"

#include <sys/mman.h>

#include <cstdint>
#include <cstring>
#include <new>

namespace gambrel::kernels {

void* allocate_pages(std::size_t bytes) {
  const std::size_t size = whole_pages(bytes);
  void* const mapped = mmap(nullptr, size + huge_page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (mapped == MAP_FAILED) throw std::bad_alloc();
  char* const begin = static_cast<char*>(mapped);
  const std::size_t skipped = (huge_page - reinterpret_cast<std::uintptr_t>(begin) % huge_page) % huge_page;
  if (skipped > 0) munmap(begin, skipped);
  if (skipped < huge_page) munmap(begin + skipped + size, huge_page - skipped);
#ifdef MADV_HUGEPAGE
  madvise(begin + skipped, size, MADV_HUGEPAGE);
#endif
  std::memset(begin + skipped, 0, bytes);
  return begin + skipped;
}

void PageFree::operator()(void* memory) const { munmap(memory, whole_pages(bytes)); }

}  // namespace gambrel::kernels

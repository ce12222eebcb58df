// Blocks by size: those given back wait for the next of their size, up to a limit, beyond which they go to the system.
#include "kernels/executor/page_pool.hpp"

#include <map>
#include <mutex>

#include "kernels/timing/pages.hpp"

namespace gambrel::kernels {
namespace {

constexpr std::size_t line = 64, least_pages = huge_page / 4;  ///< smaller blocks: from the heap
constexpr std::size_t most_kept = std::size_t{512} << 20;

struct Pool {
  std::mutex mutex;
  std::multimap<std::size_t, void*> free;
  std::size_t kept = 0;
};

/// Never destroyed: matrices of static storage may outlive it.
Pool& pool() {
  static Pool* const one = new Pool;
  return *one;
}

}  // namespace

void* take_block(std::size_t bytes) {
  if (bytes < least_pages) return ::operator new(bytes, std::align_val_t{line});
  const std::size_t size = whole_pages(bytes);
  Pool& p = pool();
  {
    const std::lock_guard lock(p.mutex);
    if (const auto found = p.free.find(size); found != p.free.end()) {
      void* const block = found->second;
      p.free.erase(found), p.kept -= size;
      return block;
    }
  }
  return allocate_pages(size);
}

void give_block(void* block, std::size_t bytes) noexcept {
  if (bytes < least_pages) return ::operator delete(block, std::align_val_t{line});
  const std::size_t size = whole_pages(bytes);
  Pool& p = pool();
  const std::lock_guard lock(p.mutex);
  if (p.kept + size <= most_kept) try {
      p.free.emplace(size, block), p.kept += size;
      return;
    } catch (const std::bad_alloc&) {  // then it goes to the system
    }
  PageFree{size}(block);
}

}  // namespace gambrel::kernels

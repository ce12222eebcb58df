// Inside kernels/ only: memory of matrices that kernels are timed on. Large blocks come in huge pages and are kept for the
// next matrix, as an engine's arena does: no clock counts a page's first touch.
#pragma once

#include <cstddef>
#include <new>
#include <vector>

namespace gambrel::kernels {

/// At least `bytes`, aligned to 64. Its contents are those of the block's last owner. Throws std::bad_alloc.
void* take_block(std::size_t bytes);
/// `bytes`: as it was asked for.
void give_block(void* block, std::size_t bytes) noexcept;

template <class T>
struct BlockAllocator {
  using value_type = T;
  BlockAllocator() = default;
  template <class U>
  BlockAllocator(const BlockAllocator<U>&) {}
  T* allocate(std::size_t n) { return static_cast<T*>(take_block(n * sizeof(T))); }
  void deallocate(T* block, std::size_t n) noexcept { give_block(block, n * sizeof(T)); }
  friend bool operator==(const BlockAllocator&, const BlockAllocator&) { return true; }
};

/// Elements of a matrix.
template <class T>
using Values = std::vector<T, BlockAllocator<T>>;

}  // namespace gambrel::kernels

// Threads for our own kernels: workers that wait a few microseconds by spinning, because a decode step is that short.
#pragma once

#include <cstddef>
#include <functional>
#include <utility>

namespace gambrel::kernels {

/// CPUs that the calling thread may run on. Under OMP_PROC_BIND this is one: libgomp then pins the first thread, and
/// whatever that thread starts (OpenBLAS's workers, ours) shares its core. So suites offer no more threads than this.
int usable_threads();

/// Calls `part(i)` for i = 0 .. threads - 1 at the same time, part 0 in the calling thread, and returns when all are done.
/// One region at a time in a process; not from inside a region. Threads are not pinned.
void parallel(int threads, const std::function<void(int)>& part);

/// The i-th of `parts` nearly equal pieces of 0 .. n - 1, beginning at multiples of `step`.
std::pair<std::size_t, std::size_t> piece(std::size_t n, int i, int parts, std::size_t step = 1);

}  // namespace gambrel::kernels

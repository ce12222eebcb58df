// A generation counter is all that workers watch; they sleep on it after some 20 microseconds without work.
#include "kernels/suite/parallel.hpp"

#include <sched.h>

#include <algorithm>
#include <atomic>
#include <mutex>
#include <thread>
#include <vector>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace gambrel::kernels {
namespace {

void relax() {
#if defined(__x86_64__)
  _mm_pause();
#else
  std::this_thread::yield();
#endif
}

class Pool {
 public:
  ~Pool() {
    stopping_ = true;
    start_generation();
    for (std::thread& worker : workers_) worker.join();
  }

  void run(int threads, const std::function<void(int)>& part) {
    const std::lock_guard lock(region_);
    while (static_cast<int>(workers_.size()) < threads - 1) add_worker();
    part_ = &part;
    threads_ = threads;
    pending_ = static_cast<int>(workers_.size());
    start_generation();
    part(0);
    for (int spins = 0; pending_.load(std::memory_order_acquire) > 0; ++spins)
      if (spins < 20000) relax();
      else std::this_thread::yield();
  }

 private:
  void start_generation() {
    generation_.fetch_add(1, std::memory_order_seq_cst);
    if (sleepers_.load(std::memory_order_seq_cst) > 0) generation_.notify_all();
  }

  void add_worker() {
    const int index = static_cast<int>(workers_.size()) + 1;
    workers_.emplace_back([this, index, seen = generation_.load()]() mutable {
      while (true) {
        wait_beyond(seen);
        seen = generation_.load(std::memory_order_acquire);
        if (stopping_) return;
        if (index < threads_) (*part_)(index);
        pending_.fetch_sub(1, std::memory_order_release);
      }
    });
  }

  void wait_beyond(unsigned seen) {
    for (int spins = 0; spins < 1000; ++spins) {
      if (generation_.load(std::memory_order_acquire) != seen) return;
      relax();
    }
    sleepers_.fetch_add(1, std::memory_order_seq_cst);
    generation_.wait(seen, std::memory_order_seq_cst);
    sleepers_.fetch_sub(1, std::memory_order_seq_cst);
  }

  std::mutex region_;
  std::vector<std::thread> workers_;
  std::atomic<unsigned> generation_{0};
  std::atomic<int> pending_{0}, sleepers_{0};
  std::atomic<bool> stopping_{false};
  const std::function<void(int)>* part_ = nullptr;
  int threads_ = 0;
};

}  // namespace

int usable_threads() {
  cpu_set_t set;
  CPU_ZERO(&set);
  if (sched_getaffinity(0, sizeof set, &set) != 0) return 1;
  return std::max(1, CPU_COUNT(&set));
}

void parallel(int threads, const std::function<void(int)>& part) {
  if (threads <= 1) return part(0);
  static Pool pool;
  pool.run(threads, part);
}

std::pair<std::size_t, std::size_t> piece(std::size_t n, int i, int parts, std::size_t step) {
  const std::size_t steps = (n + step - 1) / step, count = static_cast<std::size_t>(parts);
  const auto edge = [&](int at) { return std::min(n, steps * static_cast<std::size_t>(at) / count * step); };
  return {edge(i), edge(i + 1)};
}

}  // namespace gambrel::kernels

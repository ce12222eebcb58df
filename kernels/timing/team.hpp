// Threads that begin together, again and again: an anchor on several of them.
#pragma once

#include <barrier>
#include <functional>
#include <thread>
#include <vector>

namespace gambrel::kernels {

/// `size` threads, the caller one of them.
class Team {
 public:
  explicit Team(int size);
  ~Team();
  Team(const Team&) = delete;
  Team& operator=(const Team&) = delete;
  /// work(0) ... work(size - 1), begun together; returns when all have ended.
  void run(const std::function<void(int)>& work);

 private:
  std::barrier<> together_;
  const std::function<void(int)>* work_ = nullptr;  ///< null: the threads end
  std::vector<std::jthread> others_;
};

}  // namespace gambrel::kernels

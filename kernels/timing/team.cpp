#include "kernels/timing/team.hpp"

namespace gambrel::kernels {

Team::Team(int size) : together_(size) {
  for (int thread = 1; thread < size; ++thread)
    others_.emplace_back([this, thread] {
      for (;;) {
        together_.arrive_and_wait();  // begin
        if (!work_) return;
        (*work_)(thread);
        together_.arrive_and_wait();  // end
      }
    });
}

Team::~Team() {
  work_ = nullptr;
  together_.arrive_and_wait();
}

void Team::run(const std::function<void(int)>& work) {
  work_ = &work;
  together_.arrive_and_wait();
  work(0);
  together_.arrive_and_wait();
}

}  // namespace gambrel::kernels

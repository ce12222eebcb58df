// Inside sim/ only: exact simulations that stop placing passes once the pipeline repeats itself.
#pragma once

#include <cmath>

#include "sim/timeline/pipeline.hpp"

namespace gambrel::sim {

/// 1F1B and zero_bubble, any stages, any sends. Equal to `simulate` to rounding; O(stages x rounds until it repeats).
PipelineTime repeat_rounds(const Pipeline& p);

/// Interleaved, more than one chunk, any stages, any sends. O(stages^2 x chunks x groups until it repeats).
PipelineTime repeat_groups(const Pipeline& p);

/// When to look back, and how far: the state is compared with that of one earlier step, renewed ever more rarely
/// (Brent 1980), so that a period of any length is found.
class Lookback {
 public:
  /// The step whose state is kept, -1 before the first.
  int marked() const { return marked_; }
  bool due(int step) const { return marked_ < 0 || step - marked_ >= patience_; }
  void mark(int step) {
    patience_ = marked_ < 0 ? 1 : 2 * patience_;
    marked_ = step;
  }

 private:
  int marked_ = -1, patience_ = 1;
};

/// A clock that was `then` came `shift` later. Rounding is at most 1e-13 of it; skipping k periods multiplies that by k.
inline bool is_shifted(double now, double then, double shift) { return std::abs(now - then - shift) <= 1e-13 * now; }

}  // namespace gambrel::sim

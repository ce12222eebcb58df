// Pipelines of unlike stages settle: after some rounds every stage does the same a fixed time later, and the rest of the
// micro-batches can be skipped. (Max-plus linear systems are periodic: Baccelli 1992, Synchronization and Linearity, 3.7.)
#include "sim/timeline/repeating_pipeline.hpp"

#include <vector>

namespace gambrel::sim {
namespace {

/// What the next round depends on, for one stage.
struct StageClock {
  double free = 0, onward = 0, back = 0;  ///< the stage and its two links fall free
  double gradients = 0;                   ///< those of its next backward arrive
};

/// Rounds: in round r a stage does forward r, then the backward its warm-up leaves it (r - (p - 1 - stage)), then with
/// split backwards the weights r - (p - 1). Forwards go down all stages in one round, gradients up one stage a round.
class Rounds {
 public:
  explicit Rounds(const Pipeline& of) : p(of), now_(buffers().now), mark_(buffers().mark) {
    now_.assign(p.stages, {});
    mark_.assign(p.stages, {});
  }

  PipelineTime run() {
    const int rounds = p.microbatches + p.stages - 1;
    for (int round = 0; round < rounds; ++round) {
      place(round);
      // All passes occur in rounds p - 1 to m - 1: only those repeat.
      if (round >= p.stages - 1 && round < p.microbatches - 1) round += skip(round);
    }
    double seconds = 0;
    for (const StageClock& stage : now_) seconds = std::max(seconds, stage.free);
    return p.time(seconds, first_gradient_, last_forward_);
  }

 private:
  struct Buffers {
    std::vector<StageClock> now, mark;
  };
  /// Kept between calls: a search asks thousands of times.
  static Buffers& buffers() {
    thread_local Buffers kept;
    return kept;
  }

  void place(int round) {
    double arrival = 0;
    for (int stage = 0; stage < p.stages; ++stage) {
      if (round < p.microbatches) arrival = forward(stage, arrival);
      const int microbatch = round - (p.stages - 1 - stage);
      if (microbatch >= 0 && microbatch < p.microbatches) backward(stage);
      if (p.split && round >= p.stages - 1) now_[stage].free += p.work(stage, 0).backward_weights;
    }
    if (p.split && round >= p.stages - 1) first_gradient_ = now_.back().free;
  }

  /// `arrival` of its activations -> arrival at the next stage.
  double forward(int stage, double arrival) {
    StageClock& at = now_[stage];
    at.free = std::max(at.free, arrival) + p.work(stage, 0).forward;
    if (stage + 1 < p.stages) return sent(at, at.onward, p.send(stage));
    return last_forward_ = at.gradients = at.free;
  }

  void backward(int stage) {
    StageClock& at = now_[stage];
    at.free = std::max(at.free, at.gradients) + p.backward_time(p.work(stage, 0));
    if (stage == p.stages - 1) first_gradient_ = at.free;
    if (stage > 0) now_[stage - 1].gradients = sent(at, at.back, p.send(stage - 1));
  }

  double sent(StageClock& at, double& link, double seconds) const {
    if (!p.shape.overlap_sends) return at.free += seconds;
    return link = std::max(link, at.free) + seconds;
  }

  /// Rounds that may be skipped after `round`, their time added: whole periods up to the last full round.
  int skip(int round) {
    if (lookback_.marked() >= 0 && repeats()) {
      const int period = round - lookback_.marked(), periods = (p.microbatches - 1 - round) / period;
      const double seconds = periods * (now_[0].free - mark_[0].free);
      for (StageClock& at : now_) at.free += seconds, at.onward += seconds, at.back += seconds, at.gradients += seconds;
      first_gradient_ += seconds, last_forward_ += seconds;
      return periods * period;
    }
    if (lookback_.due(round)) mark_ = now_, lookback_.mark(round);
    return 0;
  }

  bool repeats() const {
    const double shift = now_[0].free - mark_[0].free;
    const bool links = p.shape.overlap_sends;
    for (int i = p.stages - 1; i >= 0; --i) {
      const StageClock &now = now_[i], &then = mark_[i];
      if (!is_shifted(now.free, then.free, shift) || !is_shifted(now.gradients, then.gradients, shift)) return false;
      if (links && i + 1 < p.stages && !is_shifted(now.onward, then.onward, shift)) return false;
      if (links && i > 0 && !is_shifted(now.back, then.back, shift)) return false;
    }
    return true;
  }

  const Pipeline& p;
  std::vector<StageClock>&now_, &mark_;
  Lookback lookback_;
  double last_forward_ = 0, first_gradient_ = 0;
};

}  // namespace

PipelineTime repeat_rounds(const Pipeline& p) { return Rounds(p).run(); }

}  // namespace gambrel::sim

// Interleaved pipelines of unlike stages: passes placed group of micro-batches after group until two groups take the same.
#include <array>
#include <utility>
#include <vector>

#include "sim/timeline/repeating_pipeline.hpp"

namespace gambrel::sim {
namespace {

/// The next forward or backward of a stage: micro-batch `within` of its group, chunk by chunk.
struct Place {
  int within = 0, turn = 0;  ///< turn: 0 for the first chunk that passes
  void advance(const Pipeline& p) {
    if (++within < p.stages) return;
    within = 0;
    if (++turn == p.chunks) turn = 0;
  }
};

/// Everything that a pass yet to come depends on. Messages are kept by receiver: [stage][place in the group].
struct State {
  std::vector<double> free, onward, back;
  std::vector<double> activations, gradients;

  void clear(const Pipeline& p) {
    for (auto* clocks : {&free, &onward, &back}) clocks->assign(p.stages, 0);
    for (auto* messages : {&activations, &gradients}) messages->assign(static_cast<std::size_t>(p.stages) * p.parts(), 0);
  }
  auto all() { return std::array{&free, &onward, &back, &activations, &gradients}; }
  auto all() const { return std::array{&free, &onward, &back, &activations, &gradients}; }
};

/// Rounds: in round r stage i does forward r - i, then backward r - i - warmup(i). Every dependency of a pass is met in
/// an earlier round or, of the stage itself, before it in the same.
class GroupRounds {
 public:
  explicit GroupRounds(const Pipeline& of) : p(of), now_(buffers().first), mark_(buffers().second), forwards_(of.stages), backwards_(of.stages) {
    now_.clear(p);
  }

  PipelineTime run() {
    const int rounds = p.passes + p.warmup(0);
    for (int round = 0; round < rounds; ++round) {
      place(round);
      // From p.warmup(0) on all stages do both, until the first has no forwards left.
      const int steady = round - p.warmup(0);
      if (steady >= 0 && steady % p.parts() == 0 && round < p.passes) round += skip(round);
    }
    return p.time(*std::ranges::max_element(now_.free), first_gradient_, last_forward_);
  }

 private:
  static std::pair<State, State>& buffers() {
    thread_local std::pair<State, State> kept;  // a search asks thousands of times
    return kept;
  }
  std::size_t slot(int stage, int turn, int within) const { return static_cast<std::size_t>((stage * p.chunks + turn) * p.stages + within); }

  void place(int round) {
    for (int stage = 0; stage < p.stages; ++stage) {
      const int nth_forward = round - stage, nth_backward = nth_forward - p.warmup(stage);
      if (nth_forward >= 0 && nth_forward < p.passes) forward(stage, forwards_[stage]);
      if (nth_backward >= 0 && nth_backward < p.passes) backward(stage, backwards_[stage]);
    }
  }

  void forward(int stage, Place& at) {
    double& now = now_.free[stage];
    if (stage + at.turn > 0) now = std::max(now, now_.activations[slot(stage, at.turn, at.within)]);
    now += p.work(stage, at.turn).forward;
    const double send = p.send(at.turn * p.stages + stage);
    if (stage + 1 < p.stages) now_.activations[slot(stage + 1, at.turn, at.within)] = sent(stage, now_.onward, send);
    else if (at.turn + 1 < p.chunks) now_.activations[slot(0, at.turn + 1, at.within)] = sent(stage, now_.onward, send);
    else last_forward_ = now_.gradients[slot(stage, 0, at.within)] = now;
    at.advance(p);
  }

  void backward(int stage, Place& at) {
    double& now = now_.free[stage];
    const int chunk = p.chunks - 1 - at.turn, part = chunk * p.stages + stage;
    now = std::max(now, now_.gradients[slot(stage, at.turn, at.within)]) + p.backward_time(p.work(stage, chunk));
    if (stage == p.stages - 1) first_gradient_ = now;
    if (stage > 0) now_.gradients[slot(stage - 1, at.turn, at.within)] = sent(stage, now_.back, p.send(part - 1));
    else if (chunk > 0) now_.gradients[slot(p.stages - 1, at.turn + 1, at.within)] = sent(stage, now_.back, p.send(part - 1));
    at.advance(p);
  }

  double sent(int stage, std::vector<double>& link, double seconds) {
    if (!p.shape.overlap_sends) return now_.free[stage] += seconds;
    return link[stage] = std::max(link[stage], now_.free[stage]) + seconds;
  }

  /// Rounds that may be skipped, their time added: whole periods of groups, as long as the first stage has forwards.
  int skip(int round) {
    const double shift = lookback_.marked() < 0 ? 0 : now_.free[0] - mark_.free[0];
    if (lookback_.marked() >= 0 && repeats(shift)) {
      const int period = round - lookback_.marked(), periods = (p.passes - 1 - round) / period;
      for (auto* times : now_.all())
        for (double& time : *times) time += periods * shift;
      last_forward_ += periods * shift, first_gradient_ += periods * shift;
      return periods * period;
    }
    if (lookback_.due(round)) mark_ = now_, lookback_.mark(round);
    return 0;
  }

  bool repeats(double shift) const {
    const auto now = now_.all(), then = mark_.all();
    for (std::size_t i = 0; i < now.size(); ++i)
      for (std::size_t k = 0; k < now[i]->size(); ++k) {
        const double a = (*now[i])[k], b = (*then[i])[k];
        const bool unused = a == 0 && b == 0;  // a link that does not send, the first part's activations
        if (!unused && !is_shifted(a, b, shift)) return false;
      }
    return true;
  }

  const Pipeline& p;
  State &now_, &mark_;
  std::vector<Place> forwards_, backwards_;
  Lookback lookback_;
  double last_forward_ = 0, first_gradient_ = 0;
};

}  // namespace

PipelineTime repeat_groups(const Pipeline& p) { return GroupRounds(p).run(); }

}  // namespace gambrel::sim

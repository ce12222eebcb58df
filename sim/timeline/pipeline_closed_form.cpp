// Pipeline times without placing every pass. Where all stages are alike they follow from counting: rounds of a forward
// and a backward, and the hops a longest chain can make in them. tests/laws/pipeline_law_test.cpp holds them to `simulate`.
#include <cmath>
#include <optional>

#include "sim/timeline/pipeline.hpp"
#include "sim/timeline/repeating_pipeline.hpp"

namespace gambrel::sim {
namespace {

struct Ends {
  double seconds = 0, first_gradient = 0, last_forward = 0;
};

/// One micro-batch's way through stages that each take a time and hand on: a flow shop of equal jobs, whose last job
/// leaves when the first has passed and the slowest machine, stage or link, has done the others.
class FlowShop {
 public:
  void pass(double seconds, int machines = 1) {
    if (machines > 0) sum_ += machines * seconds, slowest_ = std::max(slowest_, seconds);
  }
  double last_out(int jobs) const { return sum_ + (jobs - 1) * slowest_; }

 private:
  double sum_ = 0, slowest_ = 0;
};

/// Forwards of all micro-batches, then all backwards. Any stages.
Ends gpipe(const Pipeline& p) {
  FlowShop forwards, backwards;
  const bool overlap = p.shape.overlap_sends;
  const int m = p.microbatches, last = p.stages - 1;
  const bool alike = p.shape.work.size() == 1;  // stages 0 to p - 2 in one
  for (int stage = 0; stage < last; stage += alike ? last : 1) {
    const double send = p.send(stage);
    const int stages = alike ? last : 1;
    forwards.pass(p.work(stage, 0).forward + (overlap ? 0 : send), stages);
    backwards.pass(p.backward_time(p.work(stage + 1, 0)) + (overlap ? 0 : send), stages);
    if (overlap) forwards.pass(send, stages), backwards.pass(send, stages);
  }
  forwards.pass(p.work(last, 0).forward);
  backwards.pass(p.backward_time(p.work(0, 0)));
  const double middle = forwards.last_out(m);
  const double back = p.backward_time(p.work(last, 0)), wait = overlap || last == 0 ? 0 : p.send(last - 1);
  return {middle + backwards.last_out(m), middle + m * back + (m - 1) * wait, middle};
}

/// What the formulas below share: stages p, micro-batches m, and of any one of them F, B (inputs; all of the backward
/// where it is not split), W and the send c.
struct Alike {
  double p, m, f, b, w, c;
};

/// 1F1B, c <= min(F, B). There are R = m + p - 1 rounds of a forward and a backward; a chain goes down any number of
/// stages in one round and up one stage a round, so of R rounds all but its ceil(R / p) turns make two hops.
/// Sends that do not overlap lengthen every pass but the first stage's backward and the last stage's forward, which
/// the longest chain meets once and twice.
Ends one_forward_one_backward(const Alike& a, bool overlap) {
  const double rounds = a.m + a.p - 1, pair = a.f + a.b;
  double seconds = 0;
  if (overlap) seconds = rounds * pair + 2 * a.c * (rounds - std::ceil(rounds / a.p));
  else if (a.p <= 2) seconds = rounds * (pair + (a.p == 2 ? a.c : 0));
  else seconds = rounds * (pair + 2 * a.c) - a.c * (a.m > 1 ? 3 : 2);
  const double first_gradient = seconds - (a.p - 1) * (a.b + a.c);
  return {seconds, first_gradient, first_gradient - a.b};
}

/// What an end of a pipeline and the stages between have: a forward and a backward, blocking sends counted in.
struct Pair {
  double f = 0, b = 0;
  double both() const { return f + b; }
};

/// 1F1B of one heavy end: the first and the last stage unlike the others, which are alike. If one of the two takes longer
/// than any other stage with two sends, the longest chain stays there: with the last from its first forward to its last
/// backward; with the first but for the way down all stages and up again, at the start and at the end, unless staying
/// with the last, no lighter than the middle, is longer.
std::optional<Ends> heavy_end(const Pipeline& p) {
  const int n = p.stages, m = p.microbatches;
  if (n < 3) return {};
  const bool overlap = p.shape.overlap_sends;
  const StageWork& inner = p.work(1, 0);
  for (int stage = 2; stage < n - 1; ++stage)
    if (p.work(stage, 0) != inner) return {};
  const double send = inner.send, c = overlap ? send : 0, blocked = send - c;
  if (p.send(0) != send) return {};
  const auto pair = [&](int stage) {
    const StageWork& w = p.work(stage, 0);
    return Pair{w.forward + (stage + 1 < n ? blocked : 0), p.backward_time(w) + (stage > 0 ? blocked : 0)};
  };
  const Pair first = pair(0), middle = pair(1), last = pair(n - 1);
  if (c > std::min({first.f, middle.f, middle.b, last.b})) return {};
  const double others = std::max(first.both(), middle.both()) + 2 * c;
  double seconds = first.both() + (n - 2) * middle.both() + 2 * (n - 1) * c + m * last.both();
  if (last.both() < others) {
    const bool heavy = first.both() >= last.both() + 2 * c && std::max(first.f, first.b) <= middle.both() + 2 * c;
    if (m <= n || last.both() < middle.both() || !heavy) return {};
    seconds = std::max(seconds, 2 * ((n - 2) * middle.both() + last.both()) + (m - n + 1) * first.both() + 4 * (n - 1) * c);
  }
  const double first_gradient = seconds - (n - 2) * middle.b - first.b - (n - 1) * c - blocked;
  return Ends{seconds, first_gradient, first_gradient - last.b + blocked};
}

/// Interleaved, v chunks, c <= min(F, B), m a multiple of p: warm-up forwards are twice as many a stage, so sends hide
/// behind arithmetic but for one way down all parts and up again.
Ends interleaved(const Alike& a, double v) {
  const double seconds = (a.m * v + a.p - 1) * (a.f + a.b) + 2 * a.c * (a.p * v - 1);
  const double last_forward = (a.m * v + a.p - 1) * a.f + (a.m * v - 1 - (v - 1) * a.p) * a.b + a.c * (a.p * v - 1);
  return {seconds, seconds - (a.p - 1) * (a.b + a.c), last_forward};
}

/// ZB-H1, c <= min(F, B); m > p, or else F + c <= B. A chain turns in rounds as 1F1B's does and passes one W a turn once
/// there are any. It ends on the way up (`up`), or waits for weight gradients at the first (`first`) or last stage.
/// Without sends, F <= B and W <= F this is the paper's m (F + B + W) + (p - 1)(F + B - W).
Ends zero_bubble(const Alike& a) {
  const double rounds = a.m + a.p - 1, pair = a.f + a.b;
  const bool hop = a.w < 2 * a.c;  // hops rather than waits for weight gradients
  const double steady = std::max(0.0, a.m - a.p);
  double turns = hop ? std::ceil(rounds / a.p) : steady + 1, passed = turns;
  if (steady == 0) turns = std::min(a.m, 2.0), passed = 1;
  const double up = rounds * pair + passed * a.w + 2 * a.c * (rounds - turns);
  const double tail = std::max(a.b + a.w, steady > 0 ? a.w + a.f + a.c : 0);
  const double first = a.p * pair + a.w + 2 * a.c * (a.p - 1) + steady * (pair + a.w) + (std::min(a.m, a.p) - 1) * tail;
  const double before = steady == 0 ? std::min(a.m - 1, 1.0) : hop ? std::ceil((a.m - 1) / a.p) : steady;
  const double last_forward = (a.m - 1) * pair + 2 * a.c * (a.m - 1 - before) + (steady > 0 ? before * a.w : 0) + a.p * a.f + (a.p - 1) * a.c;
  return {std::max(up, first), last_forward + a.b + std::min(a.m, a.p) * a.w, last_forward};
}

bool all_alike(const PipelineShape& shape) {
  return std::ranges::all_of(shape.work, [&](const StageWork& w) { return w == shape.work.front(); });
}

std::optional<Ends> formula(const Pipeline& p) {
  if (p.shape.schedule == Schedule::gpipe) return gpipe(p);
  if (!all_alike(p.shape)) return p.chunks == 1 && !p.split ? heavy_end(p) : std::nullopt;
  const StageWork& w = p.shape.work.front();
  const double b = p.backward_time(w);
  const Alike a{static_cast<double>(p.stages), static_cast<double>(p.microbatches), w.forward, b, w.backward_weights, p.stages > 1 ? w.send : 0};
  const bool hidden = p.shape.overlap_sends && a.c <= std::min(a.f, a.b), overlap = hidden || a.c == 0;
  if (p.split) return overlap && (a.m > a.p || a.f + a.c <= a.b) ? std::optional(zero_bubble(a)) : std::nullopt;
  if (p.chunks == 1) return overlap || !p.shape.overlap_sends ? std::optional(one_forward_one_backward(a, overlap)) : std::nullopt;
  return overlap && p.microbatches % p.stages == 0 ? std::optional(interleaved(a, p.chunks)) : std::nullopt;
}

}  // namespace

PipelineTime closed_form(const PipelineShape& shape) {
  const Pipeline p(shape);
  const auto ends = formula(p);
  if (!ends) return p.chunks == 1 ? repeat_rounds(p) : repeat_groups(p);
  return p.time(ends->seconds, ends->first_gradient, ends->last_forward);
}

}  // namespace gambrel::sim

// One anchor = the table of inner loops for this CPU, and how many rounds or how much memory a run takes.
#include "kernels/timing/anchor.hpp"

#include <algorithm>
#include <array>
#include <chrono>
#include <cmath>

#include "kernels/timing/anchor_loops.hpp"
#include "kernels/timing/pages.hpp"
#include "kernels/timing/vectors.hpp"

namespace gambrel::kernels {
namespace {

constexpr std::array<std::string_view, 7> names{"fma_f32", "fma_f64", "fma_bf16", "fma_int8", "read", "copy", "triad"};

const AnchorLoops& loops() {
#if defined(__x86_64__)
  if (usable_vectors() == Vectors::avx512) return anchor_loops_avx512;
  if (usable_vectors() == Vectors::avx2) return anchor_loops_avx2;
#endif
  return anchor_loops_baseline;
}

ArithmeticLoop arithmetic_loop(Anchor anchor) {
  switch (anchor) {
    case Anchor::fma_f64: return loops().fma_f64;
    case Anchor::fma_bf16: return has_bf16_dot() ? loops().fma_bf16 : ArithmeticLoop{};
    case Anchor::fma_int8: return has_int8_dot() ? loops().fma_int8 : ArithmeticLoop{};
    default: return loops().fma_f32;
  }
}

bool is_memory(Anchor anchor) { return anchor >= Anchor::read; }

/// The shortest of some calls, after a first one that wakes the wide units.
template <class F>
double shortest(const F& call) {
  double best = INFINITY;
  for (int i = 0; i < 4; ++i) {
    const auto start = std::chrono::steady_clock::now();
    call();
    const std::chrono::duration<double> taken = std::chrono::steady_clock::now() - start;
    if (i > 0) best = std::min(best, taken.count());
  }
  return best;
}

/// How often a step is to be repeated to last about `seconds`: doubled until it can be timed, then scaled.
template <class F>
std::size_t repeats(double seconds, const F& steps) {
  for (std::size_t n = 1;; n *= 4) {
    const double taken = shortest([&] { steps(n); });
    if (taken < seconds / 8 && n < (std::size_t{1} << 40)) continue;
    return std::max<std::size_t>(1, static_cast<std::size_t>(std::llround(static_cast<double>(n) * seconds / taken)));
  }
}

class Arithmetic : public AnchorLoop {
 public:
  explicit Arithmetic(ArithmeticLoop loop) : loop_(loop) {}
  double work() const override { return loop_.work * static_cast<double>(rounds_); }
  void run() override { loop_.run(rounds_); }
  void take(double seconds) { rounds_ = repeats(seconds, [&](std::size_t n) { loop_.run(n * 64); }) * 64; }
  void perform(double flops) { rounds_ = std::max<std::size_t>(1, static_cast<std::size_t>(flops / loop_.work)); }

 private:
  ArithmeticLoop loop_;
  std::size_t rounds_ = 1;
};

/// Goes round its arrays, from where the last run stopped: a set far larger than a cache never becomes one pass of a run.
class Memory : public AnchorLoop {
 public:
  Memory(Anchor anchor, std::size_t bytes)
      : anchor_(anchor), arrays_(anchor == Anchor::read ? 1 : anchor == Anchor::copy ? 2 : 3),
        length_(std::max<std::size_t>(1, bytes / sizeof(float) / arrays_ / anchor_block) * anchor_block) {
    for (std::size_t i = 0; i < arrays_; ++i) {
      array_[i] = make_pages<float>(length_);
      std::fill_n(array_[i].get(), length_, 1.0f);
    }
  }
  double work() const override { return static_cast<double>(elements_ * arrays_ * sizeof(float)); }
  void run() override { advance(elements_); }
  void take(double seconds) {
    const std::size_t piece = std::min(length_, 16 * anchor_block);
    elements_ = repeats(seconds, [&](std::size_t n) { advance(n * piece); }) * piece;
  }
  void perform(double bytes) {
    const double blocks = bytes / static_cast<double>(sizeof(float) * arrays_ * anchor_block);
    elements_ = std::max<std::size_t>(1, static_cast<std::size_t>(blocks)) * anchor_block;
  }

 private:
  void advance(std::size_t elements) {
    while (elements > 0) {
      const std::size_t n = std::min(elements, length_ - at_);
      pass(n);
      at_ = at_ + n == length_ ? 0 : at_ + n;
      elements -= n;
    }
  }
  void pass(std::size_t n) {
    const float* const a = array_[0].get() + at_;
    if (anchor_ == Anchor::read) sum_ = loops_.read(a, n);
    else if (anchor_ == Anchor::copy) loops_.copy(a, array_[1].get() + at_, n);
    else loops_.triad(a, array_[1].get() + at_, array_[2].get() + at_, n);
  }

  Anchor anchor_;
  std::size_t arrays_, length_, at_ = 0, elements_ = 0;
  const AnchorLoops& loops_ = loops();
  std::array<Pages<float>, 3> array_;
  volatile float sum_ = 0;
};

template <class Size>
std::unique_ptr<AnchorLoop> make(Anchor anchor, std::size_t bytes, const Size& size) {
  const auto sized = [&](auto loop) {
    size(*loop);
    return std::unique_ptr<AnchorLoop>(std::move(loop));
  };
  if (is_memory(anchor)) return sized(std::make_unique<Memory>(anchor, bytes));
  return sized(std::make_unique<Arithmetic>(arithmetic_loop(has(anchor) ? anchor : Anchor::fma_f32)));
}

}  // namespace

std::string_view to_string(Anchor anchor) { return names[static_cast<std::size_t>(anchor)]; }

std::optional<Anchor> parse_anchor(std::string_view name) {
  const auto* const row = std::find(names.begin(), names.end(), name);
  if (row == names.end()) return std::nullopt;
  return static_cast<Anchor>(row - names.begin());
}

std::string_view vector_extension() { return to_string(usable_vectors()); }

bool has(Anchor anchor) { return is_memory(anchor) || arithmetic_loop(anchor).run != nullptr; }

std::unique_ptr<AnchorLoop> make_anchor(Anchor anchor, std::size_t bytes, double seconds) {
  return make(anchor, bytes, [&](auto& loop) { loop.take(seconds); });
}

std::unique_ptr<AnchorLoop> make_anchor_doing(Anchor anchor, std::size_t bytes, double work) {
  return make(anchor, bytes, [&](auto& loop) { loop.perform(work); });
}

}  // namespace gambrel::kernels

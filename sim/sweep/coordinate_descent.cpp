// Coordinate descent: from many starts, one axis at a time to its best value, for each objective and for mixtures of them.
#include <algorithm>
#include <deque>
#include <limits>
#include <unordered_map>

#include "sim/sweep/pareto.hpp"
#include "sim/sweep/search_sequence.hpp"

namespace gambrel::sim {
namespace {

constexpr std::uint64_t default_points = 10'000;
constexpr int idle_starts = 64;      ///< in a row that led to no new point: there is nothing more to find
constexpr int most_rounds = 100;     ///< over all axes from one start; scales change while it goes on
constexpr double side_weight = 1e-3; ///< of the other objectives, where one alone is looked at: they break ties

class CoordinateDescent final : public PointSearch {
 public:
  CoordinateDescent(const DesignSpace& space, const SearchOptions& options)
      : space_(space), objectives_(space.objectives()), draws_(options.seed), budget_(std::min(options.points > 0 ? options.points : default_points, space.size())),
        low_(objectives_.size(), std::numeric_limits<double>::infinity()), high_(objectives_.size(), -std::numeric_limits<double>::infinity()) {
    start();
    fill();
  }

  std::vector<std::uint64_t> next(std::size_t most) override {
    std::vector<std::uint64_t> named;
    for (; !queue_.empty() && named.size() < most; queue_.pop_front()) named.push_back(queue_.front());
    awaited_.insert(awaited_.end(), named.begin(), named.end());
    return named;
  }

  void report(std::span<const PointResult> results) override {
    for (const PointResult& result : results) {
      learn(awaited_.front(), goals_of(objectives_, result));
      awaited_.pop_front();
    }
    while (!done() && queue_.empty() && awaited_.empty()) {
      step();
      fill();
    }
  }

  bool done() const override { return awaited_.empty() && queue_.empty() && (known_.size() >= budget_ || idle_ >= idle_starts); }

 private:
  void learn(std::uint64_t index, std::vector<double> goals) {
    for (std::size_t o = 0; o < goals.size(); ++o) {
      low_[o] = std::min(low_[o], goals[o]);
      high_[o] = std::max(high_[o], goals[o]);
    }
    known_[index] = std::move(goals);
  }

  /// A fresh start: each objective alone, all alike (towards the knee), then mixtures at random.
  void start() {
    const std::size_t count = objectives_.size();
    weights_.assign(count, side_weight);
    if (starts_ < count) weights_[starts_] = 1;
    else if (starts_ == count) weights_.assign(count, 1);
    else
      for (double& w : weights_) w = draws_.unit();
    at_ = space_.coordinates_of(draws_.below(space_.size()));
    ++starts_;
    ++idle_;
    axis_ = still_ = steps_ = 0;
  }

  std::uint64_t neighbour(std::uint32_t value) const {
    Coordinates coordinates = at_;
    coordinates[axis_] = value;
    return space_.index_of(coordinates);
  }

  /// The points of the line along the axis that nothing is known of, within the budget.
  void fill() {
    for (std::uint32_t v = 0; v < space_.axes()[axis_].size(); ++v) {
      const std::uint64_t index = neighbour(v);
      if (known_.contains(index) || known_.size() + queue_.size() >= budget_) continue;
      queue_.push_back(index);
      idle_ = 0;
    }
  }

  double score(std::uint64_t index) const {
    const auto found = known_.find(index);
    if (found == known_.end() || found->second.empty()) return std::numeric_limits<double>::infinity();
    double sum = 0;
    for (std::size_t o = 0; o < weights_.size(); ++o)
      if (high_[o] > low_[o]) sum += weights_[o] * (found->second[o] - low_[o]) / (high_[o] - low_[o]);
    return sum;
  }

  /// To the best point of the line, then on to the next axis, or to another start where no axis helps any more.
  void step() {
    std::uint32_t best = at_[axis_];
    double least = score(neighbour(best));
    for (std::uint32_t v = 0; v < space_.axes()[axis_].size(); ++v)
      if (const double s = score(neighbour(v)); s < least) least = s, best = v;
    still_ = best == at_[axis_] ? still_ + 1 : 0;
    at_[axis_] = best;
    axis_ = (axis_ + 1) % at_.size();
    ++steps_;
    if (still_ >= at_.size() || steps_ >= most_rounds * at_.size()) start();
  }

  const DesignSpace& space_;
  std::vector<Objective> objectives_;
  Draws draws_;
  std::uint64_t budget_;
  std::unordered_map<std::uint64_t, std::vector<double>> known_;  ///< goals by index; empty of points that do not count
  std::vector<double> low_, high_;                                ///< of each objective, over all known points
  std::deque<std::uint64_t> queue_, awaited_;
  std::vector<double> weights_;
  Coordinates at_;
  std::size_t axis_ = 0, starts_ = 0, still_ = 0, steps_ = 0;
  int idle_ = 0;
};

}  // namespace

std::unique_ptr<PointSearch> coordinate_descent(const DesignSpace& space, const SearchOptions& options) { return std::make_unique<CoordinateDescent>(space, options); }

}  // namespace gambrel::sim

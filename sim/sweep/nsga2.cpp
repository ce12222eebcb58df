// NSGA-II (Deb et al. 2002) on the values' indices; pagmo, where it is there, sorts by dominance and measures the crowding.
#include "sim/sweep/search_sequence.hpp"

#ifdef GAMBREL_PAGMO

#include <algorithm>
#include <cmath>
#include <numeric>
#include <pagmo/utils/multi_objective.hpp>
#include <unordered_set>

#include "sim/sweep/pareto.hpp"

namespace gambrel::sim {
namespace {

constexpr std::uint64_t default_points = 5'000;
constexpr double impossible_goal = 1e100;  ///< of points that do not count: finite, so that distances stay numbers
constexpr double crossover_rate = 0.9;     ///< Deb et al. 2002
constexpr int attempts = 32;               ///< at a child that was not looked at before, then a random point

struct Individual {
  std::uint64_t index = 0;
  std::vector<double> goals;
};

class Nsga2 final : public PointSearch {
 public:
  Nsga2(const DesignSpace& space, const SearchOptions& options)
      : space_(space), objectives_(space.objectives()), draws_(options.seed), budget_(std::min(options.points > 0 ? options.points : default_points, space.size())),
        population_size_(std::clamp<std::size_t>(budget_ / 25, 16, 200)),
        random_(random_sequence(space, {.points = space.size(), .seed = options.seed})) {
    breed();
  }

  std::vector<std::uint64_t> next(std::size_t most) override {
    const std::size_t count = std::min(most, children_.size() - named_);
    const auto first = children_.begin() + static_cast<std::ptrdiff_t>(named_);
    named_ += count;
    return {first, first + static_cast<std::ptrdiff_t>(count)};
  }

  void report(std::span<const PointResult> results) override {
    for (const PointResult& result : results) {
      Individual child{children_[reported_++], goals_of(objectives_, result)};
      if (child.goals.empty()) child.goals.assign(objectives_.size(), impossible_goal);
      for (double& goal : child.goals) goal = std::clamp(goal, -impossible_goal, impossible_goal);
      population_.push_back(std::move(child));
    }
    if (reported_ < children_.size()) return;
    select();
    breed();
  }

  bool done() const override { return reported_ == children_.size(); }

 private:
  /// The better half, the best first: by front, then by the distance to neighbours, then by index.
  void select() {
    if (population_.size() < 2) return;
    std::vector<std::vector<double>> goals;
    for (const Individual& i : population_) {
      goals.push_back(i.goals);
      if (objectives_.size() == 1) goals.back().push_back(i.goals[0]);  // pagmo wants two, and this changes no order
    }
    std::vector<Individual> kept;
    const auto fronts = std::get<0>(pagmo::fast_non_dominated_sorting(goals));
    for (const auto& front : fronts) {
      for (const std::size_t member : by_crowding(front, goals))
        if (kept.size() < population_size_) kept.push_back(population_[member]);
      if (kept.size() >= population_size_) break;
    }
    population_ = std::move(kept);
  }

  std::vector<std::size_t> by_crowding(std::vector<std::size_t> front, const std::vector<std::vector<double>>& goals) const {
    std::ranges::sort(front, {}, [&](std::size_t i) { return population_[i].index; });
    if (front.size() < 2) return front;
    std::vector<std::vector<double>> of_front;
    for (const std::size_t i : front) of_front.push_back(goals[i]);
    std::vector<double> distance = pagmo::crowding_distance(of_front);
    for (double& d : distance)
      if (std::isnan(d)) d = 0;  // all alike in one objective
    std::vector<std::size_t> order(front.size()), sorted;
    std::iota(order.begin(), order.end(), std::size_t{0});
    std::ranges::stable_sort(order, std::greater{}, [&](std::size_t i) { return distance[i]; });
    for (const std::size_t i : order) sorted.push_back(front[i]);
    return sorted;
  }

  void breed() {
    children_.clear();
    named_ = reported_ = 0;
    while (children_.size() < population_size_ && seen_.size() < budget_) children_.push_back(population_.empty() ? unseen() : child());
  }

  std::uint64_t unseen() {
    while (!seen_.insert(random_->at(drawn_)).second) ++drawn_;
    return random_->at(drawn_++);
  }

  /// The better of two drawn at random; the population stands in order.
  const Individual& parent() { return population_[std::min(draws_.below(population_.size()), draws_.below(population_.size()))]; }

  std::uint64_t child() {
    for (int attempt = 0; attempt < attempts; ++attempt) {
      Coordinates a = space_.coordinates_of(parent().index);
      const Coordinates b = space_.coordinates_of(parent().index);
      if (draws_.unit() < crossover_rate)
        for (std::size_t i = 0; i < a.size(); ++i)
          if (draws_.bits() & 1u) a[i] = b[i];
      mutate(a);
      if (const std::uint64_t index = space_.index_of(a); seen_.insert(index).second) return index;
    }
    return unseen();
  }

  /// On average one axis: half the time to a neighbouring value, half the time to any.
  void mutate(Coordinates& coordinates) {
    for (std::size_t i = 0; i < coordinates.size(); ++i) {
      if (draws_.below(coordinates.size()) != 0) continue;
      const auto values = static_cast<std::uint32_t>(space_.axes()[i].size());
      const bool near = draws_.bits() & 1u, up = draws_.bits() & 1u;
      if (!near) coordinates[i] = static_cast<std::uint32_t>(draws_.below(values));
      else if (up) coordinates[i] = std::min(coordinates[i] + 1, values - 1);
      else if (coordinates[i] > 0) --coordinates[i];
    }
  }

  const DesignSpace& space_;
  std::vector<Objective> objectives_;
  Draws draws_;
  std::uint64_t budget_;
  std::size_t population_size_;
  std::unique_ptr<Sequence> random_;  ///< all points in a random order
  std::uint64_t drawn_ = 0;           ///< of it
  std::unordered_set<std::uint64_t> seen_;
  std::vector<Individual> population_;
  std::vector<std::uint64_t> children_;
  std::size_t named_ = 0, reported_ = 0;
};

}  // namespace

std::unique_ptr<PointSearch> nsga2(const DesignSpace& space, const SearchOptions& options) { return std::make_unique<Nsga2>(space, options); }

}  // namespace gambrel::sim

#else

namespace gambrel::sim {

std::unique_ptr<PointSearch> nsga2(const DesignSpace&, const SearchOptions&) { return nullptr; }

}  // namespace gambrel::sim

#endif

// A design space whose figures are formulas of the coordinates: what searches, engine and store are tested on.
#pragma once

#include <doctest/doctest.h>
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <atomic>
#include <chrono>
#include <cmath>
#include <functional>
#include <limits>
#include <mutex>
#include <thread>

#include "sim/sweep/engine.hpp"
#include "tests/unit/program_support.hpp"

namespace gambrel::test {

/// time_s falls and cost_usd rises with the axes; one point in seven violates, one in eleven is impossible.
class FormulaSpace : public sim::DesignSpace {
 public:
  explicit FormulaSpace(std::vector<std::uint32_t> sizes, double slowness_s = 0) : slowness_s_(slowness_s) {
    for (std::size_t a = 0; a < sizes.size(); ++a) {
      sim::SweepAxis axis{.paths = {fmt::format("chip.key{}", a)}};
      for (std::uint32_t v = 0; v < sizes[a]; ++v) axis.values.push_back({fmt::format("{}x", v + 1)});
      axes_.push_back(std::move(axis));
    }
  }

  const std::vector<sim::SweepAxis>& axes() const override { return axes_; }
  const std::vector<sim::FigureColumn>& columns() const override { return columns_; }
  const std::vector<sim::Objective>& objectives() const override { return objectives_; }
  std::vector<std::string> constraints() const override { return {"cost_usd < 1 USD", "power < 700 W"}; }
  std::string message(std::uint32_t number) const override {
    const std::scoped_lock lock(mutex_);
    return messages_.at(number);
  }
  std::string canonical(std::span<const std::uint32_t> c) const override { return fmt::format("{} {}", base, fmt::join(c, ",")); }
  std::string command(std::span<const std::uint32_t> c) const override { return fmt::format("gambrel estimate it.yaml --set {}", fmt::join(c, " --set ")); }
  std::unique_ptr<sim::PointEvaluator> evaluator() const override { return std::make_unique<Evaluator>(*this); }

  /// Evaluations so far, by all evaluators.
  std::uint64_t evaluations() const { return evaluations_; }
  mutable std::function<void(std::uint64_t)> on_evaluation;  ///< told the number of evaluations

  std::string base = "it";  ///< what the axes do not say
  bool all_ok = false;      ///< no point violates and none is impossible

 protected:
  std::vector<sim::SweepAxis> axes_;
  std::vector<sim::FigureColumn> columns_{{"time_s", "time", "s"}, {"cost_usd", "cost", "USD"}, {"share", "share of nothing", ""}};
  std::vector<sim::Objective> objectives_{{"time_s", 0, false}, {"cost_usd", 1, false}};

 private:
  struct Evaluator final : sim::PointEvaluator {
    explicit Evaluator(const FormulaSpace& of) : space(of) {}
    void evaluate(std::span<const std::uint32_t> c, sim::PointResult& result) override {
      const std::uint64_t count = ++space.evaluations_;
      if (space.on_evaluation) space.on_evaluation(count);
      if (space.slowness_s_ > 0) std::this_thread::sleep_for(std::chrono::duration<double>(space.slowness_s_));
      space.compute(c, result);
    }
    const FormulaSpace& space;
  };

  void compute(std::span<const std::uint32_t> c, sim::PointResult& result) const {
    double speed = 1, cost = 1, mixed = 0;
    for (std::size_t a = 0; a < c.size(); ++a) {
      speed += std::sqrt(static_cast<double>(c[a])) * static_cast<double>(a + 1);
      cost += static_cast<double>(c[a]) * (1.1 - 0.2 * static_cast<double>(a));
      mixed = mixed * 31 + c[a];
    }
    result.state = sim::PointState::ok;
    if (!all_ok && std::fmod(mixed, 7) == 3) {
      result.state = sim::PointState::violates;
      result.reason = 1;
    }
    if (!all_ok && std::fmod(mixed, 11) == 5) {
      result.state = sim::PointState::impossible;
      result.reason = number_of(fmt::format("no machine has {} of them", c.back()));
    }
    result.figures.assign({1 / speed, std::abs(cost) + std::fmod(mixed, 5) / 10, c[0] == 1 ? std::numeric_limits<double>::quiet_NaN() : speed / cost});
  }

  /// In the order in which they occur, which threads make a matter of chance.
  std::uint32_t number_of(const std::string& text) const {
    const std::scoped_lock lock(mutex_);
    for (std::size_t i = 0; i < messages_.size(); ++i)
      if (messages_[i] == text) return static_cast<std::uint32_t>(i);
    messages_.push_back(text);
    return static_cast<std::uint32_t>(messages_.size() - 1);
  }

  double slowness_s_;
  mutable std::atomic<std::uint64_t> evaluations_ = 0;
  mutable std::mutex mutex_;
  mutable std::vector<std::string> messages_;
};

/// A folder that waits for no disk, where the machine has one: commits there are as they are elsewhere, but for the time.
class FastFolder {
 public:
  FastFolder() {
    std::error_code ignored;
    const bool memory = std::filesystem::is_directory("/dev/shm", ignored) && access("/dev/shm", W_OK) == 0;
    std::string name = ((memory ? std::filesystem::path("/dev/shm") : std::filesystem::temp_directory_path()) / "gambrel-test-XXXXXX").string();
    REQUIRE(mkdtemp(name.data()) != nullptr);
    path_ = name;
  }
  FastFolder(const FastFolder&) = delete;
  FastFolder& operator=(const FastFolder&) = delete;
  ~FastFolder() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  std::string path(const std::string& name) const { return (path_ / name).string(); }

 private:
  std::filesystem::path path_;
};

inline const std::string in_memory = ":memory:";  ///< a store that no test opens again: waits for no disk

inline sim::ResultStore open_store(const std::string& path, const sim::DesignSpace& space, const std::string& keep = "all", const sim::SearchOptions& search = {}) {
  auto store = sim::ResultStore::open(path, sim::describe(space, search, sim::parse_keep(keep).value()), {.name = "it", .config_hash = "abc", .command = "gambrel sweep it.yaml"});
  REQUIRE_MESSAGE(store.has_value(), render(store.error()));
  return std::move(*store);
}

inline sim::SweepSummary run(const sim::DesignSpace& space, sim::ResultStore& store, const sim::SweepOptions& options = {}) {
  auto summary = sim::run_sweep(space, store, options);
  REQUIRE_MESSAGE(summary.has_value(), render(summary.error()));
  return *summary;
}

inline std::string hash_of(sim::ResultStore& store) { return store.table_hash().value(); }

/// Every point of a space, in order.
inline std::vector<sim::PointResult> all_points(const sim::DesignSpace& space) {
  std::vector<sim::PointResult> points(space.size());
  const auto evaluator = space.evaluator();
  for (std::uint64_t i = 0; i < points.size(); ++i) {
    evaluator->evaluate(space.coordinates_of(i), points[i]);
    points[i].index = i;
  }
  return points;
}

/// The front by definition: points that no other beats, of equal ones the first.
inline std::vector<std::uint64_t> front_by_definition(const std::vector<sim::Objective>& objectives, const std::vector<sim::PointResult>& points) {
  std::vector<std::vector<double>> goals;
  for (const auto& point : points) goals.push_back(sim::goals_of(objectives, point));
  const auto beats = [&](std::size_t a, std::size_t b) {
    bool better = points[a].index < points[b].index;
    for (std::size_t o = 0; o < objectives.size(); ++o) {
      if (goals[a][o] > goals[b][o]) return false;
      if (goals[a][o] < goals[b][o]) better = true;
    }
    return better;
  };
  std::vector<std::uint64_t> front;
  for (std::size_t b = 0; b < points.size(); ++b) {
    bool beaten = goals[b].empty();
    for (std::size_t a = 0; a < points.size() && !beaten; ++a) beaten = a != b && !goals[a].empty() && beats(a, b);
    if (!beaten) front.push_back(points[b].index);
  }
  return front;
}

inline std::vector<std::uint64_t> indices_of(const std::vector<sim::PointResult>& points) {
  std::vector<std::uint64_t> indices;
  for (const auto& point : points) indices.push_back(point.index);
  return indices;
}

}  // namespace gambrel::test

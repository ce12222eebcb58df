// Dominance over a lexicographically sorted archive: what comes before a point can beat it, what comes after cannot.
#include "sim/sweep/pareto.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cmath>

namespace gambrel::sim {
namespace {

/// Fills `goals`; false if the point has none.
bool read_goals(const std::vector<Objective>& objectives, const PointResult& point, std::span<double> goals) {
  if (point.state != PointState::ok) return false;
  for (std::size_t i = 0; i < goals.size(); ++i) {
    const double value = point.figures[objectives[i].figure];
    if (std::isnan(value)) return false;
    goals[i] = objectives[i].maximise ? -value : value;
  }
  return true;
}

bool at_least_as_good(std::span<const double> a, std::span<const double> b) {
  for (std::size_t i = 0; i < a.size(); ++i)
    if (a[i] > b[i]) return false;
  return true;
}

/// A NaN equals another.
bool same_figures(const PointResult& a, const PointResult& b) {
  return std::ranges::equal(a.figures, b.figures, [](double x, double y) { return x == y || (std::isnan(x) && std::isnan(y)); });
}

}  // namespace

Result<Keep> parse_keep(std::string_view text) {
  if (text == "all") return Keep{};
  if (text == "pareto") return Keep{Keep::Kind::pareto};
  if (text.starts_with("top:")) {
    const std::string_view digits = text.substr(4);
    std::uint64_t count = 0;
    const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), count);
    if (error == std::errc{} && end == digits.data() + digits.size() && count > 0) return Keep{Keep::Kind::top, count};
  }
  return fail(Diagnostic{{}, fmt::format("'{}' does not say which points to keep", text), "all, pareto, or top:N with N from 1", Fault::usage});
}

std::string to_string(const Keep& keep) {
  if (keep.kind == Keep::Kind::top) return fmt::format("top:{}", keep.count);
  return keep.kind == Keep::Kind::pareto ? "pareto" : "all";
}

std::vector<double> goals_of(const std::vector<Objective>& objectives, const PointResult& point) {
  std::vector<double> goals(objectives.size());
  if (!read_goals(objectives, point, goals)) goals.clear();
  return goals;
}

bool ParetoArchive::covered(std::size_t i) const { return at_least_as_good(row(i), goals_); }

bool ParetoArchive::beaten_before(std::size_t place) {
  // Of two objectives the second falls from member to member, so the nearest before is the best in it.
  const std::size_t looked_at = goals_.size() <= 2 ? std::min<std::size_t>(place, 1) : place;
  for (std::size_t i = place; i-- > place - looked_at;) {
    if (!covered(i)) continue;
    last_winner_ = i;
    return true;
  }
  return false;
}

void ParetoArchive::remove_beaten_from(std::size_t place) {
  const bool in_a_row = goals_.size() <= 2;  // the beaten follow each other, because the second objective falls
  std::size_t kept = place, i = place;
  for (; i < slots_.size(); ++i) {
    if (at_least_as_good(goals_, row(i))) {
      free_.push_back(slots_[i]);
      continue;
    }
    if (in_a_row) break;
    if (kept != i) {
      std::ranges::copy(row(i), row_begin(kept));
      slots_[kept] = slots_[i];
    }
    ++kept;
  }
  rows_.erase(row_begin(kept), row_begin(i));
  slots_.erase(slots_.begin() + static_cast<std::ptrdiff_t>(kept), slots_.begin() + static_cast<std::ptrdiff_t>(i));
}

bool ParetoArchive::add(const PointResult& point) {
  if (!read_goals(objectives_, point, goals_)) return false;
  if (last_winner_ < slots_.size() && covered(last_winner_) && (index_of(last_winner_) < point.index || !std::ranges::equal(row(last_winner_), goals_))) return false;
  std::size_t low = 0, high = slots_.size();
  while (low < high) {
    const std::size_t middle = (low + high) / 2;
    if (std::ranges::lexicographical_compare(row(middle), goals_)) low = middle + 1;
    else high = middle;
  }
  if (low < slots_.size() && std::ranges::equal(row(low), goals_)) {
    if (point.index >= index_of(low)) return false;
    points_[slots_[low]] = point;
    return true;
  }
  if (beaten_before(low)) return false;
  remove_beaten_from(low);
  rows_.insert(row_begin(low), goals_.begin(), goals_.end());
  slots_.insert(slots_.begin() + static_cast<std::ptrdiff_t>(low), store(point));
  return true;
}

std::uint32_t ParetoArchive::store(const PointResult& point) {
  if (free_.empty()) {
    points_.push_back(point);
    return static_cast<std::uint32_t>(points_.size() - 1);
  }
  const std::uint32_t slot = free_.back();
  free_.pop_back();
  points_[slot] = point;
  return slot;
}

std::vector<PointResult> ParetoArchive::members() const {
  std::vector<PointResult> members;
  for (const std::uint32_t slot : slots_) members.push_back(points_[slot]);
  std::ranges::sort(members, {}, &PointResult::index);
  return members;
}

bool TopList::add(const PointResult& point) {
  double goal = 0;
  if (!read_goals(objectives_, point, {&goal, 1})) return false;
  const auto before = [&](const Ranked& r) { return r.goal < goal || (r.goal == goal && r.point.index < point.index); };
  if (ranked_.size() == count_ && before(ranked_.back())) return false;
  // A design that occurs twice in a space takes one place.
  const auto equal = [&](const Ranked& r) { return r.goal == goal && same_figures(r.point, point); };
  if (const auto twin = std::ranges::find_if(ranked_, equal); twin != ranked_.end()) {
    if (twin->point.index <= point.index) return false;
    ranked_.erase(twin);
  }
  ranked_.insert(std::ranges::partition_point(ranked_, before), {goal, point});
  if (ranked_.size() > count_) ranked_.pop_back();
  return true;
}

std::vector<PointResult> TopList::members() const {
  std::vector<PointResult> members;
  for (const Ranked& r : ranked_) members.push_back(r.point);
  std::ranges::sort(members, {}, &PointResult::index);
  return members;
}

std::unique_ptr<Selection> make_selection(const Keep& keep, const std::vector<Objective>& objectives) {
  if (keep.kind == Keep::Kind::pareto) return std::make_unique<ParetoArchive>(objectives);
  if (keep.kind == Keep::Kind::top) return std::make_unique<TopList>(objectives, keep.count);
  return nullptr;
}

std::optional<std::size_t> knee_point(const std::vector<Objective>& objectives, std::span<const PointResult> front) {
  if (front.empty()) return std::nullopt;
  std::vector<std::vector<double>> goals;
  for (const PointResult& point : front) goals.push_back(goals_of(objectives, point));
  std::vector<double> distance(front.size(), 0.0);
  for (std::size_t o = 0; o < objectives.size(); ++o) {
    const auto at = [&](const std::vector<double>& g) { return g[o]; };
    const auto [best, worst] = std::ranges::minmax(goals, {}, at);
    const double range = worst[o] - best[o];
    for (std::size_t i = 0; range > 0 && std::isfinite(range) && i < front.size(); ++i) distance[i] += std::pow((goals[i][o] - best[o]) / range, 2);
  }
  return static_cast<std::size_t>(std::ranges::min_element(distance) - distance.begin());
}

}  // namespace gambrel::sim

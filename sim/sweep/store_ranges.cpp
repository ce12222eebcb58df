// The set of finished ranges: a handful in a sweep's life, however many points it has.
#include "sim/sweep/store_ranges.hpp"

#include <algorithm>

namespace gambrel::sim {

StateCounts& StateCounts::operator+=(const StateCounts& other) {
  ok += other.ok;
  violates += other.violates;
  impossible += other.impossible;
  return *this;
}

namespace {

std::optional<StateCounts> sum(const std::optional<StateCounts>& a, const std::optional<StateCounts>& b) {
  if (!a || !b) return std::nullopt;
  StateCounts both = *a;
  both += *b;
  return both;
}

}  // namespace

FinishedRanges::Ranges::iterator FinishedRanges::erase(Ranges::iterator range) {
  changed_.insert(range->first);
  return ranges_.erase(range);
}

void FinishedRanges::add(const FinishedRange& range) {
  if (range.first >= range.last) return;
  FinishedRange whole = range;
  auto next = ranges_.lower_bound(range.first);
  if (next != ranges_.end() && next->first == whole.last) {
    whole.counts = sum(whole.counts, next->second.counts);
    whole.last = next->second.last;
    next = erase(next);
  }
  if (next != ranges_.begin())
    if (const auto previous = std::prev(next); previous->second.last == whole.first) {
      whole.counts = sum(previous->second.counts, whole.counts);
      whole.first = previous->first;
    }
  changed_.insert(whole.first);
  ranges_[whole.first] = whole;
}

void FinishedRanges::unite(const FinishedRange& range) {
  FinishedRange whole = range;
  auto other = ranges_.upper_bound(whole.first);
  if (other != ranges_.begin()) --other;
  while (other != ranges_.end() && other->first < whole.last) {
    const FinishedRange& there = other->second;
    if (there.last <= whole.first) {
      ++other;
      continue;
    }
    if (there.first <= whole.first && there.last >= whole.last) return;
    if (there.first < whole.first || there.last > whole.last) whole.counts.reset();
    whole.first = std::min(whole.first, there.first);
    whole.last = std::max(whole.last, there.last);
    other = erase(other);
  }
  add(whole);
}

std::optional<FinishedRange> FinishedRanges::next_missing(std::uint64_t first, std::uint64_t last) const {
  auto next = ranges_.upper_bound(first);
  if (next != ranges_.begin()) first = std::max(first, std::prev(next)->second.last);
  while (next != ranges_.end() && next->first == first) first = (next++)->second.last;
  if (first >= last) return std::nullopt;
  return FinishedRange{first, next == ranges_.end() ? last : std::min(last, next->first), std::nullopt};
}

std::vector<FinishedRange> FinishedRanges::missing(std::uint64_t first, std::uint64_t last) const {
  std::vector<FinishedRange> gaps;
  while (const auto gap = next_missing(first, last)) {
    gaps.push_back(*gap);
    first = gap->last;
  }
  return gaps;
}

std::uint64_t FinishedRanges::covered(std::uint64_t first, std::uint64_t last) const {
  std::uint64_t open = 0;
  for (const FinishedRange& gap : missing(first, last)) open += gap.last - gap.first;
  return last - first - open;
}

std::vector<FinishedRange> FinishedRanges::all() const {
  std::vector<FinishedRange> all;
  for (const auto& [first, range] : ranges_) all.push_back(range);
  return all;
}

std::optional<StateCounts> FinishedRanges::counts() const {
  std::optional<StateCounts> total = StateCounts{};
  for (const auto& [first, range] : ranges_) total = sum(total, range.counts);
  return total;
}

std::set<std::uint64_t> FinishedRanges::take_changes() { return std::exchange(changed_, {}); }

const FinishedRange* FinishedRanges::at(std::uint64_t first) const {
  const auto found = ranges_.find(first);
  return found == ranges_.end() ? nullptr : &found->second;
}

}  // namespace gambrel::sim

// Which parts of a search's sequence are finished: disjoint ranges, neighbours united, with what became of their points.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <vector>

#include "sim/sweep/design_point.hpp"

namespace gambrel::sim {

/// How many points are in which state.
struct StateCounts {
  std::uint64_t ok = 0, violates = 0, impossible = 0;

  void count(PointState state) { ++(state == PointState::ok ? ok : state == PointState::violates ? violates : impossible); }
  StateCounts& operator+=(const StateCounts& other);
  std::uint64_t total() const { return ok + violates + impossible; }
  bool operator==(const StateCounts&) const = default;
};

/// Positions [first, last). Counts are missing only after a merge of files whose ranges overlap in part.
struct FinishedRange {
  std::uint64_t first = 0, last = 0;
  std::optional<StateCounts> counts;

  bool operator==(const FinishedRange&) const = default;
};

class FinishedRanges {
 public:
  /// Must not overlap what is there: ask missing() first.
  void add(const FinishedRange& range);
  /// As add(), but what is there may overlap: the counts of the longer of two ranges, one inside the other, are kept.
  void unite(const FinishedRange& range);
  /// The parts of [first, last) that are not finished.
  std::vector<FinishedRange> missing(std::uint64_t first, std::uint64_t last) const;
  /// The first of them, if there is one.
  std::optional<FinishedRange> next_missing(std::uint64_t first, std::uint64_t last) const;
  /// How much of [first, last) is finished.
  std::uint64_t covered(std::uint64_t first, std::uint64_t last) const;
  std::vector<FinishedRange> all() const;
  std::optional<StateCounts> counts() const;

  /// First positions of the ranges that came, went or changed since the last call: what a store has to write.
  std::set<std::uint64_t> take_changes();
  const FinishedRange* at(std::uint64_t first) const;

 private:
  using Ranges = std::map<std::uint64_t, FinishedRange>;  ///< by first position
  Ranges::iterator erase(Ranges::iterator range);

  Ranges ranges_;
  std::set<std::uint64_t> changed_;
};

}  // namespace gambrel::sim

// The tables of searches.
#include "sim/sweep/search.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>

#include "sim/sweep/search_sequence.hpp"

namespace gambrel::sim {
namespace {

constexpr std::uint64_t most_drawn = 10'000'000;  ///< of kinds that hold their points in memory

struct SequenceRow {
  std::string_view kind;
  bool held;  ///< in memory, all of it
  std::unique_ptr<Sequence> (*make)(const DesignSpace&, const SearchOptions&);
};
constexpr std::array sequences{SequenceRow{"exhaustive", false, exhaustive_sequence}, SequenceRow{"random", false, random_sequence},
                               SequenceRow{"latin_hypercube", true, latin_hypercube_sequence}, SequenceRow{"sobol", true, sobol_sequence}};

struct LearningRow {
  std::string_view kind;
  std::unique_ptr<PointSearch> (*make)(const DesignSpace&, const SearchOptions&);
};
constexpr std::array learning{LearningRow{"coordinate_descent", coordinate_descent}, LearningRow{"nsga2", nsga2}};

Diagnostic unknown_kind(const std::string& kind) {
  std::vector<std::string> kinds;
  for (const auto& row : sequences) kinds.emplace_back(row.kind);
  for (const auto& row : learning) kinds.emplace_back(row.kind);
  const std::string near = nearest(kind, kinds);
  return {{}, fmt::format("there is no search '{}'", kind), near.empty() ? fmt::format("one of {}", fmt::join(kinds, ", ")) : fmt::format("did you mean '{}'?", near)};
}

/// A sequence behind the interface of searches.
class SequenceSearch final : public PointSearch {
 public:
  SequenceSearch(std::unique_ptr<Sequence> sequence, std::uint64_t first, std::uint64_t last) : sequence_(std::move(sequence)), next_(first), last_(last) {}
  std::vector<std::uint64_t> next(std::size_t most) override {
    std::vector<std::uint64_t> indices;
    for (; next_ < last_ && indices.size() < most; ++next_) indices.push_back(sequence_->at(next_));
    return indices;
  }
  void report(std::span<const PointResult>) override {}
  bool done() const override { return next_ == last_; }

 private:
  std::unique_ptr<Sequence> sequence_;
  std::uint64_t next_, last_;
};

}  // namespace

bool search_learns(std::string_view kind) { return std::ranges::find(learning, kind, &LearningRow::kind) != learning.end(); }

Result<std::unique_ptr<Sequence>> make_sequence(const DesignSpace& space, const SearchOptions& options) {
  const auto row = std::ranges::find(sequences, options.kind, &SequenceRow::kind);
  if (row == sequences.end()) {
    if (search_learns(options.kind)) return fail(Diagnostic{{}, fmt::format("{} learns from results: it has no sequence to share out", options.kind), "", Fault::usage});
    return fail(unknown_kind(options.kind));
  }
  if (row->held && std::min(options.points, space.size()) > most_drawn)
    return fail(Diagnostic{{}, fmt::format("{} draws at most {} points, not {}", options.kind, most_drawn, options.points), "use random or exhaustive, which hold none in memory"});
  return row->make(space, options);
}

Result<std::unique_ptr<PointSearch>> make_search(const DesignSpace& space, const SearchOptions& options) {
  if (const auto row = std::ranges::find(learning, options.kind, &LearningRow::kind); row != learning.end()) {
    if (space.axes().empty()) return std::make_unique<SequenceSearch>(exhaustive_sequence(space, options), 0, 1);
    if (auto search = row->make(space, options)) return search;
    return fail(Diagnostic{{}, fmt::format("this gambrel was built without {}", options.kind), "install libpagmo-dev and build again, or use coordinate_descent", Fault::usage});
  }
  auto sequence = make_sequence(space, options);
  if (!sequence) return fail(std::move(sequence.error()));
  const std::uint64_t last = options.last > 0 ? std::min(options.last, (*sequence)->size()) : (*sequence)->size();
  return std::make_unique<SequenceSearch>(std::move(*sequence), std::min(options.first, last), last);
}

std::uint64_t mixed(std::uint64_t seed, std::uint64_t counter) {
  std::uint64_t z = seed * 0xd1342543de82ef95u + (counter + 1) * 0x9e3779b97f4a7c15u;
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
  return z ^ (z >> 31);
}

}  // namespace gambrel::sim

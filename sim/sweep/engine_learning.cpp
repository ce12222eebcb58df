// A search that learns asks for points; those that the store holds are answered from it, so that it goes on where it was.
#include <algorithm>
#include <map>

#include "sim/sweep/engine_work.hpp"

namespace gambrel::sim {
namespace {

constexpr std::size_t most_at_once = 256;
constexpr std::size_t rows_a_commit = 100;
constexpr double commit_after_s = 0.25;

/// The store, and the points that are not committed yet.
class Memory {
 public:
  explicit Memory(ResultStore& store) : store_(store) {}

  Result<std::optional<PointResult>> find(const PointKey& key) {
    if (const auto found = pending_.find(key); found != pending_.end()) return found->second.point;
    return store_.find(key);
  }
  void add(StoredPoint point) { pending_.emplace(point.key, std::move(point)); }
  Result<void> commit(bool now) {
    if (pending_.empty() || (!now && pending_.size() < rows_a_commit && seconds_since(committed_) < commit_after_s)) return {};
    Batch batch;
    for (auto& [key, point] : pending_) batch.points.push_back(std::move(point));
    pending_.clear();
    committed_ = Clock::now();
    return store_.commit({&batch, 1}).map([](bool) {});
  }

 private:
  ResultStore& store_;
  std::map<PointKey, StoredPoint> pending_;
  Clock::time_point committed_ = Clock::now();
};

/// What is known of the points that a search asks for.
struct Answers {
  std::vector<PointResult> results;               ///< in the order of the question
  std::vector<std::uint64_t> unknown;             ///< indices to evaluate; of designs that are equal one
  std::vector<std::optional<std::size_t>> open;   ///< for each result its place among the unknown, if it is there
};

Result<Answers> look_up(const DesignSpace& space, Memory& memory, const std::vector<std::uint64_t>& indices) {
  Answers answers;
  std::map<PointKey, std::size_t> asked;
  for (const std::uint64_t index : indices) {
    const PointKey key = point_key(space.canonical(space.coordinates_of(index)));
    auto found = memory.find(key);
    if (!found) return fail(std::move(found.error()));
    answers.results.push_back(found->value_or(PointResult{}));
    answers.results.back().index = index;
    answers.open.emplace_back();
    if (*found) continue;
    const auto [place, fresh] = asked.emplace(key, answers.unknown.size());
    if (fresh) answers.unknown.push_back(index);
    answers.open.back() = place->second;
  }
  return answers;
}

}  // namespace

Result<void> run_learning(const DesignSpace& space, ResultStore& store, const SweepOptions& options, const EvaluateAll& evaluate, SweepSummary& summary) {
  const auto start = Clock::now();
  if (const auto finished = store.finished().all(); !finished.empty()) {  // closed by an earlier session
    summary.total = summary.done = finished.back().last;
    return {};
  }
  auto search = make_search(space, options.search);
  if (!search) return fail(std::move(search.error()));
  Memory memory(store);
  summary.total = std::min(options.search.points, space.size());
  while (!(*search)->done()) {
    auto answers = look_up(space, memory, (*search)->next(most_at_once));
    if (!answers) return fail(std::move(answers.error()));
    std::vector<StoredPoint> fresh = evaluate(answers->unknown);
    const bool stopped = fresh.size() < answers->unknown.size();
    for (std::size_t i = 0; i < answers->results.size(); ++i)
      if (const auto place = answers->open[i]; place && *place < fresh.size()) {
        const std::uint64_t index = std::exchange(answers->results[i], fresh[*place].point).index;
        answers->results[i].index = index;
      }
    summary.computed += fresh.size();
    summary.done += answers->results.size() - (answers->unknown.size() - fresh.size());
    for (StoredPoint& point : fresh) memory.add(std::move(point));
    if (auto committed = memory.commit(stopped); !committed) return committed;
    if (options.progress) options.progress({summary.done, summary.total, summary.computed, seconds_since(start)});
    if (stopped) {
      summary.total = std::max(summary.total, summary.done + 1);
      return {};
    }
    (*search)->report(answers->results);
  }
  summary.total = summary.done;
  return memory.commit(true).and_then([&] { return store.close_learning_search(); });
}

}  // namespace gambrel::sim

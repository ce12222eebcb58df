// Where a sweep's results live: one SQLite file that any number of processes may write, killed at any moment.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/sqlite.hpp"
#include "sim/sweep/design_point.hpp"
#include "sim/sweep/pareto.hpp"
#include "sim/sweep/search.hpp"
#include "sim/sweep/store_ranges.hpp"

namespace gambrel::sim {

/// What tells one sweep from another: files of equal descriptions may be resumed and merged.
struct SweepDescription {
  std::vector<SweepAxis> axes;  ///< without positions
  std::vector<FigureColumn> columns;
  std::vector<Objective> objectives;
  std::vector<std::string> constraints;
  std::string first_design;  ///< hash of the canonical text of the first point: what the axes do not say
  std::string search;        ///< "exhaustive", "random, 1000 points, seed 1"
  bool learns = false;       ///< what that search looks at next depends on results: there are no positions
  Keep keep;
  std::string version;       ///< of gambrel: another one may come to other figures
};

SweepDescription describe(const DesignSpace& space, const SearchOptions& search, const Keep& keep);
/// "its axes are a, b; here they are a, c"; empty if they describe the same sweep.
std::string difference(const SweepDescription& there, const SweepDescription& here);

/// Who ran it; for people, no part of what is compared.
struct SweepContext {
  std::string name;         ///< of the sweep
  std::string config_hash;  ///< of the files it was read from
  std::string command;      ///< as it was typed
  std::string host, date;   ///< filled in if empty
};

/// XXH3-128 of a design's canonical text.
using PointKey = std::array<unsigned char, 16>;
PointKey point_key(std::string_view canonical);

struct StoredPoint {
  PointKey key{};
  PointResult point;
  std::string message;  ///< why it is impossible
};

/// Points that were evaluated together: positions [first, first + states.size()) of the search's sequence, and those of
/// them that may be worth keeping. No states: points of a search that learns.
struct Batch {
  std::uint64_t first = 0;
  std::vector<PointState> states;
  std::vector<StoredPoint> points;
};

/// Tables: context, sessions, axes, axis_values, figures, objectives, constraints, messages, points, front, finished.
/// Views, as a person reads them, units in the columns' names: designs (every point kept, with its axes' values) and
/// pareto (the front, with the command that computes each point). Every Diagnostic's fault is the environment's, but for
/// a file that holds another sweep (input).
class ResultStore {
 public:
  /// Makes the file, or goes on with it. Error: it holds a different sweep (says what differs).
  static Result<ResultStore> open(const std::string& path, const SweepDescription& sweep, const SweepContext& context);
  /// As it is.
  static Result<ResultStore> open_existing(const std::string& path, Database::Access access = Database::Access::read_only);

  const SweepDescription& sweep() const { return sweep_; }
  const std::string& path() const { return database_.path(); }
  const FinishedRanges& finished() const { return finished_; }

  /// Durable when it returns: all of it or nothing. Positions that are finished already and points that are stored
  /// already change nothing. Rereads what other processes have written in between; true if they have.
  Result<bool> commit(std::span<const Batch> batches);
  /// As commit(), with the ranges of another file (merge).
  Result<void> commit_merged(std::span<const StoredPoint> points, std::span<const FinishedRange> ranges);
  /// A stored point by its key.
  Result<std::optional<PointResult>> find(const PointKey& key);
  /// Every stored point by index, `ok` or not.
  Result<void> each(const std::function<void(const StoredPoint&)>& use);

  /// A search that learns has ended: of the points it looked at only what `keep` says stays. Its sequence counts as finished.
  Result<void> close_learning_search();
  /// The front of the stored points, by index.
  Result<std::vector<PointResult>> front();
  /// Writes the front's table, with the command of each point.
  Result<void> write_front(const std::function<std::string(const PointResult&)>& command);
  /// The commands of write_front, by point index; "" where there is none.
  Result<std::string> command_of(std::uint64_t index);

  /// A row about this process's work. `end`: "finished", "interrupted".
  Result<void> end_session(std::string_view end, std::uint64_t computed, double seconds);
  /// 32 hex digits of all stored points, their messages included, and of the finished ranges: equal sweeps, equal hash.
  Result<std::string> table_hash();
  Database& database() { return database_; }

 private:
  struct Statements;
  explicit ResultStore(Database database) : database_(std::move(database)) {}
  Result<void> prepare();
  Result<void> begin_session(const SweepContext& context);
  Result<bool> refresh();  ///< within a transaction
  Result<void> reload();
  Result<void> insert(const StoredPoint& stored);
  Result<void> insert_selected(std::span<const StoredPoint> points);
  Result<void> remove_unselected();
  std::set<std::uint64_t> selected() const;
  Result<void> write_ranges();

  Database database_;
  SweepDescription sweep_;
  FinishedRanges finished_;
  std::unique_ptr<Selection> selection_;  ///< of Keep::pareto and top: what the table holds
  std::set<std::uint64_t> written_;       ///< indices in the table then
  std::shared_ptr<Statements> statements_;
  std::int64_t data_version_ = -1;
  std::int64_t session_ = 0;
};

}  // namespace gambrel::sim

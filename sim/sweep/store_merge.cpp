// Rows are taken over in groups, ranges last: a merge that was killed is done again without loss.
#include "sim/sweep/store_merge.hpp"

#include <fmt/format.h>

#include <filesystem>
#include <map>

namespace gambrel::sim {
namespace {

constexpr std::size_t rows_a_commit = 20'000;

Result<std::vector<ResultStore>> open_all(const std::string& out, const std::vector<std::string>& inputs) {
  std::vector<ResultStore> stores;
  for (const std::string& path : inputs) {
    if (std::error_code failed; std::filesystem::equivalent(path, out, failed) && !failed) continue;
    auto store = ResultStore::open_existing(path);
    if (!store) return fail(std::move(store.error()));
    if (store->sweep().learns) return fail(Diagnostic{{}, fmt::format("'{}' holds a search that learns ({}): it has no shards to merge", path, store->sweep().search), ""});
    stores.push_back(std::move(*store));
    if (const std::string what = difference(stores.back().sweep(), stores.front().sweep()); !what.empty())
      return fail(Diagnostic{{}, fmt::format("'{}' and '{}' hold different sweeps: {}", path, stores.front().path(), what), "merge shards of one sweep file, kept alike, by one gambrel"});
  }
  if (stores.empty()) return fail(Diagnostic{{}, "there is nothing to merge but the output itself", "name the shards' files", Fault::usage});
  return stores;
}

Result<void> take_over(ResultStore& from, ResultStore& to) {
  std::vector<StoredPoint> rows;
  Result<void> written;
  const auto flush = [&](std::span<const FinishedRange> ranges) {
    if (written) written = to.commit_merged(rows, ranges);
    rows.clear();
  };
  auto read = from.each([&](const StoredPoint& stored) {
    rows.push_back(stored);
    if (rows.size() >= rows_a_commit) flush({});
  });
  if (!read) return read;
  flush(from.finished().all());
  return written;
}

Result<void> read_commands(ResultStore& store, std::map<std::uint64_t, std::string>& commands) {
  auto query = store.database().prepare("SELECT idx, command FROM front");
  if (!query) return fail(std::move(query.error()));
  for (;;) {
    auto row = query->step();
    if (!row) return fail(std::move(row.error()));
    if (!*row) return {};
    commands.emplace(static_cast<std::uint64_t>(query->integer(0)), query->text(1));
  }
}

}  // namespace

Result<MergeSummary> merge_stores(const std::string& out, const std::vector<std::string>& inputs, const SweepContext& context) {
  auto stores = open_all(out, inputs);
  if (!stores) return fail(std::move(stores.error()));
  auto target = ResultStore::open(out, stores->front().sweep(), context);
  if (!target) return fail(std::move(target.error()));
  std::map<std::uint64_t, std::string> commands;
  auto done = read_commands(*target, commands);
  for (ResultStore& store : *stores) {
    if (done) done = read_commands(store, commands);
    if (done) done = take_over(store, *target);
  }
  MergeSummary summary{.counts = target->finished().counts()};
  for (const FinishedRange& range : target->finished().all()) summary.finished += range.last - range.first;
  if (done && !target->sweep().objectives.empty())
    done = target->write_front([&](const PointResult& point) {
      ++summary.front;
      const auto command = commands.find(point.index);
      return command == commands.end() ? std::string() : command->second;
    });
  if (done) done = target->end_session("merged", 0, 0).and_then([&] { return target->each([&](const StoredPoint&) { ++summary.stored; }); });
  if (!done) return fail(std::move(done.error()));
  return summary;
}

}  // namespace gambrel::sim

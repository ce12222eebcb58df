// The result file's rows: every write is one transaction that first looks at what other processes have written.
#include "sim/sweep/store.hpp"

#include <fmt/chrono.h>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <unistd.h>
#include <xxhash.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <filesystem>
#include <limits>

#include "sim/sweep/store_schema.hpp"

namespace gambrel::sim {

struct ResultStore::Statements {
  Statement insert, remove, find, all, message, add_range, remove_range, data_version;
  std::set<std::int64_t> messages;  ///< stored in this session
};

namespace {

/// Of a message: the same text has the same number in every file.
std::int64_t message_id(std::string_view text) { return static_cast<std::int64_t>(XXH3_64bits(text.data(), text.size()) >> 1); }

std::string_view bytes_of(const PointKey& key) { return {reinterpret_cast<const char*>(key.data()), key.size()}; }

std::string host_name() {
  char name[256] = {};
  return gethostname(name, sizeof name - 1) == 0 ? name : "";
}

std::string now() { return fmt::format("{:%Y-%m-%dT%H:%M:%SZ}", fmt::gmtime(std::time(nullptr))); }

/// Columns idx, key, state, reason, message, figures... of a row.
StoredPoint stored_point(const Statement& row, std::size_t figures) {
  StoredPoint stored;
  stored.point.index = static_cast<std::uint64_t>(row.integer(0));
  std::ranges::copy(row.text(1), stored.key.begin());
  stored.point.state = static_cast<PointState>(row.integer(2));
  if (stored.point.state == PointState::violates) stored.point.reason = static_cast<std::uint32_t>(row.integer(3));
  stored.message = row.text(4);
  for (std::size_t i = 0; i < figures; ++i) {
    const int column = static_cast<int>(5 + i);
    stored.point.figures.push_back(row.is_null(column) ? std::numeric_limits<double>::quiet_NaN() : row.real(column));
  }
  return stored;
}

std::string figure_list(std::size_t figures, std::string_view form) {
  std::string list;
  for (std::size_t i = 0; i < figures; ++i) list += fmt::format(fmt::runtime(form), i);
  return list;
}

}  // namespace

PointKey point_key(std::string_view canonical) {
  XXH128_canonical_t bytes;
  XXH128_canonicalFromHash(&bytes, XXH3_128bits(canonical.data(), canonical.size()));
  PointKey key;
  std::ranges::copy(bytes.digest, key.begin());
  return key;
}

Result<ResultStore> ResultStore::open(const std::string& path, const SweepDescription& sweep, const SweepContext& context) {
  auto database = Database::open(path);
  if (!database) return fail(std::move(database.error()));
  if (auto adopted = database->adopt(store_name, store_application, store_version, schema_sql(sweep)); !adopted) return fail(std::move(adopted.error()));
  ResultStore store(std::move(*database));
  if (auto ready = store.prepare(); !ready) return fail(std::move(ready.error()));
  if (const std::string what = difference(store.sweep_, sweep); !what.empty())
    return fail(Diagnostic{{}, fmt::format("'{}' holds a different sweep: {}", path, what), "give another --db file", Fault::input});
  if (auto begun = store.begin_session(context); !begun) return fail(std::move(begun.error()));
  return store;
}

Result<ResultStore> ResultStore::open_existing(const std::string& path, Database::Access access) {
  // A killed writer's journal can only be rolled back by who may write; if that fails, reading says why.
  if (std::error_code failed; access == Database::Access::read_only && std::filesystem::file_size(path + "-journal", failed) > 0 && !failed)
    (void)Database::open(path, Database::Access::read_write);
  auto database = Database::open(path, access);
  if (!database) return fail(std::move(database.error()));
  if (auto adopted = database->adopt(store_name, store_application, store_version, ""); !adopted) return fail(std::move(adopted.error()));
  ResultStore store(std::move(*database));
  if (auto ready = store.prepare().and_then([&] { return store.reload(); }); !ready) return fail(std::move(ready.error()));
  return store;
}

Result<void> ResultStore::prepare() {
  auto sweep = read_description(database_);
  if (!sweep) return fail(std::move(sweep.error()));
  sweep_ = std::move(*sweep);
  const std::size_t figures = sweep_.columns.size();
  const std::string columns = "p.idx, p.key, p.state, p.reason, m.text" + figure_list(figures, ", p.f{}") + " FROM points p LEFT JOIN messages m ON p.state = 2 AND m.id = p.reason";
  // A design that occurs twice in a space has one row, under its lower index, whichever came first.
  const std::string texts[] = {"INSERT INTO points VALUES(?1, ?2, ?3, ?4" + figure_list(figures, ", ?") + ") ON CONFLICT(idx) DO NOTHING "
                                   "ON CONFLICT(key) DO UPDATE SET idx = excluded.idx WHERE excluded.idx < idx",
                               "DELETE FROM points WHERE idx = ?1",
                               "SELECT " + columns + " WHERE p.key = ?1",
                               "SELECT " + columns + " ORDER BY p.idx",
                               "INSERT OR IGNORE INTO messages VALUES(?1, ?2)",
                               "INSERT INTO finished VALUES(?1, ?2, ?3, ?4, ?5)",
                               "DELETE FROM finished WHERE first = ?1",
                               "PRAGMA data_version"};
  std::vector<Statement> made;
  for (const std::string& text : texts) {
    auto statement = database_.prepare(text);
    if (!statement) return fail(std::move(statement.error()));
    made.push_back(std::move(*statement));
  }
  statements_ = std::make_shared<Statements>(Statements{std::move(made[0]), std::move(made[1]), std::move(made[2]), std::move(made[3]), std::move(made[4]), std::move(made[5]),
                                                        std::move(made[6]), std::move(made[7]), {}});
  if (!sweep_.learns) selection_ = make_selection(sweep_.keep, sweep_.objectives);
  return {};
}

Result<void> ResultStore::begin_session(const SweepContext& context) {
  auto transaction = Transaction::begin(database_);
  if (!transaction) return fail(std::move(transaction.error()));
  if (auto fresh = refresh(); !fresh) return fail(std::move(fresh.error()));
  auto insert = database_.prepare("INSERT INTO sessions(started, host, command, config_hash, sweep) VALUES(?, ?, ?, ?, ?)");
  if (!insert) return fail(std::move(insert.error()));
  insert->bind_all(context.date.empty() ? now() : context.date, context.host.empty() ? host_name() : context.host, context.command, context.config_hash, context.name);
  if (auto inserted = insert->run(); !inserted) return inserted;
  session_ = database_.last_row_id();
  return transaction->commit();
}

Result<void> ResultStore::end_session(std::string_view end, std::uint64_t computed, double seconds) {
  auto update = database_.prepare("UPDATE sessions SET ended = ?, computed = ?, elapsed_s = ? WHERE number = ?");
  if (!update) return fail(std::move(update.error()));
  return update->bind_all(end, static_cast<std::int64_t>(computed), seconds, session_).run();
}

Result<bool> ResultStore::refresh() {
  Statement& query = statements_->data_version;
  auto row = query.step();
  if (!row) return fail(std::move(row.error()));
  const std::int64_t current = query.integer(0);
  query.reset();
  if (current == data_version_) return false;
  const bool first = data_version_ < 0;
  data_version_ = current;
  if (auto read = reload(); !read) return fail(std::move(read.error()));
  return !first;
}

Result<void> ResultStore::reload() {
  finished_ = {};
  auto ranges = database_.prepare("SELECT first, last, ok, violates, impossible FROM finished");
  if (!ranges) return fail(std::move(ranges.error()));
  const auto count = [&](int column) { return static_cast<std::uint64_t>(ranges->integer(column)); };
  for (;;) {
    auto row = ranges->step();
    if (!row) return fail(std::move(row.error()));
    if (!*row) break;
    FinishedRange range{count(0), count(1), std::nullopt};
    if (!ranges->is_null(2)) range.counts = StateCounts{count(2), count(3), count(4)};
    finished_.add(range);
  }
  finished_.take_changes();
  if (!selection_) return {};
  selection_ = selection_->fresh();
  written_.clear();
  return each([this](const StoredPoint& stored) {
    selection_->add(stored.point);
    written_.insert(stored.point.index);
  });
}

Result<bool> ResultStore::commit(std::span<const Batch> batches) {
  auto transaction = Transaction::begin(database_);
  if (!transaction) return fail(std::move(transaction.error()));
  auto others = refresh();
  if (!others) return others;
  bool chosen = false;
  for (const Batch& batch : batches) {
    for (const StoredPoint& stored : batch.points) {
      if (selection_) chosen |= selection_->add(stored.point);
      else if (auto inserted = insert(stored); !inserted) return fail(std::move(inserted.error()));
    }
    for (const FinishedRange& gap : finished_.missing(batch.first, batch.first + batch.states.size())) {
      StateCounts counts;
      for (std::uint64_t i = gap.first; i < gap.last; ++i) counts.count(batch.states[i - batch.first]);
      finished_.add({gap.first, gap.last, counts});
    }
  }
  Result<void> written;
  if (chosen) {
    for (const Batch& batch : batches)
      if (written) written = insert_selected(batch.points);
    if (written) written = remove_unselected();
  }
  if (written) written = write_ranges();
  if (written) written = transaction->commit();
  if (!written) return fail(std::move(written.error()));
  return others;
}

Result<void> ResultStore::commit_merged(std::span<const StoredPoint> points, std::span<const FinishedRange> ranges) {
  auto transaction = Transaction::begin(database_);
  if (!transaction) return fail(std::move(transaction.error()));
  if (auto fresh = refresh(); !fresh) return fail(std::move(fresh.error()));
  Result<void> written;
  for (const StoredPoint& stored : points) {
    if (selection_) selection_->add(stored.point);
    else if (written) written = insert(stored);
  }
  for (const FinishedRange& range : ranges) finished_.unite(range);
  if (written && selection_) written = insert_selected(points).and_then([this] { return remove_unselected(); });
  if (written) written = write_ranges();
  return written ? transaction->commit() : written;
}

Result<void> ResultStore::insert(const StoredPoint& stored) {
  const PointResult& point = stored.point;
  Statement& row = statements_->insert;
  row.bind(1, static_cast<std::int64_t>(point.index)).bind_blob(2, bytes_of(stored.key)).bind(3, static_cast<int>(point.state));
  if (point.state == PointState::ok) row.bind_null(4);
  else row.bind(4, point.state == PointState::violates ? static_cast<std::int64_t>(point.reason) : message_id(stored.message));
  for (std::size_t i = 0; i < sweep_.columns.size(); ++i) {
    const int parameter = static_cast<int>(5 + i);
    if (point.state == PointState::impossible || i >= point.figures.size()) row.bind_null(parameter);
    else row.bind(parameter, point.figures[i]);  // NaN becomes NULL
  }
  if (auto inserted = row.run(); !inserted || point.state != PointState::impossible) return inserted;
  if (!statements_->messages.insert(message_id(stored.message)).second) return {};
  return statements_->message.bind_all(message_id(stored.message), std::string_view(stored.message)).run();
}

std::set<std::uint64_t> ResultStore::selected() const {
  std::set<std::uint64_t> indices;
  for (const PointResult& member : selection_->members()) indices.insert(member.index);
  return indices;
}

Result<void> ResultStore::insert_selected(std::span<const StoredPoint> points) {
  const std::set<std::uint64_t> chosen = selected();
  for (const StoredPoint& stored : points) {
    if (!chosen.contains(stored.point.index) || !written_.insert(stored.point.index).second) continue;
    if (auto inserted = insert(stored); !inserted) return inserted;
  }
  return {};
}

Result<void> ResultStore::remove_unselected() {
  const std::set<std::uint64_t> chosen = selected();
  for (auto index = written_.begin(); index != written_.end();) {
    if (chosen.contains(*index)) {
      ++index;
      continue;
    }
    if (auto removed = statements_->remove.bind(1, static_cast<std::int64_t>(*index)).run(); !removed) return removed;
    index = written_.erase(index);
  }
  return {};
}

Result<void> ResultStore::write_ranges() {
  for (const std::uint64_t first : finished_.take_changes()) {
    if (auto removed = statements_->remove_range.bind(1, static_cast<std::int64_t>(first)).run(); !removed) return removed;
    const FinishedRange* range = finished_.at(first);
    if (!range) continue;
    Statement& row = statements_->add_range;
    row.bind(1, static_cast<std::int64_t>(range->first)).bind(2, static_cast<std::int64_t>(range->last));
    for (int column = 3; column <= 5; ++column) row.bind_null(column);
    if (range->counts) row.bind(3, static_cast<std::int64_t>(range->counts->ok)).bind(4, static_cast<std::int64_t>(range->counts->violates)).bind(5, static_cast<std::int64_t>(range->counts->impossible));
    if (auto added = row.run(); !added) return added;
  }
  return {};
}

Result<std::optional<PointResult>> ResultStore::find(const PointKey& key) {
  Statement& query = statements_->find;
  query.bind_blob(1, bytes_of(key));
  auto row = query.step();
  if (!row) return fail(std::move(row.error()));
  if (!*row) return std::nullopt;
  std::optional<PointResult> found = stored_point(query, sweep_.columns.size()).point;
  query.reset();
  return found;
}

Result<void> ResultStore::each(const std::function<void(const StoredPoint&)>& use) {
  Statement& query = statements_->all;
  for (;;) {
    auto row = query.step();
    if (!row) return fail(std::move(row.error()));
    if (!*row) return {};
    use(stored_point(query, sweep_.columns.size()));
  }
}

Result<void> ResultStore::close_learning_search() {
  auto transaction = Transaction::begin(database_);
  if (!transaction) return fail(std::move(transaction.error()));
  const auto selection = make_selection(sweep_.keep, sweep_.objectives);
  std::set<std::uint64_t> unwanted;
  StateCounts counts;
  if (auto read = each([&](const StoredPoint& stored) {
        counts.count(stored.point.state);
        unwanted.insert(stored.point.index);
        if (selection) selection->add(stored.point);
      });
      !read)
    return read;
  if (selection) {
    for (const PointResult& member : selection->members()) unwanted.erase(member.index);
    for (const std::uint64_t index : unwanted)
      if (auto removed = statements_->remove.bind(1, static_cast<std::int64_t>(index)).run(); !removed) return removed;
  }
  finished_.unite({0, counts.total(), counts});
  if (auto written = write_ranges(); !written) return written;
  return transaction->commit();
}

Result<std::vector<PointResult>> ResultStore::front() {
  ParetoArchive archive(sweep_.objectives);
  if (auto read = each([&](const StoredPoint& stored) { archive.add(stored.point); }); !read) return fail(std::move(read.error()));
  return archive.members();
}

Result<void> ResultStore::write_front(const std::function<std::string(const PointResult&)>& command) {
  auto transaction = Transaction::begin(database_);
  if (!transaction) return fail(std::move(transaction.error()));
  auto members = front();
  if (!members) return fail(std::move(members.error()));
  auto cleared = database_.execute("DELETE FROM front");
  if (!cleared) return cleared;
  auto insert = database_.prepare("INSERT INTO front VALUES(?, ?, ?)");
  if (!insert) return fail(std::move(insert.error()));
  const auto knee = knee_point(sweep_.objectives, *members);
  for (std::size_t i = 0; i < members->size(); ++i) {
    insert->bind_all(static_cast<std::int64_t>((*members)[i].index), knee == i ? 1 : 0, command((*members)[i]));
    if (auto inserted = insert->run(); !inserted) return inserted;
  }
  return transaction->commit();
}

Result<std::string> ResultStore::command_of(std::uint64_t index) {
  auto query = database_.prepare("SELECT command FROM front WHERE idx = ?");
  if (!query) return fail(std::move(query.error()));
  auto row = query->bind(1, static_cast<std::int64_t>(index)).step();
  if (!row) return fail(std::move(row.error()));
  return *row ? std::string(query->text(0)) : "";
}

Result<std::string> ResultStore::table_hash() {
  const std::unique_ptr<XXH3_state_t, void (*)(XXH3_state_t*)> state(XXH3_createState(), [](XXH3_state_t* s) { XXH3_freeState(s); });
  XXH3_128bits_reset(state.get());
  const auto feed = [&](auto value) { XXH3_128bits_update(state.get(), &value, sizeof value); };
  const auto read = each([&](const StoredPoint& stored) {
    feed(stored.point.index);
    feed(stored.key);
    feed(stored.point.state);
    feed(stored.point.reason);
    feed(stored.message.size());
    XXH3_128bits_update(state.get(), stored.message.data(), stored.message.size());
    for (const double figure : stored.point.figures) feed(std::isnan(figure) ? ~std::uint64_t{0} : std::bit_cast<std::uint64_t>(figure));
  });
  if (!read) return fail(read.error());
  for (const FinishedRange& range : finished_.all()) {
    feed(range.first);
    feed(range.last);
  }
  XXH128_canonical_t digest;
  XXH128_canonicalFromHash(&digest, XXH3_128bits_digest(state.get()));
  return fmt::format("{:02x}", fmt::join(digest.digest, ""));
}

}  // namespace gambrel::sim

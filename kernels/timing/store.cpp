#include "kernels/timing/store.hpp"

#include <algorithm>

#include "base/load.hpp"

namespace gambrel::kernels {
namespace {

constexpr std::int32_t store_kind = 0x67626d73;  // "gbms"
constexpr std::int32_t store_version = 2;

constexpr std::string_view schema = R"sql(
CREATE TABLE runs(
  run INTEGER PRIMARY KEY,
  started_utc TEXT NOT NULL,
  purpose TEXT NOT NULL,
  context TEXT NOT NULL  -- JSON
) STRICT;
CREATE TABLE measurements(
  measurement INTEGER PRIMARY KEY,
  run INTEGER NOT NULL REFERENCES runs(run),
  name TEXT NOT NULL,
  fingerprint TEXT NOT NULL,
  kernel TEXT NOT NULL, type TEXT NOT NULL, version TEXT NOT NULL, library TEXT NOT NULL, selected TEXT NOT NULL,
  anchor TEXT NOT NULL,
  flops REAL NOT NULL, bytes REAL NOT NULL, working_set_bytes REAL NOT NULL,
  anchor_work REAL NOT NULL,  -- FLOPs or bytes of one run
  clock_work REAL NOT NULL,  -- FLOPs of one run
  calls_per_sample REAL NOT NULL,
  sizes TEXT NOT NULL,  -- JSON
  threads INTEGER NOT NULL,
  memory INTEGER NOT NULL,  -- the anchor moves bytes
  sampled INTEGER NOT NULL,
  clean INTEGER NOT NULL,
  time_s REAL NOT NULL,  -- the median clean sample; speeds of undisturbed ones
  efficiency REAL NOT NULL,
  clock_speed REAL NOT NULL,  -- calls in the time of one of the clock's FLOPs
  verdict TEXT NOT NULL
) STRICT;
CREATE INDEX measurements_by_name ON measurements(name, fingerprint, measurement);
CREATE TABLE samples(
  measurement INTEGER NOT NULL REFERENCES measurements(measurement),
  round INTEGER NOT NULL,
  time_s REAL NOT NULL,
  anchor_time_s REAL NOT NULL,
  clock_time_s REAL NOT NULL,
  process INTEGER NOT NULL,  -- of several that a baseline is made of
  PRIMARY KEY(measurement, round)
) STRICT, WITHOUT ROWID;
CREATE TABLE baselines(
  name TEXT NOT NULL,
  fingerprint TEXT NOT NULL,
  measurement INTEGER NOT NULL REFERENCES measurements(measurement),
  spread REAL NOT NULL,
  pace TEXT NOT NULL,
  recorded_utc TEXT NOT NULL,
  PRIMARY KEY(name, fingerprint)
) STRICT, WITHOUT ROWID;
CREATE VIEW measured AS
  SELECT m.name, r.started_utc, 1e6*m.time_s AS time_us, 1e-9*m.flops/m.time_s AS gflop_per_s,
         1e-9*m.bytes/m.time_s AS gb_per_s, m.efficiency, m.anchor, m.clean, m.sampled, m.verdict
  FROM measurements m JOIN runs r USING(run) WHERE m.time_s > 0 ORDER BY m.measurement
)sql";

// Columns in the order of `read_row`.
constexpr std::string_view columns =
    "name, kernel, type, version, library, selected, anchor, flops, bytes, working_set_bytes, anchor_work, clock_work, "
    "calls_per_sample, sizes, threads, memory, sampled";

Measurement read_row(const Statement& row) {
  Measurement m;
  int column = 0;
  for (auto text : {&Measurement::name, &Measurement::kernel, &Measurement::type, &Measurement::version, &Measurement::library, &Measurement::selected, &Measurement::anchor})
    m.*text = row.text(column++);
  for (auto number : {&Measurement::flops, &Measurement::bytes, &Measurement::working_set, &Measurement::anchor_work, &Measurement::clock_work, &Measurement::calls_per_sample})
    m.*number = row.real(column++);
  if (const auto sizes = parse_json(std::string(row.text(column++)), "sizes"))
    for (const Member& size : sizes->members) m.sizes.emplace_back(size.key, size.value.number);
  m.threads = static_cast<int>(row.integer(column++));
  m.memory = row.integer(column++) != 0;
  m.sampled = static_cast<int>(row.integer(column++));
  return m;
}

std::string sizes_json(const Measurement& m) {
  Node sizes = Node::mapping();
  for (const auto& [dimension, extent] : m.sizes) sizes.set(dimension, Node::of(extent));
  return to_json(sizes, 0);
}

template <class T>
tl::unexpected<Diagnostics> failed(T& result) {
  return fail(std::move(result.error()));
}

}  // namespace

Result<MeasurementStore> MeasurementStore::open(const std::string& path, Database::Access access) {
  auto database = Database::open(path, access);
  if (!database) return failed(database);
  if (auto adopted = database->adopt("measurement store", store_kind, store_version, schema); !adopted) return failed(adopted);
  return MeasurementStore(std::move(*database));
}

Result<std::int64_t> MeasurementStore::begin_run(const Context& context, std::string_view purpose) {
  auto insert = database_.prepare("INSERT INTO runs(started_utc, purpose, context) VALUES (?, ?, ?)");
  if (!insert) return failed(insert);
  if (auto done = insert->bind_all(utc_now(), purpose, to_json(to_node(context), 0)).run(); !done) return failed(done);
  return database_.last_row_id();
}

Result<std::int64_t> MeasurementStore::save(std::int64_t run, const Context& context, const Measurement& m, std::string_view verdict) {
  auto transaction = Transaction::begin(database_);
  if (!transaction) return failed(transaction);
  auto insert = database_.prepare("INSERT INTO measurements(" + std::string(columns) +
                                  ", run, fingerprint, clean, time_s, efficiency, clock_speed, verdict) VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?)");
  if (!insert) return failed(insert);
  insert->bind_all(m.name, m.kernel, m.type, m.version, m.library, m.selected, m.anchor, m.flops, m.bytes, m.working_set, m.anchor_work, m.clock_work, m.calls_per_sample, sizes_json(m),
                   m.threads, m.memory ? 1 : 0, m.sampled, run, fingerprint(context, m), static_cast<std::int64_t>(m.clean.size()), median_seconds(m), efficiency_of(m), speed_of(m, Pace::clock), verdict);
  if (auto done = insert->run(); !done) return failed(done);
  const std::int64_t id = database_.last_row_id();
  auto sample = database_.prepare("INSERT INTO samples VALUES (?, ?, ?, ?, ?, ?)");
  if (!sample) return failed(sample);
  for (std::size_t i = 0; i < m.clean.size(); ++i)
    if (auto done = sample->bind_all(id, static_cast<std::int64_t>(i), m.clean[i].seconds, m.clean[i].anchor_seconds, m.clean[i].clock_seconds, m.clean[i].process).run(); !done) return failed(done);
  if (auto done = transaction->commit(); !done) return failed(done);
  return id;
}

Result<void> MeasurementStore::set_baseline(const std::string& fingerprint, std::int64_t measurement, const std::string& name, double spread, Pace pace) {
  auto insert = database_.prepare("INSERT OR REPLACE INTO baselines VALUES (?, ?, ?, ?, ?, ?)");
  if (!insert) return failed(insert);
  return insert->bind_all(name, fingerprint, measurement, spread, to_string(pace), utc_now()).run();
}

Result<std::optional<Baseline>> MeasurementStore::baseline(const std::string& name, const std::string& fingerprint) {
  auto select = database_.prepare("SELECT measurement, spread, pace, recorded_utc FROM baselines WHERE name = ? AND fingerprint = ?");
  if (!select) return failed(select);
  const auto row = select->bind_all(name, fingerprint).step();
  if (!row) return fail(row.error());
  if (!*row) return std::nullopt;
  Baseline found{.spread = select->real(1), .pace = select->text(2) == to_string(Pace::clock) ? Pace::clock : Pace::anchor, .recorded = std::string(select->text(3))};
  auto stored = measurement(select->integer(0));
  if (!stored) return failed(stored);
  found.measurement = std::move(*stored);
  if (found.measurement.clean.empty())
    return fail(Diagnostic{{}, "database '" + database_.path() + "': the samples of the baseline of '" + name + "' are missing", "restore it from a copy, or record it again: --update-baseline", Fault::environment});
  return found;
}

Result<std::vector<Past>> MeasurementStore::history(const std::string& name, const std::string& fingerprint, int count) {
  auto select = database_.prepare(
      "WITH past AS (SELECT measurement, started_utc, verdict, time_s, efficiency, clock_speed, "
      "row_number() OVER (ORDER BY measurement DESC) AS age, row_number() OVER (PARTITION BY verdict = 'recorded' ORDER BY measurement DESC) AS age_of_kind "
      "FROM measurements JOIN runs USING(run) WHERE name = ? AND fingerprint = ? AND verdict IN ('passed', 'improved', 'recorded')) "
      "SELECT * FROM past WHERE age <= ? OR (verdict = 'recorded' AND age_of_kind <= ?) ORDER BY measurement DESC");
  if (!select) return failed(select);
  select->bind_all(name, fingerprint, count, count);
  std::vector<Past> past;
  for (;;) {
    const auto row = select->step();
    if (!row) return fail(row.error());
    if (!*row) return past;
    past.push_back({select->integer(0), std::string(select->text(1)), std::string(select->text(2)), select->real(3), select->real(4), select->real(5)});
  }
}

Result<Measurement> MeasurementStore::measurement(std::int64_t id) {
  auto select = database_.prepare("SELECT " + std::string(columns) + " FROM measurements WHERE measurement = ?");
  if (!select) return failed(select);
  const auto row = select->bind(1, id).step();
  if (!row) return fail(row.error());
  if (!*row) return fail(Diagnostic{{}, "database '" + database_.path() + "': a measurement is missing", "restore it from a copy", Fault::environment});
  Measurement m = read_row(*select);
  auto samples = database_.prepare("SELECT time_s, anchor_time_s, clock_time_s, process FROM samples WHERE measurement = ? ORDER BY round");
  if (!samples) return failed(samples);
  samples->bind(1, id);
  for (;;) {
    const auto sample = samples->step();
    if (!sample) return fail(sample.error());
    if (!*sample) return m;
    m.clean.push_back({samples->real(0), samples->real(1), samples->real(2), static_cast<int>(samples->integer(3))});
  }
}

Result<std::vector<std::string>> MeasurementStore::gated(std::string_view purpose) {
  auto select = database_.prepare(
      "SELECT m.name FROM measurements m JOIN runs r USING(run) JOIN baselines b ON b.name = m.name AND b.fingerprint = m.fingerprint WHERE r.purpose = ? GROUP BY m.name ORDER BY min(m.measurement)");
  if (!select) return failed(select);
  select->bind_all(purpose);
  std::vector<std::string> names;
  for (;;) {
    const auto row = select->step();
    if (!row) return fail(row.error());
    if (!*row) return names;
    names.emplace_back(select->text(0));
  }
}

Result<void> MeasurementStore::forget(std::string_view purpose, const std::string& name) {
  auto remove = database_.prepare(
      "DELETE FROM baselines WHERE name = ?1 AND fingerprint IN (SELECT m.fingerprint FROM measurements m JOIN runs r USING(run) WHERE m.name = ?1 AND r.purpose = ?2)");
  if (!remove) return failed(remove);
  return remove->bind_all(name, purpose).run();
}

Result<std::vector<Measurement>> MeasurementStore::newest() {
  auto select = database_.prepare("SELECT max(measurement) FROM measurements GROUP BY name ORDER BY min(measurement)");
  if (!select) return failed(select);
  std::vector<Measurement> all;
  for (;;) {
    const auto row = select->step();
    if (!row) return fail(row.error());
    if (!*row) return all;
    auto one = measurement(select->integer(0));
    if (!one) return failed(one);
    all.push_back(std::move(*one));
  }
}

}  // namespace gambrel::kernels

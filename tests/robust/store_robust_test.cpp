// The measurement store under kill -9, on a full disk and where it may not write.
#include <signal.h>
#include <sys/resource.h>

#include <chrono>
#include <thread>

#include "kernels/timing/statistics.hpp"
#include "kernels/timing/store.hpp"
#include "tests/unit/gate_support.hpp"
#include "tests/unit/program_support.hpp"

using namespace gambrel;
using namespace gambrel::kernels;
using gambrel::test::made_up;
using gambrel::test::Scratch;

namespace {

/// In a process of its own; returns wait's status. `work` must not come back with an exception.
template <class Work>
pid_t start(const Work& work) {
  const pid_t child = fork();
  REQUIRE(child >= 0);
  if (child == 0) _exit(work());
  return child;
}

int end_of(pid_t child) {
  int status = 0;
  REQUIRE(waitpid(child, &status, 0) == child);
  return status;
}

/// Saves until something fails; returns 0 if that is one clear diagnostic of the environment's.
int save_for_ever(const std::string& path, int most = 1 << 20) {
  auto store = MeasurementStore::open(path);
  if (!store) return 2;
  const Context context{{"cpu", "x"}};
  const auto run = store->begin_run(context, "test");
  if (!run) return run.error().front().fault == Fault::environment ? 0 : 3;
  for (int i = 0; i < most; ++i)
    if (const auto saved = store->save(*run, context, made_up("k" + std::to_string(i), 0.8, 1), "passed"); !saved)
      return saved.error().size() == 1 && saved.error().front().fault == Fault::environment && !saved.error().front().hint.empty() ? 0 : 4;
  return 1;
}

/// Every measurement in it is whole: with all its samples.
std::size_t whole_measurements(const std::string& path) {
  auto store = MeasurementStore::open(path);
  REQUIRE(store);
  const auto all = store->newest();
  REQUIRE(all);
  for (const Measurement& m : *all) REQUIRE(m.clean.size() == 40);
  return all->size();
}

}  // namespace

TEST_CASE("store: killed at any moment, it holds whole measurements and goes on") {
  const Scratch scratch;
  const std::string path = scratch.path("a.sqlite");
  std::size_t before = 0;
  for (int round = 0; round < 6; ++round) {
    const pid_t child = start([&] { return save_for_ever(path); });
    std::this_thread::sleep_for(std::chrono::milliseconds(20 + 13 * round));
    kill(child, SIGKILL);
    CHECK(WIFSIGNALED(end_of(child)));
    const std::size_t now = whole_measurements(path);
    CHECK(now >= before);  // the names repeat: as many as the longest round saved
    before = now;
  }
  CHECK(before > 0);
}

TEST_CASE("store: a full disk is one clear line, and what was committed stays") {
  const Scratch scratch;
  const std::string path = scratch.path("a.sqlite");
  const pid_t child = start([&] {
    signal(SIGXFSZ, SIG_IGN);
    const rlimit limit{200'000, 200'000};
    setrlimit(RLIMIT_FSIZE, &limit);
    return save_for_ever(path);
  });
  const int status = end_of(child);
  CHECK(WIFEXITED(status));
  CHECK(WEXITSTATUS(status) == 0);
  CHECK(whole_measurements(path) > 10);
}

TEST_CASE("store: where nothing can be written, opening says so") {
  const Scratch scratch;
  const auto store = MeasurementStore::open(scratch.path("no/such/folder/a.sqlite"));
  REQUIRE_FALSE(store);
  CHECK(store.error().front().fault == Fault::environment);
  CHECK_FALSE(store.error().front().hint.empty());
  const auto missing = MeasurementStore::open(scratch.path("a.sqlite"), Database::Access::read_only);
  CHECK_FALSE(missing);
  MeasurementStore::open(scratch.path("a.sqlite")).value();
  auto reader = MeasurementStore::open(scratch.path("a.sqlite"), Database::Access::read_only);
  REQUIRE(reader);
  CHECK_FALSE(reader->begin_run({}, "test"));
}

TEST_CASE("store: several processes write into one file") {
  const Scratch scratch;
  const std::string path = scratch.path("a.sqlite");
  MeasurementStore::open(path).value();
  std::vector<pid_t> children;
  for (int i = 0; i < 3; ++i) children.push_back(start([&] { return save_for_ever(path, 20); }));
  for (const pid_t child : children) CHECK(WEXITSTATUS(end_of(child)) == 1);  // all twenty saved
  auto database = Database::open(path);
  REQUIRE(database);
  auto rows = database->prepare("SELECT count(*) FROM measurements");
  REQUIRE(rows->step().value());
  CHECK(rows->integer(0) == 60);
}

// A sweep's file under attack: writers killed at any moment, four writers at once, a full disk, a file that may not be
// written. GAMBREL_ROBUST=200 asks for that many kills instead of a few.
#include <fcntl.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include <csignal>
#include <fstream>
#include <optional>
#include <random>

#include "cli/progress.hpp"
#include "tests/unit/formula_space.hpp"

using namespace gambrel;
using namespace gambrel::sim;
using namespace gambrel::test;

namespace {

/// What a child process is to do; it runs this very program and only the test case at the end of this file.
struct Task {
  std::string file, keep = "all";
  std::vector<std::uint32_t> sizes;
  unsigned shard = 1, shards = 1;
  double slowness_s = 0;
  long file_limit = 0;     ///< bytes; 0: none
  bool as_nobody = false;  ///< without root's rights, if there are any

  std::string text() const { return fmt::format("{}\n{} {} {} {} {} {} {}", file, keep, shard, shards, slowness_s, file_limit, as_nobody ? 1 : 0, fmt::join(sizes, " ")); }
  static Task read(const std::string& text) {
    Task task;
    std::istringstream in(text);
    std::getline(in, task.file);
    in >> task.keep >> task.shard >> task.shards >> task.slowness_s >> task.file_limit >> task.as_nobody;
    for (std::uint32_t size = 0; in >> size;) task.sizes.push_back(size);
    return task;
  }
};

class Child {
 public:
  explicit Child(const Task& task) {
    std::string variable = "GAMBREL_TEST_CHILD=" + task.text(), name = "gambrel_tests", only = "--test-case=sweep robust: child";
    char* arguments[] = {name.data(), only.data(), nullptr};
    char* environment[] = {variable.data(), nullptr};
    id_ = fork();
    if (id_ == 0) {
      const int nowhere = open("/dev/null", O_WRONLY);
      dup2(nowhere, STDOUT_FILENO);
      execve("/proc/self/exe", arguments, environment);
      _exit(99);
    }
    REQUIRE(id_ > 0);
  }
  void send(int signal) const { kill(id_, signal); }
  /// The exit code, 128 + signal if it was killed.
  int wait() const {
    int status = 0;
    waitpid(id_, &status, 0);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  }

 private:
  pid_t id_ = -1;
};

int work(const Task& task) {
  const auto say = [&](const Diagnostics& problems) {
    std::ofstream(task.file + ".problem") << render(problems);
    return problems[0].fault == Fault::environment ? 4 : 3;
  };
  if (task.as_nobody && geteuid() == 0 && setuid(65534) != 0) return 98;
  if (task.file_limit > 0) {
    std::signal(SIGXFSZ, SIG_IGN);
    const rlimit limit{static_cast<rlim_t>(task.file_limit), static_cast<rlim_t>(task.file_limit)};
    setrlimit(RLIMIT_FSIZE, &limit);
  }
  const std::atomic<bool>& stop = cli::stop_requested();
  const FormulaSpace space(task.sizes, task.slowness_s);
  auto store = ResultStore::open(task.file, describe(space, {}, parse_keep(task.keep).value()), {});
  if (!store) return say(store.error());
  const auto summary = run_sweep(space, *store, {.jobs = 2, .shard = task.shard, .shards = task.shards, .stop = &stop});
  if (!summary) return say(summary.error());
  return summary->interrupted ? cli::interrupted_exit() : 0;
}

struct Found {
  std::uint64_t rows = 0, finished = 0;
};

/// A file as it lies there: sound, and with every row that it says is finished.
Found look(const Task& task) {
  auto store = ResultStore::open_existing(task.file);
  REQUIRE_MESSAGE(store.has_value(), render(store.error()));
  auto check = store->database().prepare("PRAGMA integrity_check");
  REQUIRE(check->step().value());
  CHECK(check->text(0) == "ok");
  Found found;
  std::uint64_t within = 0;
  const auto ranges = store->finished();
  REQUIRE(store->each([&](const StoredPoint& p) {
    ++found.rows;
    within += ranges.covered(p.point.index, p.point.index + 1);
  }).has_value());
  for (const FinishedRange& range : ranges.all()) found.finished += range.last - range.first;
  if (task.keep == "all") CHECK(within == found.finished);
  return found;
}

std::string undisturbed(const Task& task) {
  const FormulaSpace space(task.sizes);
  ResultStore store = open_store(in_memory, space, task.keep);
  run(space, store);
  return hash_of(store);
}

std::string hash_of_file(const std::string& file) {
  auto store = ResultStore::open_existing(file);
  REQUIRE_MESSAGE(store.has_value(), render(store.error()));
  return hash_of(*store);
}

unsigned kills() {
  const char* asked = std::getenv("GAMBREL_ROBUST");
  return asked ? static_cast<unsigned>(std::max(1, std::atoi(asked))) : 10;
}

}  // namespace

TEST_CASE("sweep robust: kill -9 at random moments loses no finished row, and the table comes out the same") {
  std::mt19937 random(7);
  for (const std::string keep : {"all", "pareto"}) {
    CAPTURE(keep);
    const FastFolder folder;
    const unsigned count = (kills() + 1) / 2;
    const Task task{.file = folder.path("a.sqlite"), .keep = keep, .sizes = {count, 50, 20}, .slowness_s = 2e-5};
    Found before;
    unsigned landed = 0;
    for (unsigned i = 0; i < count; ++i) {
      const Child child(task);
      std::this_thread::sleep_for(std::chrono::milliseconds(random() % 150));
      child.send(SIGKILL);
      landed += child.wait() == 128 + SIGKILL;
      if (!std::filesystem::exists(task.file) || std::filesystem::file_size(task.file) == 0) continue;
      const Found now = look(task);
      CHECK(now.finished >= before.finished);
      if (keep == "all") CHECK(now.rows >= before.rows);
      before = now;
    }
    MESSAGE(landed << " of " << count << " kills landed, " << before.finished << " points were finished under them");
    CHECK(Child(task).wait() == 0);
    CHECK(look(task).finished == 1000 * count);
    CHECK(hash_of_file(task.file) == undisturbed(task));
  }
}

TEST_CASE("sweep robust: four processes on one file, as shards and all on the same work") {
  for (const unsigned shards : {4u, 1u})
    for (const std::string keep : {"all", "top:30"}) {
      const FastFolder folder;
      const Task task{.file = folder.path("a.sqlite"), .keep = keep, .sizes = {10, 20, 20}};
      std::vector<Child> children;
      for (unsigned i = 0; i < 4; ++i) {
        Task mine = task;
        mine.shards = shards;
        mine.shard = shards == 1 ? 1 : i + 1;
        children.emplace_back(mine);
      }
      for (const Child& child : children) CHECK(child.wait() == 0);
      CHECK(look(task).finished == 4000);
      CHECK(hash_of_file(task.file) == undisturbed(task));
    }
}

TEST_CASE("sweep robust: a full disk ends with one clear line, what was committed can be read and gone on with") {
  const FastFolder folder;
  Task task{.file = folder.path("a.sqlite"), .sizes = {20, 20, 20}, .slowness_s = 2e-5, .file_limit = 300'000};
  CHECK(Child(task).wait() == 4);
  const std::string problem = text_of(task.file + ".problem");
  CHECK_MESSAGE(problem.starts_with("error: database '" + task.file + "': "), problem);
  CHECK(problem.find("what was committed before is kept") != problem.npos);
  const Found found = look(task);
  CHECK(found.rows > 0);
  CHECK(found.rows < 8000);
  task.file_limit = 0;
  CHECK(Child(task).wait() == 0);
  CHECK(hash_of_file(task.file) == undisturbed(task));
}

TEST_CASE("sweep robust: a file or folder that may not be written is said so, and the file can be read") {
  const FastFolder folder;
  Task task{.file = folder.path("a.sqlite"), .sizes = {5, 5}};
  CHECK(Child(task).wait() == 0);
  std::filesystem::permissions(folder.path("."), std::filesystem::perms(0555));
  std::filesystem::permissions(task.file, std::filesystem::perms(0444));
  task.as_nobody = true;
  CHECK(Child(task).wait() == 4);
  CHECK(look(task).rows == 25);
  task.file = folder.path("b.sqlite");
  CHECK(Child(task).wait() == 4);
  CHECK_FALSE(std::filesystem::exists(task.file));
  std::filesystem::permissions(folder.path("."), std::filesystem::perms(0755));
}

TEST_CASE("sweep robust: SIGINT and SIGTERM commit what is done") {
  const FastFolder folder;
  const Task task{.file = folder.path("a.sqlite"), .sizes = {10, 15}, .slowness_s = 0.01};
  for (const int signal : {SIGINT, SIGTERM}) {
    const Child child(task);
    std::this_thread::sleep_for(std::chrono::milliseconds(250));
    const auto start = std::chrono::steady_clock::now();
    child.send(signal);
    CHECK(child.wait() == 128 + signal);
    const std::chrono::duration<double> taken = std::chrono::steady_clock::now() - start;
    WARN_MESSAGE(taken.count() < 2, taken.count());
  }
  CHECK(look(task).rows > 0);
  CHECK(Child(task).wait() == 0);
  CHECK(hash_of_file(task.file) == undisturbed(task));
}

TEST_CASE("sweep robust: child") {
  if (const char* task = std::getenv("GAMBREL_TEST_CHILD")) _exit(work(Task::read(task)));
}

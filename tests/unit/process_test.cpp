// Programs that a gate starts: what they print, when they are ended, where their files are.
#include "kernels/timing/process.hpp"

#include <doctest/doctest.h>

#include <chrono>
#include <cstdlib>
#include <optional>
#include <string>
#include <thread>

#include "kernels/timing/gate.hpp"

using namespace gambrel;
using namespace gambrel::kernels;

namespace {

/// TMPDIR as it is, put back whatever happens.
class TemporaryFolder {
 public:
  TemporaryFolder() {
    if (const char* set = std::getenv("TMPDIR")) was_ = set;
  }
  TemporaryFolder(const TemporaryFolder&) = delete;
  TemporaryFolder& operator=(const TemporaryFolder&) = delete;
  ~TemporaryFolder() { was_ ? setenv("TMPDIR", was_->c_str(), 1) : unsetenv("TMPDIR"); }

 private:
  std::optional<std::string> was_;
};

}  // namespace

TEST_CASE("process: output, exit code, and what cannot be started") {
  const auto echo = run({{"/bin/sh", "-c", "printf '%s' \"$GAMBREL_TEST_WORD\"; exit 7"}, {{"GAMBREL_TEST_WORD", "a b"}}});
  REQUIRE(echo);
  CHECK(echo->out == "a b");
  CHECK(echo->code == 7);
  CHECK(echo->wall > 0);
  CHECK(run(shell("kill -9 $$"))->code == 137);
  const auto none = run({{"/no/such/program"}, {}});
  REQUIRE_FALSE(none);
  CHECK(none.error().front().fault == Fault::environment);
  CHECK(this_command()->arguments.front().find("tests") != std::string::npos);
}

TEST_CASE("process: one that takes too long is ended, with what it started") {
  Command hanging = shell("sleep 60 & sleep 60");
  hanging.timeout_s = 0.05;
  const auto late = run(hanging);
  REQUIRE_FALSE(late);
  CHECK(render(late.error()).find("'sleep 60 & sleep 60' did not end within 0.05 s") != std::string::npos);
  CHECK(late.error().front().fault == Fault::environment);
  Command closed = shell("exec >&-; sleep 60");  // prints no more, and runs on
  closed.timeout_s = 0.05;
  CHECK_FALSE(run(closed));
  Command quick = shell("printf done");
  quick.timeout_s = 60;
  CHECK(run(quick)->out == "done");
}

TEST_CASE("process: a stop ends what runs, and nothing more is started") {
  std::atomic<bool> stop = false;
  Command hanging = shell("sleep 60");
  hanging.stop = &stop;
  std::jthread later([&] {
    std::this_thread::sleep_for(std::chrono::milliseconds(30));
    stop = true;
  });
  const auto stopped = run(hanging);
  REQUIRE_FALSE(stopped);
  CHECK(stopped.error().front().message == interrupted().message);
  CHECK_FALSE(run(hanging));
}

TEST_CASE("process: a folder for temporary files that is none") {
  const TemporaryFolder restored;
  for (const char* folder : {"/no/such/folder", "/proc"}) {
    setenv("TMPDIR", folder, 1);
    const auto file = temporary_file("gambrel-test");
    REQUIRE_FALSE(file);
    CHECK(render(file.error()).find(std::string("cannot write into '") + folder + "'") != std::string::npos);
    CHECK_FALSE(in_fresh_process(shell("true"))({}));
  }
}

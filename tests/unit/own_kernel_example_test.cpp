// docs/examples/own-kernel: the workflow is YAML that GitHub's schema takes in what it uses, and names only what exists.
#include <doctest/doctest.h>

#include <regex>
#include <set>

#include "base/load.hpp"
#include "tests/unit/program_support.hpp"

using namespace gambrel;
using namespace gambrel::test;

namespace {

const std::string folder = GAMBREL_SOURCE_DIR "/docs/examples/own-kernel/";

Node workflow() {
  const auto document = load_file(folder + "kernel-efficiency.yml");
  REQUIRE_MESSAGE(document.has_value(), (document ? std::string() : render(document.error())));
  return *document;
}

/// All matches of an expression's first group.
std::set<std::string> matches(const std::string& text, const char* expression) {
  std::set<std::string> found;
  const std::regex pattern(expression);
  for (std::sregex_iterator it(text.begin(), text.end(), pattern), end; it != end; ++it) found.insert((*it)[1]);
  return found;
}

}  // namespace

TEST_CASE("own-kernel: each job has a runner and steps, each step one thing to do with known keys") {
  const Node root = workflow();
  for (const char* key : {"name", "on", "jobs"}) REQUIRE_MESSAGE(root.find(key), key);
  for (const Member& job : root.find("jobs")->members) {
    INFO(job.key);
    CHECK(job.value.find("runs-on"));
    REQUIRE(job.value.find("steps"));
    for (const Member& part : job.value.members) CHECK_MESSAGE(std::set<std::string>({"if", "runs-on", "container", "steps"}).contains(part.key), part.key);
    for (const Node& step : job.value.find("steps")->items) {
      CHECK((step.find("uses") != nullptr) != (step.find("run") != nullptr));
      for (const Member& part : step.members) CHECK_MESSAGE(std::set<std::string>({"name", "uses", "run", "with", "env", "if"}).contains(part.key), part.key);
      if (const Node* action = step.find("uses")) CHECK_MESSAGE(std::set<std::string>({"actions/checkout@v4", "actions/cache@v4"}).contains(action->text), action->text);
    }
  }
}

TEST_CASE("own-kernel: the workflow names options, targets and files that exist") {
  const std::string text = text_of(folder + "kernel-efficiency.yml"), help = program("check --help").out, cmake = text_of(folder + "CMakeLists.txt");
  const auto options = matches(text, "[ \"](--(?!benchmark|no-|depth|build|install)[a-z-]+)");
  CHECK(options.contains("--ab"));
  for (const std::string& option : options) CHECK_MESSAGE(help.find(option) != std::string::npos, option);
  for (const std::string& target : matches(text, "build(?:-old|-new)?/(own_[a-z]+)")) CHECK_MESSAGE(cmake.find("add_executable(" + target + " ") != std::string::npos, target);
  for (const std::string& option : matches(text, "-D(GAMBREL_[A-Z]+)=")) CHECK_MESSAGE(text_of(GAMBREL_SOURCE_DIR "/CMakeLists.txt").find("option(" + option) != std::string::npos, option);
  CHECK(text.find("gambrel/scripts/setup.sh") != std::string::npos);
  CHECK(std::filesystem::exists(GAMBREL_SOURCE_DIR "/scripts/setup.sh"));
}

// The trace is what trace viewers read: valid JSON, every event with its fields, nothing of a name that could break out.
#include <doctest/doctest.h>

#include <map>
#include <set>

#include "base/load.hpp"
#include "reports/trace.hpp"

using namespace gambrel;
using namespace gambrel::reports;

namespace {

Node parsed(const std::string& trace) {
  auto node = parse_json(trace, "trace", {.bytes = 100 << 20, .values = 10'000'000});
  REQUIRE_MESSAGE(node.has_value(), render(node ? Diagnostics{} : node.error()));
  return std::move(*node);
}

std::vector<Node> events_of(const Node& trace, std::string_view phase) {
  std::vector<Node> found;
  for (const Node& event : trace.find("traceEvents")->items)
    if (event.text_or("ph", "") == phase) found.push_back(event);
  return found;
}

sim::PipelineShape small() {
  return {.stages = 2, .microbatches = 3, .work = {{1e-3, 1e-3, 1e-3, 5e-4}}};
}

}  // namespace

TEST_CASE("a trace is the object form of the Trace Event Format") {
  const auto placed = sim::placed_tasks(small());
  const Node trace = parsed(write_trace(placed, {.title = "a run"}));
  CHECK(trace.find("otherData")->text_or("title", "") == "a run");
  CHECK(trace.find("otherData")->text_or("note", "?") == "");
  const auto complete = events_of(trace, "X");
  CHECK(complete.size() == placed.tasks.size());
  CHECK(complete.size() + events_of(trace, "M").size() == trace.find("traceEvents")->items.size());
  for (const Node& e : complete) {
    CHECK(e.find("name")->is_string());
    for (std::string_view key : {"ts", "dur", "pid", "tid"}) {
      REQUIRE(e.find(key));
      CHECK(e.find(key)->is_number());
      CHECK(e.find(key)->number >= 0);
    }
    CHECK(e.find("args")->find("critical")->is_boolean());
  }
}

TEST_CASE("times are microseconds; pid is the stage, tid the stream, and both have names") {
  const auto placed = sim::placed_tasks(small());
  const Node trace = parsed(write_trace(placed, {.title = "a run"}));
  double end = 0;
  for (const Node& e : events_of(trace, "X")) end = std::max(end, e.number_or("ts", 0) + e.number_or("dur", 0));
  CHECK(end == doctest::Approx(placed.when.seconds * 1e6));
  std::map<std::pair<double, double>, std::string> threads;
  std::set<std::string> processes;
  for (const Node& e : events_of(trace, "M")) {
    const std::string name = e.find("args")->text_or("name", "");
    if (e.text_or("name", "") == "thread_name") threads[{e.number_or("pid", -1), e.number_or("tid", -1)}] = name;
    if (e.text_or("name", "") == "process_name") processes.insert(name);
  }
  CHECK(processes == std::set<std::string>{"stage 0", "stage 1"});
  CHECK(threads == std::map<std::pair<double, double>, std::string>{{{0, 0}, "compute"}, {{0, 1}, "send onward"}, {{1, 0}, "compute"}, {{1, 2}, "send back"}});
}

TEST_CASE("the critical path is marked and takes all the time") {
  const auto placed = sim::placed_tasks(small());
  double critical = 0;
  for (const Node& e : events_of(parsed(write_trace(placed, {})), "X"))
    if (e.find("args")->boolean_or("critical", false)) critical += e.number_or("dur", 0);
  CHECK(critical == doctest::Approx(placed.when.seconds * 1e6));
}

TEST_CASE("hostile names stay names") {
  const std::vector<std::string> names{"\"}], \"x\": [{\"", "</script><script>alert(1)</script>", "line\nbreak\x01", "back\\slash", "\xff\xfe not UTF-8", "\xe2\x80\xae" "reversed", std::string("nul\0byte", 8)};
  std::vector<sim::Task> tasks;
  for (const auto& name : names) tasks.push_back({name, 0, 0, 1e-6, {}});
  const Node trace = parsed(write_trace(tasks, sim::schedule(tasks), {.title = names[0], .stage = names[1], .streams = {names[2]}}, names[3]));
  const auto events = events_of(trace, "X");
  REQUIRE(events.size() == names.size());
  for (std::size_t i : {0, 1, 3}) CHECK(events[i].text_or("name", "") == names[i]);
  CHECK(events[2].text_or("name", "") == "line\\nbreak\\x01");  // shown, not obeyed
  CHECK(events[5].text_or("name", "") == "\\u202ereversed");
  CHECK(trace.find("otherData")->text_or("title", "") == names[0]);
  CHECK(trace.find("otherData")->members.size() == 2);
  CHECK(trace.members.size() == 3);
}

TEST_CASE("a trace has at most so many events, the first and the last, and says so") {
  std::vector<sim::Task> tasks;
  for (int i = 0; i < 1000; ++i) tasks.push_back({std::to_string(i), 0, 0, 1e-3, {}});
  const Node trace = parsed(write_trace(tasks, sim::schedule(tasks), {}, "a note", 11));
  const auto events = events_of(trace, "X");
  REQUIRE(events.size() == 11);
  CHECK(events[5].text_or("name", "") == "5");
  CHECK(events[6].text_or("name", "") == "995");
  CHECK(trace.find("otherData")->text_or("note", "") == "a note; 989 tasks in the middle are left out");
}

TEST_CASE("a pipeline of a million passes is drawn in part") {
  const auto placed = sim::placed_tasks({.stages = 500, .microbatches = 1000, .work = {{1, 1, 1, 0.1}}}, 20'000);
  CHECK(placed.tasks.size() <= 20'000);
  CHECK(placed.tasks.size() > 15'000);
  const Node trace = parsed(write_trace(placed, {}));
  CHECK(events_of(trace, "X").size() == placed.tasks.size());
  CHECK(trace.find("otherData")->text_or("note", "") == "drawn: the first 5 and last 5 of 1000 micro-batches");
}

TEST_CASE("no tasks, no events") {
  const Node trace = parsed(write_trace({}, {}, {}));
  CHECK(trace.find("traceEvents")->items.empty());
}

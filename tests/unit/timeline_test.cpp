// Schedules worked by hand: lists of tasks, and pipelines whose times the papers print.
#include <doctest/doctest.h>

#include <cmath>
#include <set>
#include <string>

#include "sim/timeline/timeline.hpp"

using namespace gambrel::sim;

namespace {

Task task(std::string name, std::uint32_t stage, double seconds, std::vector<std::uint32_t> after = {}, std::uint32_t stream = 0) {
  return {std::move(name), stage, stream, seconds, std::move(after)};
}

/// p stages alike, F = B = W = 1 unless said otherwise.
PipelineShape pipeline(Schedule schedule, int stages, int microbatches, int chunks = 1, StageWork work = {1, 1, 1, 0}) {
  return {.schedule = schedule, .stages = stages, .microbatches = microbatches, .chunks = chunks, .work = {work}};
}

using enum Schedule;

}  // namespace

TEST_CASE("no tasks take no time") {
  const Scheduled none = schedule({});
  CHECK(none.seconds == 0);
  CHECK(none.critical.empty());
}

TEST_CASE("a resource runs one task at a time, lowest index first among the ready") {
  const std::vector<Task> tasks{task("a", 0, 2), task("b", 0, 3), task("c", 1, 4), task("d", 0, 1, {2})};
  const Scheduled s = schedule(tasks);
  CHECK(s.start == std::vector<double>{0, 2, 0, 5});
  CHECK(s.seconds == 6);
  CHECK(s.critical == std::vector<std::uint32_t>{0, 1, 3});  // d waits for b on its resource, not for c
}

TEST_CASE("a free resource does not wait for a lower index that is not ready") {
  const std::vector<Task> tasks{task("long", 1, 5), task("late", 0, 1, {0}), task("early", 0, 3)};
  const Scheduled s = schedule(tasks);
  CHECK(s.start == std::vector<double>{0, 5, 0});
  CHECK(s.critical == std::vector<std::uint32_t>{0, 1});
}

TEST_CASE("what ends at the same time ends before anything starts") {
  // Both inputs of stage 2 arrive at 1; the lower index goes first although its producer is listed last.
  const std::vector<Task> tasks{task("x", 0, 1), task("y", 1, 1), task("first", 2, 1, {1}), task("second", 2, 1, {0})};
  CHECK(schedule(tasks).start == std::vector<double>{0, 0, 1, 2});
}

TEST_CASE("streams of a stage overlap; tasks of no time pass through") {
  const std::vector<Task> tasks{task("compute", 0, 2), task("send", 0, 3, {}, 1), task("nothing", 0, 0, {0, 1}), task("end", 0, 1, {2})};
  const Scheduled s = schedule(tasks);
  CHECK(s.start == std::vector<double>{0, 0, 3, 3});
  CHECK(s.seconds == 4);
  CHECK(s.critical == std::vector<std::uint32_t>{1, 2, 3});
}

TEST_CASE("1F1B: the bubble is (p - 1)/(m + p - 1) of the step, (p - 1)/m of the ideal time") {
  for (int p : {1, 2, 4, 8})
    for (int m : {1, 3, 8, 32}) {
      CAPTURE(p);
      CAPTURE(m);
      const SimulatedPipeline t = simulate(pipeline(one_forward_one_backward, p, m));
      CHECK(t.seconds == 3.0 * (m + p - 1));
      CHECK(t.busy == 3.0 * m);
      CHECK(t.bubble / t.seconds == doctest::Approx((p - 1.0) / (m + p - 1)));
      CHECK(t.bubble / t.busy == doctest::Approx((p - 1.0) / m));
    }
}

TEST_CASE("interleaving divides the bubble by the chunks, ZB-H1 by three") {
  const auto bubble = [](const PipelineShape& shape) { return simulate(shape).bubble; };
  const double plain = bubble(pipeline(one_forward_one_backward, 8, 16));
  CHECK(plain == 7 * 3);
  CHECK(bubble(pipeline(gpipe, 8, 16)) == plain);
  CHECK(bubble(pipeline(interleaved, 8, 16, 2, {0.5, 0.5, 0.5, 0})) == plain / 2);  // a chunk is half a stage
  CHECK(bubble(pipeline(interleaved, 8, 16, 4, {0.25, 0.25, 0.25, 0})) == plain / 4);
  CHECK(bubble(pipeline(zero_bubble, 8, 16)) == plain / 3);
  // Qi 2024, table 1: (p - 1)(F + B - W)
  CHECK(bubble(pipeline(zero_bubble, 8, 16, 1, {1, 1.5, 0.75, 0})) == doctest::Approx(7 * (1 + 1.5 - 0.75)));
}

TEST_CASE("activations in flight: 1F1B p - stage, interleaved 1 + (p - 1)/(p v) times as many, ZB-H1 no more than 1F1B's most") {
  using List = std::vector<double>;
  CHECK(simulate(pipeline(gpipe, 4, 6)).kept_at_most == List{6, 6, 6, 6});
  CHECK(simulate(pipeline(one_forward_one_backward, 4, 6)).kept_at_most == List{4, 3, 2, 1});
  CHECK(simulate(pipeline(one_forward_one_backward, 4, 2)).kept_at_most == List{2, 2, 2, 1});
  CHECK(simulate(pipeline(zero_bubble, 4, 6)).kept_at_most == List{4, 4, 4, 4});
  const auto kept = simulate(pipeline(interleaved, 4, 8, 2)).kept_at_most;
  CHECK(kept == List{5.5, 4.5, 3.5, 2.5});
  CHECK(kept[0] / 4 == doctest::Approx(1 + 3.0 / (4 * 2)));
}

TEST_CASE("one micro-batch goes down and up; its sends are all exposed") {
  for (auto s : {gpipe, one_forward_one_backward, zero_bubble}) {
    const SimulatedPipeline t = simulate(pipeline(s, 4, 1, 1, {1, 2, 0, 0.5}));
    CHECK(t.seconds == 4 * 3 + 2 * 3 * 0.5);
    CHECK(t.last_forward == 4 + 3 * 0.5);
    CHECK(t.first_gradient == t.last_forward + 2);
  }
}

TEST_CASE("sends that do not overlap keep the stage from computing") {
  PipelineShape shape = pipeline(one_forward_one_backward, 4, 8, 1, {1, 1, 1, 0.25});
  const double beside = simulate(shape).seconds;
  shape.overlap_sends = false;
  CHECK(simulate(shape).seconds > beside);
  CHECK(simulate(shape).busy == 8 * 3);
  shape.work[0].send = 0;
  CHECK(simulate(shape).seconds == 3 * (8 + 3));
}

TEST_CASE("a slow link is the bottleneck, a message at a time") {
  // 10 forwards, each behind a send of 5: the link, not the stages, sets the pace.
  CHECK(simulate(pipeline(gpipe, 2, 10, 1, {1, 1, 0, 5})).seconds == (1 + 10 * 5 + 1) + (1 + 10 * 5 + 1));
}

TEST_CASE("the heaviest stage sets the pace: its own work and the way to it and back") {
  PipelineShape shape = pipeline(one_forward_one_backward, 3, 10);
  shape.work = {{1, 1, 1, 0}, {1, 1, 1, 0}, {2, 2, 2, 0}};  // a large head
  const SimulatedPipeline t = simulate(shape);
  CHECK(t.busy == 60);
  CHECK(t.seconds == 60 + 2 * 3);
  CHECK(closed_form(shape).seconds == 66);
}

TEST_CASE("micro-batches that do not fill the last group of an interleaved pipeline wait in it") {
  CHECK(simulate(pipeline(interleaved, 4, 5, 2)).seconds == simulate(pipeline(interleaved, 4, 8, 2)).seconds);
  CHECK(simulate(pipeline(interleaved, 4, 5, 2)).busy == 5 * 2 * 3);
  CHECK(simulate(pipeline(interleaved, 4, 5, 1)).seconds == simulate(pipeline(one_forward_one_backward, 4, 5)).seconds);
}

TEST_CASE("tasks of a pipeline: named, one stream for arithmetic and one for each direction") {
  const auto tasks = tasks_of(pipeline(one_forward_one_backward, 2, 2, 1, {1, 1, 1, 0.5}));
  CHECK(tasks.size() == 2 * 2 * 2 + 2 + 2);
  std::set<std::string> of_first_stage;
  for (const Task& t : tasks)
    if (t.stage == 0) of_first_stage.insert(t.name + "@" + std::to_string(t.stream));
  CHECK(of_first_stage == std::set<std::string>{"B0@0", "B1@0", "F0@0", "F1@0", "send F0@1", "send F1@1"});
  CHECK(tasks_of(pipeline(interleaved, 2, 2, 2)).front().name == "F0.0");
  CHECK(tasks_of(pipeline(zero_bubble, 2, 2)).back().name == "W1");
}

TEST_CASE("a pipeline too large to draw shows its first and last micro-batches where they are in the whole") {
  const PipelineShape shape = pipeline(one_forward_one_backward, 8, 100, 1, {1, 1, 1, 0.1});
  const PlacedTasks all = placed_tasks(shape), some = placed_tasks(shape, 400);
  CHECK(all.note.empty());
  CHECK_FALSE(all.when.critical.empty());
  CHECK(some.note == "drawn: the first 6 and last 6 of 100 micro-batches");
  CHECK(some.tasks.size() <= 400);
  CHECK(some.when.seconds == doctest::Approx(all.when.seconds));
  REQUIRE(some.tasks.size() == some.when.start.size());
  std::size_t found = 0;
  for (std::size_t i = 0; i < some.tasks.size(); ++i)
    for (std::size_t k = 0; k < all.tasks.size(); ++k)
      if (some.tasks[i].name == all.tasks[k].name && some.tasks[i].stage == all.tasks[k].stage) {
        CHECK(some.when.start[i] == doctest::Approx(all.when.start[k]));
        ++found;
      }
  CHECK(found == some.tasks.size());
}

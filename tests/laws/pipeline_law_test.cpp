// Laws of pipelines: three ways to their time agree, and no way beats what the work and the order allow.
#include <doctest/doctest.h>
#include <rapidcheck.h>

#include <algorithm>
#include <cmath>

#include "random_draws.hpp"
#include "sim/timeline/timeline.hpp"

namespace gambrel::sim {
namespace {

Schedule any_schedule() {
  return *rc::gen::element(Schedule::gpipe, Schedule::one_forward_one_backward, Schedule::interleaved, Schedule::zero_bubble);
}

/// Sends from none to as long as the passes; a hundred times longer ones now and then.
StageWork any_work(double longest_send) {
  StageWork w{magnitude(0.1, 10), magnitude(0.1, 10), magnitude(0.1, 10), 0};
  if (*rc::gen::arbitrary<bool>()) w.send = magnitude(1e-3, 1) * longest_send;
  return w;
}

PipelineShape any_alike() {
  const StageWork w = any_work(*rc::gen::arbitrary<bool>() ? 0.1 : 100);
  return {.schedule = any_schedule(), .stages = static_cast<int>(one_of_range(1, 12)), .microbatches = static_cast<int>(one_of_range(1, 60)),
          .chunks = static_cast<int>(one_of_range(1, 4)), .work = {w}, .overlap_sends = *rc::gen::arbitrary<bool>()};
}

/// First and last stage heavier (embedding, head), or every stage its own.
PipelineShape any_unlike() {
  PipelineShape shape = any_alike();
  if (shape.schedule != Schedule::interleaved) shape.chunks = 1;
  const StageWork inner = shape.work.front();
  shape.work.assign(static_cast<std::size_t>(shape.stages * shape.chunks), inner);
  if (*rc::gen::arbitrary<bool>()) {
    shape.work.front().forward *= magnitude(1, 3);
    shape.work.back().forward *= magnitude(1, 3);
    shape.work.back().backward_inputs *= magnitude(1, 3);
  } else {
    for (StageWork& w : shape.work) w = any_work(1);
  }
  return shape;
}

PipelineShape any_shape() { return *rc::gen::arbitrary<bool>() ? any_alike() : any_unlike(); }

bool same(double a, double b, double scale) { return std::abs(a - b) <= 1e-9 * scale; }

/// Every number of the fast path is the definition's.
void check_fast(const PipelineShape& shape) {
  const SimulatedPipeline exact = simulate(shape);
  const PipelineTime fast = closed_form(shape);
  RC_ASSERT(same(fast.seconds, exact.seconds, exact.seconds));
  RC_ASSERT(same(fast.busy, exact.busy, exact.seconds));
  RC_ASSERT(same(fast.bubble, exact.bubble, exact.seconds));
  RC_ASSERT(same(fast.first_gradient, exact.first_gradient, exact.seconds));
  RC_ASSERT(same(fast.last_forward, exact.last_forward, exact.seconds));
  RC_ASSERT(fast.peak_in_flight.size() == exact.kept_at_most.size());
  for (std::size_t s = 0; s < exact.kept_at_most.size(); ++s) RC_ASSERT(fast.peak_in_flight[s] == exact.kept_at_most[s]);
}

TEST_CASE("law: the closed form is the simulation, for stages that are alike") {
  CHECK(rc::check("closed_form == simulate, alike", [] {
    for (int i = 0; i < 20; ++i) check_fast(any_alike());
  }));
}

TEST_CASE("law: the closed form is the simulation, for stages that are not") {
  CHECK(rc::check("closed_form == simulate, unlike", [] {
    for (int i = 0; i < 20; ++i) check_fast(any_unlike());
  }));
}

TEST_CASE("law: the closed form is the simulation for many micro-batches, when most are skipped") {
  CHECK(rc::check("closed_form == simulate, long", [] {
    PipelineShape shape = any_unlike();
    shape.microbatches = 500;
    check_fast(shape);
  }));
}

TEST_CASE("law: scheduling a pipeline's tasks takes the simulated time; the critical path explains all of it") {
  CHECK(rc::check("schedule(tasks_of) == simulate", [] {
    const PipelineShape shape = any_shape();
    const double seconds = simulate(shape).seconds;
    const auto tasks = tasks_of(shape);
    const Scheduled s = schedule(tasks);
    RC_ASSERT(same(s.seconds, seconds, seconds));
    double chain = 0;
    for (std::uint32_t i : s.critical) {
      RC_ASSERT(same(s.start[i], chain, seconds));
      chain += tasks[i].seconds;
    }
    RC_ASSERT(same(chain, seconds, seconds));
  }));
}

TEST_CASE("law: every pass takes place once, after what it needs, alone on its resource") {
  CHECK(rc::check("a legal schedule", [] {
    PipelineShape shape = any_shape();
    shape.microbatches = std::min(shape.microbatches, 12);
    const auto tasks = tasks_of(shape);
    const Scheduled s = schedule(tasks);
    const bool chunked = shape.schedule == Schedule::interleaved && shape.chunks > 1;
    const int m = chunked ? (shape.microbatches + shape.stages - 1) / shape.stages * shape.stages : shape.microbatches;
    const auto passes = std::ranges::count_if(tasks, [](const Task& t) { return !t.name.starts_with("send"); });
    RC_ASSERT(passes == (shape.schedule == Schedule::zero_bubble ? 3 : 2) * m * shape.stages * (chunked ? shape.chunks : 1));
    for (std::size_t i = 0; i < tasks.size(); ++i) {
      for (std::uint32_t before : tasks[i].after) RC_ASSERT(before < i && s.start[i] >= s.start[before] + tasks[before].seconds - 1e-9);
      for (std::size_t k = i + 1; k < tasks.size(); ++k) {
        const bool shared = tasks[i].stage == tasks[k].stage && tasks[i].stream == tasks[k].stream;
        RC_ASSERT(!shared || s.start[i] + tasks[i].seconds <= s.start[k] + 1e-9 || s.start[k] + tasks[k].seconds <= s.start[i] + 1e-9);
      }
    }
  }));
}

TEST_CASE("law: no pipeline is faster than its busiest stage or than one micro-batch's way, nor slower than one at a time") {
  CHECK(rc::check("bounds", [] {
    const PipelineShape shape = any_shape();
    const PipelineTime t = closed_form(shape);
    const int chunks = shape.schedule == Schedule::interleaved ? shape.chunks : 1, parts = shape.stages * chunks;
    double way = 0;
    for (int part = 0; part < parts; ++part) {
      const StageWork& w = shape.work[shape.work.size() == 1 ? 0 : static_cast<std::size_t>(part % shape.stages * chunks + part / shape.stages)];
      way += w.forward + w.backward_inputs + w.backward_weights + (part + 1 < parts && shape.stages > 1 ? 2 * w.send : 0);
    }
    const double groups = chunks > 1 ? std::ceil(1.0 * shape.microbatches / shape.stages) * shape.stages : shape.microbatches;
    const double slack = 1e-9 * t.seconds;
    RC_ASSERT(t.bubble >= -slack);
    RC_ASSERT(t.seconds <= groups * way + slack);
    if (shape.schedule != Schedule::zero_bubble) RC_ASSERT(t.seconds >= way - slack);  // its last weights overlap
    RC_ASSERT(t.last_forward < t.first_gradient && t.first_gradient <= t.seconds + slack);
  }));
}

TEST_CASE("law: more work, longer sends and more micro-batches are never faster; all rates by k scale the time by 1/k") {
  CHECK(rc::check("monotone and scaling", [] {
    PipelineShape shape = any_shape();
    const double before = closed_form(shape).seconds;
    PipelineShape more = shape;
    StageWork& one = more.work[static_cast<std::size_t>(*rc::gen::inRange<int>(0, static_cast<int>(more.work.size())))];
    **rc::gen::element(&one.forward, &one.backward_inputs, &one.backward_weights, &one.send) *= magnitude(1, 5);
    RC_ASSERT(closed_form(more).seconds >= before * (1 - 1e-9));
    more = shape;
    more.microbatches += static_cast<int>(one_of_range(1, 20));
    RC_ASSERT(closed_form(more).seconds >= before * (1 - 1e-9));
    const double k = magnitude(1e-6, 1e6);
    for (StageWork& w : shape.work) w = {w.forward / k, w.backward_inputs / k, w.backward_weights / k, w.send / k};
    RC_ASSERT(same(closed_form(shape).seconds, before / k, before / k));
  }));
}

}  // namespace
}  // namespace gambrel::sim

// The schedule that is drawn takes the time that was predicted, and shows each stage at its work.
#include "sim/timeline/step_tasks.hpp"

#include <algorithm>
#include <map>
#include <set>

#include "run_support.hpp"

using namespace gambrel;
using namespace gambrel::sim;
using namespace gambrel::test;

namespace {

const std::string train = "model: gpt2\nsystem: dgx-a100\nworkload: {phase: train, global_batch: 16, micro_batch: 1, sequence: 128}\n";

std::size_t named(const PlacedTasks& tasks, std::string_view start) {
  return static_cast<std::size_t>(std::ranges::count_if(tasks.tasks, [&](const Task& t) { return t.name.starts_with(start); }));
}

/// No stream does two things at once, and nothing ends after the end.
void check_streams(const PlacedTasks& drawn) {
  REQUIRE(drawn.when.start.size() == drawn.tasks.size());
  std::vector<std::size_t> order(drawn.tasks.size());
  for (std::size_t i = 0; i < order.size(); ++i) order[i] = i;
  std::ranges::stable_sort(order, {}, [&](std::size_t i) { return drawn.when.start[i]; });
  std::map<std::pair<std::uint32_t, std::uint32_t>, double> until;
  for (std::size_t i : order) {
    const Task& task = drawn.tasks[i];
    double& free = until[{task.stage, task.stream}];
    CHECK(drawn.when.start[i] >= free - 1e-9 * drawn.when.seconds);
    free = drawn.when.start[i] + task.seconds;
    CHECK(free <= drawn.when.seconds * (1 + 1e-9));
  }
}

}  // namespace

TEST_CASE("step tasks: a pipeline's passes, then each stage's reduction and optimizer, in the predicted time") {
  for (const std::string plan : {"{pipeline: 4, data: 2}", "{pipeline: 4, data: 2, schedule: gpipe}", "{pipeline: 2, data: 4, zero: 1, schedule: zero-bubble}", "{pipeline: 2, data: 2, tensor: 2, schedule: interleaved, interleave: 3}"}) {
    CAPTURE(plan);
    const Estimate e = estimate_of(train + "plan: " + plan + "\n");
    const PlacedTasks drawn = step_tasks(e);
    CHECK(drawn.when.seconds == doctest::Approx(e.total.time.value));
    CHECK(drawn.note.empty());
    const std::size_t stages = e.phases[0].tails.size();
    CHECK(named(drawn, "optimizer") == stages);
    CHECK(named(drawn, "F") == named(drawn, "B"));
    CHECK(named(drawn, "F") % stages == 0);
    check_streams(drawn);
  }
}

TEST_CASE("step tasks: without a pipeline each operator of each layer is drawn") {
  const Estimate e = estimate_of("model: gpt2\nsystem: h100-sxm\nworkload: {phase: decode, batch: 1, context: 100}\n");
  const PlacedTasks drawn = step_tasks(e);
  CHECK(drawn.when.seconds == doctest::Approx(e.total.time.value));
  double executions = 0;
  for (const OpEstimate& op : e.phases[0].ops) executions += op.time.value > 0 ? op.count : 0;
  CHECK(double(drawn.tasks.size()) == executions);
  CHECK(drawn.when.critical.size() == drawn.tasks.size());
  check_streams(drawn);
}

TEST_CASE("step tasks: layers of several kinds are all drawn") {
  for (const std::string model : {"gemma-3-1b", "nemotron-h-8b", "deepseek-v2-lite", "gpt-oss-20b"}) {
    const Estimate e = estimate_of("model: " + model + "\nsystem: h100-sxm\nworkload: {phase: decode, batch: 1, context: 100}\n");
    CHECK_MESSAGE(step_tasks(e).when.seconds == doctest::Approx(e.total.time.value), model);
  }
}

TEST_CASE("step tasks: collectives are on the network's stream") {
  const PlacedTasks drawn = step_tasks(estimate_of(train + "plan: {tensor: 2}\n"));
  std::set<std::uint32_t> streams;
  for (const Task& task : drawn.tasks) streams.insert(task.stream);
  CHECK(streams == std::set<std::uint32_t>{compute_stream, network_stream});
  CHECK(drawn.note == "one of 16 micro-batches is drawn");
}

TEST_CASE("step tasks: a generation's phases follow one another") {
  const Estimate e = estimate_of("model: gpt2\nsystem: h100-sxm\nworkload: {phase: generate, batch: 1, input: 64, output: 5}\n");
  const PlacedTasks drawn = step_tasks(e);
  CHECK(drawn.when.seconds == doctest::Approx(e.phases[0].total.time.value + e.phases[1].total.time.value / 4));  // one of four decode steps
  check_streams(drawn);
}

TEST_CASE("step tasks: a prefill's pipeline has no passes back, and takes the predicted time") {
  const Estimate e = estimate_of("model: gpt2\nsystem: dgx-a100\nworkload: {phase: prefill, batch: 8, new_tokens: 64}\nplan: {pipeline: 4}\n");
  const PlacedTasks drawn = step_tasks(e);
  CHECK(named(drawn, "B") == 0);
  CHECK(named(drawn, "send B") == 0);
  CHECK(named(drawn, "F") == 16);
  CHECK(drawn.when.seconds == doctest::Approx(e.total.time.value));
  for (const Task& task : drawn.tasks) CHECK(task.stream != back_stream);
}

TEST_CASE("step tasks: no more than asked for, and what was left out is said") {
  const Estimate whole = estimate_of(train + "plan: {pipeline: 4, data: 2}\n");
  const PlacedTasks some = step_tasks(whole, 60);
  CHECK(some.tasks.size() <= 60 + 2 * 4);  // and the tails
  CHECK(some.note.find("of 8 micro-batches") != std::string::npos);
  CHECK(some.when.seconds == doctest::Approx(whole.total.time.value));
  const Estimate single = estimate_of("model: gpt2\nsystem: h100-sxm\nworkload: {phase: decode, batch: 1, context: 100}\n");
  CHECK(step_tasks(single, 10).note == "only the first 10 operators are drawn");
}

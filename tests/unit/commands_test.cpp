// Benchmarks of others: Google Benchmark's JSON as measurements, commands by turns with an anchor.
#include "kernels/timing/commands.hpp"

#include <doctest/doctest.h>

#include "kernels/timing/statistics.hpp"
#include "tests/unit/program_support.hpp"

using namespace gambrel;
using namespace gambrel::kernels;

namespace {

const std::string json = R"({
  "context": {"date": "2026-01-01", "caches": []},
  "benchmarks": [
    {"name": "saxpy/1024", "run_name": "saxpy/1024", "run_type": "iteration", "threads": 1, "iterations": 100, "real_time": 2.0, "cpu_time": 2.0, "time_unit": "us", "flops": 2048, "bytes": 12288},
    {"name": "saxpy/1024", "run_name": "saxpy/1024", "run_type": "iteration", "threads": 1, "iterations": 100, "real_time": 4.0, "cpu_time": 2.0, "time_unit": "us", "flops": 2048, "bytes": 12288},
    {"name": "saxpy/1024_mean", "run_name": "saxpy/1024", "run_type": "aggregate", "aggregate_name": "mean", "real_time": 3.0, "cpu_time": 2.0, "time_unit": "us"},
    {"name": "gemm", "run_name": "gemm", "run_type": "iteration", "threads": 2, "iterations": 1, "real_time": 1.0, "cpu_time": 0.5, "time_unit": "ms", "flops_per_second": 3e9},
    {"name": "broken", "run_type": "iteration", "error_occurred": true, "error_message": "x"}
  ]
})";

}  // namespace

TEST_CASE("benchmark json: work, units, disturbed samples") {
  const auto all = from_benchmark_json(json, "b.json");
  REQUIRE(all);
  REQUIRE(all->size() == 3);
  const Measurement& saxpy = all->front();
  CHECK(saxpy.name == "saxpy/1024");
  CHECK(saxpy.flops == 2048);
  CHECK(saxpy.bytes == 12288);
  CHECK(saxpy.sampled == 2);
  REQUIRE(saxpy.clean.size() == 1);  // the other one waited half of its time
  CHECK(saxpy.clean.front().seconds == doctest::Approx(2e-6));
  const Measurement& gemm = (*all)[1];
  CHECK(gemm.flops == doctest::Approx(3e6));  // a rate, times the time
  CHECK(gemm.threads == 2);
  CHECK(gemm.clean.size() == 1);
}

TEST_CASE("benchmark json: what failed or was skipped is there, without samples") {
  const auto all = from_benchmark_json(json, "b.json");
  REQUIRE(all);
  CHECK(all->back().name == "broken");
  CHECK(all->back().problem == "the benchmark failed: x");
  const auto skipped = from_benchmark_json(R"({"benchmarks": [
    {"name": "s", "real_time": 2, "cpu_time": 2},
    {"name": "s", "skipped": true, "skip_message": "no device", "real_time": 0, "cpu_time": 0},
    {"name": "s", "real_time": 2, "cpu_time": 2}]})", "b.json");
  REQUIRE(skipped);
  REQUIRE(skipped->size() == 1);
  CHECK(skipped->front().problem == "the benchmark was skipped: no device");
  CHECK(skipped->front().clean.empty());  // the runs that did not fail do not speak for it
  CHECK(skipped->front().sampled == 3);
}

TEST_CASE("benchmark json: a unit of time that is none") {
  const auto parsec = from_benchmark_json("{\"benchmarks\": [\n  {\"name\": \"a\", \"real_time\": 1, \"time_unit\": \"parsec\"}]}", "b.json");
  REQUIRE_FALSE(parsec);
  CHECK(render(parsec.error()).starts_with("b.json:2:"));
  CHECK(render(parsec.error()).find("'parsec' is no unit of time") != std::string::npos);
}

TEST_CASE("benchmark json: what it is not is told with its place") {
  for (const char* text : {"{}", "[]", R"({"benchmarks": []})", R"({"benchmarks": [{"name": "x_mean", "run_type": "aggregate", "real_time": 1}]})", R"({"benchmarks": [{"name": "x", "real_time": 0}]})", "{"}) {
    const auto all = from_benchmark_json(text, "b.json");
    REQUIRE_FALSE_MESSAGE(all, text);
    CHECK(render(all.error()).starts_with("b.json:1:"));
  }
}

TEST_CASE("an anchor is chosen by what takes longer on this machine") {
  const CommandAnchors::Speeds speeds{.flops_per_second = 100e9, .bytes_per_second = 10e9};
  Measurement memory{.flops = 2, .bytes = 12, .clean = {{2.4e-9, 0}}}, compute{.flops = 1000, .bytes = 4, .clean = {{20e-9, 0}}}, time{.clean = {{1e-3, 0}}};
  anchor(memory, speeds);
  CHECK(memory.anchor == "read");
  CHECK(efficiency_of(memory) == doctest::Approx(0.5));
  anchor(compute, speeds);
  CHECK(compute.anchor == "fma_f32");
  CHECK(efficiency_of(compute) == doctest::Approx(0.5));
  anchor(time, speeds);
  CHECK(efficiency_of(time) == doctest::Approx(10));  // the time of 1e9 FLOPs over the kernel's
  anchor(time, {});
  CHECK(time.clean.empty());
  // A later run beside which the anchor was disturbed all the time: what was there before stays as it was.
  Measurement later{.flops = 2, .bytes = 12, .memory = true, .clean = {memory.clean.front(), {2.4e-9, 0}}};
  anchor(later, {.flops_per_second = 100e9, .bytes_per_second = 0}, 1);
  CHECK(later.clean.size() == 1);
  CHECK(efficiency_of(later) == doctest::Approx(0.5));
}

TEST_CASE("commands: their own benchmarks, or their CPU time; names choose among them") {
  const std::string line = "printf '%s' '" + json + "'";
  const auto own = by_command({.line = line, .runs = 2})({});
  REQUIRE(own);
  CHECK(own->size() == 3);
  CHECK(own->front().sampled == 4);
  CHECK(own->front().clean.size() <= 2);  // fewer if the anchor was disturbed all the time
  CHECK(own->back().problem == "the benchmark failed: x");
  CHECK(by_command({.line = line, .runs = 1})({"gemm"})->size() == 1);
  const std::string loop = "i=0; while [ $i -lt 3000 ]; do i=$((i+1)); done";
  const auto time = by_command({.line = loop, .runs = 1})({});
  REQUIRE(time);
  REQUIRE(time->size() == 1);
  CHECK(time->front().name == loop);
  CHECK(time->front().sampled == 1);
  CHECK(by_command({.line = loop, .runs = 1, .name = "command"})({})->front().name == "command");
  const auto failing = by_command({.line = "exit 3", .runs = 1})({});
  REQUIRE_FALSE(failing);
  CHECK(render(failing.error()).find("'exit 3' ended with 3") != std::string::npos);
}

TEST_CASE("commands: a benchmark that fails is not run again and again") {
  const gambrel::test::Scratch scratch;
  const std::string log = scratch.path("log");
  const auto all = by_command({.line = "echo x >>" + log + R"(; printf '{"benchmarks": [{"name": "a", "error_occurred": true}]}')"})({});
  REQUIRE(all);
  CHECK(all->front().problem == "the benchmark failed");
  CHECK(gambrel::test::text_of(log) == "x\n");
}

TEST_CASE("commands: a time limit") {
  const auto late = by_command({.line = "sleep 60", .timeout_s = 0.05})({});
  REQUIRE_FALSE(late);
  CHECK(late.error().front().fault == Fault::environment);
}

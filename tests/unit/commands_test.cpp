// Benchmarks of others: Google Benchmark's JSON as measurements, commands by turns with an anchor.
#include "kernels/timing/commands.hpp"

#include <doctest/doctest.h>

#include "kernels/timing/statistics.hpp"

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
  REQUIRE(all->size() == 2);
  const Measurement& saxpy = all->front();
  CHECK(saxpy.name == "saxpy/1024");
  CHECK(saxpy.flops == 2048);
  CHECK(saxpy.bytes == 12288);
  CHECK(saxpy.sampled == 2);
  REQUIRE(saxpy.clean.size() == 1);  // the other one waited half of its time
  CHECK(saxpy.clean.front().seconds == doctest::Approx(2e-6));
  CHECK(all->back().flops == doctest::Approx(3e6));  // a rate, times the time
  CHECK(all->back().threads == 2);
  CHECK(all->back().clean.size() == 1);
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
  CHECK(median_efficiency(memory) == doctest::Approx(0.5));
  anchor(compute, speeds);
  CHECK(compute.anchor == "fma_f32");
  CHECK(median_efficiency(compute) == doctest::Approx(0.5));
  anchor(time, speeds);
  CHECK(median_efficiency(time) == doctest::Approx(10));  // the time of 1e9 FLOPs over the kernel's
  anchor(time, {});
  CHECK(time.clean.empty());
}

TEST_CASE("commands: their own benchmarks, or their CPU time; names choose among them") {
  const std::string line = "printf '%s' '" + json + "'";
  const auto own = by_command(line, 2)({});
  REQUIRE(own);
  CHECK(own->size() == 2);
  CHECK(own->front().sampled == 4);
  CHECK(own->front().clean.size() <= 2);  // fewer if the anchor was disturbed all the time
  CHECK(by_command(line, 1)({"gemm"})->size() == 1);
  const auto time = by_command("i=0; while [ $i -lt 3000 ]; do i=$((i+1)); done", 1)({});
  REQUIRE(time);
  REQUIRE(time->size() == 1);
  CHECK(time->front().sampled == 1);
  const auto failing = by_command("exit 3", 1)({});
  REQUIRE_FALSE(failing);
  CHECK(render(failing.error()).find("'exit 3' ended with 3") != std::string::npos);
}

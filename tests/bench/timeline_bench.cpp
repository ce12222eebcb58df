// What a pipeline's time costs. Goals: closed form at most 100 ns where stages are alike; a thousand stages by a thousand
// micro-batches simulated in well under a second.
#include <benchmark/benchmark.h>

#include "sim/timeline/timeline.hpp"

namespace {

using namespace gambrel::sim;

PipelineShape shape_of(Schedule schedule, int stages, int microbatches) {
  const int chunks = schedule == Schedule::interleaved ? 2 : 1;
  return {.schedule = schedule, .stages = stages, .microbatches = microbatches, .chunks = chunks, .work = {{1e-3, 1.1e-3, 0.9e-3, 5e-5}}};
}

/// An embedding and a head on top of what every stage does.
PipelineShape with_ends(PipelineShape shape, double head) {
  shape.work.assign(static_cast<std::size_t>(shape.stages * shape.chunks), shape.work.front());
  shape.work.front().forward *= 1.02;
  shape.work.back().forward *= head;
  return shape;
}

void closed(benchmark::State& state, PipelineShape shape) {
  for (auto _ : state) {
    shape.work.front().forward += 1e-15;  // no two calls alike
    benchmark::DoNotOptimize(closed_form(shape));
  }
}

void alike(benchmark::State& state, Schedule schedule) { closed(state, shape_of(schedule, static_cast<int>(state.range(0)), 8 * static_cast<int>(state.range(0)))); }
void heavy_head(benchmark::State& state, Schedule schedule) { closed(state, with_ends(shape_of(schedule, static_cast<int>(state.range(0)), 8 * static_cast<int>(state.range(0))), 1.5)); }
void light_head(benchmark::State& state, Schedule schedule) { closed(state, with_ends(shape_of(schedule, static_cast<int>(state.range(0)), 8 * static_cast<int>(state.range(0))), 1.03)); }

void simulated(benchmark::State& state, Schedule schedule) {
  const PipelineShape shape = shape_of(schedule, static_cast<int>(state.range(0)), static_cast<int>(state.range(0)));
  for (auto _ : state) benchmark::DoNotOptimize(simulate(shape));
}

void listed(benchmark::State& state) {
  const auto tasks = tasks_of(shape_of(Schedule::one_forward_one_backward, 64, 512));
  for (auto _ : state) benchmark::DoNotOptimize(schedule(tasks));
  state.counters["tasks"] = benchmark::Counter(static_cast<double>(tasks.size() * state.iterations()), benchmark::Counter::kIsRate);
}

BENCHMARK_CAPTURE(alike, gpipe, Schedule::gpipe)->Arg(8)->Arg(64);
BENCHMARK_CAPTURE(alike, 1f1b, Schedule::one_forward_one_backward)->Arg(8)->Arg(64);
BENCHMARK_CAPTURE(alike, interleaved, Schedule::interleaved)->Arg(8)->Arg(64);
BENCHMARK_CAPTURE(alike, zero_bubble, Schedule::zero_bubble)->Arg(8)->Arg(64);
BENCHMARK_CAPTURE(heavy_head, 1f1b, Schedule::one_forward_one_backward)->Arg(8)->Arg(16);
BENCHMARK_CAPTURE(heavy_head, interleaved, Schedule::interleaved)->Arg(8)->Arg(16);
BENCHMARK_CAPTURE(heavy_head, zero_bubble, Schedule::zero_bubble)->Arg(8)->Arg(16);
BENCHMARK_CAPTURE(light_head, 1f1b, Schedule::one_forward_one_backward)->Arg(8)->Arg(16);
BENCHMARK_CAPTURE(light_head, interleaved, Schedule::interleaved)->Arg(8)->Arg(16);
BENCHMARK_CAPTURE(light_head, zero_bubble, Schedule::zero_bubble)->Arg(8)->Arg(16);
BENCHMARK_CAPTURE(simulated, 1f1b, Schedule::one_forward_one_backward)->Arg(1000)->Unit(benchmark::kMillisecond);
BENCHMARK_CAPTURE(simulated, interleaved, Schedule::interleaved)->Arg(1000)->Unit(benchmark::kMillisecond);
BENCHMARK_CAPTURE(simulated, zero_bubble, Schedule::zero_bubble)->Arg(1000)->Unit(benchmark::kMillisecond);
BENCHMARK(listed)->Unit(benchmark::kMillisecond);

}  // namespace

// What a search of plans costs. Goals: one training step of GPT-3 175B on 64 GPUs in at most 2 us, all that plans share
// included (Calculon: 9.3 ms), and a space of 3.23 million plans in at most 5 s on 2 cores.
#include <benchmark/benchmark.h>

#include <fmt/format.h>

#include "base/catalog.hpp"
#include "base/load.hpp"
#include "sim/plan_search/plan_evaluator.hpp"
#include "sim/plan_search/plan_search.hpp"

namespace {

using namespace gambrel;
using namespace gambrel::sim;

constexpr std::size_t listed = 10;

Run gpt3(int chips, int global_batch) {
  static const Catalog catalog(GAMBREL_SOURCE_DIR "/configs");
  const std::string text = fmt::format("model: gpt3-175b\nsystem: a100-superpod\nchips: {}\nworkload: {{phase: train, global_batch: {}, sequence: 2048, dropout: true}}\n"
                                       "precision: {{weights: fp16, activations: fp16}}\nfusion: {{attention: false}}\nplan: best\n", chips, global_batch);
  return read_run(catalog, parse_yaml(text, "bench.yaml").value(), {}).value();
}

void count(benchmark::State& state, double plans) {
  state.counters["plans"] = plans;
  state.counters["plans/s"] = benchmark::Counter(plans * static_cast<double>(state.iterations()), benchmark::Counter::kIsRate);
}

/// The search as `plan: best` runs it, on as many threads as there are cores. Arguments: chips, global batch.
void search(benchmark::State& state, PlanSpace space) {
  const Run run = gpt3(static_cast<int>(state.range(0)), static_cast<int>(state.range(1)));
  PlanSearch found;
  for (auto _ : state) found = search_plans(run, listed, space).value();
  count(state, found.considered);
  state.counters["fitting"] = found.fitting;
}
// CPU: of all threads.
BENCHMARK_CAPTURE(search, usual, PlanSpace::usual)->Args({64, 64})->MeasureProcessCPUTime()->UseRealTime()->Unit(benchmark::kMillisecond);
BENCHMARK_CAPTURE(search, all, PlanSpace::all)->Args({64, 64})->Args({64, 1536})->Args({512, 1536})->Args({3072, 3072})->MeasureProcessCPUTime()->UseRealTime()->Unit(benchmark::kMillisecond);

/// Memory and exact time of every plan, whether it fits or not: nothing is left out. One thread.
void every_plan(benchmark::State& state, PlanSpace space) {
  const Run run = gpt3(static_cast<int>(state.range(0)), static_cast<int>(state.range(1)));
  const Machine machine = make_machine(run.system.chip(), run.placement, run.sparsity_pattern);
  const Network network(run.system, 0, &run.calibration);
  double plans = 0;
  for (auto _ : state) {
    PlanEvaluator evaluator(run, machine, &network);
    plans = 0;
    for (const ShardChoice& choice : shard_choices(run, space)) {
      evaluator.choose(choice);
      for (const ParallelismPlan& plan : plans_of(run, choice, space)) {
        benchmark::DoNotOptimize(evaluator.memory(plan).total());
        benchmark::DoNotOptimize(evaluator.seconds(plan));
        ++plans;
      }
    }
  }
  count(state, plans);
}
BENCHMARK_CAPTURE(every_plan, usual, PlanSpace::usual)->Args({64, 64})->Unit(benchmark::kMillisecond);
BENCHMARK_CAPTURE(every_plan, all, PlanSpace::all)->Args({64, 64})->Unit(benchmark::kMillisecond);

/// The enumeration alone.
void enumerate(benchmark::State& state) {
  const Run run = gpt3(static_cast<int>(state.range(0)), static_cast<int>(state.range(1)));
  double plans = 0;
  for (auto _ : state) {
    plans = 0;
    for (const ShardChoice& choice : shard_choices(run, PlanSpace::all)) plans += static_cast<double>(plans_of(run, choice, PlanSpace::all).size());
  }
  count(state, plans);
}
BENCHMARK(enumerate)->Args({64, 64})->Args({64, 1536})->Unit(benchmark::kMillisecond);

/// Graphs, kernels and templates of one choice of shards: forward, and backward of each recomputation.
void shared_by_plans(benchmark::State& state) {
  const Run run = gpt3(64, 64);
  const Machine machine = make_machine(run.system.chip(), run.placement, run.sparsity_pattern);
  const Network network(run.system, 0, &run.calibration);
  PlanEvaluator evaluator(run, machine, &network);
  const ShardChoice choice{{.tensor = 8, .sequence = true}, 1};
  for (auto _ : state) {
    evaluator.choose(choice);
    for (const models::Recompute recompute : {models::Recompute::none, models::Recompute::selective, models::Recompute::full})
      benchmark::DoNotOptimize(evaluator.memory({.tensor = 8, .pipeline = 8, .sequence = true, .recompute = recompute}));
  }
}
BENCHMARK(shared_by_plans)->Unit(benchmark::kMicrosecond);

}  // namespace

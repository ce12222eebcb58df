// What a collective's price costs: it is asked for in the inner loop of plan searches. Goal: at most 1 us.
#include <benchmark/benchmark.h>

#include "sim/network/network.hpp"
#include "tests/unit/network_support.hpp"

namespace {

using namespace gambrel;
using sim::RankGroup;

sim::Network cluster() {
  return sim::Network(sim::system_of({sim::joined("nvlink", hw::TopologyKind::switched, 8, 450e9), sim::joined("infiniband", hw::TopologyKind::fat_tree, 12800, 50e9)}, hw::ChipKind::gpu));
}

sim::Network pod() { return sim::Network(sim::system_of({sim::grid(hw::TopologyKind::torus, {16, 20, 28}, 1e11)})); }

void price(benchmark::State& state, const sim::Network& network, CollectiveKind kind, RankGroup group) {
  double bytes = 1e6;
  for (auto _ : state) {
    benchmark::DoNotOptimize(network.cost({kind, bytes}, group));
    bytes = bytes < 1e9 ? bytes * 1.01 : 1e6;
  }
}
BENCHMARK_CAPTURE(price, all_reduce_in_node, cluster(), CollectiveKind::all_reduce, RankGroup{8, 1});
BENCHMARK_CAPTURE(price, all_reduce_over_nodes, cluster(), CollectiveKind::all_reduce, RankGroup{1024, 8});
BENCHMARK_CAPTURE(price, all_gather_two_levels, cluster(), CollectiveKind::all_gather, RankGroup{102400, 1});
BENCHMARK_CAPTURE(price, all_to_all_two_levels, cluster(), CollectiveKind::all_to_all, RankGroup{64, 1});
BENCHMARK_CAPTURE(price, point_to_point, cluster(), CollectiveKind::point_to_point, RankGroup{16, 64});
BENCHMARK_CAPTURE(price, all_reduce_torus, pod(), CollectiveKind::all_reduce, RankGroup{8960, 1});

void construct(benchmark::State& state) {
  for (auto _ : state) benchmark::DoNotOptimize(cluster());
}
BENCHMARK(construct)->Unit(benchmark::kMicrosecond);

}  // namespace

// Laws of collectives on random systems of several levels.
#include <doctest/doctest.h>
#include <rapidcheck.h>

#include <algorithm>
#include <cmath>

#include "../unit/network_support.hpp"
#include "random_draws.hpp"

namespace gambrel::sim {
namespace {

using enum CollectiveKind;
using hw::TopologyKind;

int drawn(int low, int high) { return *rc::gen::inRange(low, high + 1); }

CollectiveKind any_kind() { return *rc::gen::element(all_reduce, all_gather, reduce_scatter, all_to_all, broadcast, point_to_point); }

hw::NetworkLevel any_level(int index) {
  const auto kind = *rc::gen::element(TopologyKind::switched, TopologyKind::fat_tree, TopologyKind::ring, TopologyKind::mesh, TopologyKind::torus,
                                      TopologyKind::fully_connected, TopologyKind::dragonfly);
  const double bandwidth = magnitude(1e8, 1e12), latency = magnitude(1e-8, 1e-4);
  hw::NetworkLevel level;
  if (kind == TopologyKind::mesh || kind == TopologyKind::torus) level = grid(kind, {drawn(1, 6), drawn(1, 6)}, bandwidth, latency);
  else if (kind == TopologyKind::dragonfly) level = dragonfly(drawn(1, 4), drawn(1, 4), bandwidth, drawn(1, 3));
  else level = joined("", kind, drawn(1, 12), bandwidth, latency);
  if (kind == TopologyKind::fat_tree) level.oversubscription = drawn(1, 4), level.leaf = drawn(1, 4);
  level.in_network_reduction = kind == TopologyKind::switched && drawn(0, 1) == 1;
  if (kind == TopologyKind::switched && drawn(0, 3) == 0) level.per = hw::NetworkLevel::Per::node;
  level.level = "level" + std::to_string(index);
  return level;
}

std::vector<hw::NetworkLevel> any_levels() {
  std::vector<hw::NetworkLevel> levels;
  for (int i = drawn(1, 3), at = 0; at < i; ++at) levels.push_back(any_level(at));
  return levels;
}

double chips(const std::vector<hw::NetworkLevel>& levels) {
  double n = 1;
  for (const auto& level : levels) n *= level.size;
  return n;
}

RankGroup any_group(double total) {
  const double size = std::min(total, whole_magnitude(1, total)), stride = std::floor(total / size);
  return {size, *rc::gen::arbitrary<bool>() ? 1 : stride};
}

hw::ChipKind any_chip_kind() { return *rc::gen::element(hw::ChipKind::gpu, hw::ChipKind::tpu); }

TEST_CASE("law: a collective is finite, not below its floor, inside its interval, and no algorithm beats the chosen one") {
  CHECK(rc::check("floor, interval, best", [] {
    const auto levels = any_levels();
    const Network network(system_of(levels, any_chip_kind()));
    const Transfer transfer{any_kind(), magnitude(1, 1e11)};
    const RankGroup group = any_group(chips(levels));
    const NetworkCost cost = network.cost(transfer, group);
    RC_ASSERT(std::isfinite(cost.seconds) && cost.seconds >= cost.floor_s && cost.latency_s <= cost.seconds * (1 + 1e-12));
    RC_ASSERT(cost.low <= cost.seconds && cost.seconds <= cost.high && cost.low >= cost.floor_s * (1 - 1e-12));
    RC_ASSERT((group.size > 1) == (cost.seconds > 0));
    for (int i = 0; i < algorithm_count; ++i)
      if (const auto algorithm = static_cast<Algorithm>(i); network.runs(algorithm, transfer.kind, group)) {
        const NetworkCost forced = network.cost(transfer, group, algorithm);
        RC_ASSERT(forced.algorithm == algorithm);
        RC_ASSERT(forced.seconds >= cost.seconds * (1 - 1e-12));
      }
  }));
}

TEST_CASE("law: a collective over one chip costs nothing") {
  CHECK(rc::check("group of one", [] {
    const auto levels = any_levels();
    const NetworkCost cost = Network(system_of(levels)).cost({any_kind(), magnitude(1, 1e12)}, {1, whole_magnitude(1, chips(levels))});
    return cost.seconds == 0 && cost.floor_s == 0 && cost.sent_bytes == 0;
  }));
}

TEST_CASE("law: a larger message never takes less time") {
  CHECK(rc::check("monotonic in bytes", [] {
    const auto levels = any_levels();
    const Network network(system_of(levels, any_chip_kind()));
    const RankGroup group = any_group(chips(levels));
    const CollectiveKind kind = any_kind();
    const double bytes = magnitude(1, 1e11);
    return network.cost({kind, bytes}, group).seconds <= network.cost({kind, bytes * magnitude(1, 100)}, group).seconds * (1 + 1e-12);
  }));
}

TEST_CASE("law: faster links, shorter latencies, more up-links and closing links never make a collective slower") {
  CHECK(rc::check("monotonic in the network", [] {
    const auto levels = any_levels();
    auto better = levels;
    hw::NetworkLevel& level = better[static_cast<std::size_t>(drawn(0, static_cast<int>(better.size()) - 1))];
    level.bandwidth = level.bandwidth * (drawn(10, 80) / 10.0);
    level.latency = level.latency / (drawn(10, 80) / 10.0);
    level.oversubscription = std::max(1.0, level.oversubscription / 2);
    if (level.topology == TopologyKind::torus || level.topology == TopologyKind::mesh) level.wrap.assign(level.shape.size(), true);
    if (level.topology == TopologyKind::switched) level.in_network_reduction = true;
    const auto kind_of_chip = any_chip_kind();
    const Transfer transfer{any_kind(), magnitude(1, 1e11)};
    const RankGroup group = any_group(chips(levels));
    return Network(system_of(better, kind_of_chip)).cost(transfer, group).seconds <= Network(system_of(levels, kind_of_chip)).cost(transfer, group).seconds * (1 + 1e-12);
  }));
}

TEST_CASE("law: all-reduce = reduce-scatter + all-gather on rings") {
  CHECK(rc::check("ring halves", [] {
    const auto levels = any_levels();
    const RankGroup group = any_group(chips(levels));
    const double bytes = magnitude(1, 1e11);
    const Network network = ideal(levels);
    for (const Algorithm algorithm : {Algorithm::ring, Algorithm::bidirectional_ring, Algorithm::torus}) {
      if (!network.runs(algorithm, all_reduce, group)) continue;
      const double whole = network.cost({all_reduce, bytes}, group, algorithm).seconds;
      const double halves = network.cost({reduce_scatter, bytes}, group, algorithm).seconds + network.cost({all_gather, bytes}, group, algorithm).seconds;
      RC_ASSERT(std::abs(whole - halves) <= 1e-9 * whole);
    }
  }));
}

TEST_CASE("law: rates times k and latencies over k make a k-th of the time") {
  CHECK(rc::check("scaling", [] {
    const auto levels = any_levels();
    auto scaled = levels;
    const double k = magnitude(0.1, 10);
    for (hw::NetworkLevel& level : scaled) {
      level.bandwidth = level.bandwidth * k;
      level.latency = level.latency / k;
    }
    const Transfer transfer{any_kind(), magnitude(1, 1e11)};
    const RankGroup group = any_group(chips(levels));
    const double before = ideal(levels).cost(transfer, group).seconds, after = ideal(scaled).cost(transfer, group).seconds;
    return std::abs(after * k - before) <= 1e-9 * before;
  }));
}

TEST_CASE("law: an exchange of equal parts inside one level is the all-to-all") {
  CHECK(rc::check("exchange = all-to-all", [] {
    const hw::NetworkLevel level = any_level(0);
    RC_PRE(level.size > 1 && level.topology != TopologyKind::dragonfly && (level.topology != TopologyKind::fat_tree || level.size % level.leaf == 0));
    const Network network = ideal({level});
    const double n = level.size, bytes = magnitude(1e3, 1e11);
    const std::vector<double> even(static_cast<std::size_t>(n * n), bytes / n);
    const NetworkCost a = network.exchange(even, {n, 1}), b = network.cost({all_to_all, bytes}, {n, 1}, Algorithm::direct);
    RC_ASSERT(std::abs((a.seconds - a.latency_s) - (b.seconds - b.latency_s)) <= 1e-6 * b.seconds);
  }));
}

TEST_CASE("law: more traffic between any two chips never makes an exchange faster") {
  CHECK(rc::check("exchange monotonic", [] {
    const auto levels = any_levels();
    RC_PRE(chips(levels) <= 64);
    const RankGroup group = any_group(chips(levels));
    const auto n = static_cast<std::size_t>(group.size);
    const Network network(system_of(levels));
    std::vector<double> traffic(n * n, 0.0);
    for (double& bytes : traffic) bytes = drawn(0, 3) * 1e6;
    auto more = traffic;
    more[static_cast<std::size_t>(drawn(0, static_cast<int>(traffic.size()) - 1))] += 1e7;
    return network.exchange(traffic, group).seconds <= network.exchange(more, group).seconds * (1 + 1e-12);
  }));
}

}  // namespace
}  // namespace gambrel::sim

// Times of collectives against textbook forms: rings, trees, tori, levels, contention.
#include "sim/network/network.hpp"

#include <doctest/doctest.h>

#include <cmath>
#include <string>

#include "network_support.hpp"

namespace gambrel::sim {
namespace {

using enum CollectiveKind;
using hw::TopologyKind;

constexpr double V = 1e9, B = 1e11, alpha = 1e-6;

double seconds(const Network& network, CollectiveKind kind, double ranks, Algorithm algorithm, double bytes = V, double stride = 1) {
  return network.cost({kind, bytes}, {ranks, stride}, algorithm).seconds;
}

TEST_CASE("network: names of algorithms") {
  for (int i = 0; i < algorithm_count; ++i) {
    const auto algorithm = static_cast<Algorithm>(i);
    CHECK(parse_algorithm(to_string(algorithm)) == algorithm);
  }
  CHECK_FALSE(parse_algorithm("carrier_pigeon"));
}

TEST_CASE("network: alpha-beta forms on a switch") {
  const Network network = ideal({joined("nvlink", TopologyKind::switched, 8, B, alpha)});
  const double once = 7.0 / 8 * V / B;
  CHECK(seconds(network, all_gather, 8, Algorithm::ring) == doctest::Approx(7 * alpha + once));
  CHECK(seconds(network, reduce_scatter, 8, Algorithm::ring) == doctest::Approx(7 * alpha + once));
  CHECK(seconds(network, all_reduce, 8, Algorithm::ring) == doctest::Approx(14 * alpha + 2 * once));
  CHECK(seconds(network, all_reduce, 8, Algorithm::halving_doubling) == doctest::Approx(6 * alpha + 2 * once));
  CHECK(seconds(network, all_reduce, 8, Algorithm::double_binary_tree) == doctest::Approx(6 * alpha + 2 * V / B));
  CHECK(seconds(network, broadcast, 8, Algorithm::double_binary_tree) == doctest::Approx(3 * alpha + V / B));
  CHECK(seconds(network, broadcast, 8, Algorithm::ring) == doctest::Approx(7 * alpha + V / B));
  CHECK(seconds(network, broadcast, 8, Algorithm::halving_doubling) == doctest::Approx(6 * alpha + 2 * once));
  CHECK(seconds(network, all_reduce, 8, Algorithm::direct) == doctest::Approx(2 * alpha + 2 * once));
  CHECK(seconds(network, point_to_point, 2, Algorithm::direct) == doctest::Approx(alpha + V / B));
}

TEST_CASE("network: an all-to-all shares each rank's port") {
  const Network network = ideal({joined("nvlink", TopologyKind::switched, 64, B, alpha)});
  CHECK(seconds(network, all_to_all, 64, Algorithm::direct) == doctest::Approx(alpha + 63.0 / 64 * V / B));
}

TEST_CASE("network: a fully connected all-reduce is direct, over all links at once") {
  const hw::NetworkLevel level = joined("fabric", TopologyKind::fully_connected, 8, 7 * B, alpha);
  const Network network = ideal({level});
  const NetworkCost cost = network.cost({all_reduce, V}, {8, 1});
  CHECK(cost.algorithm == Algorithm::direct);
  CHECK(cost.seconds == doctest::Approx(2 * alpha + 2 * V / 8 / B));
  CHECK(seconds(network, all_reduce, 8, Algorithm::ring) == doctest::Approx(14 * alpha + 2 * 7.0 / 8 * V / B));
  CHECK(seconds(network, all_reduce, 8, Algorithm::bidirectional_ring) == doctest::Approx(8 * alpha + 7.0 / 8 * V / B));
}

TEST_CASE("network: switches that add take one pass of the message") {
  hw::NetworkLevel level = joined("nvlink", TopologyKind::switched, 8, B, alpha);
  CHECK_FALSE(ideal({level}).runs(Algorithm::in_network, all_reduce, {8, 1}));
  level.in_network_reduction = true;
  const Network network = ideal({level});
  CHECK(network.runs(Algorithm::in_network, all_reduce, {8, 1}));
  CHECK(network.cost({all_reduce, V}, {8, 1}).algorithm == Algorithm::in_network);
  // 480 GB/s of bus bandwidth over 450 GB/s links (stas00/ml-engineering) where rings reach 0.82 of the link.
  const double bus = 2 * 7.0 / 8 * V / seconds(network, all_reduce, 8, Algorithm::in_network) / B;
  CHECK(bus * 0.82 == doctest::Approx(482.0 / 450).epsilon(0.02));
  CHECK(network.cost({all_gather, V}, {8, 1}, Algorithm::in_network).seconds < network.cost({all_gather, V}, {8, 1}, Algorithm::ring).seconds);
}

// THEORY 4.2, jax-ml/scaling-book sharding.md: V / (n_axes W_bidir), W_bidir = 2 W; twice that all-reduce; up to (n-1)/n.
TEST_CASE("network: torus closed forms") {
  for (const std::vector<int>& shape : {std::vector<int>{16}, {16, 16}, {16, 16, 16}}) {
    const Network network = ideal({grid(TopologyKind::torus, shape, B, 1e-12)});
    const double n = std::pow(16, shape.size()), axes = static_cast<double>(shape.size());
    const double expected = (n - 1) / n * V / (axes * 2 * B);
    CHECK(network.cost({all_gather, V}, {n, 1}).seconds == doctest::Approx(expected).epsilon(1e-4));
    CHECK(network.cost({reduce_scatter, V}, {n, 1}).seconds == doctest::Approx(expected).epsilon(1e-4));
    CHECK(network.cost({all_reduce, V}, {n, 1}).seconds == doctest::Approx(2 * expected).epsilon(1e-4));
    // all-to-all: V k / (8 W) for V bytes of one device, k the longest axis
    CHECK(network.cost({all_to_all, V}, {n, 1}).seconds == doctest::Approx(V * 16 / (8 * B)).epsilon(1e-4));
  }
  // A ring's all-to-all is a quarter of its all-gather: V n / 4 W_bidir against n V.
  const Network ring = ideal({grid(TopologyKind::torus, {64}, B, 1e-12)});
  const double gathered = ring.cost({all_gather, 64 * V}, {64, 1}).seconds * 64 / 63;
  CHECK(ring.cost({all_to_all, V}, {64, 1}).seconds == doctest::Approx(gathered / 4).epsilon(1e-4));
}

TEST_CASE("network: without the closing link twice the time") {
  const Network torus = ideal({grid(TopologyKind::torus, {16}, B, 1e-12)}), mesh = ideal({grid(TopologyKind::mesh, {16}, B, 1e-12)});
  for (const CollectiveKind kind : {all_gather, all_reduce, all_to_all})
    CHECK(mesh.cost({kind, V}, {16, 1}).seconds == doctest::Approx(2 * torus.cost({kind, V}, {16, 1}).seconds).epsilon(1e-6));
  // A slice of a pod has no closing link either.
  const Network pod = ideal({grid(TopologyKind::torus, {32}, B, 1e-12)});
  CHECK(pod.cost({all_gather, V}, {16, 1}).seconds == doctest::Approx(mesh.cost({all_gather, V}, {16, 1}).seconds));
}

TEST_CASE("network: the 2 us of a small message on a torus are its hops") {
  const Network network = ideal({grid(TopologyKind::torus, {16}, B, alpha)});
  CHECK(network.cost({all_gather, 16}, {16, 1}, Algorithm::bidirectional_ring).seconds == doctest::Approx(8 * alpha).epsilon(1e-3));
}

TEST_CASE("network: groups interleaved on a ring share its links") {
  const Network network = ideal({grid(TopologyKind::torus, {16}, B, 1e-12)});
  const double whole = seconds(network, all_gather, 16, Algorithm::ring), every_fourth = seconds(network, all_gather, 4, Algorithm::ring, V, 4);
  CHECK(every_fourth == doctest::Approx(4 * 3.0 / 4 * V / B));
  CHECK(whole == doctest::Approx(15.0 / 16 * V / B));
}

// THEORY 4.3: intra 2 (g-1)/g V on the fast link, inter 2 (m-1)/m V/g on each chip's slow one.
TEST_CASE("network: hierarchical all-reduce, and the flat ring over every chip's adapter") {
  const double slow = B / 8;
  const Network network = ideal({joined("nvlink", TopologyKind::switched, 8, B, 1e-12), joined("ib", TopologyKind::fat_tree, 16, slow, 1e-12)});
  const double inside = 2 * 7.0 / 8 * V / B, between = 2 * 15.0 / 16 * V / 8 / slow;
  CHECK(seconds(network, all_reduce, 128, Algorithm::hierarchical) == doctest::Approx(inside + between).epsilon(1e-6));
  CHECK(seconds(network, all_reduce, 128, Algorithm::ring) == doctest::Approx(2 * 127.0 / 128 * V / std::min(B, 8 * slow)).epsilon(1e-6));
  const NetworkCost one_a_node = network.cost({all_reduce, V}, {16, 8});
  CHECK(one_a_node.seconds == doctest::Approx(2 * 15.0 / 16 * V / slow).epsilon(1e-6));
  CHECK(one_a_node.level == 1);
}

TEST_CASE("network: tensor parallelism over two nodes pays the network between them") {
  const Network network = ideal({joined("nvlink", TopologyKind::switched, 8, B, alpha), joined("ib", TopologyKind::fat_tree, 16, B / 50, alpha)});
  CHECK(network.cost({all_reduce, V}, {16, 1}).seconds > 4 * network.cost({all_reduce, V}, {8, 1}).seconds);
}

TEST_CASE("network: an uplink of a node is shared by the groups of its chips") {
  hw::NetworkLevel uplink = joined("metro", TopologyKind::switched, 2, B, 1e-12);
  uplink.per = hw::NetworkLevel::Per::node;
  const Network network = ideal({joined("nvlink", TopologyKind::switched, 8, B, 1e-12), uplink});
  CHECK(seconds(network, all_gather, 2, Algorithm::ring, V, 8) == doctest::Approx(0.5 * V / (B / 8)));
  CHECK(seconds(network, point_to_point, 2, Algorithm::direct, V, 8) == doctest::Approx(V / (B / 8)));  // every chip sends
  CHECK(seconds(network, point_to_point, 16, Algorithm::direct) == doctest::Approx(V / B));             // one chip of a node does
}

TEST_CASE("network: oversubscription is paid by what leaves a leaf") {
  hw::NetworkLevel tree = joined("tree", TopologyKind::fat_tree, 64, B, 1e-12);
  tree.oversubscription = 4;
  tree.leaf = 8;
  const Network network = ideal({tree});
  CHECK(seconds(network, all_to_all, 64, Algorithm::direct) == doctest::Approx(4 * 56.0 / 64 * V / B));
  CHECK(seconds(network, all_to_all, 8, Algorithm::direct) == doctest::Approx(7.0 / 8 * V / B));
  CHECK(seconds(network, all_gather, 64, Algorithm::ring) == doctest::Approx(63.0 / 64 * V / B));         // 1 of 8 leaves the leaf
  CHECK(seconds(network, all_gather, 8, Algorithm::ring, V, 8) == doctest::Approx(4 * 7.0 / 8 * V / B));  // all of them do
}

TEST_CASE("network: a dragonfly's trunks") {
  const Network network = ideal({dragonfly(8, 4, B, 2)});
  CHECK(seconds(network, all_to_all, 32, Algorithm::direct) == doctest::Approx(2 * 24.0 / 32 * V / B));
  // Every chip to the next group: one trunk of three, or twice the bytes over all of them.
  CHECK(seconds(network, all_gather, 4, Algorithm::ring, V, 8) == doctest::Approx(3.0 / 4 * V * 4 / B));
}

TEST_CASE("network: an exchange of equal parts is an all-to-all, one of unequal parts waits for the fullest port") {
  const Network network = ideal({joined("nvlink", TopologyKind::switched, 4, B, alpha), joined("ib", TopologyKind::fat_tree, 4, B / 4, alpha)});
  std::vector<double> even(256, V / 16);
  CHECK(network.exchange(even, {16, 1}).seconds == doctest::Approx(seconds(network, all_to_all, 16, Algorithm::direct)));
  std::vector<double> hot(256, 0.0);
  for (std::size_t i = 4; i < 16; ++i) hot[i * 16] = V / 16;  // all of the other nodes to rank 0
  CHECK(network.exchange(hot, {16, 1}).seconds == doctest::Approx(alpha + 12 * V / 16 / (B / 4)));
  CHECK(network.exchange(hot, {1, 1}).seconds == 0);
}

TEST_CASE("network: an exchange on a torus is routed") {
  const Network network = ideal({grid(TopologyKind::torus, {4, 4}, B, 1e-12)});
  std::vector<double> even(256, V / 16);
  CHECK(network.exchange(even, {16, 1}).seconds == doctest::Approx(seconds(network, all_to_all, 16, Algorithm::direct)));
  std::vector<double> one(256, 0.0);
  one[1] = V;  // 0 -> 1, one link
  CHECK(network.exchange(one, {16, 1}).seconds == doctest::Approx(V / B));
}

TEST_CASE("network: pools hand over through what joins them") {
  hw::System system = system_of({joined("nvlink", TopologyKind::switched, 8, B)});
  system.pools.push_back(system.pools.front());
  CHECK(Network(system).handover(V).seconds == 0);
  system.between.push_back(joined("ib", TopologyKind::switched, 2, B / 10, 5e-6));
  system.between.front().chips_each = 8;
  const NetworkCost cost = Network(system, 1, nullptr, {.efficiency = 0, .overheads = false}).handover(V);
  CHECK(cost.floor_s == doctest::Approx(V / (B / 10)));
  CHECK(cost.seconds > cost.floor_s);
  CHECK(cost.latency_s == doctest::Approx(5e-6));
}

TEST_CASE("network: what a system does not state is assumed and said") {
  hw::NetworkLevel level = joined("ib", TopologyKind::fat_tree, 8, B, 0);
  const Network network(system_of({level}));
  REQUIRE(network.notes().size() == 2);
  CHECK(network.notes()[0] == "network level 'ib' states no latency: 12.5 us a step assumed, as measured on other networks of its kind");
  const NetworkCost cost = network.cost({all_gather, V}, {8, 1}, Algorithm::ring);
  CHECK(cost.latency_s == doctest::Approx(7 * 12.5e-6));
  CHECK(cost.seconds - cost.latency_s == doctest::Approx(7.0 / 8 * V / (0.8 * B)));
  level.latency = Seconds{1e-6};
  level.efficiency = 0.5;
  const Network stated(system_of({level}));
  CHECK(stated.notes().empty());
  CHECK(stated.cost({all_gather, V}, {8, 1}, Algorithm::ring).seconds == doctest::Approx(7e-6 + 7.0 / 8 * V / (0.5 * B)));
}

TEST_CASE("network: adding what arrives takes longer than links near the memory's rate") {
  hw::System system = system_of({joined("nvlink", TopologyKind::switched, 8, B, 1e-12)});
  system.pools.front().chip.memory.front().bandwidth = BytesPerSecond{B};
  const Network network(system, 0, nullptr, {.efficiency = 1});
  CHECK(network.cost({reduce_scatter, V}, {8, 1}, Algorithm::ring).seconds == doctest::Approx(3 * 7.0 / 8 * V / B).epsilon(1e-4));
  CHECK(network.cost({all_gather, V}, {8, 1}, Algorithm::ring).seconds == doctest::Approx(7.0 / 8 * V / B).epsilon(1e-4));
}

TEST_CASE("network: axes stated one by one") {
  const Network network = ideal({grid(TopologyKind::torus, {4, 8}, B, 1e-12)});
  REQUIRE(network.axes().size() == 2);
  CHECK(network.axes()[1] == std::pair<int, std::size_t>{8, 0});
  CHECK(network.cost_over({all_gather, V}, {1, 8}).seconds == doctest::Approx(7.0 / 8 * V / (2 * B)));
  CHECK(network.cost_over({all_gather, V}, {4, 8}).seconds == network.cost({all_gather, V}, RankGroup{32, 1}).seconds);
}

TEST_CASE("network: a forced algorithm that does not run falls back to the best") {
  const Network network = ideal({joined("nvlink", TopologyKind::switched, 6, B)});
  CHECK_FALSE(network.runs(Algorithm::halving_doubling, all_reduce, {6, 1}));
  CHECK_FALSE(network.runs(Algorithm::torus, all_reduce, {6, 1}));
  CHECK_FALSE(network.runs(Algorithm::ring, all_to_all, {6, 1}));
  const NetworkCost forced = network.cost({all_reduce, V}, {6, 1}, Algorithm::halving_doubling), best = network.cost({all_reduce, V}, {6, 1});
  CHECK(forced.seconds == best.seconds);
  CHECK(forced.algorithm == best.algorithm);
}

}  // namespace
}  // namespace gambrel::sim

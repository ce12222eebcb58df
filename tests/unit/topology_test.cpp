// Ports and bisection bandwidth of every topology against their closed forms.
#include <doctest/doctest.h>

#include <functional>
#include <numeric>

#include "hw/topology.hpp"

namespace gambrel::hw {
namespace {

constexpr BytesPerSecond B{100e9};

NetworkLevel sized(TopologyKind kind, int size) {
  const bool ring = kind == TopologyKind::ring;
  return {.level = "net", .topology = kind, .size = size, .shape = {size}, .wrap = {ring}, .bandwidth = B};
}

NetworkLevel shaped(TopologyKind kind, std::vector<int> shape, std::vector<bool> wrap = {}) {
  if (wrap.empty()) wrap.assign(shape.size(), kind == TopologyKind::torus);
  NetworkLevel level{.level = "net", .topology = kind, .shape = shape, .wrap = wrap, .bandwidth = B};
  level.size = std::accumulate(shape.begin(), shape.end(), 1, std::multiplies<>());
  level.per = NetworkLevel::Per::link;
  return level;
}

double links(const NetworkLevel& level) { return level.bisection_bandwidth() / level.bandwidth; }

TEST_CASE("topology: names") {
  CHECK(to_string(TopologyKind::switched) == "switch");
  CHECK(to_string(TopologyKind::fat_tree) == "fat-tree");
  CHECK(to_string(TopologyKind::fully_connected) == "fully-connected");
  CHECK(to_string(TopologyKind::dragonfly) == "dragonfly");
}

TEST_CASE("topology: a switch passes what half of its members send") {
  CHECK(links(sized(TopologyKind::switched, 8)) == 4);
  CHECK(links(sized(TopologyKind::switched, 9)) == 4);
  CHECK(links(sized(TopologyKind::switched, 1)) == 0);
  CHECK(sized(TopologyKind::switched, 8).ports() == 1);
}

TEST_CASE("topology: a fat-tree loses what its leaves are oversubscribed") {
  NetworkLevel tree = sized(TopologyKind::fat_tree, 64);
  CHECK(links(tree) == 32);
  tree.oversubscription = 4;
  CHECK(links(tree) == 8);
}

TEST_CASE("topology: ring, both ways round") {
  const NetworkLevel ring = sized(TopologyKind::ring, 8);
  CHECK(ring.ports() == 2);
  CHECK(ring.link_bandwidth() == B / 2);  // per chip: both links share it
  CHECK(ring.bisection_bandwidth() == B);
  CHECK(sized(TopologyKind::ring, 2).ports() == 1);
  CHECK(sized(TopologyKind::ring, 2).bisection_bandwidth() == B);
  CHECK(sized(TopologyKind::ring, 1).ports() == 0);
  CHECK(sized(TopologyKind::ring, 1).bisection_bandwidth().value == 0);
}

TEST_CASE("topology: torus, 2 k^(n-1) links (Dally & Towles 2004, section 3.3.1)") {
  CHECK(links(shaped(TopologyKind::torus, {16, 16, 16})) == 2 * 16 * 16);
  CHECK(links(shaped(TopologyKind::torus, {16, 16})) == 2 * 16);
  CHECK(links(shaped(TopologyKind::torus, {8})) == 2);
  CHECK(links(shaped(TopologyKind::torus, {4, 4, 8})) == 2 * 16);  // across the longest axis
  CHECK(shaped(TopologyKind::torus, {4, 4, 8}).ports() == 6);
}

TEST_CASE("topology: a torus axis of 2 has one link, of 1 none") {
  CHECK(shaped(TopologyKind::torus, {2, 2, 1}).ports() == 2);
  CHECK(links(shaped(TopologyKind::torus, {2, 2, 1})) == 2);
  CHECK(links(shaped(TopologyKind::torus, {2})) == 1);
  CHECK(links(shaped(TopologyKind::torus, {1})) == 0);
}

TEST_CASE("topology: a mesh has half of the torus' links, axis by axis") {
  CHECK(links(shaped(TopologyKind::mesh, {8, 8})) == 8);
  CHECK(links(shaped(TopologyKind::mesh, {4, 8})) == 4);
  // Open on the axis of 8 (16 links across), closed on that of 4 (2 x 32): the weaker plane counts.
  CHECK(links(shaped(TopologyKind::torus, {4, 4, 8}, {true, true, false})) == 16);
  CHECK(links(shaped(TopologyKind::torus, {16, 8}, {true, false})) == 16);
}

TEST_CASE("topology: fully connected, floor(n/2) ceil(n/2) links") {
  const NetworkLevel eight = sized(TopologyKind::fully_connected, 8);
  CHECK(eight.ports() == 7);
  CHECK(eight.bisection_bandwidth().value == doctest::Approx(B.value / 7 * 16));
  NetworkLevel five = sized(TopologyKind::fully_connected, 5);
  five.per = NetworkLevel::Per::link;
  CHECK(links(five) == 6);
}

TEST_CASE("topology: bandwidth of a chip, a node and a link") {
  NetworkLevel level = sized(TopologyKind::switched, 4);
  level.chips_each = 8;
  CHECK(level.member_bandwidth() == B * 8);
  CHECK(level.bisection_bandwidth() == B * 16);
  level.per = NetworkLevel::Per::node;
  CHECK(level.member_bandwidth() == B);
  CHECK(level.bisection_bandwidth() == B * 2);
  const NetworkLevel torus = shaped(TopologyKind::torus, {4, 4});
  CHECK(torus.member_bandwidth() == B * 4);
  CHECK(torus.link_bandwidth() == B);
}

}  // namespace
}  // namespace gambrel::hw

// Routes on small networks, link by link.
#include "hw/routes.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <numeric>

#include "network_support.hpp"

namespace gambrel::hw {
namespace {

using sim::dragonfly;
using sim::grid;
using sim::joined;

constexpr double B = 1e9;

/// Bytes on the link between two ends after one message of a byte.
struct Sent {
  Routes routes;
  std::vector<double> loads;
  Sent(const NetworkLevel& level, int from, int to) : routes(level) { routes.send(from, to, 1, loads); }
  double on(int from, int to) const {
    for (std::size_t i = 0; i < loads.size(); ++i)
      if (routes.links()[i].from == from && routes.links()[i].to == to) return loads[i];
    return -1;
  }
  double hops() const { return std::accumulate(loads.begin(), loads.end(), 0.0); }
};

TEST_CASE("routes: a switch is two links away from everyone") {
  const Sent sent(joined("s", TopologyKind::switched, 4, B), 1, 3);
  CHECK(sent.hops() == 2);
  CHECK(sent.on(1, 4) == 1);
  CHECK(sent.on(4, 3) == 1);
  CHECK(sent.on(3, 4) == 0);
}

TEST_CASE("routes: a ring's shorter way, and both where they are as short") {
  const NetworkLevel ring = joined("r", TopologyKind::ring, 6, B);
  CHECK(Sent(ring, 0, 5).on(0, 5) == 1);
  CHECK(Sent(ring, 0, 5).hops() == 1);
  const Sent opposite(ring, 0, 3);
  CHECK(opposite.on(0, 1) == 0.5);
  CHECK(opposite.on(0, 5) == 0.5);
  CHECK(opposite.hops() == 3);
}

TEST_CASE("routes: a torus goes along its first axis first, a mesh does not go round") {
  const Sent torus(grid(TopologyKind::torus, {4, 4}, B), 0, 13);  // (0, 0) -> (1, 3)
  CHECK(torus.on(0, 1) == 1);
  CHECK(torus.on(1, 13) == 1);
  CHECK(torus.hops() == 2);
  CHECK(Sent(grid(TopologyKind::mesh, {4, 4}, B), 0, 13).hops() == 4);
  CHECK(Sent(grid(TopologyKind::torus, {2, 2}, B), 0, 3).hops() == 2);  // an axis of two has one link
}

TEST_CASE("routes: a fat-tree turns at the leaf if it can") {
  NetworkLevel tree = joined("t", TopologyKind::fat_tree, 8, B);
  tree.leaf = 4;
  tree.oversubscription = 2;
  CHECK(Sent(tree, 0, 3).hops() == 2);
  const Sent across(tree, 0, 7);
  CHECK(across.hops() == 4);
  const auto up = std::ranges::find_if(across.routes.links(), [](const Link& link) { return link.from == 8 && link.to == 10; });
  REQUIRE(up != across.routes.links().end());
  CHECK(up->bandwidth == 2 * B);  // 4 members over 2
}

TEST_CASE("routes: a dragonfly crosses one trunk") {
  const Sent sent(dragonfly(4, 3, B), 0, 11);
  CHECK(sent.hops() == 3);
  CHECK(sent.on(12, 14) == 1);
  CHECK(sent.routes.busiest(sent.loads) == doctest::Approx(1 / B));
}

TEST_CASE("routes: fully connected is one link") {
  CHECK(Sent(joined("f", TopologyKind::fully_connected, 5, 4 * B), 2, 4).hops() == 1);
  CHECK(Sent(joined("f", TopologyKind::fully_connected, 5, 4 * B), 2, 2).hops() == 0);
}

}  // namespace
}  // namespace gambrel::hw

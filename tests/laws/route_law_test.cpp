// The closed forms of link loads are what routing every message, link by link, gives.
#include <doctest/doctest.h>
#include <rapidcheck.h>

#include <algorithm>
#include <cmath>
#include <functional>

#include "../unit/network_support.hpp"
#include "hw/link_load.hpp"
#include "hw/routes.hpp"
#include "random_draws.hpp"

namespace gambrel::sim {
namespace {

using hw::TopologyKind;

int drawn(int low, int high) { return *rc::gen::inRange(low, high + 1); }

/// One level of one axis, and a group on it whose copies fill the level.
struct Case {
  hw::NetworkLevel level;
  hw::Axis axis;
  hw::Part part;
};

hw::NetworkLevel any_level(int size) {
  const auto kind = *rc::gen::element(TopologyKind::switched, TopologyKind::ring, TopologyKind::mesh, TopologyKind::torus, TopologyKind::fat_tree,
                                      TopologyKind::fully_connected);
  const double bandwidth = magnitude(1e8, 1e12);
  if (kind == TopologyKind::mesh || kind == TopologyKind::torus) return grid(kind, {size}, bandwidth);
  hw::NetworkLevel level = joined("net", kind, size, bandwidth);
  if (kind == TopologyKind::fat_tree) level.oversubscription = drawn(1, 8);
  return level;
}

/// Sizes and strides are powers of two where leaves are, so that groups and leaves are aligned.
Case any_case(bool dragonflies = false) {
  const int size = 1 << drawn(1, 3), stride = 1 << drawn(0, 2), blocks = 1 << drawn(0, 2), length = size * stride * blocks;
  Case c{.level = any_level(length), .axis = {}, .part = {size, stride}};
  if (c.level.topology == TopologyKind::fat_tree) c.level.leaf = std::min(length, 1 << drawn(0, 4));
  if (dragonflies) {
    const int each = 1 << drawn(0, static_cast<int>(std::log2(length)));
    c.level = dragonfly(each, length / each, magnitude(1e8, 1e12), drawn(1, 4));
  }
  c.axis = hw::axes_of({c.level}).front();
  return c;
}

Case any_odd_case() {
  const int size = drawn(2, 9);
  Case c{.level = any_level(size), .axis = {}, .part = {size, 1}};
  c.level.oversubscription = 1;
  c.axis = hw::axes_of({c.level}).front();
  return c;
}

/// A slice does not use a closing link: its routes are those of a mesh.
hw::NetworkLevel seen(const Case& c) {
  if (!c.axis.wrap || hw::closed(c.axis, c.part)) return c.level;
  return grid(TopologyKind::mesh, {c.level.size}, c.level.link_bandwidth().value);
}

/// `send(a, b)`: bytes from member a of a group to member b, of every group.
double routed(const Case& c, const std::function<double(int, int)>& send) {
  const hw::Routes routes(seen(c));
  std::vector<double> loads;
  const int block = c.part.size * c.part.stride;
  for (int first = 0; first < c.level.size; first += block)
    for (int offset = 0; offset < c.part.stride; ++offset)
      for (int a = 0; a < c.part.size; ++a)
        for (int b = 0; b < c.part.size; ++b)
          if (const double bytes = send(a, b); bytes > 0)
            routes.send(first + offset + a * c.part.stride, first + offset + b * c.part.stride, bytes, loads);
  return routes.busiest(loads);
}

double routed_shift(const Case& c, bool both) {
  const int n = c.part.size;
  return routed(c, [&](int a, int b) { return ((a + 1) % n == b ? (both ? 0.5 : 1.0) : 0.0) + (both && (b + 1) % n == a ? 0.5 : 0.0); });
}
double routed_uniform(const Case& c) {
  return routed(c, [&](int a, int b) { return a == b ? 0.0 : 1.0 / c.part.size; });
}
double routed_swap(const Case& c, int distance) {
  return routed(c, [&](int a, int b) { return (a ^ distance) == b ? 1.0 : 0.0; });
}

bool same(double a, double b) { return std::abs(a - b) <= 1e-9 * std::max(a, b); }

/// Both ways round are as short for a pair that is opposite on a ring; routes then use both, a ring algorithm one.
bool two_on_a_ring(const Case& c) { return hw::closed(c.axis, c.part) && c.part.size == 2; }

TEST_CASE("law: uniform traffic loads links as routing every message does") {
  CHECK(rc::check("uniform", [] {
    const Case c = *rc::gen::arbitrary<bool>() ? any_case() : any_odd_case();
    return same(hw::uniform_time(c.axis, c.part), routed_uniform(c));
  }));
}

TEST_CASE("law: shifts load links as routing every message does") {
  CHECK(rc::check("shift", [] {
    const Case c = *rc::gen::arbitrary<bool>() ? any_case() : any_odd_case();
    const bool both = *rc::gen::arbitrary<bool>();
    RC_PRE(!two_on_a_ring(c) || both);
    return same(hw::shift_time(c.axis, c.part, both), routed_shift(c, both));
  }));
}

TEST_CASE("law: swaps load links as routing every message does") {
  CHECK(rc::check("swap", [] {
    const Case c = any_case();
    const int distance = 1 << drawn(0, static_cast<int>(std::log2(c.part.size)) - 1);
    return same(hw::swap_time(c.axis, c.part, distance), routed_swap(c, distance));
  }));
}

TEST_CASE("law: a dragonfly is never slower than its minimal routes") {
  CHECK(rc::check("dragonfly", [] {
    const Case c = any_case(true);
    const double uniform = hw::uniform_time(c.axis, c.part), shift = hw::shift_time(c.axis, c.part, false);
    const bool all_groups = c.part.size * c.part.stride == c.level.size && c.part.stride <= c.axis.leaf;
    if (all_groups) RC_ASSERT(same(uniform, routed_uniform(c)));
    RC_ASSERT(uniform <= routed_uniform(c) * (1 + 1e-9));
    RC_ASSERT(shift <= routed_shift(c, false) * (1 + 1e-9));
  }));
}

TEST_CASE("law: an all-to-all over several axes is as slow as its slowest axis alone") {
  CHECK(rc::check("torus", [] {
    const std::vector<int> shape{drawn(1, 5), drawn(1, 5), drawn(1, 4)};
    const auto kind = *rc::gen::element(TopologyKind::torus, TopologyKind::mesh);
    const hw::NetworkLevel level = grid(kind, shape, 1e9);
    const hw::Routes routes(level);
    std::vector<double> loads;
    for (int a = 0; a < level.size; ++a)
      for (int b = 0; b < level.size; ++b) routes.send(a, b, 1.0 / level.size, loads);
    double slowest = 0;
    for (const hw::Axis& axis : hw::axes_of({level})) slowest = std::max(slowest, hw::uniform_time(axis, {axis.length, 1}));
    return same(slowest, routes.busiest(loads));
  }));
}

}  // namespace
}  // namespace gambrel::sim

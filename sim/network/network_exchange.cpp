// Unequal all-to-all (experts, uneven shards): each level's bytes are routed, the busiest link or port is what it takes.
#include "sim/network/network_exchange.hpp"

#include <algorithm>
#include <cmath>

#include "hw/routes.hpp"

namespace gambrel::sim {
namespace {

std::size_t number(double value) { return static_cast<std::size_t>(value); }

/// Member of a stage that a rank of the group belongs to.
std::size_t member_of(std::size_t rank, const Stage& stage) { return rank / number(stage.lanes) % number(stage.size); }

/// The outermost stage on which two ranks differ.
const Stage& crossing(std::size_t a, std::size_t b, const Stages& group) {
  for (std::size_t i = group.count; i-- > 1;)
    if (member_of(a, group.stage[i]) != member_of(b, group.stage[i])) return group.stage[i];
  return group.stage[0];
}

/// The level as a group sees it: axes that it does not cover are not closed.
hw::NetworkLevel seen(const hw::NetworkLevel& level, const Stage& stage) {
  using enum hw::TopologyKind;
  hw::NetworkLevel result = level;
  if (level.topology != ring && level.topology != mesh && level.topology != torus) return result;
  result.bandwidth = level.link_bandwidth();
  result.per = hw::NetworkLevel::Per::link;
  result.topology = mesh;
  if (level.topology == ring) result.shape = {level.size};
  result.wrap.assign(result.shape.size(), false);
  double covered = stage.line[0]->axis.stride;  // of the level's first axis that the group has a part in
  std::size_t used = 0;
  double stride = level.chips_each;
  for (std::size_t axis = 0; axis < result.shape.size() && used < stage.axes; ++axis) {
    if (result.shape[axis] > 1 && std::abs(stride - covered) < 0.5) {
      result.wrap[axis] = hw::closed(stage.line[used]->axis, stage.part[used]);
      if (++used < stage.axes) covered = stage.line[used]->axis.stride;
    }
    stride *= result.shape[axis];
  }
  return result;
}

/// Where on the level each member of the group stands, for the group that starts at position 0 plus `offset`.
std::vector<int> places(const Stage& stage, double chips_each, int offset) {
  std::vector<int> result;
  for (std::size_t member = 0; member < number(stage.size); ++member) {
    std::size_t left = member;
    double place = offset;
    for (std::size_t i = 0; i < stage.axes; ++i) {
      const auto size = static_cast<std::size_t>(stage.part[i].size);
      place += static_cast<double>(left % size) * stage.part[i].stride * stage.line[i]->axis.stride / chips_each;
      left /= size;
    }
    result.push_back(static_cast<int>(std::lround(place)));
  }
  return result;
}

/// Other groups that share links with the first one: those interleaved with it on each axis, and on trees and
/// dragonflies all the others too, which send the same.
std::vector<int> offsets(const hw::NetworkLevel& level, const Stage& stage) {
  std::vector<int> result{0};
  const bool tree = level.topology == hw::TopologyKind::fat_tree || level.topology == hw::TopologyKind::dragonfly;
  for (std::size_t i = 0; i < stage.axes; ++i) {
    const int stride = stage.part[i].stride, block = stride * stage.part[i].size;
    const int step = static_cast<int>(std::lround(stage.line[i]->axis.stride / level.chips_each));
    const int blocks = tree ? std::max(1, stage.line[i]->axis.length / block) : 1;
    std::vector<int> more;
    for (const int base : result)
      for (int b = 0; b < blocks; ++b)
        for (int s = 0; s < stride; ++s) more.push_back(base + (b * block + s) * step);
    result = std::move(more);
  }
  return result;
}

double most(const std::vector<double>& bytes) { return bytes.empty() ? 0 : *std::ranges::max_element(bytes); }

/// One level's share of the traffic: by rank, and between members of the level (for each part of the group that stands
/// on its own below the levels further out).
struct Crossing {
  std::vector<double> out, in;
  std::vector<double> between;  ///< [part][from][to]
  std::size_t parts = 1;

  Crossing(const std::vector<double>& traffic, const Stage& stage, const Stages& group) : out(number(group.ranks)), in(out) {
    const std::size_t n = out.size(), size = number(stage.size), together = size * number(stage.lanes);
    parts = n / together;
    between.resize(parts * size * size);
    for (std::size_t a = 0; a < n; ++a)
      for (std::size_t b = 0; b < n; ++b) {
        const double bytes = traffic[a * n + b];
        if (a == b || bytes <= 0 || &crossing(a, b, group) != &stage) continue;
        out[a] += bytes;
        in[b] += bytes;
        between[(a / together * size + member_of(a, stage)) * size + member_of(b, stage)] += bytes;
      }
  }
  double port() const { return std::max(most(out), most(in)); }
};

/// Seconds of the busiest link at its nominal rate. The group's chips have their own share of a member's links: `lanes`
/// of `chips_each`.
double routed(const Crossing& crossing, const Stage& stage, const hw::NetworkLevel& level) {
  const hw::Routes routes(seen(level, stage));
  const std::size_t size = number(stage.size);
  const auto groups = offsets(level, stage);
  double busiest = 0;
  for (std::size_t part = 0; part < crossing.parts; ++part) {
    std::vector<double> loads;
    for (const int offset : groups) {
      const auto place = places(stage, level.chips_each, offset);
      for (std::size_t a = 0; a < size; ++a)
        for (std::size_t b = 0; b < size; ++b) routes.send(place[a], place[b], crossing.between[(part * size + a) * size + b], loads);
    }
    busiest = std::max(busiest, routes.busiest(loads));
  }
  return busiest * level.chips_each / stage.lanes;
}

/// Seconds of the busiest rank at the nominal rate of all its links; 0 where ranks share a member's.
double port_time(const Crossing& crossing, const Stage& stage) {
  if (stage.line[0]->axis.shared) return 0;
  double rate = 0;
  for (std::size_t i = 0; i < stage.axes; ++i)
    rate += stage.line[i]->axis.bandwidth / stage.line[i]->efficiency * hw::links_used(stage.line[i]->axis, stage.part[i]);
  return crossing.port() / rate;
}

}  // namespace

ExchangeTime exchange_time(const std::vector<double>& traffic, const Stages& group, const std::vector<hw::NetworkLevel>& levels, const Fabrics& fabric) {
  ExchangeTime time;
  for (const Stage& stage : group.all()) {
    const Crossing crossing(traffic, stage, group);
    if (crossing.port() <= 0) continue;
    const RatedAxis& line = *stage.line[0];
    const double port = port_time(crossing, stage);
    const double here = std::max(routed(crossing, stage, levels[stage.level]), port) / line.efficiency;
    time.floor = std::max(time.floor, port);
    time.sent += most(crossing.out);
    time.latency = std::max(time.latency, line.latency);
    if (here > time.transfer) time.transfer = here, time.level = stage.level;
  }
  time.latency += (group.ranks - 2) * fabric.gap;
  return time;
}

}  // namespace gambrel::sim

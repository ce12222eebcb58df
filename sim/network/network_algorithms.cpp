// Forms: Thakur, Rabenseifner & Gropp 2005 (ring, halving-doubling, scatter + all-gather); Sanders, Speck & Traeff 2009
// (double binary tree); Patarasuk & Yuan 2009 (rings); Jain & Sabharwal 2010 (multi-axis torus); Klenk et al. 2020
// (in-network). V: bytes of the whole message; T = latency + transfer, the transfer on the busiest link.
#include "sim/network/network_algorithms.hpp"

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>

namespace gambrel::sim {
namespace {

using enum CollectiveKind;
using Found = std::optional<AlgorithmTime>;

bool is_line(const RatedAxis& line) {
  using enum hw::TopologyKind;
  return line.axis.topology == ring || line.axis.topology == mesh || line.axis.topology == torus;
}
bool is_switch(const RatedAxis& line) { return !is_line(line) && line.axis.topology != hw::TopologyKind::fully_connected; }
bool is_switch(const Stage& stage) { return is_switch(*stage.line[0]); }

/// Trees and recursive halving need a power of two; an unsigned that large does not occur.
bool power_of_two(double n) { return n >= 1 && n < 4e9 && std::has_single_bit(static_cast<unsigned>(n)) && n == std::floor(n); }
double rounds(double n) { return std::ceil(std::log2(n)); }

AlgorithmTime after(AlgorithmTime a, const AlgorithmTime& b) {
  if (b.transfer > a.transfer) a.level = b.level;
  return {a.latency + b.latency, a.transfer + b.transfer, a.level};
}
AlgorithmTime twice(AlgorithmTime a) { return {2 * a.latency, 2 * a.transfer, a.level}; }

struct Model {
  const Fabrics& fabric;

  /// A step to a neighbour `hops` links away, or through a switch.
  double step(const RatedAxis& line, double hops = 1) const {
    const double links = is_switch(line) ? fabric.options.switch_hops : hops;
    return links * line.latency + fabric.options.step_s;
  }
  double serialisations(const RatedAxis& line) const { return fabric.options.store_and_forward && is_switch(line) ? 2 : 1; }

  double shift(const RatedAxis& line, const hw::Part& part, bool both) const { return hw::shift_time(line.axis, part, both) * serialisations(line); }
  double uniform(const RatedAxis& line, const hw::Part& part) const {
    double load = hw::uniform_time(line.axis, part);
    if (!fabric.options.port_contention && is_switch(line)) load /= part.size - 1;
    // Store and forward: only the last of several messages waits for its second passage.
    return load * (serialisations(line) - 1) / std::max(1, part.size - 1) + load;
  }
  double swap(const RatedAxis& line, const hw::Part& part, int distance) const { return hw::swap_time(line.axis, part, distance) * serialisations(line); }

  /// s/B of a ring through all members of a stage. Several axes hold a Hamiltonian cycle, closed or not.
  double ring_rate(const Stage& stage, bool both) const {
    if (stage.axes == 1) return shift(*stage.line[0], stage.part[0], both);
    double slowest = 0;
    for (std::size_t i = 0; i < stage.axes; ++i) slowest = std::max(slowest, shift(*stage.line[i], stage.part[i], false));
    return both ? slowest / 2 : slowest;
  }

  /// Of one step of that ring. A line is passed on every second member and back on the others: two links a step.
  double ring_step(const Stage& stage) const {
    const RatedAxis& line = *stage.line[0];
    const bool folded = stage.axes == 1 && is_line(line) && !hw::closed(line.axis, stage.part[0]) && stage.part[0].size > 2;
    return step(line, stage.part[0].stride * (folded ? 2.0 : 1.0));
  }

  /// Latency of an all-gather along one axis in both directions.
  double axis_latency(const RatedAxis& line, const hw::Part& part) const {
    const double steps = hw::closed(line.axis, part) || !is_line(line) ? std::ceil((part.size - 1) / 2.0) : part.size - 1;
    return steps * step(line, part.stride);
  }

  AlgorithmTime ring(const Stages& group, double bytes, bool both, double share) const {
    AlgorithmTime time{.level = group.top().level};
    double steps = 0;
    const double n = group.ranks;
    for (const Stage& stage : group.all()) {
      const double crossings = (n / stage.lanes) * (&stage == &group.top() ? 1 : 1 - 1 / stage.size);
      steps += crossings * ring_step(stage);
      const double transfer = share * bytes / stage.lanes * ring_rate(stage, both);
      if (transfer > time.transfer) time.transfer = transfer, time.level = stage.level;
    }
    const bool halved = both && group.count == 1 && (group.top().axes > 1 || hw::closed(group.top().line[0]->axis, group.top().part[0]));
    time.latency = steps / n * (halved ? std::ceil((n - 1) / 2) : n - 1);
    return time;
  }

  /// Parts of the message start on different axes, so that all axes are busy in every phase; each part ends on the axis
  /// whose rate it is proportional to.
  AlgorithmTime torus(const Stage& stage, double bytes) const {
    const std::size_t k = stage.axes;
    std::array<double, 3> rate{}, latency{};
    double sum = 0, worst = 0;
    for (std::size_t i = 0; i < k; ++i) {
      rate[i] = 1 / shift(*stage.line[i], stage.part[i], true);
      latency[i] = axis_latency(*stage.line[i], stage.part[i]);
      sum += rate[i];
      worst = std::max(worst, latency[i]);
    }
    std::array<double, 3> phase{};
    for (std::size_t last = 0; last < k; ++last) {
      double volume = bytes * rate[last] / sum;
      for (std::size_t j = 0; j < k; ++j) {  // backwards from the last phase
        const std::size_t axis = (last + k - j) % k;
        const double size = stage.part[axis].size;
        phase[j] = std::max(phase[j], volume * (size - 1) / size / rate[axis]);
        volume /= size;
      }
    }
    return {static_cast<double>(k) * worst, phase[0] + phase[1] + phase[2], stage.level};
  }

  AlgorithmTime halving(const Stage& stage, double bytes) const {
    AlgorithmTime time{.level = stage.level};
    for (std::size_t i = 0; i < stage.axes; ++i)
      for (int distance = 1; distance < stage.part[i].size; distance *= 2) {
        bytes /= 2;
        time.latency += step(*stage.line[i], static_cast<double>(distance) * stage.part[i].stride);
        time.transfer += bytes * swap(*stage.line[i], stage.part[i], distance);
      }
    return time;
  }

  /// Everyone sends to everyone at once; `bytes` of one rank, the part that it keeps included.
  AlgorithmTime direct(const Stage& stage, double bytes) const {
    AlgorithmTime time{.level = stage.level};
    for (std::size_t i = 0; i < stage.axes; ++i) {
      const RatedAxis& line = *stage.line[i];
      time.transfer = std::max(time.transfer, bytes * uniform(line, stage.part[i]));
      const double far = hw::closed(line.axis, stage.part[i]) ? stage.part[i].size / 2 : stage.part[i].size - 1;
      time.latency += step(line, is_line(line) ? far * stage.part[i].stride : 1);
    }
    return time;
  }

  AlgorithmTime direct(const Stages& group, double bytes) const {
    AlgorithmTime time;
    for (const Stage& stage : group.all()) {
      const AlgorithmTime here = direct(stage, bytes * stage.lanes * stage.size / group.ranks);
      time.latency = std::max(time.latency, here.latency);
      if (here.transfer > time.transfer) time.transfer = here.transfer, time.level = here.level;
    }
    time.latency += (group.ranks - 2) * fabric.gap;
    return time;
  }

  /// Two trees, each on half of the message; every rank is inside one and a leaf of the other, so that it sends the
  /// message once up and once down. An edge may join any two members.
  AlgorithmTime tree(const Stages& group, double bytes, double passes) const {
    AlgorithmTime time;
    for (const Stage& stage : group.all()) {
      const RatedAxis& line = *stage.line[0];
      const double n = stage.size, spread = uniform(line, stage.part[0]) * n / (n - 1);
      const double transfer = passes * bytes / stage.lanes * spread;
      time.latency += passes * rounds(n) * step(line);
      if (transfer > time.transfer) time.transfer = transfer, time.level = stage.level;
    }
    return time;
  }

  /// The switch gathers and spreads: one step up, one down. A rank's reduced part comes to it beside its whole input.
  AlgorithmTime in_network(const Stage& stage, CollectiveKind kind, double bytes) const {
    const RatedAxis& line = *stage.line[0];
    const double n = stage.size, one = shift(line, stage.part[0], false);
    const double share = kind == all_reduce ? (n + 1) / n * multimem : kind == broadcast ? 1 : (n - 1) / n;
    return {(kind == all_reduce ? 2 : 1) * step(line), share * bytes * one, stage.level};
  }
  /// Share of a link that in-switch reduction reaches, below what plain messages do: 480 GB/s of bus bandwidth on 8 H200s
  /// is 0.69 of what (n+1)/n V over 450 GB/s allow (stas00/ml-engineering, network README), plain rings reach 0.82.
  static constexpr double multimem = 0.82 / 0.69;

  Found gather(Algorithm algorithm, const Stage& stage, double bytes) const;
  Found best_gather(const Stage& stage, double bytes) const;
  Found whole(Algorithm algorithm, CollectiveKind kind, const Stage& stage, double bytes) const;
  Found best_whole(CollectiveKind kind, const Stage& stage, double bytes) const;
  Found staged(CollectiveKind kind, const Stages& group, double bytes, Found forced_gather(const Model&, const Stage&, double),
               Found forced_whole(const Model&, CollectiveKind, const Stage&, double)) const;
};

Stages alone(const Stage& stage) {
  Stages group{.count = 1, .ranks = stage.size};
  group.stage[0] = stage;
  group.stage[0].lanes = 1;
  return group;
}

/// All-gather (or reduce-scatter, its mirror) of one stage.
Found Model::gather(Algorithm algorithm, const Stage& stage, double bytes) const {
  const double n = stage.size;
  switch (algorithm) {
    case Algorithm::ring: return ring(alone(stage), bytes, false, (n - 1) / n);
    case Algorithm::bidirectional_ring:
      if (is_switch(stage)) return {};
      return ring(alone(stage), bytes, true, (n - 1) / n);
    case Algorithm::torus:
      if (stage.axes < 2) return {};
      return torus(stage, bytes);
    case Algorithm::halving_doubling:
      for (std::size_t i = 0; i < stage.axes; ++i)
        if (!power_of_two(stage.part[i].size)) return {};
      return halving(stage, bytes);
    case Algorithm::direct: {
      AlgorithmTime time = direct(stage, bytes);
      time.latency += (n - 2) * fabric.gap;
      return time;
    }
    case Algorithm::in_network:
      if (!stage.line[0]->adds) return {};
      return in_network(stage, all_gather, bytes);
    case Algorithm::double_binary_tree:
    case Algorithm::hierarchical: return {};
  }
  return {};
}

void keep_faster(Found& best, const Found& other) {
  if (other && (!best || other->seconds() < best->seconds())) best = other;
}

constexpr std::array one_level{Algorithm::ring, Algorithm::bidirectional_ring, Algorithm::torus, Algorithm::halving_doubling, Algorithm::direct, Algorithm::in_network,
                               Algorithm::double_binary_tree};

Found Model::best_gather(const Stage& stage, double bytes) const {
  Found best;
  for (Algorithm algorithm : one_level) keep_faster(best, gather(algorithm, stage, bytes));
  return best;
}

Found doubled(const Found& half) { return half ? Found(twice(*half)) : Found{}; }

/// All-reduce, broadcast or all-to-all of one stage.
Found Model::whole(Algorithm algorithm, CollectiveKind kind, const Stage& stage, double bytes) const {
  if (kind == all_to_all) return algorithm == Algorithm::direct ? gather(algorithm, stage, bytes) : Found{};
  if (algorithm == Algorithm::in_network && stage.line[0]->adds) return in_network(stage, kind, bytes);
  if (algorithm == Algorithm::double_binary_tree) {
    if (!is_switch(stage)) return {};
    return tree(alone(stage), bytes, kind == all_reduce ? 2 : 1);
  }
  const bool ring_of = algorithm == Algorithm::ring || algorithm == Algorithm::bidirectional_ring;
  if (kind == broadcast && ring_of && !(is_switch(stage) && algorithm == Algorithm::bidirectional_ring))
    return ring(alone(stage), bytes, algorithm == Algorithm::bidirectional_ring, 1);
  return doubled(gather(algorithm, stage, bytes));
}

Found Model::best_whole(CollectiveKind kind, const Stage& stage, double bytes) const {
  Found best;
  for (Algorithm algorithm : one_level) keep_faster(best, whole(algorithm, kind, stage, bytes));
  return best;
}

/// Level by level: inside, parts are scattered (reduced) over the lanes and gathered again; what is left crosses the
/// outermost level. An all-to-all moves all of its bytes on every level, in fewer and larger messages.
Found Model::staged(CollectiveKind kind, const Stages& group, double bytes, Found gather_of(const Model&, const Stage&, double),
                    Found whole_of(const Model&, CollectiveKind, const Stage&, double)) const {
  const bool halves = kind == all_gather || kind == reduce_scatter;
  AlgorithmTime time{.level = group.top().level};
  for (const Stage& stage : group.all()) {
    Found here;
    if (kind == all_to_all) here = whole_of(*this, kind, stage, bytes);
    else if (halves) here = gather_of(*this, stage, bytes / stage.lanes);
    else if (&stage == &group.top()) here = whole_of(*this, kind, stage, bytes / stage.lanes);
    else here = doubled(gather_of(*this, stage, bytes / stage.lanes));
    if (!here) return {};
    time = after(time, *here);
  }
  return time;
}

template <Algorithm algorithm>
Found staged_by(const Model& model, CollectiveKind kind, const Stages& group, double bytes) {
  return model.staged(
      kind, group, bytes, [](const Model& m, const Stage& s, double v) { return m.gather(algorithm, s, v); },
      [](const Model& m, CollectiveKind k, const Stage& s, double v) { return m.whole(algorithm, k, s, v); });
}

Found staged_best(const Model& model, CollectiveKind kind, const Stages& group, double bytes) {
  return model.staged(
      kind, group, bytes, [](const Model& m, const Stage& s, double v) { return m.best_gather(s, v); },
      [](const Model& m, CollectiveKind k, const Stage& s, double v) { return m.best_whole(k, s, v); });
}

bool all_switches(const Stages& group) {
  return std::ranges::all_of(group.all(), [](const Stage& stage) { return is_switch(stage); });
}

double ring_share(CollectiveKind kind, double n) {
  if (kind == broadcast) return 1;
  return (kind == all_reduce ? 2 : 1) * (n - 1) / n;
}

Found flat_ring(const Model& model, CollectiveKind kind, const Stages& group, double bytes, bool both) {
  if (kind == all_to_all) return {};
  const bool one_port = std::ranges::any_of(group.all(), [](const Stage& stage) { return is_switch(stage); });
  if (both && one_port) return {};
  AlgorithmTime time = model.ring(group, bytes, both, ring_share(kind, group.ranks));
  if (kind == all_reduce) time.latency *= 2;
  return time;
}

/// The slowest step of a shift by one rank: each level is crossed by some rank, over all of its member's shared links.
AlgorithmTime point_to_point_time(const Model& model, const Stages& group, double bytes) {
  AlgorithmTime worst;
  for (const Stage& stage : group.all())
    for (std::size_t i = 0; i < stage.axes; ++i) {
      const RatedAxis& line = *stage.line[i];
      const double lanes = line.axis.shared ? stage.lanes : 1;
      const AlgorithmTime here{model.step(line, stage.part[i].stride), bytes * model.shift(line, stage.part[i], false) / lanes, stage.level};
      if (here.seconds() > worst.seconds()) worst = here;
    }
  return worst;
}

Found flat(Algorithm algorithm, CollectiveKind kind, const Stages& group, double bytes, const Model& model) {
  if (kind == point_to_point) return algorithm == Algorithm::direct ? Found(point_to_point_time(model, group, bytes)) : Found{};
  switch (algorithm) {
    case Algorithm::ring: return flat_ring(model, kind, group, bytes, false);
    case Algorithm::bidirectional_ring: return flat_ring(model, kind, group, bytes, true);
    case Algorithm::torus: return group.count == 1 ? staged_by<Algorithm::torus>(model, kind, group, bytes) : Found{};
    case Algorithm::halving_doubling: return staged_by<Algorithm::halving_doubling>(model, kind, group, bytes);
    case Algorithm::in_network: return staged_by<Algorithm::in_network>(model, kind, group, bytes);
    case Algorithm::double_binary_tree:
      if ((kind != all_reduce && kind != broadcast) || !all_switches(group)) return {};
      return model.tree(group, bytes, kind == all_reduce ? 2 : 1);
    case Algorithm::direct: {
      const AlgorithmTime time = model.direct(group, bytes);
      return kind == all_reduce || kind == broadcast ? twice(time) : time;
    }
    case Algorithm::hierarchical:
      if (group.count < 2) return {};
      return staged_best(model, kind, group, bytes);
  }
  return {};
}

}  // namespace

std::optional<AlgorithmTime> time_of(Algorithm algorithm, CollectiveKind kind, const Stages& group, double bytes, const Fabrics& fabric) {
  Found time = flat(algorithm, kind, group, bytes, Model{fabric});
  if (time && (kind == all_reduce || kind == reduce_scatter) && algorithm != Algorithm::in_network)
    time->transfer = std::max(time->transfer, fabric.reduce * bytes * (group.ranks - 1) / group.ranks);
  return time;
}

double floor_of(CollectiveKind kind, const Stages& group, double bytes) {
  double floor = 0;
  for (const Stage& stage : group.all()) {
    double rate = 0;
    for (std::size_t i = 0; i < stage.axes; ++i)
      rate += stage.line[i]->axis.bandwidth / stage.line[i]->efficiency * hw::links_used(stage.line[i]->axis, stage.part[i]);
    const double n = stage.size, out = (n - 1) / n;
    double sent = out * bytes / stage.lanes;
    if (kind == all_reduce) sent = bytes / stage.lanes * (stage.line[0]->adds ? 1 : 2 * out);
    if (kind == broadcast) sent = bytes / stage.lanes;
    if (kind == all_to_all) sent = out * bytes * stage.lanes * n / group.ranks;
    if (kind == point_to_point) sent = bytes / (stage.line[0]->axis.shared ? stage.lanes : 1);
    floor = std::max(floor, sent / rate);
  }
  return floor;
}

double sent_by_rank(Algorithm algorithm, CollectiveKind kind, const Stages& group, double bytes) {
  const double n = group.ranks;
  if (kind == broadcast || kind == point_to_point) return bytes;
  if (kind != all_reduce) return bytes * (n - 1) / n;
  return algorithm == Algorithm::in_network ? bytes * (n + 1) / n : 2 * bytes * (n - 1) / n;
}

}  // namespace gambrel::sim

// Kernel models of collectives in one node, NCCL's and an engine's own all-reduce. A library has protocols: LL (low
// latency, flags beside the data), LL128 and Simple (bulk, in chunks); Hu et al., "Demystifying NCCL", arXiv 2507.04786.
// Rings: Patarasuk & Yuan 2009. All three types share one form; what differs is how many bytes go in how many steps.
#include "sim/kernel_models/collective_model.hpp"

#include <algorithm>
#include <cmath>

#include "sim/kernel_models/attention_model.hpp"
#include "sim/kernel_models/kernel_models.hpp"

namespace gambrel::sim {

using enum CollectiveKind;

bool is_transfer(KernelKind kind) {
  return kind == KernelKind::collective || kind == KernelKind::moe_dispatch || kind == KernelKind::moe_combine;
}

namespace {

double least_bytes(const Message& m) {
  const bool shard_stays = m.kind == all_gather || m.kind == reduce_scatter || m.kind == all_to_all;
  return shard_stays ? m.bytes * (m.ranks - 1) / m.ranks : m.bytes;
}

}  // namespace

double transfer_floor(const KernelCall& call, const ChipFigures& chip) {
  if (!is_transfer(call.kind) || call.message.ranks <= 1) return 0;
  return (call.kind == KernelKind::collective ? least_bytes(call.message) : exchanged_bytes(call.kind, call.message)) / chip.link;
}

namespace {

constexpr Search linear = Search::linear, logarithmic = Search::logarithmic;

constexpr std::array<Constant, 14> collective_constants{{
    {"launch_s", 6e-6, 5e-7, 3e-5, logarithmic, "s", "launch and first synchronisation"},
    {"step_s", 5e-7, 0, 4e-6, linear, "s", "of a step: to the next rank of a ring, or to one more peer"},
    {"low_rate", 0.016, 0.003, 1.5, logarithmic, "", "share of the link that the low-latency protocol reaches"},
    {"mid_s", 2e-6, 0, 2e-5, linear, "s", "more, of the middle protocol; of an engine's own all-reduce for each peer"},
    {"mid_rate", 0.4, 0.05, 1.5, logarithmic, "", "share of the link that the middle protocol reaches"},
    {"bulk_from", 2e6, 1e5, 2e7, logarithmic, "B", "message over 4 ranks from which the library takes the bulk protocol"},
    {"bulk_from_growth", 0.6, -1, 1.5, linear, "", "exponent of its growth with the ranks"},
    {"full_node_from", 1.5, 0.5, 5, logarithmic, "", "times more, over a full node of 8"},
    {"bulk_s", 1.4e-5, 0, 6e-5, linear, "s", "more, of the bulk protocol"},
    {"bulk_step_s", 1e-6, 0, 8e-6, linear, "s", "of a step in it"},
    {"bulk_rate", 0.77, 0.3, 1, logarithmic, "", "share of the link that it reaches"},
    {"own_share", 0.6, 0.001, 3, logarithmic, "", "time to copy the own shard, over that to send it"},
    {"byte_reduction", 0.05, 0, 0.3, linear, "", "more time in bulk, if elements of one byte are added"},
    {"full_node_gain", 1, 1, 1.5, linear, "", "rate in bulk of an all-reduce over a full node: the switch adds"},
}};

struct Values {
  double launch_s, step_s, low_rate, mid_s, mid_rate, bulk_from, bulk_from_growth, full_node_from, bulk_s, bulk_step_s,
      bulk_rate, own_share, byte_reduction, full_node_gain;
};

bool is_custom(const Message& m) { return m.custom && m.kind == all_reduce; }

/// The faster of two protocols, with a soft corner.
double faster(double a, double b) {
  const double shorter = std::min(a, b), x = shorter / std::max(a, b), x2 = x * x, x4 = x2 * x2;
  return shorter / std::sqrt(std::sqrt(std::sqrt(1 + x4 * x4)));
}

/// 0 well below a size, 1 well above it. Not sharp: the library's choice also depends on what is not in the call.
double switched(double bytes, double size) {
  const double x = size / bytes, x2 = x * x, x4 = x2 * x2;
  return 1 / (1 + x4 * x4 * x4);
}

struct Collective {
  const Values& c;
  const Message& m;
  double link;
  bool narrow;  ///< elements of one byte

  double peers() const { return m.ranks - 1; }
  bool adds() const { return m.kind == all_reduce || m.kind == reduce_scatter; }

  double ring_steps() const {
    if (m.kind == all_reduce) return 2 * peers();
    return m.kind == point_to_point ? 1 : peers();
  }
  double ring_bytes(double bytes) const {
    if (m.kind == broadcast || m.kind == point_to_point) return bytes;
    return ring_steps() * bytes / m.ranks;
  }

  /// Low-latency or middle protocol. An engine's own all-reduce sends the whole message to every peer (one shot);
  /// all-to-all's low-latency sends to all peers at once.
  double small(double bytes) const {
    const bool one_shot = is_custom(m);
    const double low_bytes = one_shot ? bytes * peers() : m.kind == all_to_all ? bytes / m.ranks : ring_bytes(bytes);
    const double mid_bytes = one_shot ? low_bytes : ring_bytes(bytes);
    const double start = c.launch_s + c.step_s * (one_shot ? peers() : ring_steps());
    const double mid_start = start + c.mid_s * (one_shot ? peers() : 1);
    return faster(start + low_bytes / (c.low_rate * link), mid_start + mid_bytes / (c.mid_rate * link));
  }

  double bulk(double bytes) const {
    const bool in_switch = m.kind == all_reduce && m.ranks >= full_node && !narrow;
    const double rate = c.bulk_rate * link * (in_switch ? c.full_node_gain : 1);
    const double own = m.kind == broadcast || m.kind == point_to_point ? 0 : c.own_share * bytes / m.ranks / link;
    const double seconds = c.launch_s + c.bulk_s + c.bulk_step_s * ring_steps() + ring_bytes(bytes) / rate + own;
    return seconds * (adds() && narrow ? 1 + c.byte_reduction : 1);
  }

  /// Never falls with the size: libraries do take a slower protocol than they could, but a larger message is never
  /// charged less than a smaller one.
  double seconds() const {
    const double size = c.bulk_from * std::pow(m.ranks / 4, c.bulk_from_growth) * (m.ranks >= full_node ? c.full_node_from : 1);
    const double below = small(std::min(m.bytes, size)), above = std::max(bulk(m.bytes), below);
    const double share = is_custom(m) ? (m.bytes > size ? 1 : 0) : switched(m.bytes, size);
    return below * (1 - share) + above * share;
  }
};

double predict_collective(const KernelCall& call, const ChipFigures& chip, std::span<const double> values) {
  if (call.message.ranks <= 1) return 0;
  const auto c = bind<Values>(collective_constants, values);
  const Collective collective{c, call.message, chip.link, call.activations.element_bits() <= 8};
  return std::max(collective.seconds(), transfer_floor(call, chip));
}

std::string_view collective_type(const KernelCall& call, const ChipFigures&) {
  if (is_custom(call.message)) return "custom";
  return call.message.kind == all_to_all ? "nccl_all_to_all" : "nccl";
}

}  // namespace

constinit const KernelModel collective_model{KernelKind::collective, collective_constants, predict_collective, collective_type};

}  // namespace gambrel::sim

// Kernel models of expert parallelism's exchanges as DeepEP does them (github.com/deepseek-ai/DeepEP): tokens to the
// ranks of their experts (dispatch) and back (combine). `normal`: some cores copy, each token goes once to a rank.
// `low_latency`: each token goes once to each of its experts, by remote writes.
#include <algorithm>
#include <cmath>

#include "sim/kernel_models/attention_model.hpp"
#include "sim/kernel_models/collective_model.hpp"
#include "sim/kernel_models/kernel_models.hpp"

namespace gambrel::sim {

namespace {

bool is_normal(const Message& m) { return m.cores > 0; }

/// Bytes an element: dispatch sends fp8 (inferred: two bytes would exceed the link), combine bf16.
double element_bytes(KernelKind kind) { return kind == KernelKind::moe_dispatch ? 1 : 2; }

/// Groups of experts, out of `groups`, that at least one of the token's experts lies in: hypergeometric.
double groups_reached(const Message& m, double groups) {
  double missed = 1;
  const double inside = m.experts / groups;
  for (double i = 0; i < m.top_k && missed > 0; ++i) missed *= std::max(0.0, (m.experts - inside - i) / (m.experts - i));
  return groups * (1 - missed);
}

/// Rows that one rank sends, counted as one a rank reached or one an expert.
double rows_sent(const Message& m) { return m.tokens * (is_normal(m) ? ranks_reached(m) : m.top_k); }

}  // namespace

double ranks_reached(const Message& exchange) { return groups_reached(exchange, exchange.ranks); }

double exchanged_bytes(KernelKind kind, const Message& exchange) {
  return rows_sent(exchange) * exchange.hidden * element_bytes(kind) * (exchange.ranks - 1) / exchange.ranks;
}

namespace {

constexpr Search linear = Search::linear, logarithmic = Search::logarithmic, fixed = Search::fixed;

constexpr std::array<Constant, 9> exchange_constants{{
    {"launch_s", 1.5e-5, 1e-6, 6e-5, logarithmic, "s", "launch and barriers"},
    {"width_s", 0, 0, 1e-8, linear, "s", "normal: more, an element of a row and root of the ranks reached: filling the pipeline"},
    {"expert_s", 0, 0, 1e-7, linear, "s", "low latency: more, an expert: its counters"},
    {"element_clk", 0.1, 0, 2, linear, "clk", "a core, an element of a row: normal of a token's, low latency of a received one"},
    {"rank_element_clk", 0.05, 0, 2, linear, "clk", "normal: a core, an element and rank reached"},
    {"row_clk", 100, 0, 1000, linear, "clk", "a core, a row: normal a token's and each rank's, low latency a received one"},
    {"link_rate", 0.7, 0.1, 1, logarithmic, "", "share of the link reached"},
    {"overlap_exponent", 4, 1, 12, logarithmic, "", "how well copying and sending hide each other: 1 not at all"},
    {"far_rate", 1.0 / 9, 0.001, 1, fixed, "", "share of the link between nodes: 400 Gb/s beside 450 GB/s; not measured"},
}};

struct Values {
  double launch_s, width_s, expert_s, element_clk, rank_element_clk, row_clk, link_rate, overlap_exponent, far_rate;
};

/// Clocks of copying: over the cores given, or of the expert that receives its rows.
double copy_clocks(const Message& m, const Values& c) {
  if (!is_normal(m)) return m.ranks * m.tokens * m.top_k / m.experts * (c.row_clk + m.hidden * c.element_clk);
  const double reached = ranks_reached(m);
  return m.tokens * (m.hidden * (c.element_clk + c.rank_element_clk * reached) + c.row_clk * (1 + reached)) / m.cores;
}

/// Within the node, and between nodes: there a token goes once to a node (normal) or to an expert (low latency). The
/// low-latency kernels send to the own rank as to any other.
double send_seconds(KernelKind kind, const Message& m, const Values& c, double link) {
  const double row = m.hidden * element_bytes(kind);
  const double near = is_normal(m) ? exchanged_bytes(kind, m) : rows_sent(m) * row;
  const double far = m.tokens * row * (is_normal(m) ? groups_reached(m, m.nodes) : m.top_k) * (m.nodes - 1) / m.nodes;
  return std::max(near / (c.link_rate * link), far / (c.far_rate * link));
}

double predict_exchange(const KernelCall& call, const ChipFigures& chip, std::span<const double> values) {
  const Message& m = call.message;
  if (m.ranks <= 1) return 0;
  const auto c = bind<Values>(exchange_constants, values);
  const double start = c.launch_s + (is_normal(m) ? c.width_s * m.hidden * std::sqrt(ranks_reached(m)) : c.expert_s * m.experts);
  const double moved = overlap(copy_clocks(m, c) / chip.clock, send_seconds(call.kind, m, c, chip.link), c.overlap_exponent);
  return std::max(start + moved, transfer_floor(call, chip));
}

std::string_view exchange_type(const KernelCall& call, const ChipFigures&) { return is_normal(call.message) ? "normal" : "low_latency"; }

}  // namespace

constinit const KernelModel moe_dispatch_model{KernelKind::moe_dispatch, exchange_constants, predict_exchange, exchange_type};
constinit const KernelModel moe_combine_model{KernelKind::moe_combine, exchange_constants, predict_exchange, exchange_type};

}  // namespace gambrel::sim

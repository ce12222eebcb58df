#include "reports/json.hpp"

#include <algorithm>
#include <cmath>

#include "base/text.hpp"
#include "base/version.hpp"
#include "reports/columns.hpp"
#include "reports/plan.hpp"
#include "reports/summary.hpp"

namespace gambrel::reports {
namespace {

/// JSON is UTF-8: bytes that are not (a file's name may hold any) are shown as escapes.
Node text(std::string_view value) {
  return find_invalid_utf8(value) == std::string_view::npos ? Node::of(value)
                                                            : Node::of(std::string_view(printable(value)));
}

template <class Quantity>
Node optional_number(const std::optional<Quantity>& quantity) {
  return quantity ? number(quantity->value) : Node{};
}

/// What the work takes, in its parts; null where it is not known.
void set_energy_parts(Node& node, const std::optional<sim::Energy>& energy) {
  node.set("energy_arithmetic_j", energy ? number(energy->arithmetic.value) : Node{});
  node.set("energy_movement_j", energy ? number(energy->movement.value) : Node{});
}

/// Keys come from files; a repeated one keeps its last value, as in `Node::set`.
Node pairs_node(const std::vector<std::pair<std::string, std::string>>& pairs) {
  Node node = Node::mapping();
  for (const auto& [key, value] : pairs) node.set(text(key).text, text(value));
  return node;
}

Node bytes_node(const std::vector<std::string>& levels, const std::vector<sim::LevelCost>& costs) {
  Node node = Node::mapping();
  for (std::size_t i = 0; i < std::min(levels.size(), costs.size()); ++i)
    node.set(text(levels[i]).text, number(costs[i].bytes.value));
  return node;
}

/// The time arithmetic alone would take; it is part of no prediction.
double math_time(const std::vector<const sim::Phase*>& phases) {
  double seconds = 0;
  for (const auto* phase : phases)
    for (const auto& op : phase->ops) seconds += op.count * op.t_math.value;
  return seconds;
}

Node total_node(const sim::Total& total, const std::vector<const sim::Phase*>& phases) {
  static const sim::Phase none;
  const sim::Phase& phase = phases.empty() ? none : *phases.front();
  Node node = Node::mapping();
  node.set("time_s", number(total.time.value));
  node.set("time_lo_s", number(total.time_low.value));
  node.set("time_hi_s", number(total.time_high.value));
  node.set("roofline_s", number(total.roofline.value));
  node.set("t_math_s", number(math_time(phases)));
  node.set("flops", number(total.flops.value));
  node.set("vector_flops", number(total.vector_flops.value));
  node.set("bytes", bytes_node(phase.levels, total.levels));
  node.set("bytes_main", number(level_bytes(total.levels, phase.main_level)));
  node.set("intensity", number(total.intensity.value));
  node.set("bound", text(total.bound));
  node.set("bound_share", number(total.bound_share));
  node.set("tokens", number(total.tokens));
  node.set("tokens_per_s", number(total.tokens_per_second));
  node.set("mfu", number(total.mfu));
  node.set("mbu", number(total.mbu));
  node.set("energy_j", optional_number(total.energy));
  set_energy_parts(node, total.active_energy);
  node.set("energy_idle_j", total.energy ? number(total.idle_energy.value) : Node{});
  node.set("power_w", optional_number(total.power));
  node.set("power_share", total.power_share > 0 ? number(total.power_share) : Node{});
  node.set("j_per_token", optional_number(energy_per_token(total)));
  node.set("cost_usd", optional_number(total.cost));
  const auto per_million = dollars_per_million_tokens(total);
  node.set("usd_per_token", per_million ? number(*per_million / 1e6) : Node{});
  node.set("usd_per_million_tokens", per_million ? number(*per_million) : Node{});
  return node;
}

Node serving_node(const sim::Serving& serving) {
  Node node = Node::mapping();
  node.set("ttft_s", number(serving.ttft.value));
  node.set("tpot_s", number(serving.tpot.value));
  node.set("latency_s", number(serving.latency.value));
  node.set("output_tokens_per_s", number(serving.output_tokens_per_second));
  node.set("request_rate", number(serving.request_rate));
  return node;
}

Node memory_node(const sim::MemoryUse& memory) {
  Node tiers = Node::sequence();
  for (const auto& tier : memory.tiers) {
    Node& node = tiers.append(Node::mapping());
    node.set("level", text(tier.level));
    node.set("capacity", tier.capacity.value > 0 ? number(tier.capacity.value) : Node{});
    node.set("weights", number(tier.weights.value));
    node.set("kv_cache", number(tier.kv_cache.value));
    node.set("activations", number(tier.activations.value));
    node.set("gradients", number(tier.gradients.value));
    node.set("optimizer", number(tier.optimizer.value));
    node.set("used", number(tier.used().value));
  }
  Node node = Node::mapping();
  node.set("fits", Node::of(memory.fits));
  node.set("max_batch", number(memory.max_batch));
  node.set("kv_bytes_per_token", number(memory.kv_per_token.value));
  node.set("peak", text(memory.peak));
  node.set("tiers", std::move(tiers));
  return node;
}

Node op_node(const Row& row, bool with_phase) {
  const sim::OpEstimate& op = *row.op;
  Node node = Node::mapping();
  if (with_phase) node.set("phase", text(row.phase->name));
  node.set("name", text(op.name));
  node.set("kind", text(op.kind));
  node.set("count", number(op.count));
  node.set("ranks", number(op.ranks));
  node.set("math", text(to_string(op.math)));
  node.set("flops", number(op.flops.value));
  node.set("vector_flops", number(op.vector_flops.value));
  node.set("bytes", bytes_node(row.phase->levels, op.levels));
  node.set("intensity", number(op.intensity.value));
  node.set("t_math_s", number(op.t_math.value));
  node.set("t_mem_s", number(op.t_mem.value));
  node.set("t_net_s", number(op.t_net.value));
  node.set("time_s", number(op.time.value));
  node.set("time_lo_s", number(op.time_low.value));
  node.set("time_hi_s", number(op.time_high.value));
  node.set("roofline_s", number(op.roofline.value));
  node.set("fused", Node::of(op.fused));
  node.set("total_time_s", number(total_time(op).value));
  node.set("share", number(share_of(*row.run, total_time(op))));
  node.set("bound", text(op.bound));
  node.set("energy_j", op.energy ? number(op.energy->total().value) : Node{});
  set_energy_parts(node, op.energy);
  node.set("provenance", text(to_string(op.provenance)));
  return node;
}

Node roofs_node(const std::vector<sim::Roof>& roofs) {
  Node list = Node::sequence();
  for (const auto& roof : roofs) {
    Node& node = list.append(Node::mapping());
    node.set("name", text(roof.name));
    node.set("memory", Node::of(roof.memory));
    node.set("value", number(roof.value));
    node.set("unit", Node::of(std::string_view(roof.memory ? "B/s" : "FLOP/s")));
  }
  return list;
}

Node layers_node(const std::vector<sim::LayerTotal>& layers) {
  Node list = Node::sequence();
  for (const auto& layer : layers) {
    Node& node = list.append(Node::mapping());
    node.set("name", text(layer.name));
    node.set("count", number(layer.count));
    node.set("flops", number(layer.flops.value));
    node.set("vector_flops", number(layer.vector_flops.value));
    node.set("bytes_main", number(layer.bytes.value));
    node.set("activation_bytes", number(layer.activation_bytes.value));
    node.set("intensity", number(layer.intensity.value));
    node.set("weight_bytes", number(layer.weight_bytes.value));
    node.set("kv_bytes_per_token", number(layer.kv_per_token.value));
    node.set("time_s", number(layer.time.value));
  }
  return list;
}

void add_phases(Node& node, const sim::Estimate& run) {
  Node ops = Node::sequence(), phases = Node::sequence();
  for (const Row& row : op_rows(run)) ops.append(op_node(row, run.phases.size() > 1));
  for (const auto& phase : run.phases) {
    Node& one = phases.append(Node::mapping());
    one.set("name", text(phase.name));
    one.set("main_level", text(main_level(phase)));
    one.set("total", total_node(phase.total, {&phase}));
    one.set("layers", layers_node(phase.layers));
  }
  node.set("ops", std::move(ops));
  node.set("phases", std::move(phases));
}

std::vector<const sim::Phase*> pointers(const std::vector<sim::Phase>& phases) {
  std::vector<const sim::Phase*> list;
  for (const auto& phase : phases) list.push_back(&phase);
  return list;
}

}  // namespace

Node number(double value) { return std::isfinite(value) ? Node::of(value) : Node{}; }
Node shown(std::string_view value) { return Node::of(std::string_view(printable(value))); }

Node estimate_node(const sim::Estimate& run) {
  Node node = Node::mapping();
  node.set("schema_version", Node::of(static_cast<double>(schema_version)));
  node.set("run", text(run.run));
  node.set("model", text(run.model));
  node.set("model_name", text(run.model_name));
  node.set("system", text(run.system));
  node.set("chip", text(run.chip));
  node.set("chip_name", text(run.chip_name));
  node.set("settings", pairs_node(run.settings));
  node.set("total", total_node(run.total, pointers(run.phases)));
  set_plan(node, run);
  if (run.serving) node.set("serving", serving_node(*run.serving));
  node.set("memory", memory_node(run.memory));
  Node& parameters = node.set("parameters", Node::mapping());
  parameters.set("total", number(run.parameters.total));
  parameters.set("active", number(run.parameters.active));
  add_phases(node, run);
  node.set("roofs", roofs_node(run.roofs));
  node.set("sources", pairs_node(run.sources));
  Node& notes = node.set("notes", Node::sequence());
  for (const std::string& note : run.notes) notes.append(text(note));
  node.set("config_hash", text(run.config_hash));
  node.set("version", text(version()));
  return node;
}

Node report_node(const Report& report) {
  Node node = Node::mapping();
  node.set("schema_version", Node::of(static_cast<double>(schema_version)));
  node.set("title", text(report.title));
  Node& runs = node.set("runs", Node::sequence());
  for (const auto& run : report.runs) runs.append(estimate_node(run));
  return node;
}

}  // namespace gambrel::reports

#include "sim/summarise.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <map>

#include "sim/energy.hpp"
#include "sim/predict.hpp"

namespace gambrel::sim {
namespace {

std::string bound_name(const OpEstimate& op, const std::vector<std::string>& levels) {
  int slowest = bound_compute;
  double longest = op.t_math.value;
  for (std::size_t i = 0; i < levels.size(); ++i) {
    const double time = op.levels[i].time.value;
    if (time > longest || (time == longest && time > 0 && slowest == bound_compute)) longest = time, slowest = static_cast<int>(i);
  }
  return slowest == bound_compute ? "compute" : levels[static_cast<std::size_t>(slowest)];
}

void settle(OpEstimate& op, const Phase& phase) {
  const double main = op.levels[phase.main_level].bytes.value;
  op.intensity = FlopsPerByte{main > 0 ? op.flops.value / main : 0};
  if (op.bound != "launch" && !op.message) op.bound = bound_name(op, phase.levels);
}

/// Adds one operator's executions to a total.
void add(Total& total, const OpEstimate& op) {
  total.time += op.time * op.count;
  total.operators = total.time;
  total.time_low += op.time_low * op.count;
  total.time_high += op.time_high * op.count;
  total.roofline += op.roofline * op.count;
  total.flops += op.flops * op.count * op.ranks;
  total.vector_flops += op.vector_flops * op.count * op.ranks;
  if (total.levels.size() < op.levels.size()) total.levels.resize(op.levels.size());
  for (std::size_t i = 0; i < op.levels.size(); ++i) {
    total.levels[i].bytes += op.levels[i].bytes * op.count * op.ranks;
    total.levels[i].time += op.levels[i].time * op.count;
  }
}

template <class Key>
std::pair<Key, double> heaviest(const std::map<Key, double>& weights) {
  const auto top = std::ranges::max_element(weights, {}, &std::pair<const Key, double>::second);
  return top == weights.end() ? std::pair<Key, double>{} : std::pair<Key, double>{top->first, top->second};
}

bool is_contraction(const OpEstimate& op) { return op.flops.value > 0 && op.vector_flops.value != op.flops.value; }

/// What the contractions would take at the dense peaks of their formats, seconds of one chip; what is computed again does
/// not count (Chowdhery et al. 2022, arXiv 2204.02311 appendix B).
double peak_time(const std::vector<const OpEstimate*>& ops, const Machine& machine) {
  double seconds = 0;
  for (const OpEstimate* op : ops)
    if (is_contraction(*op) && !op->name.ends_with(".recompute")) seconds += op->ranks * op->count * op->flops.value / machine.matrix[static_cast<std::size_t>(op->math)].rate;
  return seconds;
}

void complete(Total& total, const std::vector<const OpEstimate*>& ops, const Phase& phase, const Run& run, const Machine& machine) {
  std::map<std::string, double> by_bound;
  for (const OpEstimate* op : ops) by_bound[op->bound] += op->time.value * op->count;
  const auto [bound, time] = heaviest(by_bound);
  total.bound = bound;
  total.bound_share = total.operators.value > 0 ? time / total.operators.value : 0;
  const double main = total.levels[phase.main_level].bytes.value;
  total.intensity = FlopsPerByte{main > 0 ? total.flops.value / main : 0};
  total.tokens_per_second = total.time.value > 0 ? total.tokens / total.time.value : 0;
  total.mfu = total.time.value > 0 ? peak_time(ops, machine) / (total.time.value * run.chips) : 0;
  if (const double bandwidth = machine.bandwidth[machine.main_level]; bandwidth > 0 && total.time.value > 0)
    total.mbu = total.kept_bytes.value / (total.time.value * bandwidth * run.chips);
  const hw::Chip& chip = run.system.chip();
  if (chip.hourly_price.value > 0) total.cost = chip.hourly_price * (run.chips * total.time.value / 3600);
}

std::vector<const OpEstimate*> all_ops(const Phase& phase) {
  std::vector<const OpEstimate*> ops;
  for (const OpEstimate& op : phase.ops) ops.push_back(&op);
  return ops;
}

/// Operators of several chips do not add up to the time that passes: it was composed. Their intervals widen with it.
void replace_time(Total& total, Seconds elapsed) {
  if (elapsed.value <= 0 || total.time.value <= 0) return;
  const double ratio = elapsed / total.time;
  total.time = elapsed, total.time_low = total.time_low * ratio, total.time_high = total.time_high * ratio;
}

/// A bound of what was composed: operators without collectives, spread evenly over the stages, nothing waiting.
Seconds composed_roofline(const Phase& phase) {
  Seconds sum{0};
  for (const OpEstimate& op : phase.ops)
    if (!op.message) sum += op.roofline * op.count;
  return sum / std::max(1, phase.pipeline.stages);
}

void add(StepTimeline& sum, const StepTimeline& part) {
  sum.compute += part.compute, sum.exposed_network += part.exposed_network, sum.bubble += part.bubble;
  sum.overhead += part.overhead, sum.overlap += part.overlap;
}

Seconds elapsed(const std::vector<Phase>& phases) {
  Seconds sum{0};
  for (const Phase& phase : phases) sum += phase.elapsed.value > 0 ? phase.elapsed : Seconds{0};
  return sum;
}

void total_phases(Estimate& estimate, const Run& run, const Machine& machine) {
  std::vector<const OpEstimate*> everything;
  for (Phase& phase : estimate.phases) {
    for (const OpEstimate& op : phase.ops) add(phase.total, op), add(estimate.total, op);
    replace_time(phase.total, phase.elapsed);
    if (phase.elapsed.value > 0) phase.total.roofline = composed_roofline(phase);
    if (phase.elapsed.value <= 0) phase.timeline.compute = phase.total.time;
    add(estimate.timeline, phase.timeline);
    complete(phase.total, all_ops(phase), phase, run, machine);
    estimate.total.tokens += phase.total.tokens;
    estimate.total.kept_bytes += phase.total.kept_bytes;
    for (const OpEstimate& op : phase.ops) everything.push_back(&op);
  }
  replace_time(estimate.total, elapsed(estimate.phases));
  estimate.total.roofline = Seconds{0};
  for (const Phase& phase : estimate.phases) estimate.total.roofline += phase.total.roofline;
  complete(estimate.total, everything, estimate.phases.front(), run, machine);
}

void add_roofs(Estimate& estimate, const Machine& machine) {
  std::vector<Format> formats;
  for (const Phase& phase : estimate.phases)
    for (const OpEstimate& op : phase.ops)
      if (is_contraction(op) && !std::ranges::count(formats, op.math)) formats.push_back(op.math);
  for (Format format : formats) {
    const MathRate& rate = machine.matrix[static_cast<std::size_t>(format)];
    estimate.roofs.push_back({fmt::format("{} {}", to_string(format), rate.unit), false, rate.rate});
    if (rate.sparse_rate > rate.rate) estimate.roofs.push_back({fmt::format("{} {} sparse", to_string(format), rate.unit), false, rate.sparse_rate});
  }
  estimate.roofs.push_back({fmt::format("fp32 {}", machine.vector_unit), false, machine.vector_rate});
  for (std::size_t i = 0; i < machine.levels.size(); ++i)
    if (machine.bandwidth[i] > 0) estimate.roofs.push_back({machine.levels[i], true, machine.bandwidth[i]});
}

void add_serving(Estimate& estimate, const Run& run) {
  if (run.workload.phase != PhaseKind::generate) return;
  const Seconds ttft = estimate.phases.front().total.time, rest = estimate.total.time - ttft;
  const double batch = estimate.phases.front().total.tokens;
  Serving serving{.ttft = ttft, .tpot = run.workload.output > 1 ? rest / (run.workload.output - 1) : Seconds{0}, .latency = estimate.total.time};
  serving.request_rate = batch / serving.latency.value;
  serving.output_tokens_per_second = serving.request_rate * run.workload.output;
  estimate.serving = serving;
}

void add_notes(Estimate& estimate, const Run& run, const models::PrecisionPolicy& policy, const Machine& machine) {
  for (const models::LeftOut& part : run.model.left_out)
    estimate.notes.push_back(part.parameters > 0 ? fmt::format("left out: {} ({:.4g} parameters)", part.name, part.parameters) : fmt::format("left out: {}", part.name));
  std::vector<Format> wanted;
  for (const models::LoweredOp& op : models::lower(models::build(run.model, policy, run.step(1, 1, 0))))
    if (models::row_of(op.kind).contraction && !std::ranges::count(wanted, op.math)) wanted.push_back(op.math);
  for (Format format : wanted)
    if (const MathRate& rate = machine.matrix[static_cast<std::size_t>(format)]; rate.runs_as != format)
      estimate.notes.push_back(fmt::format("{} arithmetic runs as {}: {} has no {} rate", to_string(format), to_string(rate.runs_as), run.system.chip().id, to_string(format)));
  if (!run.sparsity_pattern.empty() && std::ranges::none_of(wanted, [&](Format f) { return machine.matrix[static_cast<std::size_t>(f)].sparse_rate > machine.matrix[static_cast<std::size_t>(f)].rate; }))
    estimate.notes.push_back(fmt::format("{} does not skip the zeros of {} weights: they save bytes only", run.system.chip().id, run.sparsity_pattern));
  if (!run.system.chip().unit(hw::UnitKind::vector, Format::fp32))
    estimate.notes.push_back(fmt::format("no vector rate of {} is stated: vector work is charged to its {} unit, a lower bound", run.system.chip().id, machine.vector_unit));
  for (std::size_t i = 0; i < machine.levels.size(); ++i)
    if (machine.bandwidth[i] == 0) estimate.notes.push_back(fmt::format("{}: no bandwidth is stated, so it bounds nothing", machine.levels[i]));
  if (!estimate.memory.fits) estimate.notes.push_back("does not fit: times are as if it did");
}

}  // namespace

Estimate describe(const Run& run, const Fit& fit) {
  Estimate e;
  const hw::Chip& chip = run.system.chip();
  e.run = run.id;
  e.model = e.model_name = run.model.id;
  e.system = run.system.id;
  e.chip = chip.id;
  e.chip_name = chip.name;
  e.settings = run.settings;
  e.chips = run.chips;
  if (run.chips > 1) e.plan = describe(run.plan);
  e.memory.tiers = fit.tiers;
  e.memory.fits = fit.fits;
  e.parameters = parameters_of(run.model);
  e.config_hash = run.config_hash;
  for (const auto& [key, source] : chip.sources) e.sources.emplace_back("chip." + key, source);
  for (const auto& [key, source] : run.system.sources) e.sources.emplace_back("system." + key, source);
  if (!run.model.source.empty()) e.sources.emplace_back("model", run.model.source);
  return e;
}

Phase make_phase(std::string name, const models::Graph& graph, const CostModel& model, const Costs& costs, double tokens) {
  const Machine& machine = model.machine();
  const std::size_t levels = machine.levels.size();
  Phase phase{.name = std::move(name), .levels = machine.levels, .main_level = machine.main_level};
  phase.total.tokens = tokens;
  for (std::size_t i = 0; i < graph.ops().size(); ++i) {
    const models::Op& op = graph.ops()[i];
    const models::Work work = models::work_of(graph, op);
    const OpCost& cost = costs.ops[i];
    OpEstimate row{.name = op.name, .kind = std::string(to_string(op.kind)), .count = op.count};
    row.math = models::row_of(op.kind).contraction ? machine.matrix[static_cast<std::size_t>(op.math)].runs_as : op.math;
    row.flops = Flops{work.flops};
    row.vector_flops = Flops{work.vector_flops};
    for (std::size_t l = 0; l < levels; ++l) {
      const double bytes = costs.level_bytes[i * levels + l];
      row.levels.push_back({Bytes{bytes}, Seconds{machine.bandwidth[l] > 0 ? bytes / machine.bandwidth[l] : 0}});
    }
    row.t_math = Seconds{cost.t_math};
    row.t_mem = Seconds{cost.t_mem};
    row.time = row.time_low = row.time_high = Seconds{cost.time};
    row.roofline = Seconds{cost.roofline};
    row.fused = op.fused;
    row.provenance = cost.assumed ? Provenance::assumed : Provenance::analytic;
    for (auto role : {models::Role::weight, models::Role::expert_weight, models::Role::kv_cache})
      row.kept_bytes += Bytes{work.bytes(role) * model.crossing_share(machine.main_level, role)};
    row.activation_bytes = Bytes{work.bytes(models::Role::activation)};
    settle(row, phase);
    phase.ops.push_back(std::move(row));
  }
  return phase;
}

std::vector<double> pack(const Phase& phase) {
  const StepTimeline& t = phase.timeline;
  std::vector<double> figures{phase.elapsed.value, t.compute.value, t.exposed_network.value, t.bubble.value, t.overhead.value, t.overlap.value};
  for (const OpEstimate& op : phase.ops) {
    figures.insert(figures.end(), {op.flops.value, op.vector_flops.value, op.t_math.value, op.t_mem.value, op.time.value, op.time_low.value, op.time_high.value, op.roofline.value, op.kept_bytes.value, op.activation_bytes.value});
    for (const LevelCost& level : op.levels) figures.insert(figures.end(), {level.bytes.value, level.time.value});
  }
  return figures;
}

void unpack(const std::vector<double>& figures, Phase& phase) {
  std::size_t i = 0;
  StepTimeline& t = phase.timeline;
  for (Seconds* figure : {&phase.elapsed, &t.compute, &t.exposed_network, &t.bubble, &t.overhead, &t.overlap}) figure->value = figures[i++];
  for (OpEstimate& op : phase.ops) {
    op.flops.value = figures[i++];
    op.vector_flops.value = figures[i++];
    op.t_math.value = figures[i++];
    op.t_mem.value = figures[i++];
    op.time.value = figures[i++];
    op.time_low.value = figures[i++];
    op.time_high.value = figures[i++];
    op.roofline.value = figures[i++];
    op.kept_bytes.value = figures[i++];
    op.activation_bytes.value = figures[i++];
    for (LevelCost& level : op.levels) {
      level.bytes.value = figures[i++];
      level.time.value = figures[i++];
    }
    settle(op, phase);
  }
}

void finish(Estimate& estimate, const Run& run, const Machine& machine) {
  for (Phase& phase : estimate.phases)
    for (const OpEstimate& op : phase.ops) phase.total.kept_bytes += op.kept_bytes * op.count * op.ranks;
  total_phases(estimate, run, machine);
  estimate.network = network_uses(estimate.phases);
  add_roofs(estimate, machine);
  add_serving(estimate, run);
  add_notes(estimate, run, run.policy(), machine);
  add_energy(estimate, run, machine);
}

std::string_view to_string(Provenance provenance) {
  switch (provenance) {
    case Provenance::measured: return "measured";
    case Provenance::calibrated: return "calibrated";
    case Provenance::transferred: return "transferred";
    case Provenance::assumed: return "assumed";
    case Provenance::analytic: return "analytic";
  }
  return "";
}

}  // namespace gambrel::sim

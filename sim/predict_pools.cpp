#include "sim/predict_pools.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "models/build.hpp"
#include "sim/network/network.hpp"
#include "sim/predict.hpp"

namespace gambrel::sim {
namespace {

constexpr double even = 0.05;          ///< rates that differ by less are balanced
constexpr double most_parts = 1000;    ///< of a pool, in a balanced system

// --- Rates -----------------------------------------------------------------------------------------------------------

/// KV cache and recurrent states of one sequence after its prompt, all layers.
double cache_bytes(const Run& run) {
  double bytes = 0;
  const models::Graph prompt = models::build(run.model, run.policy(), run.step(1, run.workload.input, 0));
  for (const models::Tensor& t : prompt.tensors())
    if (t.role == models::Role::kv_cache || t.role == models::Role::state) bytes += t.bytes() * t.copies;
  return bytes;
}

PoolFigures figures_of(const Run& run, const Estimate& estimate) {
  const hw::Pool& pool = run.system.pools.front();
  const double tokens = run.workload.prefilled ? run.workload.output - 1 : run.workload.new_tokens;  // of a sequence
  PoolFigures f{.name = pool.name, .chip = pool.chip.id, .plan = estimate.plan, .parts = double(pool.count), .chips = double(pool.chips())};
  f.replicas = std::floor(f.chips / run.chips);
  f.batch = estimate.phases.front().total.tokens / tokens;
  f.time = estimate.total.time;
  f.request_rate = f.replicas * f.batch / f.time.value;
  return f;
}

/// Fewest parts of each pool whose rates lie within 5 % of each other.
void balance(PoolFigures& a, PoolFigures& b) {
  const double ratio = (a.request_rate / a.parts) / (b.request_rate / b.parts);
  for (a.balanced_parts = 1; a.balanced_parts < most_parts; ++a.balanced_parts) {
    b.balanced_parts = std::max(1.0, std::round(a.balanced_parts * ratio));
    if (std::abs(b.balanced_parts / (a.balanced_parts * ratio) - 1) < even) return;
  }
}

/// Bytes leave a replica of one pool by the links of its chips and reach one of the other by the links of its.
void transfer(Pools& pools, const Run& prefill, const Run& decode, NetworkUse& use) {
  const Network from(prefill.system, 0, &prefill.calibration), to(decode.system, 0, &decode.calibration);
  const auto& [first, second] = pools.pools;
  const NetworkCost leaving = from.handover(pools.cache.value * first.batch / prefill.chips), arriving = to.handover(pools.cache.value * first.batch / decode.chips);
  const NetworkCost& slower = leaving.seconds > arriving.seconds ? leaving : arriving;
  pools.level = prefill.system.between.front().level;
  pools.transfer = Seconds{slower.seconds};
  pools.network_rate = first.batch * std::min(first.replicas / leaving.seconds, second.replicas / arriving.seconds);
  use = {.collective = "point_to_point", .axis = "pools", .level = pools.level, .algorithm = std::string(to_string(slower.algorithm)), .ranks = 2,
         .bytes = Bytes{slower.sent_bytes}, .time = pools.transfer};
}

/// Requests come as fast as the slowest takes them (n_p b_p / T_prefill, n_d b_d / T_decode, and the network).
void settle_rates(Pools& pools) {
  auto& [prefill, decode] = pools.pools;
  pools.request_rate = std::min({prefill.request_rate, decode.request_rate, pools.network_rate});
  pools.bottleneck = pools.request_rate == pools.network_rate ? "network" : pools.request_rate == prefill.request_rate ? prefill.name : decode.name;
  for (PoolFigures* pool : {&prefill, &decode}) pool->utilisation = pools.request_rate / pool->request_rate;
  balance(prefill, decode);
}

/// A layer's cache leaves while the next layer is computed; the last one's is always waited for.
Seconds streamed(Seconds prefill, Seconds transfer, double layers) {
  return prefill + std::max(transfer / layers, transfer - prefill * ((layers - 1) / layers));
}

// --- Joining ---------------------------------------------------------------------------------------------------------

template <class Quantity>
std::optional<Quantity> both(const std::optional<Quantity>& a, const std::optional<Quantity>& b) {
  if (!a || !b) return std::nullopt;
  return *a + *b;
}

std::optional<Energy> both(const std::optional<Energy>& a, const std::optional<Energy>& b) {
  if (!a || !b) return std::nullopt;
  return Energy{a->arithmetic + b->arithmetic, a->movement + b->movement};
}

template <class... Quantity>
void scale(double times, Quantity&... quantities) {
  ((quantities = quantities * times), ...);
}

void scale(Total& t, double times) {
  scale(times, t.time, t.time_low, t.time_high, t.roofline, t.operators, t.flops, t.vector_flops, t.kept_bytes, t.idle_energy, t.tokens);
  for (LevelCost& level : t.levels) scale(times, level.bytes, level.time);
  if (t.energy) scale(times, *t.energy);
  if (t.active_energy) scale(times, t.active_energy->arithmetic, t.active_energy->movement);
  if (t.cost) scale(times, *t.cost);
}

/// As much of an estimate as several batches need.
void scale(Estimate& e, double times) {
  StepTimeline& t = e.timeline;
  scale(times, t.compute, t.exposed_network, t.bubble, t.overhead, t.overlap);
  scale(e.total, times);
  for (NetworkUse& use : e.network) use.count *= times;
  for (Phase& phase : e.phases) {
    for (OpEstimate& op : phase.ops) op.count *= times;
    scale(phase.total, times);
  }
}

/// `b`'s phases stand after `a`'s. Levels that `a` lacks are left out of the total.
void add(Total& a, const Total& b, const Phase& first, const Phase& second, double chips_a, double chips_b) {
  const double work_a = a.time.value * chips_a, work_b = b.time.value * chips_b;
  const auto mean = [&](double x, double y) { return (x * work_a + y * work_b) / (work_a + work_b); };
  const double bound_a = a.bound_share * a.operators.value, bound_b = b.bound_share * b.operators.value, all = (a.operators + b.operators).value;
  a.bound_share = (a.bound == b.bound ? bound_a + bound_b : std::max(bound_a, bound_b)) / all;
  if (bound_b > bound_a) a.bound = b.bound;
  a.mfu = mean(a.mfu, b.mfu), a.mbu = mean(a.mbu, b.mbu), a.power_share = mean(a.power_share, b.power_share);
  a.time += b.time, a.time_low += b.time_low, a.time_high += b.time_high, a.roofline += b.roofline, a.operators += b.operators;
  a.flops += b.flops, a.vector_flops += b.vector_flops, a.kept_bytes += b.kept_bytes, a.idle_energy += b.idle_energy;
  a.tokens += b.tokens;
  for (std::size_t i = 0; i < a.levels.size(); ++i) {
    const auto other = static_cast<std::size_t>(std::ranges::find(second.levels, first.levels[i]) - second.levels.begin());
    if (other < b.levels.size()) a.levels[i].bytes += b.levels[other].bytes, a.levels[i].time += b.levels[other].time;
  }
  a.active_energy = both(a.active_energy, b.active_energy);
  a.energy = both(a.energy, b.energy);
  a.cost = both(a.cost, b.cost);
  a.power = a.energy ? std::optional(Watts{a.energy->value / (work_a + work_b)}) : std::nullopt;
  const double main = a.levels[first.main_level].bytes.value;
  a.intensity = FlopsPerByte{main > 0 ? a.flops.value / main : 0};
  a.tokens_per_second = a.tokens / a.time.value;
}

void wait_for(Estimate& e, const NetworkUse& use) {
  const Seconds time = use.time * use.count;
  Total& t = e.total;
  for (Seconds* figure : {&t.time, &t.time_low, &t.time_high, &t.roofline, &e.timeline.exposed_network}) *figure += time;
  t.tokens_per_second = t.tokens / t.time.value;
  e.network.push_back(use);
}

template <class Item>
void append(std::vector<Item>& list, const std::vector<Item>& more) {
  list.insert(list.end(), more.begin(), more.end());
}

/// "chip.memory.HBM" -> "prefill.chip.memory.HBM"; what is not the chip's is the same for both.
void name_sources(Estimate& e, const std::string& pool) {
  for (auto& [key, source] : e.sources)
    if (key.starts_with("chip.")) key = fmt::format("{}.{}", pool, key);
}

void name_parts(Estimate& e, const std::string& pool) {
  name_sources(e, pool);
  for (TierUse& tier : e.memory.tiers) tier.level = fmt::format("{} {}", pool, tier.level);
  for (std::string& note : e.notes) note = fmt::format("{}: {}", pool, note);
  e.plan = fmt::format("{} on {} x {}{}{}", pool, e.chips, e.chip_name, e.plan.empty() ? "" : ": ", e.plan);
}

Estimate join(const Run& run, Estimate a, Estimate b) {
  name_parts(a, "prefill"), name_parts(b, "decode");
  add(a.total, b.total, a.phases.front(), b.phases.front(), a.chips, b.chips);
  StepTimeline &t = a.timeline, &u = b.timeline;
  t.compute += u.compute, t.exposed_network += u.exposed_network, t.bubble += u.bubble, t.overhead += u.overhead, t.overlap += u.overlap;
  a.system = run.system.id;
  a.settings = run.settings;
  if (a.chip != b.chip) a.chip += " + " + b.chip, a.chip_name += " + " + b.chip_name;
  for (Roof& roof : b.roofs) roof.name += " (decode)";
  a.chips += b.chips;
  a.plan += "; " + b.plan;
  append(a.phases, b.phases), append(a.network, b.network), append(a.roofs, b.roofs), append(a.notes, b.notes), append(a.memory.tiers, b.memory.tiers);
  for (const auto& source : b.sources)
    if (!std::ranges::count(a.sources, source.first, &std::pair<std::string, std::string>::first)) a.sources.push_back(source);
  a.memory.fits = a.memory.fits && b.memory.fits;
  a.memory.max_batch = b.memory.max_batch;
  a.memory.kv_per_token = b.memory.kv_per_token;
  a.memory.peak = "";
  a.next_plans.clear();
  a.config_hash = run.config_hash;
  return a;
}

}  // namespace

Result<Estimate> predict_pools(const Run& run) {
  auto prefill = estimate(run.pools[0]), decode = estimate(run.pools[1]);
  if (!prefill || !decode) return prefill ? decode : prefill;
  Pools pools{.pools = {figures_of(run.pools[0], *prefill), figures_of(run.pools[1], *decode)}, .cache = Bytes{cache_bytes(run)}};
  NetworkUse handed_over;
  transfer(pools, run.pools[0], run.pools[1], handed_over);
  settle_rates(pools);
  const PoolFigures &first = pools.pools[0], &second = pools.pools[1];
  pools.ttft_streamed = streamed(first.time, pools.transfer, std::max(1, run.model.layer_count()));
  const Seconds ttft = first.time + pools.transfer;
  const double prefills = second.batch / first.batch;
  prefill->total.tokens = prefill->phases.front().total.tokens = first.batch;  // the first token of each, as of a generation on one pool
  scale(*prefill, prefills);
  handed_over.count = prefills;
  Estimate joined = join(run, std::move(*prefill), std::move(*decode));
  wait_for(joined, handed_over);
  joined.serving = Serving{.ttft = ttft, .tpot = second.time / (run.workload.output - 1), .latency = ttft + second.time,
                           .output_tokens_per_second = pools.request_rate * run.workload.output, .request_rate = pools.request_rate};
  for (std::size_t i = 0; i < run.pools.size(); ++i) {
    const PoolFigures& pool = pools.pools[i];
    const double idle = pool.chips - pool.replicas * run.pools[i].chips;
    if (idle > 0) joined.notes.push_back(fmt::format("{} of {} chips of pool {} are idle: its plan does not divide them", idle, pool.chips, pool.name));
  }
  joined.pools = pools;
  return joined;
}

}  // namespace gambrel::sim

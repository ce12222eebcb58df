#include "sim/sweep/fast_step.hpp"

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>
#include <numeric>

#include "models/build.hpp"
#include "sim/kernel_models/array_model.hpp"
#include "sim/kernel_models/kernel_models.hpp"
#include "sim/summarise.hpp"

namespace gambrel::sim {
namespace {

constexpr double none = std::numeric_limits<double>::quiet_NaN();
constexpr std::size_t most_steps = 4096, most_placed = 64, most_rates = 4096, most_demands = 100'000;  ///< kept at a time

/// Indices of bounds beside the machine's levels.
enum : int { of_compute = -1, of_launch = -2 };

constexpr double close = 1e-4;  ///< of times, a hundred times what the shortcut of use_kernel may be off

bool is_contraction(double flops, double vector_flops) { return flops > 0 && vector_flops != flops; }

std::array<double, models::op_kind_count> no_assumptions() {
  std::array<double, models::op_kind_count> efficiencies;
  efficiencies.fill(1.0);
  return efficiencies;
}

}  // namespace

/// A chip's units, and its memories as they are now.
struct FastStep::Rates {
  Rates(const Run& run, std::size_t with_tilings)
      : machine(make_machine(run.system.chip(), run.placement, run.sparsity_pattern)), kernels(run.system.chip()), attention(run.system.chip(), true), tilings(with_tilings) {}

  Machine machine;
  KernelRates kernels, attention;
  std::size_t tilings;
};

/// Tilings of all shapes, for chips with as many cores and the same formats.
struct FastStep::Tilings {
  double cores = 1;
  std::array<Format, format_count> runs_as{};
  std::array<double, format_count> sparse{};
  std::array<bool, format_count> arrays{};
  ChipFigures figures;
  std::vector<std::pair<const std::vector<double>*, GemmCache>> caches;  ///< by constants

  bool serves(const Machine& machine, const ChipFigures& chip) const {
    if (cores != chip.cores || runs_as != chip.runs_as) return false;
    for (std::size_t f = 0; f < sparse.size(); ++f)
      if (sparse[f] != machine.matrix[f].sparse_rate / machine.matrix[f].rate || arrays[f] != (machine.matrix[f].arrays > 0)) return false;
    return true;
  }
  GemmCache& cache(const std::vector<double>& values) {
    for (auto& [known, cache] : caches)
      if (known == &values) return cache;
    return caches.emplace_back(&values, GemmCache(figures, values)).second;
  }
};

/// How an operator's time comes about.
struct FastStep::PreparedOp {
  double seconds = 0, free = -1;  ///< of the first chip: under its rates, and when arithmetic and memory are free
  const KernelModel* model = nullptr;  ///< null: the roofline, or its arrays
  const std::vector<double>* values = nullptr;
  const PreparedGemm* gemm = nullptr;
};

struct FastStep::Prepared {
  std::vector<RefinedOp> refined;
  std::vector<PreparedOp> ops;
};

/// Where a step's data lie under given capacities, and what follows from it.
struct FastStep::Placed {
  std::vector<double> capacity;
  std::size_t tilings = 0;
  bool fits = true;
  double memory_peak = 0;
  std::size_t main_level = 0;
  std::vector<double> level_bytes;             ///< [op * levels + level]
  std::vector<double> flops, vector_flops;     ///< as an estimate's rows say
  std::vector<Format> math;
  double kept = 0;
};

struct FastStep::Step {
  models::Graph graph;
  std::vector<models::LoweredOp> ops;
  Demand demand;
  double tokens = 0;
  std::vector<std::unique_ptr<Placed>> placed;
  std::map<std::size_t, Prepared> prepared;  ///< by tilings
};

std::size_t FastStep::Hash::operator()(const Shape& shape) const {
  std::uint64_t sum = 0, factor = 0x9e3779b97f4a7c15u;
  for (const double x : {shape.batch, shape.new_tokens, shape.past_tokens}) {
    sum += std::bit_cast<std::uint64_t>(x) * factor;
    factor += 0x517cc1b727220a94u;  // even: factors stay odd
  }
  return static_cast<std::size_t>(sum ^ sum >> 32);
}

bool FastStep::handles(const Run& run) {
  const bool step = run.workload.phase == PhaseKind::prefill || run.workload.phase == PhaseKind::decode;
  return step && run.chips == 1 && run.pools.empty() && !run.best_plan && !run.sites && run.assume.empty() && run.host_overhead.value == 0 && run.plan == ParallelismPlan{};
}

FastStep::FastStep(const Run& run, const BoundNames& bounds) : run_(run), book_(run.calibration.for_models()) {
  const Machine machine = make_machine(run.system.chip(), run.placement, run.sparsity_pattern);
  std::vector<std::string> names = machine.levels;
  names.insert(names.end(), {"compute", "launch"});
  for (const std::string& name : names) bound_index_.push_back(bounds.index(name));
  bound_order_.resize(names.size());
  std::iota(bound_order_.begin(), bound_order_.end(), std::size_t{0});
  std::ranges::sort(bound_order_, {}, [&](std::size_t i) { return names[i]; });
}

FastStep::~FastStep() = default;

void FastStep::forget() {
  steps_.clear();
  last_step_ = nullptr;
  tilings_.clear();
  rates_.clear();
  now_ = nullptr;
}

void FastStep::use_chip(std::uint64_t compute) {
  if (rates_.size() > most_rates || steps_.size() > most_steps) forget();
  const hw::Chip& chip = run_.system.chip();
  auto& rates = rates_[compute];
  if (!rates) {
    rates = std::make_unique<Rates>(run_, 0);
    while (rates->tilings < tilings_.size() && !tilings_[rates->tilings]->serves(rates->machine, rates->kernels.figures)) ++rates->tilings;
    if (rates->tilings == tilings_.size()) {
      auto made = std::make_unique<Tilings>();
      made->cores = rates->kernels.figures.cores, made->runs_as = rates->kernels.figures.runs_as, made->figures = rates->kernels.figures;
      for (std::size_t f = 0; f < made->sparse.size(); ++f) {
        made->sparse[f] = rates->machine.matrix[f].sparse_rate / rates->machine.matrix[f].rate;
        made->arrays[f] = rates->machine.matrix[f].arrays > 0;
      }
      tilings_.push_back(std::move(made));
    }
  } else {
    set_memory(rates->machine, chip);
    rates->kernels.use_memory(chip);
    rates->attention.use_memory(chip);
  }
  now_ = rates.get();
  seconds_per_byte_.clear();
  for (double bandwidth : now_->machine.bandwidth) seconds_per_byte_.push_back(bandwidth > 0 ? 1 / bandwidth : 0);
}

FastStep::Step& FastStep::step(const Shape& shape) {
  if (last_step_ && last_shape_ == shape) return *last_step_;
  auto& step = steps_[shape];
  if (!step) {
    step = std::make_unique<Step>();
    step->graph = models::fuse(models::build(run_.model, run_.policy(), run_.step(shape.batch, shape.new_tokens, shape.past_tokens)), run_.fusion);
    step->ops = models::lower(step->graph);
    step->demand = demand_of(step->graph);
    step->tokens = shape.batch * shape.new_tokens;
  }
  last_step_ = step.get();
  last_shape_ = shape;
  return *step;
}

Demand FastStep::demand(const Shape& shape) {
  if (const auto known = demands_.find(shape); known != demands_.end()) return known->second;
  if (demands_.size() > most_demands) demands_.clear();
  const models::Graph graph = models::fuse(models::build(run_.model, run_.policy(), run_.step(shape.batch, shape.new_tokens, shape.past_tokens)), run_.fusion);
  return demands_[shape] = demand_of(graph);
}

double FastStep::largest(double new_tokens, double past_tokens) {
  key_.assign(now_->machine.capacity.begin(), now_->machine.capacity.end());
  key_.insert(key_.end(), {new_tokens, past_tokens});
  if (key_ == last_key_) return last_largest_;
  last_key_ = key_;
  if (const auto known = largest_.find(key_); known != largest_.end()) return last_largest_ = known->second;
  if (largest_.size() > most_demands) largest_.clear();
  return last_largest_ = largest_[last_key_] = largest_batch([&](double batch) { return fit(now_->machine, run_.placement, demand({batch, new_tokens, past_tokens})).fits; });
}

FastStep::Placed& FastStep::placed(Step& step) {
  for (auto& known : step.placed)
    if (known->tilings == now_->tilings && known->capacity == now_->machine.capacity) return *known;
  if (step.placed.size() >= most_placed) step.placed.clear();
  auto made = std::make_unique<Placed>();
  made->capacity = now_->machine.capacity;
  made->tilings = now_->tilings;
  const Fit where = fit(now_->machine, run_.placement, step.demand);
  made->fits = where.fits;
  made->main_level = now_->machine.main_level;
  made->memory_peak = made->main_level < where.tiers.size() ? where.tiers[made->main_level].used().value : 0;
  const CostModel model(now_->machine, where.shares);
  Costs costs;
  model.evaluate(step.ops, costs);
  made->level_bytes = costs.level_bytes;
  const Phase phase = make_phase("", step.graph, model, costs, step.tokens);
  Bytes kept{0};
  for (const OpEstimate& row : phase.ops) {
    made->flops.push_back(row.flops.value);
    made->vector_flops.push_back(row.vector_flops.value);
    made->math.push_back(row.math);
    kept += row.kept_bytes * row.count * 1.0;
  }
  made->kept = kept.value;
  step.placed.push_back(std::move(made));
  return *step.placed.back();
}

/// Finds each operator's model, constants and tilings once for chips of these formats and cores.
FastStep::Prepared& FastStep::prepared(Step& step) {
  Prepared& prepared = step.prepared[now_->tilings];
  if (!prepared.ops.empty()) return prepared;
  prepared.refined = refined_ops(step.graph, run_.workload.routing, now_->machine);
  const ModelSet set = model_set(run_.system.chip().kind);
  for (const RefinedOp& refined : prepared.refined) {
    PreparedOp& op = prepared.ops.emplace_back();
    if (!refined.call) continue;
    const KernelModel& model = model_of(refined.call->kind, set);
    const auto found = book_.find(refined.call->kind, model.type_of(*refined.call, (refined.cold_caches ? now_->attention : now_->kernels).figures));
    if (!found.fit) continue;
    op = {.model = &model, .values = &found.fit->values};
    if (&model == &gemm_model) op.gemm = &tilings_[now_->tilings]->cache(*op.values).prepare(*refined.call);
  }
  return prepared;
}

/// What the plain roofline says: the longest of arithmetic and the levels.
void FastStep::find_bounds(const Step& step, const Placed& placed) {
  const std::size_t count = step.ops.size(), levels = now_->machine.levels.size();
  times_.resize(count), t_math_.resize(count), bounds_.resize(count);
  for (std::size_t i = 0; i < count; ++i) {
    times_[i] = costs_.ops[i].time;
    double longest = t_math_[i] = costs_.ops[i].t_math;
    bounds_[i] = of_compute;
    for (std::size_t l = 0; l < levels; ++l) {
      const double bandwidth = now_->machine.bandwidth[l], time = bandwidth > 0 ? placed.level_bytes[i * levels + l] / bandwidth : 0;
      if (time > longest || (time == longest && time > 0 && bounds_[i] == of_compute)) longest = time, bounds_[i] = static_cast<int>(l);
    }
  }
}

/// As Refiner::use_arrays.
void FastStep::use_arrays(const models::LoweredOp& op, double experts_hit, std::size_t i) {
  const MathRate& rate = now_->machine.rate_of(op.math);
  if (!models::row_of(op.kind).contraction || rate.arrays == 0) return;
  t_math_[i] = std::max(t_math_[i], array_seconds(rate, op, experts_hit));
  times_[i] = std::max(times_[i], t_math_[i]);
  if (t_math_[i] > costs_.ops[i].t_mem) bounds_[i] = of_compute;
}

/// As KernelPredictor::predict and Refiner::use_kernel. What a kernel takes when arithmetic and memory are a million times
/// as fast depends on their rates by a millionth of the times under them: unless it comes close to deciding, the first
/// chip's tells enough.
void FastStep::use_kernel(const RefinedOp& refined, PreparedOp& op, std::size_t i) {
  const KernelRates& rates = refined.cold_caches ? now_->attention : now_->kernels;
  const KernelCall& call = *refined.call;
  const double seconds = std::max(op.gemm ? op.gemm->seconds(rates.figures) : op.model->predict(call, rates.figures, *op.values), rates.roofline(call));
  times_[i] = std::max(times_[i], seconds);
  double free = op.free;
  if (free < 0 || std::abs(0.5 * seconds - free) <= close * (seconds + op.seconds)) {
    free = op.gemm ? op.gemm->seconds(rates.unbounded) : op.model->predict(call, rates.unbounded, *op.values);
    if (op.free < 0) op.free = free, op.seconds = seconds;
  }
  if (free > 0.5 * seconds) bounds_[i] = of_launch;
}

/// The kernels' times over the rooflines.
void FastStep::time_kernels(Step& step) {
  Prepared& prepared = this->prepared(step);
  for (std::size_t i = 0; i < step.ops.size(); ++i) {
    if (!prepared.ops[i].model) use_arrays(step.ops[i], prepared.refined[i].experts_hit, i);
    else if (!prepared.refined[i].keeps_roofline) use_kernel(prepared.refined[i], prepared.ops[i], i);
  }
}

/// Totals as sim/summarise.cpp and sim/energy.cpp make them, in the same order.
void FastStep::sum(const Step& step, const Placed& placed, Measures& m) const {
  const hw::Chip& chip = run_.system.chip();
  const Machine& machine = now_->machine;
  const std::size_t levels = machine.levels.size();
  double peak = 0, arithmetic = 0, movement = 0;
  bool known = machine.energy[placed.main_level] != 0;
  for (std::size_t i = 0; i < step.ops.size(); ++i) {
    const double count = step.ops[i].count, flops = placed.flops[i], vector_flops = placed.vector_flops[i];
    m.seconds += times_[i] * count;
    m.roofline += costs_.ops[i].roofline * count;
    const bool contraction = is_contraction(flops, vector_flops);
    if (contraction) peak += 1.0 * count * flops / machine.matrix[static_cast<std::size_t>(placed.math[i])].rate;
    const double per_flop = machine.energy_per_flop[static_cast<std::size_t>(placed.math[i])];
    const double per_vector_flop = chip.energy.vector.value > 0 ? chip.energy.vector.value : per_flop;
    known = known && !(contraction && per_flop == 0);
    double moved = 0;
    for (std::size_t l = 0; l < levels; ++l) moved += placed.level_bytes[i * levels + l] * machine.energy[l];
    arithmetic += (vector_flops * per_vector_flop + (contraction ? flops * per_flop : 0)) * (count * 1.0);
    movement += moved * (count * 1.0);
  }
  m.mfu = m.seconds > 0 ? peak / (m.seconds * 1) : 0;
  if (const double bandwidth = machine.bandwidth[placed.main_level]; bandwidth > 0 && m.seconds > 0) m.mbu = placed.kept / (m.seconds * bandwidth * 1);
  if (known) {
    m.energy = (arithmetic + movement) + chip.idle.value * m.seconds * 1.0;
    if (m.seconds > 0) m.power = m.energy / (m.seconds * 1.0);
  }
  if (chip.hourly_price.value > 0) m.cost = chip.hourly_price.value * (1 * m.seconds / 3600);
}

void FastStep::sum_bounds(const Step& step, Measures& m) const {
  const std::size_t levels = now_->machine.levels.size();
  std::array<double, 64> weights{};  // NOLINT: levels, compute, launch
  std::uint64_t seen = 0;
  for (std::size_t i = 0; i < step.ops.size(); ++i) {
    const std::size_t b = bounds_[i] == of_compute ? levels : bounds_[i] == of_launch ? levels + 1 : static_cast<std::size_t>(bounds_[i]);
    weights[b] += times_[i] * step.ops[i].count;
    seen |= std::uint64_t{1} << b;
  }
  std::size_t heaviest = levels;
  double most = -1;
  for (std::size_t b : bound_order_)
    if ((seen >> b & 1) && weights[b] > most) heaviest = b, most = weights[b];
  m.bound = bound_index_[heaviest];
  m.bound_share = m.seconds > 0 ? most / m.seconds : 0;
}

bool FastStep::evaluate(Measures& m) {
  const Workload& w = run_.workload;
  const double largest_fitting = largest(w.new_tokens, w.past_tokens);
  const double batch = w.largest_batch ? largest_fitting : w.batch;
  if (batch < 1) return false;
  Step& current = step({batch, w.new_tokens, w.past_tokens});
  const Placed& where = placed(current);
  costs_.level_bytes = where.level_bytes;
  static const auto efficiencies = no_assumptions();
  time_traffic(now_->machine, seconds_per_byte_, efficiencies, current.ops, costs_);
  find_bounds(current, where);
  if (run_.calibrated) time_kernels(current);
  m = {.tokens = current.tokens, .ttft = none, .tpot = none, .energy = none, .power = none, .cost = none, .memory_peak = where.memory_peak, .max_batch = largest_fitting, .fits = where.fits, .days = none};
  sum(current, where, m);
  sum_bounds(current, m);
  const double per_sequence = std::max(1.0, w.new_tokens);
  m.tokens_per_s = m.seconds > 0 ? m.tokens / m.seconds : 0;
  m.batch = m.tokens / per_sequence;
  (w.phase == PhaseKind::prefill ? m.ttft : m.tpot) = w.phase == PhaseKind::prefill ? m.seconds : m.seconds / per_sequence;
  return true;
}

}  // namespace gambrel::sim

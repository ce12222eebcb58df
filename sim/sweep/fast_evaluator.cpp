// Evaluates a sweep's points by changing numbers of a run that is read once, as far as the axes allow.
#include <algorithm>
#include <array>
#include <cmath>
#include <map>

#include "sim/predict_cached.hpp"
#include "sim/sweep/chip_table.hpp"
#include "sim/sweep/fast_step.hpp"
#include "sim/sweep/sweep_parts.hpp"

namespace gambrel::sim {
namespace {

constexpr std::size_t most_runs = 256, most_shapes = 4096, most_demands = 20'000;  ///< kept at a time

/// What the cost model scales of a hypothetical chip, before it does.
struct Stated {
  explicit Stated(const hw::Chip& chip) : area(chip.die_area), tdp(chip.tdp), idle(chip.idle), hourly(chip.hourly_price), capex(chip.capex) {}
  void restore(hw::Chip& chip) const { chip.die_area = area, chip.tdp = tdp, chip.idle = idle, chip.hourly_price = hourly, chip.capex = capex; }

  SquareMetres area;
  Watts tdp, idle;
  Dollars hourly, capex;
};

/// A run whose chip and workload change under it.
class PatchedRun {
 public:
  PatchedRun(const SweepParts& parts, Run run, std::shared_ptr<const ChipTable> table)
      : parts_(parts), run_(std::move(run)), table_(std::move(table)), chip_(run_.system.pools.front().chip), numbers_(chip_), context_(run_.workload.past_tokens + run_.workload.new_tokens) {
    if (table_) {
      for (std::size_t i = 0; i < table_->base.size(); ++i) numbers_.set(i, table_->base[i]);
      entries_.assign(table_->groups.size(), static_cast<std::size_t>(-1));
    }
    if (FastStep::handles(run_)) fast_.emplace(run_, parts.bounds);
  }

  /// False: this combination of the chip's values, or of the workload's, is no design; reading it says why.
  bool patch(std::span<const std::uint32_t> coordinates) { return patch_chip(coordinates) && patch_workload(coordinates); }

  /// Empty: figures are there.
  std::string evaluate(Figures& figures) {
    Measures measures;
    if (fast_) {
      if (!fast_->evaluate(measures)) {
        const auto why = estimate(run_);
        return why ? "not even one sequence fits" : message_of(why.error());
      }
    } else {
      if (demands_.size() > most_demands) demands_.clear();
      const auto estimated = estimate(run_, demands_);
      if (!estimated) return message_of(estimated.error());
      measures = measures_of(run_, *estimated, parts_.bounds);
    }
    figures = figures_of(measures, costs_);
    return {};
  }

  std::size_t shapes() const { return fast_ ? fast_->size() : 0; }

 private:
  bool patch_chip(std::span<const std::uint32_t> coordinates) {
    bool changed = !used_;
    std::uint64_t compute = 0;
    for (std::size_t g = 0; g < entries_.size(); ++g) {
      const ChipGroup& group = table_->groups[g];
      const std::size_t entry = group.entry(parts_.file.axes, coordinates);
      if (group.compute) compute = compute * group.readable.size() + entry;
      if (entry == entries_[g]) continue;
      if (!group.readable[entry]) return false;
      const double* values = group.values.data() + entry * group.numbers.size();
      restore();
      for (std::size_t i = 0; i < group.numbers.size(); ++i) numbers_.set(group.numbers[i], values[i]);
      entries_[g] = entry;
      changed = true;
    }
    if (changed) use_chip(compute);
    return true;
  }

  /// Patches go on top of what the chip states, not of what the cost model made of it.
  void restore() {
    if (!stated_) return;
    stated_->restore(chip_);
    stated_.reset();
  }

  void use_chip(std::uint64_t compute) {
    used_ = true;
    restore();
    if (table_ && table_->costs) {
      stated_.emplace(chip_);
      table_->costs->apply(chip_);
    }
    measure_chip();
    if (fast_) fast_->use_chip(compute);
  }

  /// The price of making a chip of stated area follows from these alone.
  void measure_chip() {
    cost_key_.assign({chip_.die_area.value, chip_.process.value, chip_.tdp.value, chip_.hourly_price.value, hw::dies_of(chip_)});
    for (const hw::MemoryLevel& level : chip_.memory) cost_key_.push_back(level.capacity.value);
    if (chip_.die_area.value > 0 && cost_key_ == last_cost_key_) return;
    costs_ = measures_of(chip_, parts_.technology);
    std::swap(cost_key_, last_cost_key_);
  }

  bool patch_workload(std::span<const std::uint32_t> coordinates) {
    Workload& w = run_.workload;
    for (std::size_t a = 0; a < coordinates.size(); ++a) {
      if (parts_.roles[a] != AxisRole::workload) continue;
      const SweepAxis& axis = parts_.file.axes[a];
      for (std::size_t p = 0; p < axis.paths.size(); ++p) {
        const double value = parts_.numbers[a][coordinates[a] * axis.paths.size() + p];
        if (value < 0 || value != std::floor(value)) return false;
        set(axis.paths[p], value);
      }
    }
    if (w.phase == PhaseKind::decode) w.past_tokens = context_ - w.new_tokens;
    return w.past_tokens >= 0 && w.batch >= 1 && w.new_tokens >= 1 && w.input >= 0;
  }

  void set(std::string_view path, double value) {
    Workload& w = run_.workload;
    if (path == "workload.batch") w.batch = value, w.largest_batch = false;
    if (path == "workload.context") context_ = value;
    if (path == "workload.new_tokens") w.new_tokens = value;
    if (path == "workload.past_tokens") w.past_tokens = value;
    if (path == "workload.input") w.input = value;
    if (path == "workload.output") w.output = value;
  }

  const SweepParts& parts_;
  Run run_;
  std::shared_ptr<const ChipTable> table_;
  hw::Chip& chip_;
  ChipNumbers numbers_;
  double context_;
  std::vector<std::size_t> entries_;  ///< of each group: which is laid over the chip
  bool used_ = false;
  std::optional<Stated> stated_;      ///< of a hypothetical chip that is costed
  ChipMeasures costs_;
  std::vector<double> cost_key_, last_cost_key_;
  std::optional<FastStep> fast_;
  DemandCache demands_;               ///< of a run that is estimated as a whole
};

class FastEvaluator final : public PointEvaluator {
 public:
  explicit FastEvaluator(std::shared_ptr<const SweepParts> parts) : parts_(std::move(parts)), judge_(*parts_), figures_(parts_->workload_count()), reference_(reference_evaluator(parts_)) {
    for (std::size_t a = 0; a < parts_->roles.size(); ++a) {
      if (parts_->roles[a] == AxisRole::chip) chip_axes_.push_back(a);
      if (parts_->roles[a] == AxisRole::anything) slow_axes_.push_back(a);
    }
  }

  void evaluate(std::span<const std::uint32_t> coordinates, PointResult& result) override {
    for (std::size_t w = 0; w < figures_.size(); ++w) {
      PatchedRun* run = run_at(w, coordinates);
      if (!run || !run->patch(coordinates)) return reference_->evaluate(coordinates, result);
      if (const std::string why = run->evaluate(figures_[w]); !why.empty()) return judge_.refuse(why, result);
    }
    judge_.judge(figures_, coordinates, result);
  }

 private:
  PatchedRun* run_at(std::size_t workload, std::span<const std::uint32_t> coordinates) {
    key_.assign(1, static_cast<std::uint32_t>(workload));
    for (std::size_t a : slow_axes_) key_.push_back(coordinates[a]);
    if (last_ && key_ == last_key_) return last_;
    auto found = runs_.find(key_);
    if (found == runs_.end()) found = read(workload, coordinates);
    last_ = found->second.get();
    last_key_ = key_;
    return last_;
  }

  /// Null: no design with the first values of chip and workload; each is then read by itself.
  std::map<std::vector<std::uint32_t>, std::unique_ptr<PatchedRun>>::iterator read(std::size_t workload, std::span<const std::uint32_t> coordinates) {
    std::size_t shapes = 0;
    for (const auto& [key, run] : runs_) shapes += run ? run->shapes() : 0;
    if (runs_.size() >= most_runs || shapes >= most_shapes) runs_.clear();
    auto& place = runs_[key_];
    std::vector<std::uint32_t> first(coordinates.begin(), coordinates.end());
    for (std::size_t a = 0; a < first.size(); ++a)
      if (parts_->roles[a] != AxisRole::anything) first[a] = 0;
    auto run = read_run(parts_->catalog, parts_->file.run, parts_->settings_at(workload, first));
    const bool patchable = run && run->system.pools.size() == 1 && run->pools.empty() && (run->workload.phase != PhaseKind::train || chip_axes_.empty());
    if (patchable) {
      std::shared_ptr<const ChipTable> table;
      if (!chip_axes_.empty()) table = parts_->chips.at(*parts_, workload, chip_axes_, first);
      if (chip_axes_.empty() || (table && table->structure == structure_of(run->system.chip()))) place = std::make_unique<PatchedRun>(*parts_, std::move(*run), std::move(table));
    }
    return runs_.find(key_);
  }

  std::shared_ptr<const SweepParts> parts_;
  Judge judge_;
  std::vector<Figures> figures_;
  std::unique_ptr<PointEvaluator> reference_;
  std::vector<std::size_t> chip_axes_, slow_axes_;
  std::map<std::vector<std::uint32_t>, std::unique_ptr<PatchedRun>> runs_;
  std::vector<std::uint32_t> key_, last_key_;
  PatchedRun* last_ = nullptr;
};

}  // namespace

std::unique_ptr<PointEvaluator> fast_evaluator(std::shared_ptr<const SweepParts> parts) { return std::make_unique<FastEvaluator>(std::move(parts)); }

}  // namespace gambrel::sim

#include "sim/sweep/sweep_parts.hpp"

#include <fmt/format.h>
#include <xxhash.h>

#include "sim/predict.hpp"

namespace gambrel::sim {
namespace {

class ReferenceEvaluator final : public PointEvaluator {
 public:
  explicit ReferenceEvaluator(std::shared_ptr<const SweepParts> parts) : parts_(std::move(parts)), judge_(*parts_), figures_(parts_->workload_count()) {}

  void evaluate(std::span<const std::uint32_t> coordinates, PointResult& result) override {
    for (std::size_t w = 0; w < figures_.size(); ++w) {
      const auto run = read_run(parts_->catalog, parts_->file.run, parts_->settings_at(w, coordinates));
      if (!run) return judge_.refuse(message_of(run.error()), result);
      const auto estimated = estimate(*run);
      if (!estimated) return judge_.refuse(message_of(estimated.error()), result);
      figures_[w] = figures_of(measures_of(*run, *estimated, parts_->bounds), measures_of(run->system.chip(), parts_->technology));
    }
    judge_.judge(figures_, coordinates, result);
  }

 private:
  std::shared_ptr<const SweepParts> parts_;
  Judge judge_;
  std::vector<Figures> figures_;
};

}  // namespace

std::uint32_t Messages::number(const std::string& text) {
  const std::uint32_t number = XXH32(text.data(), text.size(), 0);
  const std::lock_guard lock(mutex_);
  texts_.try_emplace(number, text);
  return number;
}

std::string Messages::text(std::uint32_t number) const {
  const std::lock_guard lock(mutex_);
  const auto found = texts_.find(number);
  return found == texts_.end() ? "" : found->second;
}

std::vector<Setting> SweepParts::settings_at(std::size_t workload, std::span<const std::uint32_t> coordinates) const {
  std::vector<Setting> settings;
  if (!file.workloads.empty()) settings = file.workloads[workload].settings;
  for (std::size_t a = 0; a < file.axes.size(); ++a)
    for (std::size_t p = 0; p < file.axes[a].paths.size(); ++p)
      settings.push_back({file.axes[a].paths[p], file.axes[a].values[coordinates[a]][p], file.values_at[a][coordinates[a]][p]});
  return settings;
}

std::size_t SweepParts::input_index(const InputTable& input, std::span<const std::uint32_t> coordinates) const {
  std::size_t index = 0;
  for (std::size_t a : input.axes) index = index * file.axes[a].size() + coordinates[a];
  return index;
}

std::string message_of(const Diagnostics& problems) { return problems.empty() ? "unknown" : problems.front().message; }

Judge::Judge(const SweepParts& parts)
    : parts_(parts), values_(figure_count + parts.derived.size() + parts.inputs.size()), does_not_fit_(parts.messages.number("does not fit into its memory")) {}

void Judge::refuse(const std::string& why, PointResult& result) const {
  result.state = PointState::impossible;
  result.reason = parts_.messages.number(why);
  result.figures.clear();
}

void Judge::judge(std::span<const Figures> figures, std::span<const std::uint32_t> coordinates, PointResult& result) {
  result.reason = 0;
  const Figures all = joined(figures, parts_.weights, parts_.file.aggregate);
  if (at(all, Figure::fits) < 1) {
    result.state = PointState::impossible;
    result.reason = does_not_fit_;
    return result.figures.clear();
  }
  result.state = PointState::ok;
  result.figures.assign(all.begin(), all.end());
  if (parts_.derived.empty() && parts_.constraints.empty()) return;
  const auto& rows = figure_rows();
  for (std::size_t i = 0; i < figure_count; ++i) values_[i] = all[i] * rows[i].scale;
  double* inputs = values_.data() + figure_count + parts_.derived.size();
  for (const InputTable& input : parts_.inputs) *inputs++ = input.values[parts_.input_index(input, coordinates)];
  for (std::size_t i = 0; i < parts_.derived.size(); ++i) result.figures.push_back(values_[figure_count + i] = parts_.derived[i].evaluate(values_));
  for (std::size_t i = 0; i < parts_.constraints.size(); ++i) {
    if (parts_.constraints[i].evaluate(values_) != 0) continue;
    result.state = PointState::violates;
    result.reason = static_cast<std::uint32_t>(i);
    return;
  }
}

std::unique_ptr<PointEvaluator> reference_evaluator(std::shared_ptr<const SweepParts> parts) { return std::make_unique<ReferenceEvaluator>(std::move(parts)); }

}  // namespace gambrel::sim

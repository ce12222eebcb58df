#include "sim/calibration/fit_kernel.hpp"

#include <algorithm>

namespace gambrel::sim {

std::vector<MeasuredGroup> group_by_type(std::span<const KernelCall> calls, std::span<const double> seconds, const KernelPredictor& predictor) {
  std::vector<MeasuredGroup> groups;
  for (std::size_t i = 0; i < calls.size(); ++i) {
    const std::string_view type = predictor.model(calls[i].kind).type_of(calls[i], predictor.figures());
    auto group = std::ranges::find(groups, type, &MeasuredGroup::type);
    if (group == groups.end()) group = groups.insert(groups.end(), {std::string(type), {}, {}});
    group->calls.push_back(&calls[i]);
    group->seconds.push_back(seconds[i]);
  }
  return groups;
}

MeasuredGroup select(const MeasuredGroup& group, const std::vector<bool>& keep) {
  MeasuredGroup chosen{group.type, {}, {}};
  for (std::size_t i = 0; i < keep.size(); ++i) {
    if (!keep[i]) continue;
    chosen.calls.push_back(group.calls[i]);
    chosen.seconds.push_back(group.seconds[i]);
  }
  return chosen;
}

std::vector<double> fit_group(const MeasuredGroup& rows, const KernelPredictor& predictor, std::span<const double> start, std::span<const std::string> only, double pull) {
  const KernelModel& model = predictor.model(rows.calls.front()->kind);
  std::vector<Constant> constants(model.constants.begin(), model.constants.end());
  if (!only.empty())
    for (Constant& c : constants)
      if (!std::ranges::count(only, c.name)) c.search = Search::fixed;
  auto predict = [&](std::span<const double> values, std::span<double> seconds) {
    for (std::size_t i = 0; i < seconds.size(); ++i) seconds[i] = predictor.seconds(model, *rows.calls[i], values);
  };
  return (model.smooth ? fit_smooth : fit_constants)({.constants = constants, .predict = predict, .measured = rows.seconds, .start = start, .pull = pull});
}

Judgement judge(const MeasuredGroup& rows, const KernelPredictor& predictor, std::span<const double> values) {
  Judgement result;
  std::vector<std::pair<std::string, std::pair<std::vector<double>, std::vector<double>>>> regimes;
  for (std::size_t i = 0; i < rows.calls.size(); ++i) {
    const KernelModel& model = predictor.model(rows.calls[i]->kind);
    const double seconds = predictor.seconds(model, *rows.calls[i], values);
    const std::string_view bound = predictor.bound(model, *rows.calls[i], values, seconds);
    result.predicted.push_back(seconds);
    result.bounds.push_back(bound);
    auto regime = std::ranges::find(regimes, bound, [](const auto& r) { return std::string_view(r.first); });
    if (regime == regimes.end()) regime = regimes.insert(regimes.end(), {std::string(bound), {}});
    regime->second.first.push_back(seconds);
    regime->second.second.push_back(rows.seconds[i]);
  }
  result.all = score(result.predicted, rows.seconds);
  std::ranges::sort(regimes, {}, [](const auto& r) { return r.first; });
  for (const auto& [name, both] : regimes) result.regimes.emplace_back(name, score(both.first, both.second));
  return result;
}

Score cross_validate(const MeasuredGroup& rows, const KernelPredictor& predictor, std::span<const double> start, int folds,
                     std::span<const std::string> only) {
  std::vector<double> predicted, measured;
  for (int fold = 0; fold < folds; ++fold) {
    std::vector<bool> inside(rows.calls.size());
    // Rows come in the order of their sizes: every k-th one leaves no corner of the range to one fold.
    for (std::size_t i = 0; i < inside.size(); ++i) inside[i] = static_cast<int>(i % static_cast<std::size_t>(folds)) == fold;
    const MeasuredGroup held = select(rows, inside);
    inside.flip();
    const MeasuredGroup fitted = select(rows, inside);
    if (held.calls.empty() || fitted.calls.empty()) continue;
    const Judgement judgement = judge(held, predictor, fit_group(fitted, predictor, start, only));
    predicted.insert(predicted.end(), judgement.predicted.begin(), judgement.predicted.end());
    measured.insert(measured.end(), held.seconds.begin(), held.seconds.end());
  }
  return score(predicted, measured);
}

}  // namespace gambrel::sim

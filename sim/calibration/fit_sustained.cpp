// The one constant that training runs fit: what they sustain of the rate of single products.
#include <algorithm>

#include "sim/calibration/suite.hpp"

namespace gambrel::sim {
namespace {

/// Rows of one chip that the fit may see, or may not.
std::vector<const SuiteRow*> rows_of(const std::vector<SuiteSet>& sets, const std::string& chip, const std::function<bool(const std::string&)>& wanted) {
  std::vector<const SuiteRow*> rows;
  for (const SuiteSet& set : sets)
    for (const SuiteRow& row : set.rows)
      if (row.run && row.measured > 0 && row.run->system.chip().id == chip && wanted(set.name + " " + row.name)) rows.push_back(&row);
  return rows;
}

struct Times {
  std::vector<double> predicted, measured;
};

Times times_at(const std::vector<const SuiteRow*>& rows, double share, const Predictor& predictor) {
  Times times;
  for (const SuiteRow* row : rows) {
    Run run = *row->run;
    run.calibration.use(SustainedFit{.share = share});
    const auto estimate = predictor(run);
    if (!estimate) continue;
    times.predicted.push_back(estimate->total.time.value);
    times.measured.push_back(row->measured);
  }
  return times;
}

double median_ratio(const Times& times) {
  std::vector<double> ratios;
  for (std::size_t i = 0; i < times.predicted.size(); ++i) ratios.push_back(times.predicted[i] / times.measured[i]);
  std::ranges::nth_element(ratios, ratios.begin() + static_cast<std::ptrdiff_t>(ratios.size() / 2));
  return ratios[ratios.size() / 2];
}

}  // namespace

std::optional<SustainedFit> fit_sustained(std::vector<SuiteSet>& sets, const std::string& chip, const std::function<bool(const std::string&)>& fitted, const Predictor& predictor) {
  const auto inside = rows_of(sets, chip, fitted), outside = rows_of(sets, chip, [&](const std::string& key) { return !fitted(key); });
  if (inside.empty() || times_at(inside, 1, predictor).predicted.empty()) return std::nullopt;
  // Times fall as the share rises, so the median crosses 1 once.
  double low = 0.1, high = 1.5;
  for (int i = 0; i < 16; ++i) {
    const double middle = (low + high) / 2;
    (median_ratio(times_at(inside, middle, predictor)) > 1 ? low : high) = middle;
  }
  SustainedFit fit{.share = (low + high) / 2};
  const Times in = times_at(inside, fit.share, predictor), out = times_at(outside, fit.share, predictor);
  fit.fitted = score(in.predicted, in.measured);
  fit.reported = score(out.predicted, out.measured);
  return fit;
}

}  // namespace gambrel::sim

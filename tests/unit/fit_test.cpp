// The fit: finds the constants of problems whose answer is known.
#include "sim/kernel_models/fit.hpp"

#include <doctest/doctest.h>

#include <array>
#include <cmath>
#include <limits>
#include <numeric>

#include "sim/calibration/fit_kernel.hpp"
#include "tests/unit/calibration_support.hpp"

using namespace gambrel;
using namespace gambrel::sim;

namespace {

/// A launch, a rate and a tile: seconds = launch + ceil(size / tile) tile / rate.
constexpr std::array<Constant, 3> toy{{{"launch", 1e-5, 1e-7, 1e-3, Search::logarithmic, "s", ""},
                                       {"rate", 1e9, 1e8, 1e12, Search::logarithmic, "1/s", ""},
                                       {"tile", 64, 1, 512, Search::fixed, "", ""}}};

double toy_seconds(std::span<const double> c, double size) { return c[0] + std::ceil(size / c[2]) * c[2] / c[1]; }

struct Toy {
  std::vector<double> sizes, measured, start{1e-5, 1e9, 64};
  int calls = 0;

  explicit Toy(const std::array<double, 3>& truth) {
    for (double size = 100; size < 1e8; size *= 1.3) {
      sizes.push_back(size);
      measured.push_back(toy_seconds(truth, size));
    }
  }
  std::vector<double> fit(std::vector<double> (*search)(const FitProblem&) = fit_constants) {
    auto predict = [this](std::span<const double> values, std::span<double> seconds) {
      ++calls;
      for (std::size_t i = 0; i < sizes.size(); ++i) seconds[i] = toy_seconds(values, sizes[i]);
    };
    return search({.constants = toy, .predict = predict, .measured = measured, .start = start});
  }
};

}  // namespace

TEST_CASE("a fit finds the constants that made the data") {
  const std::array<double, 3> truth{3e-6, 4e10, 64};
  const auto found = Toy(truth).fit();
  REQUIRE(found.size() == 3);
  CHECK(found[0] == doctest::Approx(truth[0]).epsilon(0.01));
  CHECK(found[1] == doctest::Approx(truth[1]).epsilon(0.01));
}

TEST_CASE("a tenth of wild rows moves it little: a mean of squares would follow them") {
  const std::array<double, 3> truth{3e-6, 4e10, 64};
  Toy toy_rows(truth);
  for (std::size_t i = 0; i < toy_rows.measured.size(); i += 10) toy_rows.measured[i] *= 8;
  const auto found = toy_rows.fit();
  CHECK(found[0] == doctest::Approx(truth[0]).epsilon(0.05));
  CHECK(found[1] == doctest::Approx(truth[1]).epsilon(0.05));
}

TEST_CASE("fixed constants keep what they start from, even where another would fit better") {
  Toy toy_rows({3e-6, 4e10, 64});
  toy_rows.start[2] = 512;
  CHECK(toy_rows.fit()[2] == 512);
}

TEST_CASE("constants stay in their bounds, whatever the data asks for and wherever the search starts") {
  Toy slow({1e-2, 1e7, 64});  // a launch above its bound, a rate below
  const auto found = slow.fit();
  CHECK(found[0] <= toy[0].high);
  CHECK(found[0] == doctest::Approx(toy[0].high).epsilon(0.02));
  CHECK(found[1] == doctest::Approx(toy[1].low).epsilon(0.02));
  Toy outside({3e-6, 4e10, 64});
  outside.start = {1.0, 1.0, 64};
  const auto again = outside.fit();
  CHECK(again[0] == doctest::Approx(3e-6).epsilon(0.01));
  CHECK(again[1] == doctest::Approx(4e10).epsilon(0.01));
}

TEST_CASE("the same rows give the same constants, to the last bit, in a bounded number of evaluations") {
  Toy first({3e-6, 4e10, 64}), second({3e-6, 4e10, 64});
  CHECK(first.fit() == second.fit());
  CHECK(first.calls <= 4000 + 2);
}

TEST_CASE("a problem with nothing to search gives its start back") {
  constexpr std::array<Constant, 1> fixed_only{{{"tile", 64, 1, 512, Search::fixed, "", ""}}};
  const std::vector<double> measured{1}, start{128};
  auto predict = [](std::span<const double>, std::span<double> seconds) { seconds[0] = 2; };
  CHECK(fit_constants({.constants = fixed_only, .predict = predict, .measured = measured, .start = start}) == start);
}

TEST_CASE("the smooth search finds the same constants in far fewer evaluations") {
  const std::array<double, 3> truth{3e-6, 4e10, 64};
  Toy direct(truth), smooth(truth);
  for (std::size_t i = 0; i < smooth.measured.size(); i += 10) smooth.measured[i] *= 8;  // wild rows
  direct.fit();
  const auto found = smooth.fit(fit_smooth);
  CHECK(found[0] == doctest::Approx(truth[0]).epsilon(0.05));
  CHECK(found[1] == doctest::Approx(truth[1]).epsilon(0.05));
  CHECK(found[2] == 64);
  CHECK(smooth.calls < direct.calls);
  Toy again(truth), twice(truth);
  CHECK(again.fit(fit_smooth) == twice.fit(fit_smooth));
}

TEST_CASE("the smooth search keeps constants in their bounds, and gives back what has nothing to search") {
  const auto found = Toy({1e-2, 1e7, 64}).fit(fit_smooth);
  CHECK(found[0] == doctest::Approx(toy[0].high).epsilon(0.02));
  CHECK(found[1] == doctest::Approx(toy[1].low).epsilon(0.02));
  constexpr std::array<Constant, 1> fixed_only{{{"tile", 64, 1, 512, Search::fixed, "", ""}}};
  const std::vector<double> measured{1}, start{128};
  auto predict = [](std::span<const double>, std::span<double> seconds) { seconds[0] = 2; };
  CHECK(fit_smooth({.constants = fixed_only, .predict = predict, .measured = measured, .start = start}) == start);
}

TEST_CASE("a choice is made by trying: the tile that made the data is found, and its rate with it") {
  constexpr std::array<Constant, 2> constants{{{"rate", 1e9, 1e8, 1e12, Search::logarithmic, "1/s", ""}, {"tile", 1, 1, 5, Search::choice, "", ""}}};
  const auto seconds_of = [](std::span<const double> c, double size) { return std::ceil(size / (16 * c[1])) * 16 * c[1] / c[0]; };
  const std::vector<double> truth{5e9, 4}, start{1e9, 1};
  std::vector<double> measured;
  for (int size = 1; size < 200; size += 3) measured.push_back(seconds_of(truth, size));
  auto predict = [&](std::span<const double> values, std::span<double> seconds) {
    for (std::size_t i = 0; i < seconds.size(); ++i) seconds[i] = seconds_of(values, 1 + 3 * static_cast<double>(i));
  };
  const FitProblem problem{.constants = constants, .predict = predict, .measured = measured, .start = start};
  const auto found = fit_smooth(problem);
  CHECK(found[1] == 4);
  CHECK(found[0] == doctest::Approx(5e9).epsilon(0.001));
  CHECK(fit_constants(problem)[1] == 1);  // which leaves choices alone
}

TEST_CASE("constants for which a model has no answer are avoided, not chosen") {
  constexpr std::array<Constant, 1> one{{{"x", 0.5, 0, 1, Search::linear, "", ""}}};
  const std::vector<double> measured{0.4}, start{0.9};
  auto predict = [](std::span<const double> v, std::span<double> seconds) { seconds[0] = v[0] < 0.3 ? std::nan("") : v[0]; };
  CHECK(fit_constants({.constants = one, .predict = predict, .measured = measured, .start = start})[0] == doctest::Approx(0.4).epsilon(0.01));
  CHECK(fit_smooth({.constants = one, .predict = predict, .measured = measured, .start = start})[0] == doctest::Approx(0.4).epsilon(0.01));
}

namespace {

/// Prefill calls with the times that changed constants predict.
struct Measured {
  std::vector<KernelCall> calls = test::calls_of(test::prefill_csv(), KernelKind::attention_prefill);
  KernelPredictor predictor = test::predictor_for(test::shipped_chip("h100-sxm"));
  const KernelModel& model = model_of(KernelKind::attention_prefill);
  std::vector<double> usual, truth, seconds;

  Measured() {
    for (const Constant& c : model.constants) {
      usual.push_back(c.usual);
      truth.push_back(c.search == Search::fixed ? c.usual : std::clamp(c.usual * 1.2, c.low, c.high));
    }
    for (const KernelCall& call : calls) seconds.push_back(predictor.seconds(model, call, truth));
  }
};

}  // namespace

TEST_CASE("a kernel's fit predicts the rows it was fitted to, and others of the same machine") {
  const Measured m;
  const auto groups = group_by_type(m.calls, m.seconds, m.predictor);
  REQUIRE(groups.size() == 1);
  std::vector<bool> half(m.calls.size());
  for (std::size_t i = 0; i < half.size(); i += 2) half[i] = true;
  const MeasuredGroup inside = select(groups[0], half);
  half.flip();
  const MeasuredGroup outside = select(groups[0], half);
  CHECK(inside.calls.size() + outside.calls.size() == m.calls.size());

  const Judgement before = judge(outside, m.predictor, m.usual);
  const auto values = fit_group(inside, m.predictor, m.usual);
  const Judgement after = judge(outside, m.predictor, values);
  CHECK(before.all.mean > 0.03);
  CHECK(after.all.mean < 0.01);
  for (std::size_t i = 0; i < values.size(); ++i) {
    CHECK(values[i] >= m.model.constants[i].low);
    CHECK(values[i] <= m.model.constants[i].high);
  }
}

TEST_CASE("rows are grouped by type, in the order in which types appear, and none is lost") {
  auto rows = test::prefill_rows("fp8");
  const auto wide = test::prefill_rows("bfloat16");
  rows.insert(rows.end(), wide.begin(), wide.end());
  std::string text = test::prefill_header;
  for (const auto& row : rows) text += row + "\n";
  const auto calls = test::calls_of(text, KernelKind::attention_prefill);
  std::vector<double> seconds(calls.size());
  std::iota(seconds.begin(), seconds.end(), 1.0);
  const auto groups = group_by_type(calls, seconds, test::predictor_for(test::shipped_chip("h100-sxm")));
  REQUIRE(groups.size() == 2);
  CHECK(groups[0].type == "fp8");
  CHECK(groups[1].type == "bf16");
  CHECK(groups[0].calls.size() == wide.size());
  CHECK(groups[1].seconds.front() == static_cast<double>(wide.size()) + 1);
  // A chip without fp8 arithmetic runs both in one kernel.
  CHECK(group_by_type(calls, seconds, test::predictor_for(test::shipped_chip("a100-sxm-80gb"))).size() == 1);
}

TEST_CASE("a judgement's regimes hold each row once and are sorted by name") {
  const Measured m;
  const auto group = group_by_type(m.calls, m.seconds, m.predictor).front();
  const Judgement j = judge(group, m.predictor, m.usual);
  std::size_t rows = 0;
  double sum = 0;
  std::string last;
  for (const auto& [name, s] : j.regimes) {
    CHECK(name > last);
    last = name;
    rows += s.rows;
    sum += s.mean * static_cast<double>(s.rows);
  }
  CHECK(rows == j.all.rows);
  CHECK(sum / static_cast<double>(rows) == doctest::Approx(j.all.mean));
  CHECK(j.regimes.size() >= 2);  // the rows range from launch to compute
  CHECK(judge(group, m.predictor, m.truth).all.mean == doctest::Approx(0));
}

TEST_CASE("cross-validation predicts every row once, by constants that did not see it") {
  Measured m;
  for (std::size_t i = 0; i < m.seconds.size(); ++i) m.seconds[i] *= i % 2 ? 1.1 : 1 / 1.1;  // noise that no fit removes
  const auto group = group_by_type(m.calls, m.seconds, m.predictor).front();
  const Score s = cross_validate(group, m.predictor, m.usual, 3);
  CHECK(s.rows == m.calls.size());
  CHECK(s.mean > 0.05);
  CHECK(s.mean < 0.15);
  CHECK(cross_validate(group, m.predictor, m.usual, 1).rows == 0);  // one fold leaves nothing to fit
}

// The page of a sweep: what it gathers of many points, what its marks lead to, and that no name breaks out of it.
#include <doctest/doctest.h>
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "reports/plot.hpp"
#include "reports/sweep_page.hpp"
#include "reports/sweep_svg.hpp"

using namespace gambrel;
using reports::SweepPage;
using sim::PointResult, sim::PointState;

namespace {

/// Time falls and cost grows with the first axis; the second only makes worse.
class TwoAxes final : public sim::DesignSpace {
 public:
  explicit TwoAxes(std::uint32_t wide = 40, std::string name = "bandwidth") {
    axes_.push_back({.paths = {"chip.memory.HBM." + name}, .values = {}, .at = {}});
    for (std::uint32_t i = 0; i < wide; ++i) axes_.back().values.push_back({fmt::format("{}x", 1 + 0.123456789 * i)});
    axes_.push_back({.paths = {"workload.batch"}, .values = {{"1"}, {"2"}, {"4"}}, .at = {}});
    columns_ = {{"time_s", "time per step", "s"}, {"cost_usd", "", "USD"}};
    objectives_ = {{"time_s", 0, false}, {"cost_usd", 1, false}};
  }
  const std::vector<sim::SweepAxis>& axes() const override { return axes_; }
  const std::vector<sim::FigureColumn>& columns() const override { return columns_; }
  const std::vector<sim::Objective>& objectives() const override { return objectives_; }
  std::vector<std::string> constraints() const override { return {}; }
  std::string message(std::uint32_t) const override { return ""; }
  std::unique_ptr<sim::PointEvaluator> evaluator() const override { return nullptr; }
  std::string canonical(std::span<const std::uint32_t>) const override { return ""; }
  std::string command(std::span<const std::uint32_t> at) const override {
    return fmt::format("gambrel estimate f.yaml --set {}={} --set batch={}", axes_[0].paths[0], axes_[0].values[at[0]][0], axes_[1].values[at[1]][0]);
  }
  PointResult point(std::uint64_t index) const {
    const sim::Coordinates at = coordinates_of(index);
    return {.index = index, .figures = {100.0 / (1 + at[0]) + at[1], 1.0 + at[0] + 2 * at[1]}};
  }

 private:
  std::vector<sim::SweepAxis> axes_;
  std::vector<sim::FigureColumn> columns_;
  std::vector<sim::Objective> objectives_;
};

SweepPage filled(const TwoAxes& space) {
  SweepPage page(space, "a sweep");
  for (std::uint64_t i = 0; i < space.size(); ++i) page.add(space.point(i));
  for (std::uint32_t a = 0; a < space.axes()[0].size(); ++a) page.front.push_back(space.point(space.index_of(sim::Coordinates{a, 0})));
  page.knee = 3;
  return page;
}

std::size_t count(const std::string& text, std::string_view part) {
  std::size_t found = 0;
  for (std::size_t at = text.find(part); at != std::string::npos; at = text.find(part, at + 1)) ++found;
  return found;
}

}  // namespace

TEST_CASE("sweep page: heat maps keep the best of each pair and which design it is") {
  const TwoAxes space(7);
  const SweepPage page = filled(space);
  REQUIRE(page.maps().size() == 2);  // one pair of axes, two objectives
  const reports::HeatMap& time = page.maps()[0];
  CHECK(space.axes()[time.across].size() == 7);
  for (std::size_t d = 0; d < 3; ++d)
    for (std::size_t a = 0; a < 7; ++a) {
      const std::uint64_t index = space.index_of(sim::Coordinates{static_cast<std::uint32_t>(a), static_cast<std::uint32_t>(d)});
      CHECK(time.index[d * 7 + a] == index);
      CHECK(time.best[d * 7 + a] == space.point(index).figures[0]);
    }
}

TEST_CASE("sweep page: points that are no designs, or have no figure, are left out") {
  const TwoAxes space(5);
  SweepPage page(space, "");
  PointResult wrong = space.point(1), missing = space.point(2);
  wrong.state = PointState::violates;
  missing.figures[1] = std::numeric_limits<double>::quiet_NaN();
  page.add(wrong);
  page.add(missing);
  page.add(space.point(3));
  CHECK(page.added() == 1);
  CHECK(page.sample().size() == 1);
}

TEST_CASE("sweep page: what is drawn stays bounded and is spread over all points") {
  const TwoAxes space(20000);
  SweepPage page(space, "");
  for (std::uint64_t i = 0; i < space.size(); ++i) page.add(space.point(i));
  CHECK(page.added() == 60000);
  CHECK(page.sample().size() >= 1500);
  CHECK(page.sample().size() < 3000);
  CHECK(page.sample().front().index == 0);
  CHECK(page.sample().back().index > 57000);
  std::uint64_t widest = 0;
  for (std::size_t i = 1; i < page.sample().size(); ++i) widest = std::max(widest, page.sample()[i].index - page.sample()[i - 1].index);
  CHECK(widest <= 64);
}

TEST_CASE("sweep page: every mark leads to its command") {
  const TwoAxes space(6);
  const std::string html = reports::write_sweep_html(filled(space));
  CHECK(html.find("\"command\": \"gambrel estimate f.yaml --set chip.memory.HBM.bandwidth=1") != std::string::npos);
  for (std::uint64_t i = 0; i < space.size(); ++i) {
    CHECK(html.find(fmt::format("data-p=\"{}\"", i)) != std::string::npos);
    CHECK(html.find(fmt::format("\"{}\": [[", i)) != std::string::npos);
  }
  CHECK(html.find("http") == html.find("http-equiv"));  // nothing is fetched
}

TEST_CASE("sweep page: a hostile path cannot end the script or add an element") {
  const TwoAxes space(4, "</script><script>alert(1)</script>\"'<b>");
  const std::string html = reports::write_sweep_html(filled(space));
  CHECK(count(html, "<script>") == 1);
  CHECK(count(html, "</script>") == 1);
  CHECK(count(html, "<b>") == 0);
}

TEST_CASE("sweep page: charts appear only where they say something") {
  const TwoAxes space(6);
  SweepPage page = filled(space);
  CHECK(count(reports::front_svg(page, 0, 1), "<circle") == page.sample().size() + page.front.size());
  CHECK(reports::front_svg(page, 0, 2) == "");
  CHECK(count(reports::heat_svg(page, page.maps()[0]), "<rect") == 18);
  CHECK(count(reports::parallel_svg(page), "class=\"thread best") == page.front.size());
  CHECK(reports::tornado_svg(page) == "");
  page.sensitivity = sim::Sensitivity{.effects = {{"workload.batch", "4", {1.0, -0.5}}}, .bounds = {}};
  CHECK(count(reports::tornado_svg(page), "<rect") == 2);

  SweepPage sparse(space, "");
  sparse.add(space.point(0));
  CHECK(reports::heat_svg(sparse, sparse.maps()[0]) == "");
}

TEST_CASE("plot: axes hold their values, ticks lie within and are round") {
  for (const std::vector<double>& values : {std::vector<double>{1e-6, 3e-2, 5}, {3, 4, 3.5}, {-2, 7}, {5, 5}, {0, 1e9}}) {
    const reports::PlotAxis axis = reports::axis_of(values, 10, 500);
    for (double v : values) {
      CHECK(axis.at(v) >= 10);
      CHECK(axis.at(v) <= 500);
    }
    CHECK(axis.ticks().size() >= 2);
    CHECK(axis.ticks().size() <= 16);
    for (double tick : axis.ticks()) {
      CHECK(tick >= axis.low * (axis.low > 0 ? 0.999 : 1.001) - 1e-12);
      CHECK(tick <= axis.high * 1.001);
    }
  }
  CHECK(reports::axis_of({1, 10}, 0, 1).logarithmic);
  CHECK_FALSE(reports::axis_of({1, 4}, 0, 1).logarithmic);
  CHECK_FALSE(reports::axis_of({0, 10}, 0, 1).logarithmic);
  CHECK(reports::tick_text(12000) == "12k");
  CHECK(reports::tick_text(3.4e6) == "3.4M");
  CHECK(reports::tick_text(0.05) == "0.05");
}

TEST_CASE("plot: long values are shortened for labels, short ones are as written") {
  CHECK(reports::short_value("2.82842712466x") == "2.828x");
  CHECK(reports::short_value("9.475230867611002 TB/s") == "9.475 TB/s");
  CHECK(reports::short_value("0.25x") == "0.25x");
  CHECK(reports::short_value("mxfp4") == "mxfp4");
  CHECK(reports::short_value("").empty());
}

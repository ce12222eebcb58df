// Expressions of sweep files: values, dimensions, and what is wrong where.
#include <doctest/doctest.h>
#include <fmt/format.h>

#include <cmath>
#include <limits>
#include <random>

#include "sim/sweep/expression.hpp"

namespace {

using namespace gambrel;
using sim::Expression;

/// power 650 W, area 800 mm2, time 2 s, count 3, nothing NaN.
constexpr double values[] = {650, 800e-6, 2, 3, std::numeric_limits<double>::quiet_NaN()};

tl::expected<sim::Symbol, sim::ExpressionError> find(std::string_view name) {
  if (name == "power") return sim::Symbol{0, Watts::dimension};
  if (name == "die_area") return sim::Symbol{1, SquareMetres::dimension};
  if (name == "chip.memory.\"odd.name\".time") return sim::Symbol{2, Seconds::dimension};
  if (name == "count") return sim::Symbol{3, {}};
  if (name == "nothing") return sim::Symbol{4, {}};
  return tl::unexpected(sim::ExpressionError{0, fmt::format("no {}", name), "did you mean 'power'?"});
}

double value_of(std::string_view text) {
  const auto expression = Expression::compile(text, find);
  REQUIRE_MESSAGE(expression.has_value(), text << ": " << (expression ? "" : expression.error().message));
  return expression->evaluate(values);
}

std::string error_of(std::string_view text) {
  const auto expression = Expression::compile(text, find);
  return expression ? "accepted" : fmt::format("{}: {}", expression.error().offset, expression.error().message);
}

}  // namespace

TEST_CASE("expressions: arithmetic binds as usual") {
  CHECK(value_of("1 + 2 * 3") == 7);
  CHECK(value_of("(1 + 2) * 3 - -4") == 13);
  CHECK(value_of("8 / 2 / 2") == 2);
  CHECK(value_of("-count * 2 - 1") == -7);
  CHECK(value_of("min(3, count * 2, 5) + max(1, 2)") == 5);
  CHECK(value_of("1.5e3 + .5") == 1500.5);
}

TEST_CASE("expressions: literals have units, names have dimensions") {
  CHECK(value_of("power < 700 W") == 1);
  CHECK(value_of("power < 0.6 kW") == 0);
  CHECK(value_of("die_area <= 814 mm2") == 1);
  CHECK(value_of("power / die_area < 1 W/mm2") == 1);
  CHECK(value_of("power * chip.memory.\"odd.name\".time == 1300 J") == 1);
  CHECK(value_of("2 TB/s") == 2e12);
  CHECK(value_of("6 B/count") == 2);  // no unit is called "count"
  CHECK(value_of("power > 0") == 1);  // zero has any dimension
  CHECK(Expression::compile("power / count", find)->dimension() == Watts::dimension);
  CHECK(Expression::compile("power < 1 W", find)->is_comparison());
  CHECK(!Expression::compile("power", find)->is_comparison());
}

TEST_CASE("expressions: a NaN holds no comparison") {
  for (const char* text : {"nothing < 1", "nothing >= 1", "nothing == 1", "nothing != 1"}) CHECK(value_of(text) == 0);
}

TEST_CASE("expressions: errors say what and where") {
  CHECK(error_of("power < 700") == "6: a quantity in W and a plain number do not compare or add up");
  CHECK(error_of("power + die_area < 1") == "6: a quantity in W and a quantity in m2 do not compare or add up");
  CHECK(error_of("power < 700 Watt").starts_with("12: unknown unit 'Watt'"));
  CHECK(error_of("powr < 700 W") == "0: no powr");
  CHECK(error_of("") == "0: the expression ends too early");
  CHECK(error_of("1 +") == "3: the expression ends too early");
  CHECK(error_of("(1 + 2") == "6: a ')' is missing");
  CHECK(error_of("min(1, 2") == "8: a ')' is missing");
  CHECK(error_of("1 < 2 < 3") == "6: '< 3' is not expected here");
  CHECK(error_of("1 $ 2") == "2: '$ 2' is not expected here");
  CHECK(error_of("1.2.3") == "0: '1.2.3' is not a number");
  CHECK(error_of(std::string(500, '(') + "1").find("nested too deeply") != std::string::npos);
  CHECK(error_of(std::string(500, '-') + "1").find("nested too deeply") != std::string::npos);
  CHECK(error_of(std::string(5000, '1')).find("at most") != std::string::npos);
}

TEST_CASE("expressions: no text breaks the compiler, and what compiles can be evaluated") {
  std::mt19937 random(7);
  const std::string_view pieces[] = {"power", "count", "1", "2 W", "+", "-", "*", "/", "<", ">=", "(", ")", "min(", "max(", ",", ".", "\"", " ", "e9", "\xc2\xb5s", "\xff", "chip.memory"};
  int compiled = 0;
  for (int i = 0; i < 20'000; ++i) {
    std::string text;
    for (int n = static_cast<int>(random() % 12); n >= 0; --n) text += pieces[random() % std::size(pieces)];
    if (const auto expression = Expression::compile(text, find)) {
      ++compiled;
      (void)expression->evaluate(values);
    }
  }
  CHECK(compiled > 100);
}

TEST_CASE("expressions: the deepest nesting that compiles fits the evaluator") {
  std::string text = "1";
  for (int i = 0; i < Expression::most_nested - 2; ++i) text = "1 + 2 * (" + text + ")";
  CHECK(std::isfinite(value_of(text)));
}

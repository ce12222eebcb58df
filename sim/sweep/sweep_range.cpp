// {sweep: [..]} and {sweep: {from, to, factor | step | count}} -> the values, units kept.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "base/load.hpp"
#include "base/quantity.hpp"
#include "base/text.hpp"
#include "sim/sweep/read_sweep.hpp"

namespace gambrel::sim {
namespace {

constexpr std::size_t most_values = 1'000'000;

/// "3.35 TB/s" is 3.35 and " TB/s", "0.5x" is 0.5 and "x".
struct Scaled {
  double number = 0;
  std::string unit;
};

Result<Scaled> scaled(const Node& node) {
  if (node.is_number()) return Scaled{node.number, ""};
  std::size_t length = std::min(node.text.find_first_not_of("0123456789.+-eE"), node.text.size());
  while (length > 0 && !is_decimal(std::string_view(node.text).substr(0, length))) --length;
  const auto number = node.is_string() && length > 0 ? decimal_value(std::string_view(node.text).substr(0, length)) : std::nullopt;
  if (!number) return fail({node.at, fmt::format("'{}' is no number", excerpt(node.text)), "a number, a quantity such as 1 TB/s, or a factor such as 2x"});
  return Scaled{*number, node.text.substr(length)};
}

/// `value`'s number in the other's unit.
Result<double> in_unit(const Scaled& value, const std::string& unit, const Position& at) {
  if (value.unit == unit) return value.number;
  const auto trimmed = [](std::string_view text) { return text.substr(std::min(text.find_first_not_of(' '), text.size())); };
  const auto dimension = parse_dimension(trimmed(unit));
  const auto one = dimension ? parse_quantity(fmt::format("1 {}", trimmed(unit)), *dimension) : tl::unexpected(std::string());
  const auto base = dimension ? parse_quantity(fmt::format("{:.17g} {}", value.number, trimmed(value.unit)), *dimension) : tl::unexpected(std::string());
  if (!one || !base)
    return fail({at, fmt::format("the range starts in '{}' and goes on in '{}'", unit.empty() ? "plain numbers" : trimmed(unit), value.unit.empty() ? "plain numbers" : trimmed(value.unit)), "write both ends, and a step, in units of the same kind"});
  return *base / *one;
}

/// 12 digits: what a sum of steps or a product of factors has in excess is rounding.
std::string text_of(double number, const std::string& unit) { return shortest(*decimal_value(fmt::format("{:.12g}", number))) + unit; }

struct Range {
  double from = 0, to = 0;
  std::string unit;
};

bool reaches(double value, const Range& r) {
  const double slack = 1e-9 * std::max(std::abs(r.from), std::abs(r.to));
  return r.from <= r.to ? value <= r.to + slack : value >= r.to - slack;
}

Result<std::vector<double>> geometric(const Range& r, double factor, const Position& at) {
  if (!(factor > 0) || factor == 1 || !(r.from * r.to > 0) || (factor > 1) != (r.from <= r.to))
    return fail({at, fmt::format("factor {} never leads from {} to {}", factor, r.from, r.to), "a factor above 1 leads upwards from a positive number, one below 1 downwards"});
  std::vector<double> values;
  for (double v = r.from; reaches(v, r) && values.size() <= most_values; v = r.from * std::pow(factor, static_cast<double>(values.size()))) values.push_back(v);
  return values;
}

Result<std::vector<double>> linear(const Range& r, double step, const Position& at) {
  if (step == 0 || (step > 0) != (r.from <= r.to)) return fail({at, fmt::format("step {} never leads from {} to {}", step, r.from, r.to), "a positive step leads upwards"});
  std::vector<double> values;
  for (double v = r.from; reaches(v, r) && values.size() <= most_values; v = r.from + step * static_cast<double>(values.size())) values.push_back(v);
  return values;
}

Result<std::vector<double>> counted(const Range& r, const Node& count, bool logarithmic) {
  const double n = count.number;
  if (!count.is_number() || n != std::floor(n) || n < 2 || n > most_values) return fail({count.at, fmt::format("count is '{}'", excerpt(count.text)), "a whole number from 2 to a million"});
  if (logarithmic && !(r.from * r.to > 0)) return fail({count.at, "a logarithmic range has positive ends", ""});
  std::vector<double> values;
  for (double i = 0; i < n; ++i) {
    const double t = i / (n - 1);
    values.push_back(logarithmic ? r.from * std::pow(r.to / r.from, t) : r.from + t * (r.to - r.from));
  }
  return values;
}

Result<void> check_keys(const Node& range) {
  static const std::vector<std::string> known{"from", "to", "factor", "step", "count", "spacing"};
  for (const Member& m : range.members)
    if (!std::ranges::count(known, m.key)) {
      const std::string near = nearest(m.key, known);
      return fail({m.key_at, fmt::format("a range has no '{}'", m.key), near.empty() ? "it has from, to and one of factor, step, count" : fmt::format("did you mean '{}'?", near)});
    }
  int ways = 0;
  for (std::string_view key : {"factor", "step", "count"}) ways += range.find(key) != nullptr;
  if (!range.find("from") || !range.find("to") || ways != 1) return fail({range.at, "a range has from, to and exactly one of factor, step and count", "{from: 1 TB/s, to: 8 TB/s, factor: 2}"});
  const Node* spacing = range.find("spacing");
  if (spacing && (!range.find("count") || (spacing->text != "log" && spacing->text != "linear"))) return fail({spacing->at, "spacing is log or linear, beside count", "{from: 1, to: 1000, count: 4, spacing: log}"});
  return {};
}

Result<AxisValues> range_values(const Node& range) {
  if (auto known = check_keys(range); !known) return fail(known.error());
  const auto from = scaled(*range.find("from")), to = scaled(*range.find("to"));
  if (!from) return fail(from.error());
  if (!to) return fail(to.error());
  const auto end = in_unit(*to, from->unit, range.find("to")->at);
  if (!end) return fail(end.error());
  const Range r{from->number, *end, from->unit};
  Result<std::vector<double>> numbers;
  if (const Node* factor = range.find("factor")) {
    numbers = geometric(r, factor->number, factor->at);
  } else if (const Node* step = range.find("step")) {
    const auto width = scaled(*step).and_then([&](const Scaled& s) { return in_unit(s, r.unit, step->at); });
    if (!width) return fail(width.error());
    numbers = linear(r, *width, step->at);
  } else {
    numbers = counted(r, *range.find("count"), range.text_or("spacing", "linear") == "log");
  }
  if (!numbers) return fail(numbers.error());
  if (numbers->size() > most_values) return fail({range.at, "the range has more than a million values", "a larger step"});
  AxisValues values;
  for (double number : *numbers) values.texts.push_back(text_of(number, r.unit)), values.at.push_back(range.at);
  return values;
}

}  // namespace

Result<AxisValues> axis_values(const Node& sweep) {
  if (sweep.is_mapping()) return range_values(sweep);
  if (!sweep.is_sequence() || sweep.items.empty()) return fail({sweep.at, "`sweep:` takes a list of values, or a range", "{sweep: [1, 2, 4]} or {sweep: {from: 1, to: 64, factor: 2}}"});
  AxisValues values;
  for (const Node& item : sweep.items) {
    if (item.is_null()) return fail({item.at, "a value of the list is empty", "give it a value, or remove it"});
    const bool tree = item.is_mapping() || item.is_sequence();
    values.texts.push_back(tree ? to_json(item, -1) : item.text);
    values.at.push_back(item.at);
  }
  for (std::size_t i = 0; i < values.texts.size(); ++i)
    if (std::count(values.texts.begin(), values.texts.begin() + static_cast<std::ptrdiff_t>(i), values.texts[i]) > 0 && values.texts.size() < 10'000)
      return fail({values.at[i], fmt::format("'{}' is listed twice", excerpt(values.texts[i])), "each value of an axis is one design"});
  return values;
}

}  // namespace gambrel::sim

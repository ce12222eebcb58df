// Arithmetic over the inputs and results of a design: constraints and derived quantities of a sweep file.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/quantity.hpp"
#include "base/result.hpp"

namespace gambrel::sim {

/// What a name stands for: an index into the values that evaluate() is given, in base units of `dimension`.
struct Symbol {
  std::size_t index = 0;
  Dimension dimension;
};

/// Where in the text an expression goes wrong.
struct ExpressionError {
  std::size_t offset = 0;
  std::string message, hint;
};

/// Finds a name ("memory.peak"); the error's offset is filled in by the compiler.
using SymbolFinder = std::function<tl::expected<Symbol, ExpressionError>(std::string_view name)>;

/// comparison := sum [("<" | "<=" | ">" | ">=" | "==" | "!=") sum]      sum := term {("+" | "-") term}
/// term := factor {("*" | "/") factor}      factor := "-" factor | "(" sum ")" | ("min" | "max") "(" sum {"," sum} ")"
///         | number [unit] | name           unit as in files: 814 mm2, 3.35 TB/s; names as in --set: chip.memory.HBM.capacity
/// Compiled once; evaluation allocates nothing.
class Expression {
 public:
  /// Errors: what cannot be read, a name that is not known, sums and comparisons of different dimensions (0 has any),
  /// more than `most_nested` levels.
  static tl::expected<Expression, ExpressionError> compile(std::string_view text, const SymbolFinder& find);

  /// A comparison is 1 if it holds, else 0; one with a NaN does not hold.
  double evaluate(std::span<const double> values) const;
  Dimension dimension() const { return dimension_; }
  bool is_comparison() const { return comparison_; }

  static constexpr int most_nested = 60;

 private:
  friend class ExpressionCompiler;
  enum class Code : std::uint8_t { constant, value, negate, add, subtract, multiply, divide, smaller, larger, less, less_equal, more, more_equal, equal, unequal };
  struct Step {
    Code code = Code::constant;
    std::uint32_t index = 0;
    double constant = 0;
  };
  std::vector<Step> steps_;  ///< reverse Polish
  Dimension dimension_;
  bool comparison_ = false;
};

}  // namespace gambrel::sim

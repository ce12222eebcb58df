#include "sim/sweep/expression.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "base/text.hpp"

namespace gambrel::sim {
namespace {

constexpr std::size_t longest_text = 4096;

bool is_digit(char c) { return c >= '0' && c <= '9'; }
bool is_letter(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_'; }
/// Micro signs are the only letters of units beyond ASCII.
bool is_unit_letter(char c) { return is_letter(c) || static_cast<unsigned char>(c) >= 0x80; }

}  // namespace

/// Recursive descent; every level of nesting is counted, so that no text can exhaust the stack.
class ExpressionCompiler {
 public:
  ExpressionCompiler(std::string_view text, const SymbolFinder& find) : text_(text), find_(find) {}

  tl::expected<Expression, ExpressionError> compile() {
    if (text_.size() > longest_text) return tl::unexpected(ExpressionError{0, fmt::format("an expression has at most {} characters", longest_text), ""});
    Term whole = comparison();
    skip_spaces();
    if (!failed_ && at_ < text_.size()) error(at_, fmt::format("'{}' is not expected here", excerpt(text_.substr(at_))), "operators are + - * / < <= > >= == !=, functions min and max");
    if (failed_) return tl::unexpected(error_);
    out_.dimension_ = whole.dimension;
    return std::move(out_);
  }

 private:
  using Code = Expression::Code;

  /// What a part of the text is: zero literals fit any dimension.
  struct Term {
    Dimension dimension;
    bool zero = false;
  };

  Term error(std::size_t offset, std::string message, std::string hint = {}) {
    if (!failed_) error_ = {offset, std::move(message), std::move(hint)};
    failed_ = true;
    return {};
  }

  void skip_spaces() {
    while (at_ < text_.size() && (text_[at_] == ' ' || text_[at_] == '\t' || text_[at_] == '\n')) ++at_;
  }
  char peek() {
    skip_spaces();
    return at_ < text_.size() ? text_[at_] : '\0';
  }
  bool take(std::string_view token) {
    skip_spaces();
    if (!text_.substr(at_).starts_with(token)) return false;
    at_ += token.size();
    return true;
  }
  void emit(Code code, std::uint32_t index = 0, double constant = 0) { out_.steps_.push_back({code, index, constant}); }

  /// Both sides of a sum or a comparison.
  Term alike(std::size_t offset, Term a, Term b) {
    if (a.dimension == b.dimension || b.zero) return a;
    if (a.zero) return b;
    return error(offset, fmt::format("{} and {} do not compare or add up", name_of(a), name_of(b)), "write numbers with their unit, as in 700 W or 814 mm2");
  }
  static std::string name_of(const Term& t) { return t.dimension == Dimension{} ? "a plain number" : "a quantity in " + unit_name(t.dimension); }

  Term comparison() {
    const Term left = sum();
    static constexpr std::pair<std::string_view, Code> tokens[] = {{"<=", Code::less_equal}, {">=", Code::more_equal}, {"==", Code::equal}, {"!=", Code::unequal}, {"<", Code::less}, {">", Code::more}};
    skip_spaces();
    const std::size_t offset = at_;
    for (const auto& [token, code] : tokens) {
      if (failed_ || !take(token)) continue;
      alike(offset, left, sum());
      emit(code);
      out_.comparison_ = true;
      return {};
    }
    return left;
  }

  Term sum() {
    Term left = term();
    while (!failed_) {
      skip_spaces();
      const std::size_t offset = at_;
      const bool plus = take("+");
      if (!plus && !take("-")) break;
      left = alike(offset, left, term());
      left.zero = false;
      emit(plus ? Code::add : Code::subtract);
    }
    return left;
  }

  Term term() {
    Term left = factor();
    while (!failed_) {
      const bool times = take("*");
      if (!times && !take("/")) break;
      const Term right = factor();
      left = {left.dimension + (times ? right.dimension : -right.dimension), false};
      emit(times ? Code::multiply : Code::divide);
    }
    return left;
  }

  Term factor() {
    if (++nested_ > Expression::most_nested) return error(at_, "the expression is nested too deeply", "");
    const Term result = unnested_factor();
    --nested_;
    return result;
  }

  Term unnested_factor() {
    const char c = peek();
    if (take("-")) {
      const Term t = factor();
      emit(Code::negate);
      return t;
    }
    if (take("(")) {
      const Term t = sum();
      if (!failed_ && !take(")")) return error(at_, "a ')' is missing", "");
      return t;
    }
    if (is_digit(c) || c == '.') return number();
    if (is_letter(c) || c == '"') return name();
    return error(at_, c == '\0' ? "the expression ends too early" : fmt::format("'{}' is not expected here", excerpt(text_.substr(at_, 1))), "a number with its unit, or a name such as time, memory.peak or chip.memory.HBM.capacity");
  }

  Term number() {
    const std::size_t start = at_;
    while (at_ < text_.size() && (is_digit(text_[at_]) || text_[at_] == '.')) ++at_;
    const auto sign = [&](std::size_t i) { return i < text_.size() && (text_[i] == '-' || text_[i] == '+'); };
    if (at_ < text_.size() && (text_[at_] == 'e' || text_[at_] == 'E')) {
      const std::size_t digits = at_ + 1 + (sign(at_ + 1) ? 1 : 0);
      if (digits < text_.size() && is_digit(text_[digits]))
        for (at_ = digits; at_ < text_.size() && is_digit(text_[at_]);) ++at_;
    }
    const std::string_view digits = text_.substr(start, at_ - start);
    if (!is_decimal(digits)) return error(start, fmt::format("'{}' is not a number", excerpt(digits)));
    if (is_unit_letter(peek())) return quantity(start, digits);
    const auto value = decimal_value(digits);
    if (!value) return error(start, fmt::format("'{}' is outside the range of a double", excerpt(digits)));
    emit(Code::constant, 0, *value);
    return {{}, *value == 0};
  }

  std::string_view word_at(std::size_t at) const {
    std::size_t end = at;
    while (end < text_.size() && (is_unit_letter(text_[end]) || is_digit(text_[end]))) ++end;
    return text_.substr(at, end - at);
  }

  /// The longer unit counts: "TB/s" before "TB".
  Term quantity(std::size_t start, std::string_view digits) {
    std::string_view unit = word_at(at_);
    const std::size_t slash = at_ + unit.size();
    if (slash + 1 < text_.size() && text_[slash] == '/' && is_unit_letter(text_[slash + 1])) {
      const std::string_view longer = text_.substr(at_, unit.size() + 1 + word_at(slash + 1).size());
      if (parse_dimension(longer)) unit = longer;
    }
    const auto dimension = parse_dimension(unit);
    if (!dimension) return error(at_, dimension.error());
    const auto value = parse_quantity(fmt::format("{} {}", digits, unit), *dimension);
    if (!value) return error(start, value.error());
    at_ += unit.size();
    emit(Code::constant, 0, *value);
    return {*dimension, *value == 0};
  }

  /// Keys joined by dots; a key in quotes may hold anything but a quote.
  std::string_view take_name() {
    const std::size_t start = at_;
    while (at_ < text_.size()) {
      if (text_[at_] == '"') {
        const std::size_t end = text_.find('"', at_ + 1);
        at_ = end == std::string_view::npos ? text_.size() : end + 1;
      } else {
        while (at_ < text_.size() && (is_letter(text_[at_]) || is_digit(text_[at_]))) ++at_;
      }
      if (at_ >= text_.size() || text_[at_] != '.') break;
      ++at_;
    }
    return text_.substr(start, at_ - start);
  }

  Term name() {
    const std::size_t start = at_;
    const std::string_view name = take_name();
    if ((name == "min" || name == "max") && take("(")) return extreme(start, name == "min" ? Code::smaller : Code::larger);
    const auto symbol = find_(name);
    if (!symbol) return error(start, symbol.error().message, symbol.error().hint);
    emit(Code::value, static_cast<std::uint32_t>(symbol->index));
    return {symbol->dimension, false};
  }

  Term extreme(std::size_t start, Code code) {
    Term all = sum();
    while (!failed_ && take(",")) {
      all = alike(start, all, sum());
      emit(code);
    }
    if (!failed_ && !take(")")) return error(at_, "a ')' is missing", "min and max take values separated by commas");
    return all;
  }

  std::string_view text_;
  const SymbolFinder& find_;
  std::size_t at_ = 0;
  int nested_ = 0;
  bool failed_ = false;
  ExpressionError error_;
  Expression out_;
};

tl::expected<Expression, ExpressionError> Expression::compile(std::string_view text, const SymbolFinder& find) { return ExpressionCompiler(text, find).compile(); }

double Expression::evaluate(std::span<const double> values) const {
  std::array<double, 4 * most_nested> stack;  // NOLINT: each nesting holds at most a sum's and a term's left side
  double* top = stack.data();
  for (const Step& step : steps_) {
    if (step.code == Code::constant || step.code == Code::value) {
      *top++ = step.code == Code::constant ? step.constant : values[step.index];
      continue;
    }
    if (step.code == Code::negate) {
      top[-1] = -top[-1];
      continue;
    }
    const double b = *--top, a = top[-1];
    switch (step.code) {
      case Code::add: top[-1] = a + b; break;
      case Code::subtract: top[-1] = a - b; break;
      case Code::multiply: top[-1] = a * b; break;
      case Code::divide: top[-1] = a / b; break;
      case Code::smaller: top[-1] = std::min(a, b); break;
      case Code::larger: top[-1] = std::max(a, b); break;
      case Code::less: top[-1] = a < b; break;
      case Code::less_equal: top[-1] = a <= b; break;
      case Code::more: top[-1] = a > b; break;
      case Code::more_equal: top[-1] = a >= b; break;
      case Code::equal: top[-1] = a == b; break;
      default: top[-1] = a < b || a > b; break;
    }
  }
  return top[-1];
}

}  // namespace gambrel::sim

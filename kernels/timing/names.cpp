#include "kernels/timing/names.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <set>

namespace gambrel::kernels {
namespace {

/// Of "gemm/f32/own/m8/1t": "gemm", "gemm/f32", ..., and "f32", "own", ...
void add_parts(const std::string& name, std::set<std::string>& parts) {
  for (std::size_t at = 0; at <= name.size();) {
    const std::size_t end = std::min(name.find('/', at), name.size());
    parts.insert(name.substr(0, end));
    parts.insert(name.substr(at, end - at));
    at = end + 1;
  }
}

std::string without_anchors(std::string expression) {
  std::erase_if(expression, [](char c) { return c == '^' || c == '$' || c == '\\'; });
  while (expression.ends_with('/')) expression.pop_back();
  return expression;
}

}  // namespace

Result<std::regex> name_expression(const std::string& text) {
  try {
    return std::regex(text);
  } catch (const std::regex_error&) {
    return fail(Diagnostic{{}, fmt::format("'{}' is no regular expression", text), "as in '^gemm/f32' (ECMAScript)", Fault::usage});
  }
}

std::string hint_for(const std::string& expression, const std::vector<std::string>& names) {
  constexpr std::size_t shown = 24;
  std::set<std::string> parts, heads;
  for (const std::string& name : names) add_parts(name, parts), heads.insert(name.substr(0, name.find('/')));
  if (const std::string near = nearest(without_anchors(expression), {parts.begin(), parts.end()}); !near.empty()) return fmt::format("did you mean '{}'?", near);
  std::vector<std::string> first(heads.begin(), heads.end());
  const bool more = first.size() > shown;
  if (more) first.resize(shown);
  return first.empty() ? "" : fmt::format("names begin with {}{}", fmt::join(first, ", "), more ? ", ..." : "");
}

double minimum_for(const std::string& name, const Minima& minima) {
  double minimum = 0;
  for (const auto& [expression, share] : minima)
    if (const auto compiled = name_expression(expression); compiled && std::regex_search(name, *compiled)) minimum = std::max(minimum, share);
  return minimum;
}

Result<void> check_minima(const Minima& minima, const std::vector<std::string>& names) {
  for (const auto& [expression, share] : minima) {
    const auto compiled = name_expression(expression);
    if (!compiled) return fail(compiled.error());
    if (std::ranges::none_of(names, [&](const std::string& name) { return std::regex_search(name, *compiled); }))
      return fail(Diagnostic{{}, fmt::format("the minimum for '{}' fits no kernel that is measured", expression), hint_for(expression, names), Fault::usage});
  }
  return {};
}

}  // namespace gambrel::kernels

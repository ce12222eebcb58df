// Kernels chosen by regular expressions (ECMAScript) that their names have to contain.
#pragma once

#include <regex>
#include <string>
#include <utility>
#include <vector>

#include "base/result.hpp"

namespace gambrel::kernels {

/// Usage error: it is no regular expression.
Result<std::regex> name_expression(const std::string& text);

/// "did you mean 'softmax'?" by the parts of the names; else how the names begin.
std::string hint_for(const std::string& expression, const std::vector<std::string>& names);

/// Smallest efficiencies: expression -> share of the reference's rate. The largest that fits a name holds; 0: none.
using Minima = std::vector<std::pair<std::string, double>>;
double minimum_for(const std::string& name, const Minima& minima);
/// Errors: no expression, or one that none of the names contains.
Result<void> check_minima(const Minima& minima, const std::vector<std::string>& names);

}  // namespace gambrel::kernels

// What the verbs that time kernels share: which suite, which of its kernels, and a number from a word.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "base/result.hpp"
#include "kernels/timing/kernel_case.hpp"

namespace gambrel::cli {

/// The cases of suite cpu, opencl or cuda; "1,2" threads. Each is held against its reference when it is prepared, which
/// throws std::runtime_error if it is wrong. Errors: nothing here runs that suite; a thread count that is none or more than
/// may be used.
Result<std::vector<kernels::KernelCase>> suite_cases(const std::string& suite, const std::string& threads);

/// The whole text as a finite number.
std::optional<double> number_in(const std::string& text);

/// A whole number of at least `least` and at most `most`; `option` is named in the error.
Result<int> whole_number(const std::string& option, const std::string& text, int least, int most);

}  // namespace gambrel::cli

#include "cli/suite_options.hpp"

#include <fmt/format.h>

#include <charconv>
#include <cmath>
#include <thread>

#include "kernels/suite/suite.hpp"
#include "kernels/timing/sampler.hpp"

namespace gambrel::cli {
namespace {

Result<std::vector<int>> thread_counts(const std::string& text) {
  const int most = static_cast<int>(std::max(1u, std::thread::hardware_concurrency()));
  std::vector<int> counts;
  for (std::size_t at = 0; at <= text.size();) {
    const std::size_t end = std::min(text.find(',', at), text.size());
    const auto count = whole_number("--threads", text.substr(at, end - at), 1, most);
    if (!count) return fail(count.error());
    counts.push_back(*count);
    at = end + 1;
  }
  return counts;
}

/// A device is held against its own loops on the same queue: FMA, or the copy of the largest working set.
void anchor_on_device(std::vector<kernels::KernelCase>& cases) {
  for (kernels::KernelCase& one : cases) {
    const bool memory = kernels::describe(one).memory;
    const kernels::KernelCase* reference = nullptr;
    for (const kernels::KernelCase& other : cases)
      if (other.library == one.library && other.kernel == (memory ? "stream_copy" : "fma") && (!reference || other.working_set > reference->working_set)) reference = &other;
    if (reference) one.prepare_anchor = reference->prepare, one.anchor_work = memory ? reference->bytes : reference->flops;
  }
}

Result<std::vector<kernels::KernelCase>> device_cases() {
  auto cases = kernels::opencl_suite();
  if (cases.empty()) return fail(Diagnostic{{}, "there is no OpenCL device here", "install a driver that registers one, such as pocl-opencl-icd for the CPU", Fault::environment});
  anchor_on_device(cases);
  return cases;
}

}  // namespace

std::optional<double> number_in(const std::string& text) {
  double value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  return error == std::errc{} && end == text.data() + text.size() && std::isfinite(value) ? std::optional(value) : std::nullopt;
}

Result<int> whole_number(const std::string& option, const std::string& text, int least, int most) {
  const auto value = number_in(text);
  if (value && *value == std::floor(*value) && *value >= least && *value <= most) return static_cast<int>(*value);
  return fail(Diagnostic{{}, fmt::format("{} is '{}'", option, text), fmt::format("a whole number from {} to {}", least, most), Fault::usage});
}

Result<std::vector<kernels::KernelCase>> suite_cases(const std::string& suite, const std::string& threads) {
  const auto counts = thread_counts(threads);
  if (!counts) return fail(counts.error());
  if (suite == "cpu") return kernels::cpu_suite(*counts);
  if (suite == "opencl") return device_cases();
  auto cases = kernels::cuda_suite();
  if (cases) anchor_on_device(*cases);
  return cases;
}

}  // namespace gambrel::cli

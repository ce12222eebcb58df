#include "cli/suite_options.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <stdexcept>
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
    if (std::ranges::find(counts, *count) == counts.end()) counts.push_back(*count);
    at = end + 1;
  }
  return counts;
}

/// The device of a case: its library without what runs on the device ("CUDA: NAME (GPU), cuBLAS").
std::string_view device_of(const kernels::KernelCase& one) { return std::string_view(one.library).substr(0, one.library.find(", ")); }

/// A device is held against its own loops on the same queue: FMA, or the copy whose working set is nearest.
void anchor_on_device(std::vector<kernels::KernelCase>& cases) {
  for (kernels::KernelCase& one : cases) {
    const bool memory = kernels::describe(one).memory;
    const auto distance = [&](const kernels::KernelCase& other) { return std::abs(std::log(std::max(1.0, other.working_set) / std::max(1.0, one.working_set))); };
    const kernels::KernelCase* reference = nullptr;
    for (const kernels::KernelCase& other : cases)
      if (device_of(other) == device_of(one) && other.kernel == (memory ? "stream_copy" : "fma") && (!reference || distance(other) < distance(*reference))) reference = &other;
    if (!reference) continue;
    one.prepare_anchor = reference->prepare, one.anchor_work = memory ? reference->bytes : reference->flops;
    if (memory) one.anchor = kernels::Anchor::copy;
  }
}

/// No kernel is timed that does not do what it should: it is held against its reference when it is prepared.
void check_first(std::vector<kernels::KernelCase>& cases) {
  for (kernels::KernelCase& one : cases) {
    if (!one.error) continue;
    one.prepare = [name = one.name(), error = one.error, most = one.tolerance, prepare = one.prepare] {
      if (const double found = error(); !(found <= most))
        throw std::runtime_error(fmt::format("{} is wrong: it differs from its reference by {:.2g} of the largest element, at most {:.2g} is right", name, found, most));
      return prepare();
    };
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
  auto cases = suite == "cpu" ? kernels::cpu_suite(*counts) : suite == "opencl" ? device_cases() : kernels::cuda_suite();
  if (cases && suite == "cuda") anchor_on_device(*cases);
  if (cases) check_first(*cases);
  return cases;
}

}  // namespace gambrel::cli

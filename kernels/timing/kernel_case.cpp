#include "kernels/timing/kernel_case.hpp"

#include <fmt/format.h>

namespace gambrel::kernels {

std::string KernelCase::name() const {
  std::string size;
  for (const auto& [dimension, extent] : sizes) size += fmt::format("{}{}{:.0f}", size.empty() ? "" : ".", dimension, extent);
  return fmt::format("{}/{}/{}{}{}/{}t", kernel, type, version, size.empty() ? "" : "/", size, threads);
}

}  // namespace gambrel::kernels

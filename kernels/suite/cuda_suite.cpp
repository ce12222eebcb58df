// The CUDA plugin's rows as cases. It is loaded by name: a program that links cuBLAS does not start where there is none.
#include <dlfcn.h>
#include <fmt/format.h>

#include <cstdlib>
#include <stdexcept>

#include "kernels/suite/cuda/plugin.h"
#include "kernels/suite/suite.hpp"

namespace gambrel::kernels {
namespace {

class OnCuda : public Call {
 public:
  OnCuda(const gambrel_cuda_kernel& row, bool small) : row_(row), call_(row.prepare(&row, small ? 1 : 0)) {
    if (call_ == nullptr) throw std::runtime_error(fmt::format("CUDA: {} {} cannot be set up: no memory or no stream on the device", row_.kernel, row_.type));
  }
  ~OnCuda() override { row_.release(call_); }
  OnCuda(const OnCuda&) = delete;
  OnCuda& operator=(const OnCuda&) = delete;
  void run() override {
    seconds_ = row_.run(call_);
    if (seconds_ < 0) throw std::runtime_error(fmt::format("CUDA: {} failed", row_.kernel));
  }
  double device_seconds() const override { return seconds_; }
  double error() const { return row_.error(call_); }

 private:
  const gambrel_cuda_kernel& row_;
  void* call_;
  double seconds_ = 0;
};

KernelCase case_of(const gambrel_cuda_kernel& row, const std::string& device) {
  KernelCase result{.kernel = row.kernel, .type = row.type, .version = row.version, .flops = row.flops, .bytes = row.bytes,
                    .working_set = row.bytes, .tolerance = row.tolerance};
  result.library = fmt::format("CUDA: {} (GPU){}{}", device, *row.library ? ", " : "", row.library);
  for (const auto& [name, extent] : {std::pair{"m", row.m}, {"n", row.n}, {"k", row.k}})
    if (extent > 0) result.sizes.emplace_back(name, extent);
  constexpr double ridge = 100;  // FLOP/B: GPUs' matrix units lie above, their vector units below
  result.anchor = row.flops > ridge * row.bytes ? Anchor::fma_f32 : Anchor::copy;
  result.gate = std::string_view(row.kernel) != "fma" && std::string_view(row.kernel) != "stream_copy";  // others are held against these
  result.prepare = [&row] { return std::make_unique<OnCuda>(row, false); };
  result.error = [&row] {
    OnCuda call(row, true);
    call.run();
    return call.error();
  };
  return result;
}

tl::unexpected<Diagnostics> missing(std::string what, std::string hint) { return fail(Diagnostic{{}, std::move(what), std::move(hint), Fault::environment}); }

}  // namespace

Result<std::vector<KernelCase>> cuda_suite() {
  const char* const named = std::getenv("GAMBREL_CUDA_PLUGIN");
  void* const library = dlopen(named ? named : "libgambrel_cuda.so", RTLD_NOW | RTLD_LOCAL);
  if (library == nullptr)
    return missing(fmt::format("the CUDA plugin cannot be loaded: {}", dlerror()), "build it with -DGAMBREL_CUDA=ON and name the file in GAMBREL_CUDA_PLUGIN; docs/kernels.md tells how");
  const auto kernels = reinterpret_cast<decltype(&gambrel_cuda_kernels)>(dlsym(library, "gambrel_cuda_kernels"));
  if (kernels == nullptr) return missing("the CUDA plugin has no gambrel_cuda_kernels", "it is another version's: build it again");
  const gambrel_cuda_kernel* rows = nullptr;
  int count = 0;
  const char* device = "";
  if (const int code = kernels(&rows, &count, &device); code != 0)
    return code > 0 ? missing(fmt::format("no CUDA device: error {}", code), "35 says that there is no driver, or an older one than the toolkit; measure elsewhere and import the CSV")
                    : missing(fmt::format("cuBLAS does not start: cublasCreate = {}", -code), "1 says that it is not initialised: the device is out of memory, or too old for this cuBLAS");
  std::vector<KernelCase> cases;
  for (int i = 0; i < count; ++i) cases.push_back(case_of(rows[i], device));
  return cases;
}

}  // namespace gambrel::kernels

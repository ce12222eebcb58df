// A CUDA plugin without CUDA: rows whose device times are fixed, so that all around the real one is tested without a GPU.
// FAKE_CUDA_CODE: what looking for a device returns; FAKE_CUDA_WRONG: the name of a kernel that computes nonsense.
#include <cstdlib>
#include <cstring>

#include "kernels/suite/cuda/plugin.h"

namespace {

bool is_wrong(const char* kernel) {
  const char* const named = std::getenv("FAKE_CUDA_WRONG");
  return named && std::strcmp(named, kernel) == 0;
}

void* prepare(const gambrel_cuda_kernel* row, int) { return const_cast<gambrel_cuda_kernel*>(row); }

/// 60 TFLOP/s, 3 TB/s, the longer of both.
double run(void* call) {
  const auto* const row = static_cast<const gambrel_cuda_kernel*>(call);
  const double math = row->flops / 60e12, move = row->bytes / 3e12;
  return math > move ? math : move;
}
double error(void* call) { return is_wrong(static_cast<const gambrel_cuda_kernel*>(call)->kernel) ? 0.5 : 1e-7; }
void release(void*) {}

}  // namespace

extern "C" int gambrel_cuda_kernels(const gambrel_cuda_kernel** rows, int* count, const char** device) {
  if (const char* const code = std::getenv("FAKE_CUDA_CODE")) return std::atoi(code);
  static const gambrel_cuda_kernel table[] = {
      {"fma", "f32", "cuda", "", 0, 0, 0, 6e10, 0, 1e-5, prepare, run, error, release},
      {"stream_copy", "f32", "cuda", "", 0, 1 << 26, 0, 0, 3e9, 1e-6, prepare, run, error, release},
      {"stream_triad", "f32", "cuda", "", 0, 1 << 26, 0, 0, 4.5e9, 1e-6, prepare, run, error, release},
      {"gemm", "bf16", "cublas", "cuBLAS", 4096, 4096, 4096, 1.2e11, 1e8, 1e-5, prepare, run, error, release},
  };
  *rows = table, *count = 4, *device = "Pretended GPU";
  return 0;
}

// Purpose: copy, triad, multiply-adds and cuBLAS products on the first CUDA device. Reference: fp64 loops on the host at a
// small size. Versions: plain kernels; cublasGemmEx in f32 and bf16 with f32 sums. Timed by events on their own stream.
#include "plugin.h"

#include <cublas_v2.h>
#include <cuda_bf16.h>
#include <cuda_runtime.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <vector>

namespace {

__global__ void copy(const float4* a, float4* b, size_t n) {
  for (size_t i = blockIdx.x * size_t{blockDim.x} + threadIdx.x; i < n; i += size_t{gridDim.x} * blockDim.x) b[i] = a[i];
}
__global__ void triad(const float* a, const float* b, float* c, size_t n) {
  for (size_t i = blockIdx.x * size_t{blockDim.x} + threadIdx.x; i < n; i += size_t{gridDim.x} * blockDim.x) c[i] = a[i] + 3.0f * b[i];
}
constexpr int fma_rounds = 4096, fma_chains = 8, fma_threads = 1 << 18;
__global__ void multiply_add(float* y) {
  const float start = static_cast<float>(blockIdx.x * blockDim.x + threadIdx.x), small = 0x1p-40f;
  float s[fma_chains];
  for (int c = 0; c < fma_chains; ++c) s[c] = start + c;
  for (int r = 0; r < fma_rounds; ++r)
#pragma unroll
    for (int c = 0; c < fma_chains; ++c) s[c] = fmaf(s[c], 1.0f, small);
  float sum = 0;
  for (int c = 0; c < fma_chains; ++c) sum += s[c];
  y[blockIdx.x * blockDim.x + threadIdx.x] = sum;
}

/// Operands on the device, a stream with two events, and what is asked of them.
struct Call {
  const gambrel_cuda_kernel* row;
  size_t m, n, k;
  cudaStream_t stream = nullptr;
  cudaEvent_t begin = nullptr, end = nullptr;
  cublasHandle_t blas = nullptr;
  void *a = nullptr, *b = nullptr, *c = nullptr;
  std::vector<float> host_a, host_b;  // of the small size only
};

bool is(const Call& call, const char* kernel) { return std::strcmp(call.row->kernel, kernel) == 0; }
bool is_bf16(const Call& call) { return std::strcmp(call.row->type, "bf16") == 0; }

float value(size_t i, unsigned seed) { return static_cast<float>((i + 1) * (2654435761u + 2 * seed) >> 8 & 0xFFFF) / 32768.0f - 1.0f; }

/// n values on the device, rounded to bf16 where that is the type; kept on the host too if `kept` is not null.
bool upload(const Call& call, void** device, size_t n, unsigned seed, std::vector<float>* kept) {
  std::vector<float> values(n);
  for (size_t i = 0; i < n; ++i) values[i] = value(i, seed);
  std::vector<__nv_bfloat16> narrow;
  if (is_bf16(call))
    for (float& v : values) narrow.push_back(__float2bfloat16(v)), v = __bfloat162float(narrow.back());
  const void* const from = is_bf16(call) ? static_cast<const void*>(narrow.data()) : values.data();
  const size_t bytes = n * (is_bf16(call) ? 2 : 4);
  if (cudaMalloc(device, bytes) != cudaSuccess || cudaMemcpy(*device, from, bytes, cudaMemcpyHostToDevice) != cudaSuccess) return false;
  if (kept != nullptr) *kept = std::move(values);
  return true;
}

void release(void* pointer) {
  Call* const call = static_cast<Call*>(pointer);
  if (call->blas != nullptr) cublasDestroy(call->blas);
  for (void* memory : {call->a, call->b, call->c}) cudaFree(memory);
  if (call->begin != nullptr) cudaEventDestroy(call->begin);
  if (call->end != nullptr) cudaEventDestroy(call->end);
  if (call->stream != nullptr) cudaStreamDestroy(call->stream);
  delete call;
}

bool set_up(Call& call, bool small) {
  if (cudaStreamCreate(&call.stream) != cudaSuccess || cudaEventCreate(&call.begin) != cudaSuccess || cudaEventCreate(&call.end) != cudaSuccess) return false;
  std::vector<float>*a = small ? &call.host_a : nullptr, *b = small ? &call.host_b : nullptr;
  if (is(call, "fma")) return cudaMalloc(&call.c, fma_threads * sizeof(float)) == cudaSuccess;
  if (!is(call, "gemm"))
    return upload(call, &call.a, call.n, 1, a) && upload(call, &call.b, call.n, 2, b) && cudaMalloc(&call.c, call.n * sizeof(float)) == cudaSuccess;
  return upload(call, &call.a, call.m * call.k, 1, a) && upload(call, &call.b, call.n * call.k, 2, b) &&
         cudaMalloc(&call.c, call.m * call.n * sizeof(float)) == cudaSuccess && cublasCreate(&call.blas) == CUBLAS_STATUS_SUCCESS &&
         cublasSetStream(call.blas, call.stream) == CUBLAS_STATUS_SUCCESS;
}

void* prepare(const gambrel_cuda_kernel* row, int small) {
  const auto extent = [&](double n, size_t most) { return small ? std::min(static_cast<size_t>(n), most) : static_cast<size_t>(n); };
  const bool stream = std::strcmp(row->kernel, "gemm") != 0;
  Call* const call = new Call{.row = row, .m = extent(row->m, 32), .n = extent(row->n, stream ? 4096 : 48), .k = extent(row->k, 64)};
  if (set_up(*call, small != 0)) return call;
  release(call);
  return nullptr;
}

/// Row-major y[m,n] = x[m,k] w[n,k]^T is column-major y^T[n,m] = w^T' x.
bool product(Call& call) {
  const float one = 1, zero = 0;
  const cudaDataType_t type = is_bf16(call) ? CUDA_R_16BF : CUDA_R_32F;
  const int m = static_cast<int>(call.m), n = static_cast<int>(call.n), k = static_cast<int>(call.k);
  return cublasGemmEx(call.blas, CUBLAS_OP_T, CUBLAS_OP_N, n, m, k, &one, call.b, type, k, call.a, type, k, &zero, call.c, CUDA_R_32F, n,
                      CUBLAS_COMPUTE_32F, CUBLAS_GEMM_DEFAULT) == CUBLAS_STATUS_SUCCESS;
}

bool launch(Call& call) {
  if (is(call, "gemm")) return product(call);
  const auto *a = static_cast<const float*>(call.a), *b = static_cast<const float*>(call.b);
  auto* const c = static_cast<float*>(call.c);
  if (is(call, "fma")) multiply_add<<<fma_threads / 256, 256, 0, call.stream>>>(c);
  else if (is(call, "stream_copy")) copy<<<1024, 256, 0, call.stream>>>(reinterpret_cast<const float4*>(a), reinterpret_cast<float4*>(c), call.n / 4);
  else triad<<<1024, 256, 0, call.stream>>>(a, b, c, call.n);
  return cudaGetLastError() == cudaSuccess;
}

double run(void* pointer) {
  Call& call = *static_cast<Call*>(pointer);
  float milliseconds = 0;
  if (cudaEventRecord(call.begin, call.stream) != cudaSuccess || !launch(call) || cudaEventRecord(call.end, call.stream) != cudaSuccess ||
      cudaEventSynchronize(call.end) != cudaSuccess || cudaEventElapsedTime(&milliseconds, call.begin, call.end) != cudaSuccess)
    return -1;
  return milliseconds * 1e-3;
}

double expected(const Call& call, size_t i) {
  if (is(call, "fma")) return 8.0 * static_cast<double>(i) + 28;
  if (is(call, "stream_copy")) return call.host_a[i];
  if (is(call, "stream_triad")) return call.host_a[i] + 3.0 * call.host_b[i];
  double sum = 0;
  for (size_t j = 0; j < call.k; ++j) sum += static_cast<double>(call.host_a[i / call.n * call.k + j]) * call.host_b[i % call.n * call.k + j];
  return sum;
}

double error(void* pointer) {
  const Call& call = *static_cast<Call*>(pointer);
  std::vector<float> result(is(call, "fma") ? fma_threads : is(call, "gemm") ? call.m * call.n : call.n);
  if (cudaMemcpy(result.data(), call.c, result.size() * sizeof(float), cudaMemcpyDeviceToHost) != cudaSuccess) return INFINITY;
  double largest = 0, difference = 0;
  for (size_t i = 0; i < result.size(); ++i) {
    largest = std::max(largest, std::fabs(expected(call, i)));
    difference = std::max(difference, std::fabs(result[i] - expected(call, i)));
  }
  return largest > 0 ? difference / largest : difference;
}

gambrel_cuda_kernel gemm_row(const char* type, double m, double n, double k, double width, double tolerance) {
  return {"gemm", type, "cublas", "cuBLAS", m, n, k, 2 * m * n * k, width * (m * k + n * k) + 4 * m * n, tolerance, prepare, run, error, release};
}
gambrel_cuda_kernel stream_row(const char* kernel, double n, double arrays) {
  return {kernel, "f32", "cuda", "", 0, n, 0, 0, arrays * 4 * n, 1e-6, prepare, run, error, release};
}

/// cublasCreate's status: without a device that it can use it is 1, not initialised.
int blas_status() {
  cublasHandle_t handle = nullptr;
  const cublasStatus_t status = cublasCreate(&handle);
  if (status == CUBLAS_STATUS_SUCCESS) cublasDestroy(handle);
  return static_cast<int>(status);
}

}  // namespace

extern "C" int gambrel_cuda_kernels(const gambrel_cuda_kernel** rows, int* count, const char** device) {
  int devices = 0;
  const cudaError_t code = cudaGetDeviceCount(&devices);
  if (code != cudaSuccess) return static_cast<int>(code);
  if (devices == 0) return static_cast<int>(cudaErrorNoDevice);
  static cudaDeviceProp properties;
  if (const cudaError_t asked = cudaGetDeviceProperties(&properties, 0); asked != cudaSuccess) return static_cast<int>(asked);
  if (const int status = blas_status(); status != 0) return -status;
  static const std::vector<gambrel_cuda_kernel> table{
      {"fma", "f32", "cuda", "", 0, 0, 0, 2.0 * fma_rounds * fma_chains * fma_threads, 0, 1e-5, prepare, run, error, release},
      stream_row("stream_copy", 1 << 26, 2), stream_row("stream_triad", 1 << 26, 3),
      gemm_row("f32", 4096, 4096, 4096, 4, 1e-5), gemm_row("bf16", 4096, 4096, 4096, 2, 1e-5), gemm_row("bf16", 32, 4096, 4096, 2, 1e-5)};
  *rows = table.data(), *count = static_cast<int>(table.size()), *device = properties.name;
  return 0;
}

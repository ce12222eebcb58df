// The kernels that gambrel measures: a table of cases for each place they run on.
#pragma once

#include <vector>

#include "base/result.hpp"
#include "kernels/timing/kernel_case.hpp"

namespace gambrel::kernels {

/// All cases for this CPU at these thread counts: peaks, streams, launch, then operators, each with its versions.
std::vector<KernelCase> cpu_suite(const std::vector<int>& threads);

/// All cases for the OpenCL devices of this machine, found at run time; empty if there is no OpenCL here. A case's library
/// names its device and the device's type, "OpenCL: pthread-... (CPU)": a CPU that speaks OpenCL is not a GPU. Each call
/// tells its device_seconds(). Products, GEMV and the large triad are in the gate's own choice.
std::vector<KernelCase> opencl_suite();

/// All cases of the CUDA plugin (CMake option GAMBREL_CUDA), timed by events on its stream. Errors, of the environment: the
/// plugin cannot be loaded; there is no device, "no CUDA device: error 35"; cuBLAS does not start, "cublasCreate = 1".
Result<std::vector<KernelCase>> cuda_suite();

}  // namespace gambrel::kernels

/* What the CUDA plugin hands over: plain C, so that it is built by another compiler and loaded only where it is wanted. */
#pragma once

#ifdef __cplusplus
extern "C" {
#endif

struct gambrel_cuda_kernel {
  const char *kernel, *type, *version, *library;
  double m, n, k; /* n alone: elements of a stream */
  double flops, bytes, tolerance;
  void* (*prepare)(const struct gambrel_cuda_kernel* row, int small); /* null: no memory, no stream; small: as error() checks it */
  double (*run)(void* call);                                          /* device seconds by events, negative: failed */
  double (*error)(void* call);                                        /* of the last run, relative to the largest element */
  void (*release)(void* call);
};

/* Returns 0 if there is a device and cuBLAS starts on it; then rows and their number and the device's name. Else the CUDA error
   code of looking for a device, or cublasCreate's status below zero. */
int gambrel_cuda_kernels(const struct gambrel_cuda_kernel** rows, int* count, const char** device);

#ifdef __cplusplus
}
#endif

// Which of the tables runs here.
#include "kernels/suite/own/own.hpp"
#include "kernels/timing/vectors.hpp"

namespace gambrel::kernels {

const OwnKernels& own_kernels() {
#if defined(__x86_64__)
  if (usable_vectors() == Vectors::avx512) return avx512::kernels;
  if (usable_vectors() == Vectors::avx2) return avx2::kernels;
#endif
  return baseline::kernels;
}

}  // namespace gambrel::kernels

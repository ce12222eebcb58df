// OpenBLAS behind plain pointers. Its thread count is a global of the process: set at every call.
#include <cblas.h>

#include <algorithm>

#include "kernels/suite/libraries.hpp"

namespace gambrel::kernels {

void openblas_product(const float* x, const float* w, float* y, std::size_t m, std::size_t n, std::size_t k, int threads) {
  openblas_set_num_threads(threads);
  const auto rows = static_cast<blasint>(m), columns = static_cast<blasint>(n), depth = static_cast<blasint>(k);
  if (m == 1) cblas_sgemv(CblasRowMajor, CblasNoTrans, columns, depth, 1.0f, w, depth, x, 1, 0.0f, y, 1);
  else cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, rows, columns, depth, 1.0f, x, depth, w, depth, 0.0f, y, columns);
}

std::string openblas_version() {
  const std::string text = openblas_get_config();  // "OpenBLAS 0.3.21 DYNAMIC_ARCH ..."
  return text.substr(0, text.find(' ', text.find(' ') + 1));
}

std::string openblas_core() { return openblas_get_corename(); }

}  // namespace gambrel::kernels

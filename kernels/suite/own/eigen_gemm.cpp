// Eigen's matrix product for this width. The build renames Eigen's namespace in here (-DEigen=...): its templates of three
// widths are three sets of functions, of which the linker must not take one for another.
#include <Eigen/Core>

#include "kernels/suite/own/functions.hpp"

#define GAMBREL_TEXT_OF(name) #name
#define GAMBREL_TEXT(name) GAMBREL_TEXT_OF(name)

namespace gambrel::kernels::GAMBREL_WIDTH {

void eigen_gemm(const float* x, const float* w, float* y, std::size_t m, std::size_t n, std::size_t k, int threads) {
  using Matrix = Eigen::Matrix<float, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
  const auto rows = static_cast<Eigen::Index>(m), columns = static_cast<Eigen::Index>(n), depth = static_cast<Eigen::Index>(k);
  Eigen::setNbThreads(threads);
  Eigen::Map<Matrix>(y, rows, columns).noalias() =
      Eigen::Map<const Matrix>(x, rows, depth) * Eigen::Map<const Matrix>(w, columns, depth).transpose();
}

const char* eigen_version() {
  return "Eigen " GAMBREL_TEXT(EIGEN_WORLD_VERSION) "." GAMBREL_TEXT(EIGEN_MAJOR_VERSION) "." GAMBREL_TEXT(EIGEN_MINOR_VERSION);
}

const char* eigen_instructions() { return Eigen::SimdInstructionSetsInUse(); }

}  // namespace gambrel::kernels::GAMBREL_WIDTH

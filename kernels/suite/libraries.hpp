// Inside kernels/suite/ only: the vendor libraries' matrix products behind plain pointers, one .cpp file a library.
#pragma once

#include <cstddef>
#include <memory>
#include <string>

namespace gambrel::kernels {

enum class OneDnnType { f32, bf16, int8 };  ///< int8: uint8 times int8, int32 out

/// y[m,n] = x[m,k] W[n,k]^T with oneDNN's matmul primitive; `packed`: weights in the format that oneDNN prefers.
class OneDnnProduct {
 public:
  OneDnnProduct(OneDnnType type, std::size_t m, std::size_t n, std::size_t k, bool packed, int threads);
  OneDnnProduct(OneDnnProduct&&) noexcept;
  ~OneDnnProduct();
  /// W[n,k] row-major, of the type's weights. Packed: copied; plain: has to stay where it is.
  void set_weights(const void* w);
  void run(const void* x, void* y);
  std::string selected() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};
std::string onednn_version();

/// Softmax over rows and LayerNorm (epsilon 1e-5) by oneDNN, on f32[rows, columns].
enum class OneDnnRows { softmax, layer_norm };
class OneDnnRowKernel {
 public:
  OneDnnRowKernel(OneDnnRows kind, std::size_t rows, std::size_t columns, int threads);
  OneDnnRowKernel(OneDnnRowKernel&&) noexcept;
  ~OneDnnRowKernel();
  /// gain and bias [columns]: of LayerNorm only.
  void run(const float* x, const float* gain, const float* bias, float* y);
  std::string selected() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

/// y = x W^T by sgemm, by sgemv if m is 1 (0.3.21 does not forward it, and is then three times slower).
void openblas_product(const float* x, const float* w, float* y, std::size_t m, std::size_t n, std::size_t k, int threads);
std::string openblas_version();
std::string openblas_core();  ///< whose kernels it runs, "Cooperlake"

}  // namespace gambrel::kernels

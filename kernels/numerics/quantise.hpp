// A matrix in a data type with its scales: quantised, dequantised, and both at once.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "base/data_type.hpp"

namespace gambrel::kernels {

/// What is stored of a row-major matrix whose columns are the contracted axis.
struct Quantised {
  DataType type;
  std::int64_t rows = 0, columns = 0;
  std::vector<std::uint32_t> codes;  ///< rows x columns, one element each (formats.hpp)
  std::vector<float> scales;         ///< row-major over the grid of blocks, each a number of scale.type
  float tensor_scale = 1.0F;         ///< 1 unless the scales are fp8 themselves
};

/// Every element is the nearest code to value / scale (ties to even), clamped to plus and minus the largest number; the
/// quotient is formed in double, which rounds like the exact one. A block's scale, from amax = max |value|:
/// - e8m0: 2^(floor(log2 amax) - emax), emax the exponent of the element's largest number (MX v1.0, 6.3; MXINT8 comes
///   out as int8 x 2^-6 in blocks of 32), within 2^-127 ... 2^127.
/// - fp8_e4m3 over blocks or channels (NVFP4: Blackwell's two levels, NVIDIA Transformer Engine): the tensor has an fp32
///   scale amax_of_tensor / (448 x largest), a block the nearest fp8 to amax / largest / tensor_scale.
/// - any other: the nearest number of the scale's type to amax / largest. Integers are symmetric, largest = 127, 7, 1
///   ("scale quantization" of Wu et al. 2020, "Integer quantization for deep learning inference").
/// - sign1: the signed scale s that minimises the sum of (value - {0, s})^2, then rounded to its type.
/// - none: 1; wide formats overflow to infinity, narrow ones saturate (usual_overflow).
/// A scale that rounds to 0 makes its block 0. A block with a NaN or an infinity has the scale NaN: all of it is
/// NaN (MX v1.0 says the same of its blocks), so that an overflow upstream is seen and not hidden.
/// `values` has rows x columns elements.
Quantised quantise(std::span<const float> values, std::int64_t rows, std::int64_t columns, const DataType& type);
std::vector<float> dequantise(const Quantised& matrix);

/// dequantise(quantise(values)): the matrix as arithmetic in this data type sees it.
std::vector<float> round_trip(std::span<const float> values, std::int64_t rows, std::int64_t columns,
                              const DataType& type);

/// round_trip over the values themselves, bit by bit the same but faster: codes are not stored.
void round_in_place(std::span<float> values, std::int64_t rows, std::int64_t columns, const DataType& type);

/// The type with which weights are executed: integers and sign1 that name no scale get an fp32 scale per channel, since
/// without one weights below 0.5 are all zero. Other types are unchanged.
DataType with_executable_scale(DataType type);

}  // namespace gambrel::kernels

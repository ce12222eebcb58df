// Magnitude pruning: which elements of a row-major matrix are kept, in the structures that hardware and kernels know.
// Of equal magnitudes the earlier is kept; NaN counts as the largest, so that pruning never hides it.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace gambrel::kernels {

using Mask = std::vector<std::uint8_t>;  ///< one per element, 1 = kept

/// The n largest magnitudes of every m neighbours along the columns, the contracted axis (2:4: Mishra et al. 2021,
/// "Accelerating sparse deep neural networks"). A row's last group, where it is shorter than m, keeps n too.
/// 0 <= n <= m, m >= 1.
Mask n_of_m_mask(std::span<const float> values, std::int64_t rows, std::int64_t columns, int n, int m);

/// The round(density x elements) largest magnitudes of all (ties of the rounding away from 0); density from 0 to 1.
Mask unstructured_mask(std::span<const float> values, double density);

/// The round(density x blocks) blocks of block_rows x block_columns with the largest sum of squares, which is the
/// choice of least error in the Frobenius norm. Blocks at the edges may be smaller.
Mask block_mask(std::span<const float> values, std::int64_t rows, std::int64_t columns, std::int64_t block_rows,
                std::int64_t block_columns, double density);

/// Zeroes what is not kept. `values` and `mask` are of one length.
void apply_mask(std::span<float> values, std::span<const std::uint8_t> mask);

/// n_of_m_mask, applied.
void apply_sparsity(std::span<float> values, std::int64_t rows, std::int64_t columns, int n, int m);

/// The share of elements that are not zero; 1 of none.
double density_of(std::span<const float> values);

}  // namespace gambrel::kernels

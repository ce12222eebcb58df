// Kernels as the executor calls them: through its table of fast kernels, on operands that lie where a model's do.
#pragma once

#include "kernels/suite/cases.hpp"

namespace gambrel::kernels {

// One thread, fp32. Sizes in elements; bytes are those of each operand once.

/// `queries` new tokens that end at `keys`, for each of a batch: queries in rows with keys and values between them, as a product
/// left them; a cache of tokens one after another, keys of all heads and then values.
KernelCase executed_attention_case(const HeadShape& shape, std::size_t queries, std::size_t keys);
/// Heads of `width` side by side in each row, turned in place.
KernelCase executed_rotary_case(std::size_t rows, std::size_t heads, std::size_t width);
/// y = a + b.
KernelCase executed_add_case(std::size_t rows, std::size_t columns);
/// The last `columns` of each row of a product three times as wide, into a cache.
KernelCase executed_append_case(std::size_t rows, std::size_t columns);
/// The largest of each row.
KernelCase executed_argmax_case(std::size_t rows, std::size_t columns);

}  // namespace gambrel::kernels

// The measured kernels as what the executor may run in place of its references.
#pragma once

#include <string>

#include "kernels/executor/fast_kernels.hpp"

namespace gambrel::kernels {

/// On one thread: products by oneDNN with packed weights, the other kernels our own for the widest vectors there are.
const FastKernels& fast_table();

/// What they are, for a report: "oneDNN 2.6.3 with packed weights; own kernels, avx512".
std::string fast_table_text();

}  // namespace gambrel::kernels

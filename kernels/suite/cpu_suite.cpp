// The order of the suite: peaks first, then the operators in the order of a layer.
#include "kernels/suite/suite.hpp"

#include "kernels/suite/support.hpp"

namespace gambrel::kernels {

std::vector<KernelCase> cpu_suite(const std::vector<int>& threads) {
  Rows rows;
  for (const int count : threads) {
    if (count < 1 || count > usable_threads()) continue;
    for (const auto add : {add_peaks, add_gemm, add_gemv, add_softmax, add_norms, add_swiglu, add_rotary, add_gathers, add_attention_prefill,
                           add_attention_decode, add_expert_ffn})
      add(rows, count);
  }
  return rows;
}

}  // namespace gambrel::kernels

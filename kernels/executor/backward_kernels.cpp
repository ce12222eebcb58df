// Which kernel computes which gradient: by the forward's kind and what the backward graph calls it.
#include "kernels/executor/gradients.hpp"

namespace gambrel::kernels {
namespace {

using models::OpKind;

template <class T>
struct Row {
  OpKind forward;
  std::string_view suffix;
  Kernel<T> kernel;
};

template <class T>
constexpr Row<T> table[] = {
    {OpKind::gemm, "dgrad", run_gemm_dgrad<T>},
    {OpKind::gemm, "wgrad", run_gemm_wgrad<T>},
    {OpKind::gemm, "bias.wgrad", run_bias_wgrad<T>},
    {OpKind::grouped_gemm, "dgrad", run_grouped_dgrad<T>},
    {OpKind::grouped_gemm, "wgrad", run_grouped_wgrad<T>},
    {OpKind::grouped_gemm, "bias.wgrad", run_bias_wgrad<T>},
    {OpKind::expert_ffn, "backward", run_expert_ffn_backward<T>},
    {OpKind::attention, "backward", run_attention_backward<T>},
    {OpKind::attention_scores, "query.dgrad", run_scores_query_dgrad<T>},
    {OpKind::attention_scores, "key.dgrad", run_scores_key_dgrad<T>},
    {OpKind::softmax, "backward", run_softmax_backward<T>},
    {OpKind::attention_values, "weights.dgrad", run_values_weights_dgrad<T>},
    {OpKind::attention_values, "value.dgrad", run_values_value_dgrad<T>},
    {OpKind::rms_norm, "backward", run_norm_backward<T>},
    {OpKind::layer_norm, "backward", run_norm_backward<T>},
    {OpKind::rotary, "backward", run_rotary_backward<T>},
    {OpKind::activation, "backward", run_activation_backward<T>},
    {OpKind::elementwise, "backward", run_scale_backward<T>},
    {OpKind::elementwise, "sum.backward", run_sum_backward<T>},
    {OpKind::embedding, "backward", run_embedding_backward<T>},
    {OpKind::cross_entropy, "backward", run_loss_backward<T>},
    {OpKind::router_topk, "backward", run_router_backward<T>},
    {OpKind::dispatch, "backward", run_dispatch_backward<T>},
    {OpKind::combine, "backward", run_combine_backward<T>},
    {OpKind::conv1d, "dgrad", run_conv1d_dgrad<T>},
    {OpKind::conv1d, "wgrad", run_conv1d_wgrad<T>},
    {OpKind::ssm_scan, "backward", run_ssm_scan_backward<T>},
};

}  // namespace

template <class T>
Kernel<T> backward_kernel_of(OpKind forward, std::string_view suffix) {
  for (const Row<T>& row : table<T>)
    if (row.forward == forward && row.suffix == suffix) return row.kernel;
  return nullptr;
}

template Kernel<double> backward_kernel_of(OpKind, std::string_view);
template Kernel<float> backward_kernel_of(OpKind, std::string_view);

}  // namespace gambrel::kernels

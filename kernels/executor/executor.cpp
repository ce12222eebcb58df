// What an executor is asked for: passes over its machine, and the optimizer's step.
#include "kernels/executor/executor.hpp"

#include "kernels/executor/backward_pass.hpp"
#include "kernels/executor/check_executable.hpp"
#include "kernels/executor/forward_pass.hpp"
#include "kernels/executor/training.hpp"

namespace gambrel::kernels {

using models::Graph;
using models::OpKind;
using models::Step;

template <class T>
Kernel<T> kernel_of(OpKind kind) {
  switch (kind) {
    using enum OpKind;
    case gemm: return run_gemm<T>;
    case batched_gemm: return run_batched_gemm<T>;
    case grouped_gemm: return run_grouped_gemm<T>;
    case attention: return run_attention<T>;
    case attention_scores: return run_attention_scores<T>;
    case attention_values: return run_attention_values<T>;
    case softmax: return run_softmax<T>;
    case rms_norm:
    case layer_norm: return run_norm<T>;
    case rotary: return run_rotary<T>;
    case elementwise: return run_elementwise<T>;
    case activation: return run_activation<T>;
    case embedding: return run_embedding<T>;
    case router_topk: return run_router_topk<T>;
    case dispatch: return run_dispatch<T>;
    case expert_ffn: return run_expert_ffn<T>;
    case combine: return run_combine<T>;
    case kv_append: return run_kv_append<T>;
    case sampling: return run_sampling<T>;
    case ssm_scan: return run_ssm_scan<T>;
    case conv1d: return run_conv1d<T>;
    case cross_entropy: return run_cross_entropy<T>;
    default: return nullptr;
  }
}
template Kernel<double> kernel_of(OpKind);
template Kernel<float> kernel_of(OpKind);

namespace {

template <class T>
Diagnostics check(const Machine<T>& machine, const Graph& graph, const Step& step) {
  if (!std::is_same_v<T, float> && machine.options.numerics)
    return {{{}, "number formats are executed in fp32 only", "use Executor<float>", Fault::input}};
  return check_executable(machine.model, machine.sharding, graph, step);
}

}  // namespace

template <class T>
struct Executor<T>::State {
  State(const models::ModelConfig& model, const models::Sharding& sharding, const ExecutorOptions& options)
      : machine(model, sharding, options) {}
  Machine<T> machine;
  std::map<std::string, Moments<T>> moments;
};

template <class T>
Executor<T>::Executor(const models::ModelConfig& model, const models::Sharding& sharding,
                      const ExecutorOptions& options)
    : state_(std::make_unique<State>(model, sharding, options)) {}
template <class T>
Executor<T>::Executor(Executor&&) noexcept = default;
template <class T>
Executor<T>::~Executor() = default;

template <class T>
Result<Execution> Executor<T>::run(const Graph& graph, const Step& step) {
  Machine<T>& machine = state_->machine;
  if (Diagnostics problems = check(machine, graph, step); !problems.empty()) return fail(std::move(problems));
  const Needed nothing;
  if (Diagnostics failed = ForwardPass<T>(machine, graph, step, nothing).run(); !failed.empty())
    return fail(std::move(failed));
  return machine.take();
}

template <class T>
Result<Trained> Executor<T>::train(const Graph& graph, const Graph& backward, const Step& step, MicroBatch batch) {
  Machine<T>& machine = state_->machine;
  if (Diagnostics problems = check(machine, graph, step); !problems.empty()) return fail(std::move(problems));
  if (Diagnostics problems = check_backward<T>(graph, backward); !problems.empty()) return fail(std::move(problems));
  if (!machine.options.keep_weights)
    return fail({{}, "weights that are not kept cannot be trained", "ExecutorOptions::keep_weights", Fault::input});
  machine.batch = batch;
  const Needed needed(backward);
  Trained trained;
  if (Diagnostics failed = ForwardPass<T>(machine, graph, step, needed).run(); !failed.empty())
    return fail(std::move(failed));
  trained.forward = machine.take();
  if (Diagnostics failed = BackwardPass<T>(machine, graph, backward, step).run(); !failed.empty())
    return fail(std::move(failed));
  trained.backward = machine.take();
  machine.batch = {};
  return trained;
}

template <class T>
Result<Execution> Executor<T>::update(const Graph& optimizer, const Adam& adam, std::size_t shards) {
  return Training<T>(state_->machine, state_->moments).update(optimizer, adam, shards);
}
template <class T>
typename Executor<T>::Named Executor<T>::gradients() const {
  return Training<T>(state_->machine, state_->moments).gradients();
}
template <class T>
typename Executor<T>::Named Executor<T>::trained_weights() const {
  return Training<T>(state_->machine, state_->moments).weights();
}
template <class T>
void Executor<T>::nudge(const std::string& name, const std::vector<double>& by) {
  Training<T>(state_->machine, state_->moments).nudge(name, by);
}

template class Executor<double>;
template class Executor<float>;

}  // namespace gambrel::kernels

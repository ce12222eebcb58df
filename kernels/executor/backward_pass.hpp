// Inside kernels/ only: a backward graph run on what a forward pass kept, part by part from the head to the embedding.
#pragma once

#include "kernels/executor/machine.hpp"

namespace gambrel::kernels {

/// Gradients have the whole width of the tensors they belong to, also those that one of several readers sends of a part.
template <class T>
class BackwardPass {
 public:
  BackwardPass(Machine<T>& machine, const models::Graph& forward, const models::Graph& backward,
               const models::Step& step);
  Diagnostics run();

 private:
  using Drawn = std::list<Buffer<T>>;
  Diagnostics run_part();
  Diagnostics run_op(models::OpId id);
  void free_after(std::size_t op);
  Buffer<T>& operand(Rank<T>& rank, const Running& running, const models::Use& use, Drawn& drawn);
  Buffer<T>& read(Rank<T>& rank, const models::Tensor& tensor, models::TensorId id);
  Buffer<T>& write(Rank<T>& rank, const Running& running, const models::Use& use, Drawn& drawn);
  /// The value of the forward pass that has this name, in the part that runs; null: none.
  Buffer<T>* value(Rank<T>& rank, std::string_view name);
  void add_statistics(const Running& running);
  /// The tensor of the forward graph of which `name` is a value or a gradient; null: none.
  const models::Tensor* forward_tensor(std::string_view name) const;
  const models::Tensor* weight_of_gradient(std::string_view name) const;
  std::string entering_gradient(std::size_t part) const;

  Machine<T>& machine_;
  const models::Graph &forward_, &graph_;
  std::map<std::string, models::OpId, std::less<>> ops_;         ///< of the forward graph
  std::map<std::string, models::TensorId, std::less<>> tensors_;
  std::vector<Part> parts_, forward_parts_;
  std::vector<bool> written_;                                    ///< tensors of the forward graph that some operator writes
  std::size_t index_ = 0;
  std::map<models::TensorId, std::size_t> last_;                 ///< use in this part
  models::TensorId leaves_ = 0;                                  ///< the gradient that goes to the part before
};

/// Empty: each operator of `backward` has a kernel.
template <class T>
Diagnostics check_backward(const models::Graph& forward, const models::Graph& backward);

extern template class BackwardPass<double>;
extern template class BackwardPass<float>;

}  // namespace gambrel::kernels

// Inside kernels/ only: a graph's operators as they run: what stands before the layers, each layer written out, what stands behind.
#pragma once

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "kernels/weights/weights.hpp"
#include "models/graph.hpp"
#include "models/shares.hpp"

namespace gambrel::kernels {

struct Part {
  std::string prefix;  ///< "layers.7.", or ""
  const models::LayerSpec* spec = nullptr;
  std::vector<models::OpId> ops;
};

/// Embedding, layers in order, head. Operators of a backward graph stand in that graph's order in the part whose gradients they compute.
std::vector<Part> parts_of(const models::Graph& graph, const models::ModelConfig& model);

/// "attn.qkv" of "layers.0-31.attn.qkv".
std::string_view within_layer(std::string_view name, bool in_layers);

/// Rows of a tensor as a matrix of its last axis.
std::size_t row_count(const models::Tensor& tensor);

/// How the sublayer that `path` belongs to is cut over the tensor ranks.
LayerCut cut_of(const models::ModelConfig& model, const models::Shares& shares, const models::LayerSpec* spec,
                std::string_view path);

/// Names of a backward graph's tensors that only a forward pass can have written.
class Needed {
 public:
  Needed() = default;
  explicit Needed(const models::Graph& backward);
  bool holds(std::string_view name) const { return names_.find(name) != names_.end(); }
  bool any() const { return !names_.empty(); }

 private:
  std::map<std::string, bool, std::less<>> names_;
};

/// The name under which a backward graph knows what operator `op` wrote: its own where it works in place.
std::string_view value_name(const models::Graph& graph, const models::Op& op, const models::Use& use);
bool works_in_place(const models::Op& op, models::TensorId tensor);

}  // namespace gambrel::kernels

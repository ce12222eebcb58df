// Inside models/ only: adds operators and their tensors to a graph, one sublayer at a time.
#pragma once

#include <string>
#include <string_view>

#include "models/build.hpp"

namespace gambrel::models {

/// Where operators are being added: equal layers `count` times, printed as `label`, looked up in the policy as `probe`.
struct Scope {
  std::string label;  ///< "layers.0-31", "" outside the layers
  std::string probe;  ///< "layers.0"
  double count = 1;
  ModelPart part = ModelPart::layers;
  int first = 0, step = 1;
};

class LayerBuilder {
 public:
  LayerBuilder(Graph& graph, const ModelConfig& model, const PrecisionPolicy& policy, const Step& step, const Sharding& sharding)
      : graph_(graph), model_(model), policy_(policy), step_(step), sharding_(sharding) {}

  void enter(Scope scope) { scope_ = std::move(scope); }

  TensorId embed();
  TensorId layer(const LayerSpec& spec, TensorId x);
  void head(TensorId x);

 private:
  // Sublayers: from the (normed) input to what is added to the residual stream.
  TensorId attention(const GroupedAttention& a, TensorId h);
  TensorId latent_attention(const LatentAttention& a, TensorId h);
  TensorId mamba(const Mamba& m, TensorId h);
  TensorId dense_ffn(const DenseFfn& f, TensorId h, std::string_view path);
  TensorId moe(const MoeFfn& f, TensorId h);
  TensorId mixer(const LayerSpec& spec, TensorId h);
  TensorId feed_forward(const LayerSpec& spec, TensorId h);
  TensorId residual_sublayer(const LayerSpec& spec, TensorId x, bool is_mixer);

  /// What the core of an attention works on: widths of one head, and the tensor that holds keys and values.
  struct Core {
    double heads, kv_heads, qk_width, v_width, window = 0, chunk = 0;
    bool causal = true;
    double key_bytes_share = 0.5;  ///< of the cache, for the unfused pieces
  };
  /// `inputs`: what is read besides the cache.
  TensorId attend(const Core& core, std::vector<Use> inputs, TensorId cache, double cache_width);
  TensorId attend_unfused(const Core& core, std::vector<Use> inputs, TensorId cache, double cache_width);
  TensorId kv_cache(double width, double window);
  void kv_append(std::vector<Use> fresh, TensorId cache, double width);

  TensorId grouped_experts(const MoeFfn& f, TensorId rows, double routed, double hit_share);
  TensorId fused_experts(const MoeFfn& f, TensorId rows, double routed, double hit_share);

  TensorId gated(TensorId x, TensorId gate);

  // Building blocks. `path` is within the scope, "attn.qkv".
  TensorId gemm(std::string_view path, TensorId in, double rows, double n, double k, bool bias, DataType out);
  /// `stored_as`: the path whose precision holds for the weights, where they are a part of another operator's.
  TensorId batched_gemm(std::string_view path, std::string_view stored_as, TensorId in, double batch, double n, double k, DataType out);
  TensorId norm(std::string_view path, TensorId in, double rows, double width, NormKind kind, DataType out, double gain_width);
  TensorId activate(std::string_view path, Activation activation, TensorId in, double rows, double inner, DataType out);
  TensorId add(std::string_view path, std::initializer_list<TensorId> terms, double rows, double width);
  TensorId in_place(std::string_view path, OpKind kind, TensorId x, double rows, double width, double terms);

  TensorId value(std::string_view path, double rows, double width, DataType type);
  TensorId parameter(std::string_view path, std::string_view part, std::vector<double> shape, DataType type, Role role = Role::weight,
                     double active_share = 1);
  TensorId table(std::string_view path, std::string_view part, double rows, DataType type, bool multiplied);
  TensorId vector_parameter(std::string_view path, std::string_view part, double length);
  Op op(std::string_view path, OpKind kind) const;
  OpPrecision at(std::string_view path) const;
  std::string name(std::string_view path) const;
  Use read(TensorId t) const { return {t, false, graph_.tensor(t).elements()}; }
  Use read(TensorId t, double elements) const { return {t, false, elements}; }
  Use write(TensorId t) const { return {t, true, graph_.tensor(t).elements()}; }
  Use write(TensorId t, double elements) const { return {t, true, elements}; }
  double tokens() const { return step_.tokens(); }

  Graph& graph_;
  const ModelConfig& model_;
  const PrecisionPolicy& policy_;
  const Step& step_;
  const Sharding& sharding_;
  Scope scope_;
  TensorId table_ = 0;  ///< the embedding's, for a tied lm_head
};

/// Arithmetic operations per element of an activation: a sigmoid is 3 (exponential, sum, quotient), tanh-GELU 8.
double activation_terms(Activation activation);

}  // namespace gambrel::models

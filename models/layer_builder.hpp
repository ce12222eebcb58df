// Inside models/ only: adds operators and their tensors to a graph, one sublayer at a time.
#pragma once

#include <string>
#include <string_view>

#include "models/build.hpp"
#include "models/shares.hpp"

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
      : graph_(graph), model_(model), policy_(policy), step_(step), sharding_(sharding), shares_(shares_of(model, step, sharding)) {}

  void enter(Scope scope) { scope_ = std::move(scope); }

  TensorId embed();
  TensorId layer(const LayerSpec& spec, TensorId x);
  void head(TensorId x);

 private:
  // Sublayers: from the (normed) input in the residual stream's cut to what each tensor rank adds to the sum (`leave`).
  TensorId attention(const GroupedAttention& a, TensorId h);
  TensorId latent_attention(const LatentAttention& a, TensorId h);
  TensorId mamba(const Mamba& m, TensorId h);
  TensorId dense_ffn(const DenseFfn& f, TensorId h, std::string_view path);
  TensorId mixer(const LayerSpec& spec, TensorId h);
  TensorId parallel_layer(const LayerSpec& spec, TensorId x);
  TensorId residual_sublayer(const LayerSpec& spec, TensorId x, bool is_mixer);

  /// What the core of an attention works on: widths of one head.
  struct Core {
    double heads, kv_heads, qk_width, v_width, window = 0, chunk = 0;
    bool causal = true;
    double key_bytes_share = 0.5;  ///< of the cache, for the unfused pieces
    bool whole_sequences = false;  ///< the context ranks exchanged heads: each has all tokens of its own
  };
  /// New tokens of one sequence on this rank and what they look at; keys_here of the keys lie on this rank.
  struct Span {
    double queries, keys_here, keys, pairs;
  };
  /// A tensor that holds `width` elements of each token's keys and values.
  struct KeyPart {
    TensorId tensor;
    double width;
  };
  Span span(const Core& core) const;
  /// Reads of all keys and values, those of other context ranks after their exchange.
  std::vector<Use> keys_and_values(const Span& span, const std::vector<KeyPart>& parts);
  /// `inputs`: what is read besides keys and values.
  TensorId attend(const Core& core, std::vector<Use> inputs, const std::vector<KeyPart>& parts);
  TensorId attend_fused(const Core& core, const Span& span, std::vector<Use> inputs, const std::vector<Use>& keys);
  TensorId attend_unfused(const Core& core, const Span& span, std::vector<Use> inputs, const std::vector<Use>& keys);
  Op attention_op(std::string_view path, OpKind kind, const Core& core, const Span& span) const;
  void combine_parts(TensorId result, TensorId statistics);
  TensorId kv_cache(double width, double window, bool whole_sequences = false);
  void kv_append(std::vector<Use> fresh, TensorId cache, double rows, double width);

  /// Queries, keys and values of the layer on this rank, ready for the core.
  struct Projected {
    std::vector<Use> queries;
    std::vector<KeyPart> memory;
  };
  Projected project(const GroupedAttention& a, TensorId qkv, Core& core);
  TensorId swap_heads(std::string_view path, Use part, double rows, double width);
  struct Latents {
    TensorId normed, rotated;
  };
  TensorId compress(const LatentAttention& a, TensorId source);
  void rotate(const LatentAttention& a, TensorId q, TensorId latent);
  Latents normed_and_rotated(const LatentAttention& a, TensorId latent);
  TensorId spread(std::string_view path, Use part, double width);
  TensorId latent_queries(const LatentAttention& a, TensorId h, TensorId source);
  TensorId attend_absorbed(const LatentAttention& a, TensorId q, std::vector<KeyPart> memory);
  TensorId attend_expanded(const LatentAttention& a, TensorId q, const std::vector<KeyPart>& memory);

  // Mixture of experts. `rows`: routed rows on this rank, `groups`: experts it holds, `out`: format of what goes back.
  struct ExpertRows {
    double rows, groups, inner, hit_share;
    DataType out;
  };
  /// The sum over experts in the stream's cut, or (true) each tensor rank's part of it.
  std::pair<TensorId, bool> moe(const MoeFfn& f, TensorId h);
  std::pair<TensorId, bool> routed_experts(const MoeFfn& f, TensorId h);
  TensorId shared_expert(const MoeFfn& f, TensorId h);
  TensorId choose(const MoeFfn& f, TensorId in, double tokens);
  TensorId own_part(TensorId h);
  TensorId whole_again(TensorId combined);
  TensorId grouped_experts(const MoeFfn& f, TensorId rows, const ExpertRows& share);
  TensorId fused_experts(const MoeFfn& f, TensorId rows, const ExpertRows& share);
  TensorId gated(TensorId x, TensorId gate);

  // Between ranks. A group: `ranks` of an axis, every `stride`-th.
  struct Group {
    MeshAxis axis = MeshAxis::tensor;
    double ranks = 1, stride = 1;
  };
  /// Reads `in` and writes rows x width of the type of the first; a group of one gives back the first tensor.
  TensorId exchange(std::string_view path, CollectiveKind kind, Group group, const std::vector<Use>& in, double rows, double width,
                    bool forward_only = false);
  TensorId exchange(std::string_view path, CollectiveKind kind, Group group, TensorId in, double rows, double width) {
    return exchange(path, kind, group, std::vector<Use>{read(in)}, rows, width);
  }
  Use ring(Group group, const std::vector<Use>& mine, double rows, double width);
  void all_reduce(std::string_view path, Group group, TensorId x, double steps = 1);
  /// What only the backward pass sends: Megatron's f (Shoeybi et al. 2019, arXiv 1909.08053 figure 3).
  TensorId backward_only(std::string_view path, CollectiveKind kind, Group group, TensorId x, bool apart = false);
  /// From the residual stream to the input of matrices cut by columns, and from the output of those cut by rows back.
  TensorId enter(std::string_view path, TensorId x, double width);
  TensorId enter(std::string_view path, TensorId x) { return enter(path, x, model_.hidden); }
  TensorId leave(std::string_view path, TensorId partial);
  /// `widths`: parts of the row that are normed by themselves.
  std::optional<TensorId> statistics(std::string_view path, TensorId x, double rows, NormKind kind, bool whole, double widths = 1);
  TensorId stream_norm(std::string_view path, TensorId x, double rows, DataType out);
  TensorId stream_add(std::string_view path, std::initializer_list<TensorId> terms) { return add(path, terms, shares_.stream_rows, shares_.stream_width); }
  TensorId dropout(std::string_view path, TensorId x, double rows, double width);
  void loss(TensorId logits, double rows);
  void sample(TensorId logits, double rows);

  // Building blocks. `path` is within the scope, "attn.qkv".
  TensorId gemm(std::string_view path, TensorId in, double rows, double n, double k, bool bias, DataType out, double gathered = 1, double used = 1);
  /// Cut over the tensor axis by output columns, which `width` gives for a number of ranks, or by rows (`k`: this rank's).
  template <class Width>
  TensorId column(std::string_view path, TensorId in, double k, Width width, bool bias, DataType out) {
    const TensorId y = gemm(path, in, tokens(), width(shares_.columns / split_), k / split_, bias, out, shares_.gathered);
    return exchange(path, CollectiveKind::reduce_scatter, {.ranks = split_}, y, tokens(), width(shares_.columns));
  }
  /// `used`: share of the inputs, and so of the weights' columns, that is not zero for every token.
  TensorId row(std::string_view path, TensorId in, double k, bool bias, DataType out, double used = 1);
  /// `stored_as`: the path whose precision holds for the weights, where they are a part of another operator's.
  TensorId batched_gemm(std::string_view path, std::string_view stored_as, TensorId in, double batch, double n, double k, DataType out);
  TensorId norm(std::string_view path, TensorId in, double rows, double width, NormKind kind, DataType out, double gain_width,
                std::optional<TensorId> statistics = {});
  TensorId activate(std::string_view path, Activation activation, TensorId in, double rows, double inner, DataType out);
  TensorId add(std::string_view path, std::initializer_list<TensorId> terms, double rows, double width);
  TensorId in_place(std::string_view path, OpKind kind, TensorId x, double rows, double width, double terms);

  TensorId value(std::string_view path, double rows, double width, DataType type);
  TensorId parameter(std::string_view path, std::string_view part, std::vector<double> shape, DataType type, Role role = Role::weight,
                     double active_share = 1);
  /// What a product reads of a weight matrix: the parameter, or what `gathered` ranks made whole of their parts.
  TensorId matrix(std::string_view path, std::vector<double> shape, DataType type, double gathered);
  TensorId table(std::string_view path, std::string_view part, double rows, DataType type, bool multiplied);
  TensorId vector_parameter(std::string_view path, std::string_view part, double length);
  Op op(std::string_view path, OpKind kind) const;
  void thin(Op& o, bool pruned) const;
  OpPrecision at(std::string_view path) const;
  std::string name(std::string_view path) const;
  Use read(TensorId t) const { return {t, false, graph_.tensor(t).elements()}; }
  Use read(TensorId t, double elements) const { return {t, false, elements}; }
  Use write(TensorId t) const { return {t, true, graph_.tensor(t).elements()}; }
  Use write(TensorId t, double elements) const { return {t, true, elements}; }
  double tokens() const { return shares_.tokens(); }

  Graph& graph_;
  const ModelConfig& model_;
  const PrecisionPolicy& policy_;
  const Step& step_;
  const Sharding& sharding_;
  Shares shares_;
  Scope scope_;
  TensorId table_ = 0;  ///< the embedding's, for a tied lm_head
  double split_ = 1;    ///< X of the sublayer's 2D layout
  bool apart_ = false;  ///< what the sublayer enters is read by others too: the residual stream itself, or a norm that two sublayers share
  /// The last stream tensor that was entered: sublayers side by side share it.
  struct Entered {
    TensorId stream, inside;
    double split;
  };
  std::optional<Entered> entered_;
};

/// Arithmetic operations per element of an activation: a sigmoid is 3 (exponential, sum, quotient), tanh-GELU 8.
double activation_terms(Activation activation);

}  // namespace gambrel::models

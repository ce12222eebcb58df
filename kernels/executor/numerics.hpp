// Number formats and sparsity executed: what an Executor<float> asks about each weight, product and result.
#pragma once

#include <functional>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "kernels/numerics/accumulate.hpp"
#include "kernels/weights/weights.hpp"
#include "models/build.hpp"
#include "models/model_config.hpp"

namespace gambrel::kernels {

template <class T>
struct Buffer;
template <class T>
struct OpRun;

/// How arithmetic in a graph's formats differs from fp32.
struct NumericsSettings {
  const WeightSource* weights = nullptr;                 ///< null: the formula of kernels/weights/weights.hpp
  bool rounds = true;                                    ///< false: the reference; fp32 throughout, dense weights
  models::PrecisionPolicy policy{Format::fp32, {}, {}};  ///< the graph's; it tells accumulators, the graph all else
  models::WeightSparsity sparsity;
  std::optional<Accumulator> accumulator;  ///< of every product; none: the policy's format, never promoted
  bool keep_weights = false;               ///< hold every weight as it was rounded, for runs that follow
};

/// What an operator wrote, after it was rounded; who sees it may replace it.
struct WrittenResult {
  std::string name;  ///< of the operator in a layer written out, "layers.7.attn.qkv"
  const models::Op& op;
  const models::Tensor& tensor;
  const models::LayerSpec* spec;
  Buffer<float>& values;
};

/// The type in which values of `type` are executed: narrow formats that name no scale get one, since no recipe runs without.
/// - Integers and sign1: an fp32 scale per row (of a weight an output channel, of activations a token), of a KV cache per block of
///   `cache_block` columns (a token's head).
/// - fp8: an fp32 scale per tensor, chosen anew for each product's input (Micikevicius et al. 2022, "FP8 formats for deep learning",
///   section 3); a KV cache in fp8 is cast without one, as serving engines do by default.
DataType executed_type(DataType type, models::Role role, double cache_block = 0);

/// What the rounding did to weight matrices so far.
struct WeightStatistics {
  double elements = 0,
         kept = 0;   ///< of matrices in products: all, and those that are not zero after masks and rounding
  double noise = 0;  ///< sum over matrices of their elements x (relative error)^2: all matrices count alike
};

/// One variant's arithmetic. The rules:
/// - A weight is pruned by magnitude (layers' matrices but routers; of expert matrices each by itself), then rounded to its
///   tensor's type with its scales (kernels/numerics/quantise.hpp).
/// - A product multiplies what its operands' tensors hold. It is accumulated in fp32 in Eigen's order (blocked over the contracted
///   axis: one order of many that hardware may choose), or step by step in a narrower accumulator (kernels/numerics/accumulate.hpp).
/// - What an operator computed is rounded to the type of the tensor it writes, scales chosen anew for every execution (dynamic): so
///   a norm's output is what the product behind it reads, and a KV cache is rounded as it is appended, the new rows only.
/// - Attention that is fused rounds its probabilities to the format its second product runs in; fused experts round their inner
///   activations to the experts' activation format. Vector work is fp32.
/// Not for several threads at once.
class Numerics {
 public:
  explicit Numerics(NumericsSettings settings) : settings_(std::move(settings)) {}
  /// `observer` sees every result from now on.
  void observe(std::function<void(const WrittenResult&)> observer) { observer_ = std::move(observer); }

  const WeightSource* source() const { return settings_.weights; }

  /// The weight called `name`, whole or a rank's part: what `draw` gives, pruned and rounded.
  std::vector<float> weight(std::string_view name, const models::Op& op, const models::Tensor& tensor,
                            const std::function<std::vector<float>()>& draw) const;
  /// Rounds what an operator just wrote. `prefix`: "layers.7." or "".
  void results(std::string_view prefix, OpRun<float>& run) const;
  /// Values of a layer's cache or state that nobody computed.
  void drawn(const models::LayerSpec& spec, const models::Tensor& tensor, std::span<float> values) const;
  /// Probabilities of one query that meet values in a fused attention's second product.
  void probabilities(const models::Op& op, std::span<float> values) const;
  /// Inner activations [rows, width] of fused experts.
  void inner(const models::Op& op, std::span<float> values, std::size_t width) const;
  /// The accumulator of an operator's products; none: fp32 in Eigen's order.
  std::optional<Accumulator> accumulator(const models::Op& op) const;
  /// Rounds values to what `tensor` holds; `spec`: of a cache, whose heads it is rounded by.
  void round(const models::Tensor& tensor, const models::LayerSpec* spec, std::span<float> values) const;

  const WeightStatistics& statistics() const { return statistics_; }

 private:
  NumericsSettings settings_;
  std::function<void(const WrittenResult&)> observer_;
  mutable std::map<std::string, std::vector<float>, std::less<>> kept_;
  mutable WeightStatistics statistics_;
};

}  // namespace gambrel::kernels

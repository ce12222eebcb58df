// Weights that anyone can write down again: each element a formula of the tensor's name and the element's place.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "models/model_config.hpp"
#include "models/op.hpp"

namespace gambrel::kernels {

/// A number in [-1, 1): u(name, i) = 2 (mix(fnv1a(name) ^ mix(seed)) >> 11) / 2^53 - 1, where fnv1a is the 64-bit FNV-1a
/// hash, mix(x) is splitmix64's output function of x + (i + 1) 0x9E3779B97F4A7C15 (mix(seed) is 0 for seed 0).
/// tests/golden/reference_models.py states it again in NumPy.
double unit_value(std::string_view name, std::uint64_t index, std::uint64_t seed);

/// unit_value of one name for many places: the name is hashed once.
class UnitValues {
 public:
  UnitValues(std::string_view name, std::uint64_t seed);
  double at(std::uint64_t index) const;

 private:
  std::uint64_t start_;
};

/// The token at `position` of a sequence: floor((u("tokens", sequence 2^32 + position) + 1) / 2 x vocabulary).
std::uint64_t token_at(std::uint64_t sequence, std::uint64_t position, double vocabulary, std::uint64_t seed);

/// Which part of every cut tensor a rank holds.
struct RankPlace {
  std::size_t tensor = 0, expert = 0, expert_tensor = 0, context = 0;
};

/// How a sublayer's matrices are cut over the tensor ranks (models/shares.hpp): `columns` of them share out heads and inner widths
/// (rank modulo columns), `gathered` the rows of each part; of a 2D layout `split` ranks share out the stream's width.
struct LayerCut {
  std::size_t columns = 1, gathered = 1, split = 1;
};

/// One of so many equal parts.
struct Portion {
  std::size_t index = 0, count = 1;
};

using WeightData = std::shared_ptr<const std::vector<float>>;

/// Weights that are not the formula's: drawn otherwise, or read from a file.
class WeightSource {
 public:
  virtual ~WeightSource() = default;
  /// All elements of the tensor `name` of the unsharded model ("layers.7.attn.qkv.weight", in the order that Weights states), rows
  /// of `width`, at least `elements`; null: this source has none of that name and it is the formula's. Safe from several threads.
  virtual WeightData whole(std::string_view name, std::size_t width, std::size_t elements) const = 0;
};

/// The weights of one model, cut or whole: a rank's element is the element of the whole tensor at its place there, so a
/// sharded model has the same weights as the unsharded one. Matrices [n, k] are u sqrt(3 / k), gains 1 + u / 10, biases
/// u / 10, everything else u. Names are those of a layer written out: "layers.7.attn.qkv.weight". Rows of attn.qkv are
/// queries, keys, values, head by head; of gate_up the gates first; of attn.kv_b each head's keys then its values; of
/// mamba.in z, x, B, C, dt. The absorbed matrices are parts of attn.kv_b, those of fused experts are the grouped ones'.
/// Biases of matrices that are cut by rows are zero on all ranks but the first: their outputs are summed.
class Weights {
 public:
  Weights(const models::ModelConfig& model, const models::Sharding& sharding, std::uint64_t seed,
          const WeightSource* source = nullptr)
      : model_(model), sharding_(sharding), seed_(seed), other_(source) {}

  /// `prefix`: "layers.7." or "", `path`: the tensor's name behind it. Row-major, of the tensor's shape.
  std::vector<double> make(std::string_view prefix, std::string_view path, const models::LayerSpec* spec,
                           const models::Tensor& tensor, RankPlace place, LayerCut cut) const;

  /// Where the elements of `make` stand in the whole model's weights. `counts`: this rank is one of those that the weight's gradient is
  /// added up from; others have zeros instead of the weight, or the same gradient.
  struct Placement {
    std::vector<std::string> names;     ///< whole weights, prefix included
    std::vector<std::size_t> name, at;  ///< of each element: which of them, and the element there; `nowhere`: of none
    bool counts = true;
    static constexpr std::size_t nowhere = ~std::size_t{0};
  };
  Placement places(std::string_view prefix, std::string_view path, const models::LayerSpec* spec,
                const models::Tensor& tensor, RankPlace place, LayerCut cut) const;

  /// Of the outputs of the matrix (or of the vector) `path` that the part `outer` computes: those that the finer part `inner` has, by
  /// their index among outer's. Key/value heads and groups that are fewer than the parts belong to several.
  std::vector<std::size_t> outputs_within(std::string_view path, const models::LayerSpec& spec, Portion outer,
                                          Portion inner) const;

 private:
  /// Element (i, j) is offset + scale u(source, rows[i] + columns[j]).
  struct Cut {
    std::string source;
    std::vector<std::size_t> rows, columns;
    double scale = 1, offset = 0;
    std::size_t width = 1;  ///< of a row of the whole tensor
  };
  Cut whole(std::string_view path, const models::Tensor& tensor) const;
  Cut by_rows(std::string_view path, std::vector<std::size_t> rows, std::size_t width) const;
  Cut by_columns(std::string_view path, const models::Tensor& tensor, RankPlace place, LayerCut layer) const;
  Cut grouped_heads(std::string_view path, const models::GroupedAttention& a, Portion part) const;
  Cut latent(std::string_view path, const models::LatentAttention& a, std::size_t width, Portion part) const;
  Cut state_space(std::string_view path, const models::Mamba& m, Portion part) const;
  Cut experts(std::string_view path, const models::MoeFfn& f, RankPlace place) const;
  Cut gate_up(std::string_view path, double inner, Portion part) const;
  std::optional<Cut> by_outputs(std::string_view path, const models::LayerSpec& spec, std::size_t width, Portion part) const;
  std::vector<std::size_t> stream_blocks(RankPlace place, LayerCut layer) const;
  Cut cut_of(std::string_view path, const models::LayerSpec* spec, const models::Tensor& tensor, RankPlace place,
             LayerCut layer) const;
  WeightData other(const std::string& name, const Cut& cut) const;
  std::vector<double> fill(std::string_view prefix, const Cut& cut) const;
  bool adds_up(std::string_view path, RankPlace place, LayerCut layer) const;
  std::vector<double> fused_bias(std::string_view prefix, const models::MoeFfn& f, RankPlace place) const;

  const models::ModelConfig& model_;
  models::Sharding sharding_;
  std::uint64_t seed_;
  const WeightSource* other_;
};

}  // namespace gambrel::kernels

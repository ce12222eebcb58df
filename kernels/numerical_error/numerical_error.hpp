// Numerical error, measured: a scaled copy of a model run in a variant's formats beside the same copy in fp32.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/result.hpp"
#include "kernels/numerics/accumulate.hpp"
#include "kernels/weights/synthetic_weights.hpp"
#include "models/build.hpp"

namespace gambrel::kernels {

/// One way to run the model.
struct ErrorVariant {
  std::string name;
  models::Precision precision;             ///< the run's, over the checkpoint's; layer indices are the whole model's
  models::WeightSparsity sparsity;         ///< masks by magnitude on the dense weights, without retraining
  std::optional<Accumulator> accumulator;  ///< of every product; none: precision's `accumulate`
};

/// What is executed. Fields left empty depend on the weights: a file's are run at their own widths, all layers and the whole
/// vocabulary; synthetic ones at 2 layers, a quarter of the widths and 2048 rows of the vocabulary.
struct ErrorOptions {
  std::optional<int> layers;              ///< of the copy, spread over the model and its kinds of layers
  std::optional<double> width_fraction;   ///< in (0, 1]; 1 only for a file
  std::optional<double> vocabulary_rows;  ///< rows of the embedding and of lm_head, evenly spread over a file's
  int tokens = 32;                        ///< of one sequence, every position with logits
  std::uint64_t seed = 0;                 ///< of synthetic weights and of the tokens
  std::vector<std::uint32_t> token_ids;   ///< the sequence itself, instead of `tokens` drawn ones
  std::string weights_file;               ///< .safetensors or its index .json; empty: synthetic weights
  SyntheticStatistics synthetic;
  std::vector<int> growth_layers = {1, 2, 4};  ///< depths at which the stream's error is measured; empty: not
  bool own_errors = true;                      ///< measure OperatorError::own_* too: one more run
  int threads = 2;                             ///< variants at one time; of copies above 2e8 weights it is one
};

/// An operator's output against the fp32 run, of the layer `layer` of the copy. own_*: with the fp32 run's inputs, rounded to the
/// formats the operator reads them in: what this operator alone adds (weights, inputs, accumulator, its output's format).
struct OperatorError {
  std::string name;  ///< "layers.1.attn.qkv"
  std::string_view kind;
  int layer = -1;  ///< -1 outside the layers
  double relative_error = 0, sqnr_db = 0;
  double own_relative_error = 0, own_sqnr_db = 0;
  double nonzero = 1;  ///< share of the output: below 1 behind a rectifier
};

/// Of the next token, over all positions. Natural logarithms.
struct DistributionError {
  double kl_divergence = 0;      ///< mean of sum p ln(p / q), p of the fp32 run
  double top1_agreement = 1;     ///< share of positions whose likeliest token is the same
  double reference_entropy = 0;  ///< mean, of p: a flat distribution changes its top token at a small error
};

struct GrowthPoint {
  int layers = 0;
  double relative_error = 0;  ///< of the residual stream behind that many layers of the copy
};

/// How error grows with depth: relative error = scale x layers^exponent through the points by least squares of logarithms. Errors
/// of layers that are independent and of equal size add up with exponent 0.5; of a stream that grows as fast they stay level (0).
struct ErrorGrowth {
  std::vector<GrowthPoint> points;
  double scale = 0, exponent = 0;
  double at_full_depth = 0;  ///< extrapolated to all layers of the model: an estimate, not a measurement
};

struct ErrorReport {
  std::string variant;
  std::string weights;        ///< where they come from, in words
  bool real_weights = false;  ///< false: kl_divergence and top1_agreement are those of a model that says nothing
  int layers = 0, model_layers = 0;
  std::vector<int> executed_layers;  ///< the model's layers that the copy's stand for
  double width_fraction = 1, tokens = 0, vocabulary_rows = 0, model_vocabulary = 0;
  std::string scaling;                     ///< all that in words, for a caption
  std::vector<OperatorError> operators;    ///< in the order they ran
  double relative_error = 0, sqnr_db = 0;  ///< of the logits; sqnr_db is infinite if they are equal
  double weight_sqnr_db =
      0;  ///< of the matrices in products (an element of each counts alike), those that are looked up left out
  double weight_density = 1;  ///< share of their elements that are not zero
  DistributionError distribution;
  ErrorGrowth growth;
  double seconds = 0;  ///< this variant's own; the fp32 run is shared
};

/// One report for each variant. Errors: what Executor cannot run, a copy too large for memory (4e9 elements drawn), options out of
/// range, a file that cannot be read or that has not the model's shapes.
Result<std::vector<ErrorReport>> measure_errors(const models::ModelConfig& model,
                                                std::span<const ErrorVariant> variants,
                                                const ErrorOptions& options = {});
Result<ErrorReport> measure_error(const models::ModelConfig& model, const ErrorVariant& variant,
                                  const ErrorOptions& options = {});

/// The worst operator by sqnr_db; null of none.
const OperatorError* worst_operator(const ErrorReport& report);

}  // namespace gambrel::kernels

// Weights nobody trained, with the statistics that make real ones hard to quantise: Gaussian, with outlier channels.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "base/data_type.hpp"
#include "kernels/weights/weights.hpp"

namespace gambrel::kernels {

/// Weight matrices [n, k] are Gaussian with variance 1 / k: trained ones are bell-shaped around zero (Dettmers et al. 2023, "QLoRA",
/// arXiv 2305.14314, appendix F). What breaks 8-bit inference are a few hidden channels whose activations are far larger than all
/// others, the same in all layers and for all tokens: 6 of 4096 at 6.7 G parameters, up to 20 times the others (Dettmers et al. 2022,
/// "LLM.int8()", arXiv 2208.07339, section 4); in attention and feed-forward inputs, while weights stay flat (Xiao et al. 2023, "SmoothQuant",
/// arXiv 2211.10438, section 3). So the gains of the layers' norms are `outlier_factor` for that share of the channels. Some
/// output rows of trained weights are larger, too (Dettmers et al. 2023, "SpQR", arXiv 2306.03078, section 3): `row_share` of the rows
/// of every matrix in the layers are multiplied by `row_factor`, which is our choice. 0 shares: plain Gaussian. Biases and gains of other
/// norms are the formula's.
struct SyntheticStatistics {
  double outlier_share = 6.0 / 4096, outlier_factor = 20;  ///< of hidden channels; at least one if above 0
  double row_share = 1.0 / 256, row_factor = 4;            ///< of a matrix' rows, each drawn by itself
  double table_deviation = 1;                              ///< of the embedding's elements
  DataType stored_as = Format::bf16;                       ///< draws are rounded to it, as a checkpoint's weights are
};

/// "Gaussian of variance 1 / k, 0.146 % of the channels 20 times ...", for a report.
std::string describe(const SyntheticStatistics& statistics, std::uint64_t seed);

/// Every element a function of seed, name and place: in any order, on any thread, the same. Holds what it drew.
class SyntheticWeights final : public WeightSource {
 public:
  explicit SyntheticWeights(const SyntheticStatistics& statistics, std::uint64_t seed)
      : statistics_(statistics), seed_(seed) {}
  WeightData whole(std::string_view name, std::size_t width, std::size_t elements) const override;

 private:
  SyntheticStatistics statistics_;
  std::uint64_t seed_;
  mutable std::mutex mutex_;
  mutable std::map<std::string, WeightData, std::less<>> held_;
};

}  // namespace gambrel::kernels

// How one model is shared among chips: the sizes of the two meshes, as far as the graph of one rank depends on them.
#pragma once

#include <cstdint>
#include <string_view>

#include "base/data_type.hpp"

namespace gambrel::models {

/// Axes of the two meshes. Attention and dense layers: tensor x context x data x pipeline; expert layers on the same
/// chips: expert_tensor x expert x expert_data x pipeline.
enum class MeshAxis : std::uint8_t { tensor, context, data, pipeline, expert_tensor, expert, expert_data };
inline constexpr int mesh_axis_count = 7;
std::string_view to_string(MeshAxis axis);

/// Where a weight matrix and its activations lie over the tensor axis (Pope et al. 2022, arXiv 2211.05102 section 3.2). The
/// last two hold for grouped-query attention and dense feed-forward layers; best splits are chosen (models/shares.hpp).
/// Latent attention, state spaces and shared experts are cut one way in each, embedding and lm_head by the vocabulary.
enum class Layout : std::uint8_t {
  weight_stationary_1d,  ///< Megatron: each matrix cut along one axis
  weight_stationary_2d,  ///< cut along both; activations are gathered and scattered over one of them at a time
  weight_gathered        ///< weights are gathered before use, activations stay cut by tokens
};

/// How sequence chunks of the context axis see each other's keys and values.
enum class ContextExchange : std::uint8_t { ring, all_gather, ulysses };

/// What one rank of the meshes holds. All ones: the unsharded model.
struct Sharding {
  double tensor = 1, context = 1, data = 1;
  double expert_tensor = 1, expert = 1;
  bool sequence = false;  ///< norms and residual stream are cut by tokens over the tensor axis (Korthikanti et al. 2022)
  Layout layout = Layout::weight_stationary_1d;
  ContextExchange exchange = ContextExchange::ring;
  bool operator==(const Sharding&) const = default;
};

/// What backward finds of the forward's activations (Korthikanti et al. 2022, arXiv 2205.05198).
enum class Recompute : std::uint8_t { none, selective, full };

}  // namespace gambrel::models

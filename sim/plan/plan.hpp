// How a run shares its work among chips: the sizes of the meshes, their places on the network, the pipeline's schedule.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/result.hpp"
#include "hw/system.hpp"
#include "models/model_config.hpp"
#include "models/sharding.hpp"

namespace gambrel::sim {

enum class Schedule : std::uint8_t { gpipe, one_forward_one_backward, interleaved, zero_bubble };

struct ParallelismPlan {
  int tensor = 1, context = 1, data = 1, pipeline = 1;
  int expert_tensor = 1, expert = 1, expert_data = 1;
  bool sequence = false;
  models::Layout layout = models::Layout::weight_stationary_1d;
  models::ContextExchange exchange = models::ContextExchange::ring;
  int zero = 0;                   ///< 0 nothing, 1 optimizer states, 2 gradients, 3 weights sharded over data (ZeRO; 3 = FSDP)
  int microbatches = 0;           ///< 0: as many as the batch has micro-batches (training), one a stage (inference)
  Schedule schedule = Schedule::one_forward_one_backward;
  int interleave = 1;             ///< model chunks of a stage
  models::Recompute recompute = models::Recompute::none;
  bool overlap_gradients = true;  ///< their reduction runs beside the backward pass
  bool overlap_weights = true;    ///< ZeRO-3's gathering runs beside the layer before
  double overlap_tensor = 0;      ///< share of the tensor axis' collectives hidden behind arithmetic (0 to 1)
  double overlap_expert = 0;      ///< the same of the exchange with experts
  std::vector<std::pair<models::MeshAxis, std::vector<std::string>>> place;

  int chips() const { return tensor * context * data * pipeline; }
  models::Sharding sharding() const;
  bool operator==(const ParallelismPlan&) const = default;
};

/// Ranks base, base + stride, ..., `size` of them, in the order of the system's chips: innermost level first, the first
/// axis of a torus fastest.
struct RankGroup {
  double size = 1, stride = 1;
  bool operator==(const RankGroup&) const = default;
};

/// Which of the system's chips each axis joins: from the innermost axis outwards. Both meshes end with pipeline.
struct Placed {
  std::array<RankGroup, models::mesh_axis_count> groups;
  RankGroup gradients;         ///< data and context together: ranks that hold the same dense weights
  const RankGroup& of(models::MeshAxis axis) const { return groups[static_cast<std::size_t>(axis)]; }
};

/// Orders of the axes that put every placed axis into its levels; the first is tried first (tensor, context, data, pipeline).
std::vector<std::vector<models::MeshAxis>> axis_orders(const ParallelismPlan& plan, const hw::Pool& pool);
Placed placed(const ParallelismPlan& plan, const std::vector<models::MeshAxis>& order);

/// What is wrong with a plan for a model on so many chips, as message and hint (what would fit); nothing if it is legal:
/// heads, widths and layers divide, both meshes multiply out to the chips, an interleaved pipeline's micro-batches divide.
std::optional<std::pair<std::string, std::string>> problem_with(const ParallelismPlan& plan, const models::ModelConfig& model, int chips);

std::string_view to_string(Schedule schedule);
/// "tensor 8, pipeline 16, data 4, zero 1", axes of one left out.
std::string describe(const ParallelismPlan& plan);

}  // namespace gambrel::sim

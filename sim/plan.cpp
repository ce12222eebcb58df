#include "sim/plan.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <numeric>

namespace gambrel::sim {
namespace {

using models::MeshAxis;
using Problem = std::optional<std::pair<std::string, std::string>>;

constexpr int axis_sizes = 7;

int size_of(const ParallelismPlan& plan, MeshAxis axis) {
  const int sizes[axis_sizes] = {plan.tensor, plan.context, plan.data, plan.pipeline, plan.expert_tensor, plan.expert, plan.expert_data};
  return sizes[static_cast<int>(axis)];
}

std::string divisors_of(double n) {
  std::vector<std::string> list;
  for (int d = 1; d <= n && list.size() < 12; ++d)
    if (std::fmod(n, d) == 0) list.push_back(std::to_string(d));
  return fmt::format("{}", fmt::join(list, ", "));
}

Problem must_divide(std::string_view axis, int ranks, double extent, std::string_view what) {
  if (std::fmod(extent, ranks) == 0) return {};
  return std::pair{fmt::format("{} {} does not divide {} {}", axis, ranks, extent, what), fmt::format("{} of them could be {}", axis, divisors_of(extent))};
}

/// KV heads fewer than the ranks are copied, but evenly.
Problem kv_problem(int tensor, double kv_heads) {
  if (std::fmod(kv_heads, tensor) == 0 || std::fmod(tensor, kv_heads) == 0) return {};
  return std::pair{fmt::format("tensor {} and {} key/value heads do not divide each other", tensor, kv_heads), fmt::format("tensor could be {}", divisors_of(kv_heads))};
}

Problem mixer_problem(const ParallelismPlan& plan, const models::LayerSpec& layer) {
  const int t = plan.tensor;
  if (layer.attention) {
    if (auto p = must_divide("tensor", t, layer.attention->heads, "attention heads")) return p;
    return kv_problem(t, layer.attention->kv_heads);
  }
  if (layer.latent) return must_divide("tensor", t, layer.latent->heads, "attention heads");
  if (layer.mamba) return must_divide("tensor", t, layer.mamba->heads, "state-space heads");
  return {};
}

Problem ffn_problem(const ParallelismPlan& plan, const models::LayerSpec& layer) {
  if (layer.dense)
    if (auto p = must_divide("tensor", plan.tensor, layer.dense->inner, "columns of the feed-forward layer")) return p;
  if (!layer.moe) return {};
  if (auto p = must_divide("expert", plan.expert, layer.moe->experts(), "experts")) return p;
  if (auto p = must_divide("expert_tensor", plan.expert_tensor, layer.moe->mean_inner(), "columns of an expert")) return p;
  if (layer.moe->shared_inner > 0) return must_divide("tensor", plan.tensor, layer.moe->shared_inner, "columns of the shared expert");
  return {};
}

Problem mesh_problem(const ParallelismPlan& plan, int chips) {
  const double dense = double(plan.tensor) * plan.context * plan.data * plan.pipeline, experts = double(plan.expert) * plan.expert_tensor * plan.expert_data * plan.pipeline;
  if (dense != chips)
    return std::pair{fmt::format("tensor {} x context {} x data {} x pipeline {} = {} chips, not {}", plan.tensor, plan.context, plan.data, plan.pipeline, dense, chips),
                     fmt::format("the product must be {}", chips)};
  if (experts != chips)
    return std::pair{fmt::format("expert {} x expert_tensor {} x expert_data {} x pipeline {} = {} chips, not {}", plan.expert, plan.expert_tensor, plan.expert_data, plan.pipeline, experts, chips),
                     fmt::format("expert x expert_tensor x expert_data must be {}: the chips of one pipeline stage", chips / plan.pipeline)};
  return {};
}

Problem pipeline_problem(const ParallelismPlan& plan, int layers) {
  if (double(plan.pipeline) * plan.interleave > layers)
    return std::pair{fmt::format("pipeline {} x interleave {} is more than {} layers", plan.pipeline, plan.interleave, layers), fmt::format("at most {} stages", layers / plan.interleave)};
  if (plan.interleave > 1 && plan.pipeline == 1) return std::pair{std::string("interleave needs a pipeline"), std::string("pipeline of 2 or more, or interleave: 1")};
  return {};
}

/// Chips of one member of each network level, and with torus axes as steps of their own: name, chips inside, chips up to its end.
struct Step {
  std::string name, axis;
  double inside, until;
};

std::vector<Step> steps_of(const hw::Pool& pool) {
  std::vector<Step> steps;
  double inside = 1;
  for (const hw::NetworkLevel& level : pool.network) {
    const bool axes = level.shape.size() > 1;
    for (std::size_t a = 0; a < (axes ? level.shape.size() : 1); ++a) {
      const double size = axes ? level.shape[a] : level.size;
      steps.push_back({level.level, axes ? fmt::format("{}.{}", level.level, "xyz"[std::min<std::size_t>(a, 2)]) : level.level, inside, inside * size});
      inside *= size;
    }
  }
  return steps;
}

/// Every step that the group spans is one of the levels named.
bool within(const RankGroup& group, const std::vector<std::string>& levels, const std::vector<Step>& steps) {
  if (group.size <= 1) return true;
  const double reach = group.stride * group.size;
  return std::ranges::all_of(steps, [&](const Step& s) {
    const bool spanned = reach > s.inside && group.stride < s.until;
    return !spanned || std::ranges::count(levels, s.name) || std::ranges::count(levels, s.axis);
  });
}

bool all_placed(const ParallelismPlan& plan, const std::vector<MeshAxis>& order, const std::vector<Step>& steps) {
  const Placed groups = placed(plan, order);
  return std::ranges::all_of(plan.place, [&](const auto& place) { return within(groups.of(place.first), place.second, steps); });
}

}  // namespace

models::Sharding ParallelismPlan::sharding() const {
  return {.tensor = double(tensor), .context = double(context), .data = double(data), .expert_tensor = double(expert_tensor), .expert = double(expert),
          .sequence = sequence, .layout = layout, .exchange = exchange};
}

Problem problem_with(const ParallelismPlan& plan, const models::ModelConfig& model, int chips) {
  if (auto p = mesh_problem(plan, chips)) return p;
  if (auto p = pipeline_problem(plan, model.layer_count())) return p;
  if (plan.sequence && plan.tensor == 1) return std::pair{std::string("sequence parallelism runs over the tensor axis, which is 1"), std::string("tensor of 2 or more, or sequence: false")};
  for (const models::LayerGroup& group : model.layers)
    for (const models::LayerSpec& layer : group.pattern) {
      if (auto p = mixer_problem(plan, layer)) return p;
      if (auto p = ffn_problem(plan, layer)) return p;
    }
  return {};
}

/// Expert axes follow the dense ones: expert_tensor innermost, then expert, then expert_data, inside the pipeline or around it.
Placed placed(const ParallelismPlan& plan, const std::vector<MeshAxis>& order) {
  Placed result;
  double stride = 1, dense_stride = 1;
  bool pipeline_inside = false;
  for (MeshAxis axis : order) {
    const double size = size_of(plan, axis);
    result.groups[static_cast<std::size_t>(axis)] = {size, stride};
    if (axis == MeshAxis::pipeline) pipeline_inside = stride == 1 && size > 1;
    stride *= size;
  }
  dense_stride = pipeline_inside ? plan.pipeline : 1;
  for (MeshAxis axis : {MeshAxis::expert_tensor, MeshAxis::expert, MeshAxis::expert_data}) {
    const double size = size_of(plan, axis);
    result.groups[static_cast<std::size_t>(axis)] = {size, dense_stride};
    dense_stride *= size;
  }
  const RankGroup &data = result.of(MeshAxis::data), &context = result.of(MeshAxis::context);
  result.gradients = {data.size * context.size, data.size > 1 && context.size > 1 ? std::min(data.stride, context.stride) : data.size > 1 ? data.stride : context.stride};
  return result;
}

std::vector<std::vector<MeshAxis>> axis_orders(const ParallelismPlan& plan, const hw::Pool& pool) {
  const std::vector<MeshAxis> usual{MeshAxis::tensor, MeshAxis::context, MeshAxis::data, MeshAxis::pipeline};
  const std::vector<Step> steps = steps_of(pool);
  std::vector<MeshAxis> used, idle;
  for (MeshAxis axis : usual) (size_of(plan, axis) > 1 ? used : idle).push_back(axis);
  std::vector<std::vector<MeshAxis>> orders;
  std::vector<MeshAxis> order = used;
  do {
    std::vector<MeshAxis> all = order;
    all.insert(all.end(), idle.begin(), idle.end());
    if (all_placed(plan, all, steps)) orders.push_back(std::move(all));
  } while (std::ranges::next_permutation(order).found);
  return orders;
}

std::string_view to_string(Schedule schedule) {
  static constexpr std::array<std::string_view, 4> names{"gpipe", "1f1b", "interleaved", "zero-bubble"};
  return names[static_cast<std::size_t>(schedule)];
}

std::string describe(const ParallelismPlan& plan) {
  std::vector<std::string> words;
  for (int a = 0; a < models::mesh_axis_count; ++a) {
    const auto axis = static_cast<MeshAxis>(a);
    const bool follows = axis == MeshAxis::expert_data && plan.expert == 1 && plan.expert_tensor == 1;
    if (size_of(plan, axis) > 1 && !follows) words.push_back(fmt::format("{} {}", to_string(axis), size_of(plan, axis)));
  }
  if (plan.sequence) words.emplace_back("sequence");
  if (plan.zero > 0) words.push_back(fmt::format("zero {}", plan.zero));
  if (plan.pipeline > 1) words.emplace_back(to_string(plan.schedule));
  if (plan.interleave > 1) words.push_back(fmt::format("interleave {}", plan.interleave));
  if (plan.recompute != models::Recompute::none) words.push_back(plan.recompute == models::Recompute::full ? "full recompute" : "selective recompute");
  if (plan.layout != models::Layout::weight_stationary_1d) words.push_back(plan.layout == models::Layout::weight_gathered ? "weight-gathered" : "2-D weight-stationary");
  return fmt::format("{}", fmt::join(words, ", "));
}

}  // namespace gambrel::sim
